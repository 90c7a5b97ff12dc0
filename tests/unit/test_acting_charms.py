"""The stand-ins of the charms of Istio that act: their hooks, with tools and an API of ours."""

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import zipfile
from collections.abc import Generator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testbed.pki import Authority
from tests.sample_release import (
    Charm,
    CharmOptions,
    at_istio_version,
    charm_file,
    istio_version,
    pilot_of,
    stated_release,
)
from tests.sample_release.acting import istio_gateway

ACTING = CharmOptions(acting_istio=True)
WORKLOAD = "istio-ingressgateway-workload"


class HookTools:
    """Juju's hook tools, in a folder for the path, with the state that Juju keeps of a unit."""

    def __init__(self, folder: Path, options: dict[str, str]) -> None:
        self.folder = folder
        state = folder / "state"
        state.mkdir(parents=True)
        for name, value in options.items():
            self.set_option(name, value)
        tools = {
            "config-get": f'cat "{folder}/option-$1"',
            "state-get": f'if [ -e "{state}/$1" ]; then cat "{state}/$1"; fi',
            "state-set": f'printf %s "${{1#*=}}" > "{state}/${{1%%=*}}"',
            "status-set": f'echo "$*" > "{folder}/status"',
        }
        for name, script in tools.items():
            path = folder / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    def set_option(self, name: str, value: str) -> None:
        self.folder.joinpath(f"option-{name}").write_text(value)

    def environment(self, hook: str, charm: Path, unit: str = "istio/0") -> dict[str, str]:
        return {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "JUJU_DISPATCH_PATH": f"hooks/{hook}",
            "JUJU_CHARM_DIR": str(charm),
            "JUJU_UNIT_NAME": unit,
        }

    @property
    def status(self) -> str:
        return self.folder.joinpath("status").read_text().strip()


def unpacked(charm: Charm, folder: Path) -> Path:
    """Unpack a charm as Juju does, and give where it is."""
    if not folder.exists():
        archive = folder.with_suffix(".charm")
        archive.write_bytes(charm_file(charm, ACTING))
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
            assert packed.getinfo("dispatch").external_attr >> 16 == 0o100755
        folder.joinpath("dispatch").chmod(0o755)
    return folder


