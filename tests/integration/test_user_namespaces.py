"""Users' namespaces pull from a registry that gives nothing without an account."""

import json
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from ckf_airgap.kubernetes.user_pull_secrets import SECRET_NAME
from testbed import Testbed
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import UNIT, Operator

CHARMS = ("argo-controller", "kubeflow-profiles")
IMAGE = "charmedkubeflow/argoexec:3.3.10-c88862f"
PROFILE = "app.kubernetes.io/part-of=kubeflow-profile"
# update-status comes once a minute here.
PATIENCE = 300


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("users"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def pushed(operator: Operator, testbed: Testbed | None) -> Operator:
    """An operator who has pushed the images, and has an account for users."""
    if testbed is None:
        pytest.skip("this site has no second registry")
    registry = testbed.authenticated_registry
    assert registry.username and registry.password
    account = {"username": registry.username, "password": registry.password}
    operator.configure(
        **{"registry": f"{registry.host}/users", "excluded-charms": "argo-controller"}
    )
    operator.give_secret("registry-credentials", account)
    operator.give_juju_user()
    operator.wait_until_says("ready")
    operator.run("push-images")
    operator.give_secret("user-pull-credentials", account)
    operator.juju.cli("model-config", "update-status-hook-interval=1m")
    return operator


@pytest.fixture(scope="module")
def image(pushed: Operator, testbed: Testbed) -> str:
    return f"{testbed.authenticated_registry.host}/users/{IMAGE}"


@pytest.fixture(scope="module")
def given(pushed: Operator, testbed: Testbed) -> Generator[str]:
    """A user who was there before, when the action ran; gives the namespace."""
    with namespace(testbed, "user-before", PROFILE) as name:
        kubectl(testbed, "create", "serviceaccount", "default-editor", "--namespace", name)
        patch = '{"imagePullSecrets": [{"name": "team"}]}'
        kubectl(testbed, "patch", "serviceaccount", "default-editor", "-n", name, "--patch", patch)
        results = pushed.run("user-pull-secrets").results
        assert f"{name}: secret {SECRET_NAME}" in results["changes"]
        assert results["not-done"] == "none"
        yield name


def test_without_the_label_nothing_is_pulled(given: str, image: str, testbed: Testbed) -> None:
    """Otherwise the rest would prove nothing."""
    with namespace(testbed, "nobody") as name:
        run(testbed, name, image)
        wait(lambda: waiting_for(testbed, name) & {"ErrImagePull", "ImagePullBackOff"})


def test_a_user_who_was_there_pulls(given: str, image: str, testbed: Testbed) -> None:
    run(testbed, given, image)
    ready(testbed, given, "pod/user")
    assert pull_secrets(testbed, given, "default-editor") == ["team", SECRET_NAME]


@pytest.mark.usefixtures("given")
def test_a_user_who_comes_later_pulls(image: str, testbed: Testbed) -> None:
    with namespace(testbed, "user-later", PROFILE) as name:
        wait(lambda: SECRET_NAME in pull_secrets(testbed, name, "default"))
        run(testbed, name, image)
        ready(testbed, name, "pod/user")


@pytest.mark.thorough
@pytest.mark.usefixtures("given")
def test_what_a_controller_starts_at_once_is_started_again(image: str, testbed: Testbed) -> None:
    """As kfp-profile-controller does, before the service account names the secret."""
    with namespace(testbed, "user-quick", PROFILE) as name:
        kubectl(testbed, "create", "deployment", "artifacts", f"--image={image}", "-n", name)
        # By then the kubelet has refused the pod that was made without.
        strategy = '{"spec": {"template": {"spec": {"containers": [{"name": "argoexec", '
        strategy += '"imagePullPolicy": "Always"}]}}}}'
        kubectl(testbed, "patch", "deployment", "artifacts", "-n", name, "--patch", strategy)
        kubectl(
            *(testbed, "rollout", "status", "deployment/artifacts", "-n", name),
            f"--timeout={2 * PATIENCE}s",
        )


def test_run_again_it_changes_nothing(given: str, pushed: Operator) -> None:
    assert pushed.run("user-pull-secrets").results["result"] == "nothing to do"


@pytest.mark.usefixtures("given")
def test_the_password_is_shown_nowhere(pushed: Operator, testbed: Testbed) -> None:
    juju = pushed.juju
    shown = {
        "log": juju.cli("debug-log", "--replay", "--no-tail"),
        "status": juju.cli("status", "--format", "yaml"),
        "unit": juju.cli("show-unit", UNIT),
        "tasks": juju.cli("operations", "--format", "json"),
    }
    assert all(shown.values())
    password = str(testbed.authenticated_registry.password)
    assert [name for name, text in shown.items() if password in text] == []


def test_removed_again_nothing_of_it_is_left(
    given: str, pushed: Operator, testbed: Testbed
) -> None:
    results = pushed.run("user-pull-secrets", remove=True).results
    assert f"{given}: secret {SECRET_NAME}" in results["changes"]
    assert pull_secrets(testbed, given, "default-editor") == ["team"]
    assert pull_secrets(testbed, given, "default") == []
    found = kubectl(testbed, "get", "secrets", "--all-namespaces", "-o", "name")
    assert SECRET_NAME not in found


@contextmanager
def namespace(testbed: Testbed, name: str, *labels: str) -> Generator[str]:
    """Make a namespace for as long as it is used."""
    kubectl(testbed, "create", "namespace", name)
    try:
        if labels:
            kubectl(testbed, "label", "namespace", name, *labels)
        wait(lambda: "default" in kubectl(testbed, "get", "serviceaccounts", "-n", name))
        yield name
    finally:
        kubectl(testbed, "delete", "namespace", name, "--wait=false")


def run(testbed: Testbed, name: str, image: str) -> None:
    """Start a pod, whose image is asked for although the node may have it."""
    # A node gives what it has pulled to everybody unless it is told to ask.
    words = ("run", "user", f"--image={image}", "--image-pull-policy=Always")
    kubectl(testbed, *words, "--namespace", name)


def ready(testbed: Testbed, name: str, what: str) -> None:
    kubectl(testbed, "wait", "--for=condition=Ready", what, "-n", name, f"--timeout={PATIENCE}s")


def waiting_for(testbed: Testbed, name: str) -> set[str]:
    """Give what the containers of a namespace wait for."""
    found = json.loads(kubectl(testbed, "get", "pods", "-o", "json", "-n", name))
    statuses: list[dict[str, Any]] = [
        each for pod in found["items"] for each in pod["status"].get("containerStatuses", ())
    ]
    return {each["state"].get("waiting", {}).get("reason", "") for each in statuses}


def pull_secrets(testbed: Testbed, name: str, account: str) -> list[str]:
    found = kubectl(testbed, "get", "serviceaccount", account, "-o", "json", "-n", name)
    return [each["name"] for each in json.loads(found).get("imagePullSecrets", ())]


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(2)


def kubectl(testbed: Testbed, *words: str) -> str:
    command = [str(testbed.kubectl_wrapper), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
