"""A registry that gives nothing without credentials, and a charm that deploys by itself."""

import json
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest

from testbed import Testbed
from tests.integration.faults import command_of, processes_of_pod
from tests.integration.leaks import Sightings, files_with, watching
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import APPLICATION, UNIT, Operator, next_release

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


@dataclass(frozen=True)
class Secrets:
    """The passwords that an operator has given, and where they were seen meanwhile."""

    passwords: tuple[str, ...]
    sightings: Sightings


@pytest.fixture(scope="module")
def secrets(operator: Operator, testbed: Testbed | None) -> Generator[Secrets]:
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
    password = token_urlsafe(24)
    with watching((registry.password, password)) as sightings:
        operator.give_secret(
            "registry-credentials", {"username": registry.username, "password": registry.password}
        )
        operator.give_juju_user(password)
        operator.wait_until_says("deployed")
        operator.run("preflight")
        operator.run("verify", timeout=1200)
    yield Secrets((registry.password, password), sightings)


@pytest.fixture(scope="module")
def deployed(operator: Operator, secrets: Secrets) -> Operator:
    """The operator, after all that."""
    return operator


def test_it_deploys_by_itself(deployed: Operator) -> None:
    assert set(deployed.juju.status().apps) == {APPLICATION, *CHARMS}


def test_every_pod_can_pull_its_images(deployed: Operator, testbed: Testbed) -> None:
    report = deployed.run("verify", timeout=1200)
    assert report.results["failed-pulls"] == "none"
    assert report.results["not-active"] == "none"
    images = [
        container["image"]
        for pod in _pods(deployed, testbed)
        for container in pod["spec"]["containers"]
    ]
    host = testbed.authenticated_registry.host
    assert any(image.startswith(f"{host}/private/") for image in images)


def test_no_password_is_in_an_argument_or_an_environment(secrets: Secrets) -> None:
    assert secrets.sightings.places == set()
    # It did look, while those ran that are told the passwords.
    assert secrets.sightings.rounds > 20
    assert "juju" in secrets.sightings.programs


def test_no_password_is_shown_or_logged(
    deployed: Operator, secrets: Secrets, testbed: Testbed
) -> None:
    juju = deployed.juju
    tasks = [
        str(task)
        for operation in json.loads(juju.cli("operations", "--format", "json")).values()
        for task in operation.get("tasks", {})
    ]
    assert tasks
    shown = {
        "status": juju.cli("status", "--format", "yaml", "--relations", "--storage"),
        "unit": juju.cli("show-unit", UNIT),
        "log": juju.cli("debug-log", "--replay", "--no-tail"),
        "controller's log": juju.cli(
            *("debug-log", "--model", "controller", "--replay", "--no-tail"),
            include_model=False,
        ),
        "options": "".join(json.dumps(dict(juju.config(name))) for name in CHARMS),
        "bundle": str(deployed.run("render-bundle").results),
        "tasks": "".join(juju.cli("show-task", task, "--format", "yaml") for task in tasks),
        "pods": json.dumps(_pods(deployed, testbed)),
        "output of the unit": _kubectl(
            testbed, "logs", f"{APPLICATION}-0", "--all-containers", "--namespace", deployed.model
        ),
        "events": _kubectl(testbed, "get", "events", "--all-namespaces", "-o", "yaml"),
    }
    # Nothing that is empty has been searched.
    assert all(shown[name] for name in shown), [name for name in shown if not shown[name]]
    leaks = [
        name for name, text in shown.items() if any(each in text for each in secrets.passwords)
    ]
    assert leaks == []


def test_passwords_are_in_files_that_only_their_owner_reads(
    deployed: Operator, secrets: Secrets, testbed: Testbed
) -> None:
    agent = next(
        pid for pid in processes_of_pod(testbed, deployed) if "containeragent" in command_of(pid)
    )
    root = Path(f"/proc/{agent}/root")
    found = {
        path: mode
        for folder in ("var/lib/juju", "tmp", "home", "root", "var/log", "charm")
        for path, mode in files_with(secrets.passwords, root / folder).items()
    }
    assert {path.name: oct(mode) for path, mode in found.items()} == {"accounts.yaml": "0o600"}


def test_preflight_tells_which_options_carry_no_credentials(deployed: Operator) -> None:
    findings = deployed.run("preflight").results["findings"]
    assert "which images in options cannot have (argo-controller)" in findings


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
    namespace = operator.juju.status().model.name
    output = _kubectl(testbed, "get", "pods", "-o", "json", "--namespace", namespace)
    items: list[dict[str, Any]] = json.loads(output)["items"]
    return items


def _kubectl(testbed: Testbed, *words: str) -> str:
    command = [str(testbed.kubectl_wrapper), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
