#!/usr/bin/env python3
"""Stands in for istio-gateway: makes the Deployment of a gateway, and removes it at its end.

As the real one does (canonical/istio-operators, ``charms/istio-gateway/src/manifest.yaml``), with
the image of its option. The other objects of the real one are left out.
"""

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

# Where Kubernetes puts the account of a pod.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 30


def main(account: Path = ACCOUNT) -> None:
    """Handle one hook.

    Args:
        account: The folder with the account of the pod.
    """
    hook = os.environ["JUJU_DISPATCH_PATH"].rpartition("/")[2]
    kind = _tool("config-get", "kind")
    if not kind:
        _tool("status-set", "blocked", "the option kind is not set")
        return
    name = f"istio-{kind}gateway-workload"
    if hook == "remove":
        # The units with the highest numbers go first.
        if os.environ["JUJU_UNIT_NAME"].endswith("/0"):
            _ask(account, "DELETE", name)
        return
    if hook != "stop":
        _ask(account, "PATCH", name, deployment(name, _tool("config-get", "proxy-image")))
        _tool("status-set", "active")


def deployment(name: str, image: str) -> dict[str, Any]:
    """Describe the Deployment of a gateway."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "istio-proxy", "image": image}]},
            },
        },
    }


def _ask(account: Path, method: str, name: str, body: dict[str, Any] | None = None) -> None:
    host, port = (os.environ[f"KUBERNETES_SERVICE_{part}"] for part in ("HOST", "PORT"))
    namespace = account.joinpath("namespace").read_text().strip()
    place = f"https://{host}:{port}/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    headers = {"Authorization": f"Bearer {account.joinpath('token').read_text().strip()}"}
    if body:
        # Server-side apply: makes what is not there, and changes what is.
        place += "?fieldManager=istio-gateway&force=true"
        headers["Content-Type"] = "application/apply-patch+yaml"
    request = urllib.request.Request(
        place, json.dumps(body).encode() if body else None, headers, method=method
    )
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    # No proxy of the model stands between the pod and its own cluster.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        opener.open(request, timeout=_SECONDS).close()
    except urllib.error.HTTPError as error:
        if method != "DELETE" or error.code != HTTPStatus.NOT_FOUND:
            raise


def _tool(*words: str) -> str:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