class Pilot:
    """A unit of istio-pilot, whose charm comes and goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tools = HookTools(folder / "tools", {})

    def run(self, hook: str, version: str, configured: str | None = None) -> str:
        """Run a hook with the charm of a version; gives why it failed, or an empty text."""
        tag = configured or version
        self.tools.set_option(
            "image-configuration", f'{{"global-tag": "{tag}", "global-hub": ""}}'
        )
        pilot = pilot_of(stated_release("1.9"))
        charm = at_istio_version(pilot, istio_version(pilot), version)
        files = unpacked(charm, self._folder / f"pilot-{version.replace('.', '-')}")
        done = subprocess.run(
            [files / "dispatch"],
            env=self.tools.environment(hook, files),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip() if done.returncode else ""


@pytest.fixture
def pilot(tmp_path: Path) -> Pilot:
    pilot = Pilot(tmp_path)
    assert pilot.run("install", "1.17.3") == ""
    assert pilot.tools.status == "active"
    return pilot


def test_istio_pilot_goes_from_minor_version_to_minor_version(pilot: Pilot) -> None:
    for version in ("1.18.7", "1.18.8", "1.19.10", "1.20.6"):
        assert pilot.run("upgrade-charm", version) == ""
        assert pilot.run("config-changed", version) == ""
        assert pilot.tools.status == "active"


@pytest.mark.parametrize("version", ["1.19.10", "1.16.9", "2.17.3", "1.17.2"])
def test_istio_pilot_refuses_a_jump_and_a_step_back(version: str, pilot: Pilot) -> None:
    assert f"from 1.17.3 to {version}" in pilot.run("upgrade-charm", version)
    # Juju runs a hook that has failed again, and nothing has changed for it.
    assert f"from 1.17.3 to {version}" in pilot.run("upgrade-charm", version)
    assert pilot.run("upgrade-charm", "1.18.7") == ""


def test_istio_pilot_waits_where_its_images_are_of_another_version(pilot: Pilot) -> None:
    assert pilot.run("upgrade-charm", "1.18.7", configured="1.17.3") == ""
    assert pilot.tools.status == "waiting for pods of 1.18.7: image-configuration has 1.17.3"
    assert pilot.run("config-changed", "1.18.7") == ""
    assert pilot.tools.status == "active"


def test_the_charms_of_istio_are_idle_unless_they_are_to_act(tmp_path: Path) -> None:
    idle = tmp_path / "idle.charm"
    idle.write_bytes(charm_file(pilot_of(stated_release("1.9"))))
    with zipfile.ZipFile(idle) as packed:
        assert packed.read("dispatch") == b"#!/bin/sh\nstatus-set active\n"


class Api(http.server.ThreadingHTTPServer):
    """The Deployments of one namespace, behind TLS and a token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _ApiHandler)
        self.deployments: dict[str, dict[str, Any]] = {}
        self.failure: HTTPStatus | None = None
        authority = Authority(folder / "pki")
        pair = authority.issue("kubernetes", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.account = folder / "account"
        self.account.mkdir()
        self.account.joinpath("ca.crt").write_bytes(authority.certificate.read_bytes())
        self.account.joinpath("token").write_text("t0ken")
        self.account.joinpath("namespace").write_text("kubeflow")


class _ApiHandler(http.server.BaseHTTPRequestHandler):
    server: Api  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("PATCH", body)

    def do_DELETE(self) -> None:
        self._answer("DELETE", None)

    def _answer(self, method: str, body: dict[str, Any] | None) -> None:
        path = urlsplit(self.path).path
        folder, _, name = path.rpartition("/")
        status = HTTPStatus.OK
        if self.headers["Authorization"] != "Bearer t0ken":
            status = HTTPStatus.UNAUTHORIZED
        elif self.server.failure:
            status = self.server.failure
        elif folder != "/apis/apps/v1/namespaces/kubeflow/deployments":
            status = HTTPStatus.BAD_REQUEST
        elif body:
            self.server.deployments[name] = body
        elif self.server.deployments.pop(name, None) is None:
            status = HTTPStatus.NOT_FOUND
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        pass


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Api]:
    with Api(tmp_path) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(running.server_address[1]))
        # A proxy of the model that does not answer.
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class Gateway:
    """A unit of istio-gateway."""

    def __init__(self, folder: Path, api: Api, patch: pytest.MonkeyPatch) -> None:
        options = {"kind": "ingress", "proxy-image": "r/proxyv2:1.22.0"}
        self.tools = HookTools(folder / "tools", options)
        self._folder, self._api, self._patch = folder, api, patch

    def run(self, hook: str, unit: str = "istio-ingressgateway/0") -> None:
        for name, value in self.tools.environment(hook, self._folder, unit).items():
            self._patch.setenv(name, value)
        istio_gateway.main(self._api.account)


@pytest.fixture
def gateway(tmp_path: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(tmp_path, api, monkeypatch)


def image_in(api: Api) -> str:
    return api.deployments[WORKLOAD]["spec"]["template"]["spec"]["containers"][0]["image"]


def test_istio_gateway_makes_its_deployment_and_removes_it(gateway: Gateway, api: Api) -> None:
    gateway.run("install")
    assert image_in(api) == "r/proxyv2:1.22.0"
    assert gateway.tools.status == "active"
    gateway.tools.set_option("proxy-image", "r/proxyv2:1.24.2")
    gateway.run("config-changed")
    assert image_in(api) == "r/proxyv2:1.24.2"
    gateway.run("remove", "istio-ingressgateway/1")
    gateway.run("stop")
    assert set(api.deployments) == {WORKLOAD}
    gateway.run("remove")
    assert api.deployments == {}
    # Somebody else may have removed it.
    gateway.run("remove")


def test_istio_gateway_without_a_kind_is_blocked(gateway: Gateway, api: Api) -> None:
    gateway.tools.set_option("kind", "")
    gateway.run("install")
    assert gateway.tools.status.startswith("blocked")
    assert api.deployments == {}


@pytest.mark.parametrize("hook", ["config-changed", "remove"])
def test_a_hook_of_istio_gateway_fails_where_the_api_refuses(
    hook: str, gateway: Gateway, api: Api
) -> None:
    gateway.run("install")
    api.failure = HTTPStatus.FORBIDDEN
    with pytest.raises(urllib.error.HTTPError, match="403"):
        gateway.run(hook)


def test_istio_gateway_is_packed_with_what_is_tested_here(tmp_path: Path) -> None:
    charms = stated_release("1.9").charms
    files = unpacked(next(c for c in charms if c.name == "istio-gateway"), tmp_path / "gateway")
    module = Path(istio_gateway.__file__)
    assert files.joinpath("dispatch").read_bytes() == module.read_bytes()
    # It runs by itself, without what is installed here.
    words = [sys.executable, "-I", "-c", f"import runpy; runpy.run_path({str(module)!r})"]
    subprocess.run(words, check=True, cwd=tmp_path)
