"""A Juju controller in the testbed's Kubernetes."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import yaml

from testbed import builds, versions
from testbed.host import TestbedError, run
from testbed.kubernetes import Kubernetes
from testbed.namespace import Namespace
from testbed.registry import Registry

NAME = "airgap"
# The controller's own charm does nothing here; Juju wants one with this name and these endpoints.
_CHARM = {
    "metadata.yaml": {
        "name": "juju-controller",
        "summary": "The charm of the testbed's controller.",
        "description": "It does nothing.",
        "assumes": ["juju >= 3.3"],
        "provides": {"website": {"interface": "http"}},
        "peers": {"dbcluster": {"interface": "db-cluster"}},
    },
    "config.yaml": {
        "options": {
            "controller-url": {"type": "string", "default": ""},
            "identity-provider-url": {"type": "string", "default": ""},
            "is-juju": {"type": "boolean", "default": True},
        }
    },
    "manifest.yaml": {
        "analysis": {
            "attributes": [
                {"name": "language", "result": "python"},
                {"name": "framework", "result": "operator"},
            ]
        },
        "bases": [{"name": "ubuntu", "channel": versions.CHARM_BASE, "architectures": ["amd64"]}],
    },
}


class Controller:
    """The controller, and the client that talks to it."""

    def __init__(
        self, folder: Path, space: Namespace, kubernetes: Kubernetes, registry: Registry
    ) -> None:
        self._folder = folder
        self._space = space
        self._kubernetes = kubernetes
        self._registry = registry

    @property
    def client(self) -> Path:
        """The juju client."""
        return builds.juju() / "juju"

    @property
    def charm(self) -> Path:
        """The charm that the controller was bootstrapped with."""
        return self._folder / "juju-controller.charm"

    @property
    def environment(self) -> dict[str, str]:
        """What the client needs in its environment."""
        return {
            "JUJU_DATA": str(self._folder / "client"),
            "KUBECONFIG": str(self._kubernetes.kubeconfig),
            # The client looks up images in the registry.
            "SSL_CERT_FILE": str(self._registry.ca),
        }

    def is_up(self) -> bool:
        """Tell whether the controller answers."""
        try:
            self._juju("show-controller", NAME, "--format", "json")
            self._juju("models", "--controller", NAME)
        except TestbedError:
            return False
        return True

    def is_half_made(self) -> bool:
        """Tell whether a bootstrap began and left no controller that answers."""
        return self._folder.exists() and not self.is_up()

    def up(self) -> None:
        """Bootstrap the controller."""
        if self.is_up():
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.joinpath("client").mkdir(parents=True)
        repository = f"{self._registry.host}/juju"
        images = {"serveraddress": f"https://{self._registry.host}", "repository": repository}
        self._write_charm()
        self._juju("add-k8s", NAME, "--client", "--skip-storage")
        self._juju(
            "bootstrap",
            NAME,
            NAME,
            "--controller-charm-path",
            str(self.charm),
            "--config",
            f"caas-image-repo={json.dumps(images)}",
            "--config",
            "controller-service-type=cluster",
        )
        # Bootstrap takes only the form above; with it, this beta then cannot deploy charms.
        self._juju("controller-config", "--controller", NAME, f"caas-image-repo={repository}")

    def forget(self) -> None:
        """Remove the client's files: the controller went away with the cluster."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _juju(self, *args: str) -> str:
        assignments = [f"{name}={value}" for name, value in self.environment.items()]
        return run(self._space.command(["env", *assignments, self.client, *args]))

    def _write_charm(self) -> None:
        with zipfile.ZipFile(self.charm, "w") as archive:
            for name, content in _CHARM.items():
                archive.writestr(name, yaml.safe_dump(content))
            dispatch = zipfile.ZipInfo("dispatch")
            dispatch.external_attr = 0o100755 << 16
            archive.writestr(dispatch, "#!/bin/sh\nexit 0\n")


def write_wrapper(path: Path, enter: str, program: Path, environment: dict[str, str]) -> None:
    """Write a script that runs a program inside the testbed.

    Args:
        path: The script.
        enter: The beginning of a command that enters the namespaces.
        program: The program.
        environment: What to add to its environment.
    """
    assignments = " ".join(f"{name}={value}" for name, value in environment.items())
    temporary = path.with_suffix(".new")
    temporary.write_text(f'#!/bin/sh\nexec {enter} env {assignments} {program} "$@"\n')
    temporary.chmod(0o755)
    os.replace(temporary, path)
