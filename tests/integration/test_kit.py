"""A release is pushed and planned, and a controller bootstrapped, from the kit alone."""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

from testbed import Testbed, versions
from tests.integration.connected_side import connected_side
from tests.sample_release import Release
from tests.support.kit_files import COMMAND
from tests.support.operator_steps import Site

CHARMS = ("kubeflow-profiles", "mysql-k8s")
# The namespace of an earlier run may still be on its way out.
CONTROLLER = f"from-kit-{os.getpid()}"
# The public names of the images that this version of Juju runs.
JUJU_IMAGES = (
    f"charm-base:ubuntu-{versions.CHARM_BASE}",
    f"jujud-operator:{versions.JUJU_AGENT}",
)


class Workstation:
    """A machine inside the air gap with Python, the kit, and an account of the cluster."""

    def __init__(self, testbed: Testbed, kit: Path, home: Path) -> None:
        self._testbed = testbed
        self.kit = kit
        self._home = home

    def run(self, *args: str | Path) -> str:
        """Run a program with nothing else in its environment; gives its output."""
        settings = {
            "HOME": self._home,
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "KUBECONFIG": self._testbed.kubeconfig,
            "JUJU_DATA": self._home / "juju",
            # The juju client trusts what the system does, and is told so by this.
            "SSL_CERT_FILE": self._testbed.registry.ca,
        }
        assignments = [f"{name}={value}" for name, value in settings.items()]
        return self._testbed.run(["env", "-i", *assignments, *args])

    def ckf_airgap(self, *args: str | Path) -> str:
        return self.run("python3", "-I", self.kit / "ckf-airgap", *args)

    def juju(self, *args: str | Path) -> str:
        return self.run(self.kit / "juju", *args)


@pytest.fixture(scope="module")
def kit(
    site: Site, charm: Path, testbed: Testbed | None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A kit, away from all that was there when it was made."""
    if testbed is None:
        pytest.skip("the images of another site's Juju are not known")
    assert COMMAND.exists(), f"{COMMAND} is not there: tox run -e docs,command builds it"
    folder = tmp_path_factory.mktemp("connected")
    release = Release.builtin(CHARMS)
    with connected_side(release, site.client, folder) as connected:
        for image in JUJU_IMAGES:
            layout = folder / "image"
            own = f"docker://{testbed.registry.host}/juju/{image}"
            ca = f"SSL_CERT_FILE={testbed.registry.ca}"
            testbed.run(["env", ca, "skopeo", "copy", "--quiet", own, f"dir:{layout}"])
            place = connected.outside.place(f"ghcr.io/juju/{image}")
            connected.outside.skopeo("copy", "--quiet", f"dir:{layout}", f"docker://{place}")
            shutil.rmtree(layout)
        connected.outside.configure()
        connected.pack(
            folder / "packed",
            *("--format", "oci", "--part-size", "40MB", "--juju-version", versions.JUJU_AGENT),
            *("--kit", "--kit-charm", str(charm), "--kit-juju", str(site.client)),
            *("--kit-command", str(COMMAND)),
            *("--kit-controller-charm", str(testbed.controller_charm)),
        )
    carried = tmp_path_factory.mktemp("carried") / "kit"
    shutil.move(folder / "packed", carried)
    return carried


@pytest.fixture(scope="module")
def workstation(
    testbed: Testbed, kit: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Workstation]:
    home = tmp_path_factory.mktemp("home")
    yield Workstation(testbed, kit, home)
    namespace = f"controller-{CONTROLLER}"
    kubectl = (testbed.kubectl_wrapper, "delete", "--ignore-not-found", "--wait=false")
    testbed.run([*kubectl, "namespace", namespace])


def test_from_the_kit_alone(testbed: Testbed, workstation: Workstation, kit: Path) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=kit, check=True
    )
    archives = ("--images", kit / "images.tar.gz", "--charms", kit / "charms.tar.gz")
    found = yaml.safe_load(workstation.ckf_airgap("inspect", *archives, "--format", "yaml"))
    assert len(found["charms"]) == len(CHARMS)
    registry = f"{testbed.registry.host}/kit"
    place = ("--registry", registry)
    trust = ("--registry-ca", testbed.registry.ca)
    pushed = yaml.safe_load(workstation.ckf_airgap("push", *archives, *place, *trust))
    assert len(pushed["pushed"]) + pushed["present"] == len(found["images"])
    planned = yaml.safe_load(workstation.ckf_airgap("plan", *archives, *place))
    assert set(planned["applications"]) == {"katib-db", "kfp-db", "kubeflow-profiles"}

    workstation.juju("add-k8s", "cluster", "--client", "--skip-storage")
    # At bootstrap, this beta reads an address with a port only in this form.
    images = {
        "serveraddress": f"https://{testbed.registry.host}",
        "repository": f"{registry}/juju",
    }
    workstation.juju(
        *("bootstrap", "cluster", CONTROLLER, "--config", f"caas-image-repo={json.dumps(images)}"),
        *("--config", "controller-service-type=cluster"),
        *("--controller-charm-path", kit / "juju-controller.charm"),
    )
    controllers = json.loads(workstation.juju("controllers", "--format", "json"))
    assert CONTROLLER in controllers["controllers"]
    namespace = ("--namespace", f"controller-{CONTROLLER}")
    pods = json.loads(
        testbed.run([testbed.kubectl_wrapper, "get", "pods", *namespace, "--output", "json"])
    )["items"]
    used = {
        container["image"]
        for pod in pods
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))
    }
    assert used == {f"{registry}/juju/{image}" for image in JUJU_IMAGES}

    words = ("--keep", kit / "images.tar.gz", *place, *trust)
    plan = yaml.safe_load(
        workstation.ckf_airgap(
            "prune", *words, "--kubeconfig", testbed.kubeconfig, "--format", "yaml"
        )
    )
    assert not plan["to_delete"]
