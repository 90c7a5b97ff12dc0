"""What goes wrong, on a real cluster: one clear message each, and a model that stays as it was."""

import shutil
from pathlib import Path

import jubilant
import pytest

from testbed import Testbed
from tests.sample_release import SampleRelease, truncate, write_charm_archive
from tests.support.operator_steps import APPLICATION, UNIT, Operator


@pytest.fixture(scope="module")
def ready(operator: Operator) -> Operator:
    """An operator whose charm has all that it needs."""
    operator.configure()
    operator.give_juju_user()
    operator.wait_until_says("ready")
    return operator


def test_the_status_names_the_next_step(operator: Operator) -> None:
    """Runs first: the charm has been deployed, and nothing else was done."""
    operator.wait_until_says("waiting for registry")
    operator.configure()
    operator.juju.wait(
        lambda status: operator.message(status).startswith("waiting for juju-credentials")
    )
    with pytest.raises(jubilant.TaskError, match="waiting for juju-credentials"):
        operator.run("deploy")
    assert _applications(operator) == {APPLICATION}


def test_a_secret_that_is_not_granted(ready: Operator) -> None:
    ready.juju.cli("revoke-secret", "juju-credentials", APPLICATION)
    try:
        message = _failure(ready, "deploy")
        assert "the secret of juju-credentials cannot be read" in message
        assert "juju grant-secret" in message
    finally:
        ready.juju.grant_secret("juju-credentials", APPLICATION)
    # Juju tells a charm nothing of a grant; the next thing that is asked of it sees it.
    ready.run("render-bundle")
    assert ready.message().startswith("ready")


def test_a_wrong_password(ready: Operator) -> None:
    user = {"username": f"{ready.juju.status().model.name}-deployer"}
    ready.give_secret("juju-credentials", {**user, "password": "not-the-password"})
    try:
        message = _failure(ready, "deploy")
        assert "refuses the user or the password of juju-credentials" in message
        assert "juju update-secret" in message
        assert "not-the-password" not in message
    finally:
        ready.give_juju_user()


def test_a_model_that_is_not_there(ready: Operator) -> None:
    ready.configure(model="no-such-model")
    try:
        assert "no access to a model no-such-model" in _failure(ready, "deploy")
    finally:
        ready.configure()


def test_a_registry_that_is_stopped(ready: Operator, testbed: Testbed | None) -> None:
    if testbed is None:
        pytest.skip("the registry of this site is not ours to stop")
    testbed.registry.stop()
    try:
        message = _failure(ready, "deploy")
        assert f"registry {testbed.registry.host} cannot be reached" in message
    finally:
        testbed.registry.start()


def test_a_registry_with_an_account(ready: Operator, testbed: Testbed | None) -> None:
    if testbed is None:
        pytest.skip("this site has no second registry")
    registry = testbed.authenticated_registry
    ready.configure(registry=f"{registry.host}/ckf")
    assert "refused the credentials, or requires some" in _failure(ready, "push-images")
    assert registry.username and registry.password
    ready.give_secret(
        "registry-credentials", {"username": registry.username, "password": registry.password}
    )
    try:
        task = ready.run("push-images")
        assert int(task.results["pushed-images"]) + int(task.results["present-images"]) > 0
    finally:
        ready.juju.config(APPLICATION, reset="registry-credentials")
        ready.configure()


@pytest.mark.thorough
def test_a_truncated_archive(ready: Operator, artifacts: SampleRelease, tmp_path: Path) -> None:
    broken = tmp_path / "images.tar.gz"
    shutil.copyfile(artifacts.images.path, broken)
    truncate(broken, 0.5)
    _attach(ready, broken)
    try:
        message = _failure(ready, "deploy")
        assert "images.tar.gz ends in the middle" in message
        assert "compare its checksum" in message
    finally:
        _attach(ready, artifacts.images.path)
    results = ready.run("push-images").results
    done = int(results["pushed-images"]) + int(results["present-images"])
    assert done == len(artifacts.images.images)


def test_an_overlay_that_is_none(ready: Operator) -> None:
    ready.configure(overlay="applications: {no-such-application: {scale: 2}}")
    try:
        assert "the overlay names the unknown application no-such-application" in _failure(
            ready, "deploy"
        )
    finally:
        ready.configure(overlay="")


def test_no_password_is_in_the_logs_or_the_status(ready: Operator) -> None:
    password = ready.give_juju_user()
    _failure_or_none = ready.run("render-bundle")
    shown = ready.juju.cli("status", "--format", "yaml") + ready.juju.debug_log(limit=5000)
    assert password not in shown + str(_failure_or_none)


def test_podspec_charms_on_juju_4(
    ready: Operator, artifacts: SampleRelease, tmp_path: Path
) -> None:
    """Runs last: the sound charms are not attached again."""
    if ready.juju.version().major < 4:
        pytest.skip("this controller takes podspec charms")
    podspec = write_charm_archive(artifacts.release.charms, tmp_path / "charms.tar.gz")
    _attach(ready, podspec.path, "charms")
    for action in ("preflight", "deploy"):
        message = _failure(ready, action)
        for name in ("katib-controller", "kubeflow-volumes", "minio"):
            assert f"{name} is a podspec charm, which Juju" in message
        # The stand-in of mysql-k8s keeps what the real one demands only where asked to.
        assert "mysql-k8s" not in message


def _attach(operator: Operator, archive: Path, resource: str = "images") -> None:
    """Attach an archive, and wait for the pod that Juju makes anew for it."""
    before = operator.juju.status().apps[APPLICATION].units[UNIT].provider_id
    operator.juju.cli("attach-resource", APPLICATION, f"{resource}={archive}")
    operator.juju.wait(
        lambda status: (
            jubilant.all_agents_idle(status)
            and operator.message(status).startswith("ready")
            and bool(before)
        ),
        delay=2,
        successes=5,
    )


def _failure(operator: Operator, action: str) -> str:
    """Run an action that must fail, and see that it left the model as it was."""
    before = _applications(operator)
    with pytest.raises(jubilant.TaskError) as raised:
        operator.run(action)
    assert _applications(operator) == before
    return raised.value.task.message


def _applications(operator: Operator) -> set[str]:
    return set(operator.juju.status().apps)
