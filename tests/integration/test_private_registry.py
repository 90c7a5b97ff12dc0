"""A registry that gives nothing without credentials, and a charm that deploys by itself."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.operator_steps import APPLICATION, Operator, next_release
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.testbed import Testbed

CHARMS = ("argo-controller", "kubeflow-profiles")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("private"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def deployed(operator: Operator, testbed: Testbed | None) -> Operator:
    """An operator who asked for nothing, only gave what the charm needs."""
    if testbed is None:
        pytest.skip("this site has no second registry")
    registry = testbed.authenticated_registry
    assert registry.username and registry.password
    operator.configure(
        **{
            "registry": f"{registry.host}/private",
            "excluded-charms": "argo-controller",
            "auto-deploy": "true",
        }
    )
    operator.give_secret(
        "registry-credentials", {"username": registry.username, "password": registry.password}
    )
    operator.give_juju_user()
    operator.wait_until_says("deployed")
    return operator


def test_it_deploys_by_itself(deployed: Operator) -> None:
    assert set(deployed.juju.status().apps) == {APPLICATION, *CHARMS}


def test_every_pod_can_pull_its_images(deployed: Operator, testbed: Testbed) -> None:
    report = deployed.run("verify", timeout=300)
    assert report.results["failed-pulls"] == "none"
    assert report.results["not-active"] == "none"
    images = [
        container["image"]
        for pod in _pods(deployed, testbed)
        for container in pod["spec"]["containers"]
    ]
    host = testbed.authenticated_registry.host
    assert any(image.startswith(f"{host}/private/") for image in images)


def test_the_password_is_in_the_pull_secrets_alone(deployed: Operator, testbed: Testbed) -> None:
    password = str(testbed.authenticated_registry.password)
    shown = deployed.juju.cli("status", "--format", "yaml") + deployed.juju.debug_log(limit=5000)
    shown += "".join(json.dumps(dict(deployed.juju.config(name))) for name in CHARMS)
    shown += json.dumps(_pods(deployed, testbed))
    assert password not in shown
    files = deployed.juju.ssh(
        f"{APPLICATION}/0", "find", "/var/lib/juju", "-name", "*.oci-image.yaml"
    )
    assert not files.strip()


def test_preflight_tells_which_options_carry_no_credentials(deployed: Operator) -> None:
    findings = deployed.run("preflight").results["findings"]
    assert "options that name images carry none (argo-controller)" in findings


def test_new_files_are_brought_by_itself(
    deployed: Operator, artifacts: SampleRelease, testbed: Testbed, tmp_path: Path
) -> None:
    made = write_release(
        next_release(artifacts.release),
        tmp_path,
        charm_options=CharmOptions(podspec_as_sidecar=True),
    )
    before = deployed.juju.status().apps
    for name, path in (("images", made.images.path), ("charms", made.charms.path)):
        deployed.juju.cli("attach-resource", APPLICATION, f"{name}={path}")
    image = f"{testbed.authenticated_registry.host}/private/charmedkubeflow/argoexec:3.4"
    deployed.juju.wait(
        lambda _: deployed.juju.config("argo-controller")["executor-image"] == image, delay=5
    )
    deployed.wait_until_says("deployed")
    after = deployed.juju.status().apps
    assert after["argo-controller"].charm_rev == before["argo-controller"].charm_rev + 1
    # Nothing of it is new.
    assert after["kubeflow-profiles"].charm_rev == before["kubeflow-profiles"].charm_rev


def _pods(operator: Operator, testbed: Testbed) -> list[dict[str, Any]]:
    command = [str(testbed.kubectl_wrapper), "get", "pods", "-o", "json", "--namespace"]
    namespace = operator.juju.status().model.name
    output = subprocess.run([*command, namespace], check=True, capture_output=True, text=True)
    items: list[dict[str, Any]] = json.loads(output.stdout)["items"]
    return items
