"""What breaks while an action runs, on a real cluster: the next run finishes the job.

An action whose pod is killed may stand as running for ever in Juju 4.1-beta2: the new agent
knows nothing of it any more.
"""

import secrets
import time
from collections.abc import Collection
from pathlib import Path

import jubilant
import pytest

from testbed import Testbed
from tests.integration.faults import (
    Task,
    full_disk,
    kill_action,
    kill_pod,
    silent_controller,
    wait_for_push,
    without_network,
)
from tests.sample_release import (
    CharmOptions,
    ImageOptions,
    Release,
    SampleRelease,
    charm_file,
    write_release,
)
from tests.support.operator_steps import APPLICATION, UNIT, Operator

CHARMS = (
    "argo-controller",
    "kfp-profile-controller",
    "kubeflow-dashboard",
    "kubeflow-profiles",
    "kubeflow-volumes",
    "minio",
)
EXCLUDED = "argo-controller,kubeflow-volumes,minio"
RELATIONS = {
    ("argo-controller", "object-storage", "minio"),
    ("kfp-profile-controller", "object-storage", "minio"),
    ("kubeflow-dashboard", "links", "kubeflow-volumes"),
    ("kubeflow-dashboard", "kubeflow-profiles", "kubeflow-profiles"),
}
REGISTRY_PORT = 5000
FOLDER = "/var/lib/juju/agents/unit-ckf-airgap-0/ckf-airgap"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("interruptions"),
        ImageOptions(payload_kib=3000),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def ready(operator: Operator, testbed: Testbed | None) -> Operator:
    """An operator whose charm has all that it needs."""
    if testbed is None:
        pytest.skip("what runs at this site is not ours to break")
    configure(operator, "none")
    operator.give_juju_user()
    operator.wait_until_says("ready")
    return operator


def configure(operator: Operator, place: str) -> str:
    """Let the charm push to a place of its own; gives the path of that in the registry."""
    registry = f"{operator.site.registry}/interruptions-{place}-{secrets.token_hex(4)}"
    operator.configure(**{"registry": registry, "excluded-charms": EXCLUDED})
    return registry.partition("/")[2]


def applications(operator: Operator) -> set[str]:
    return set(operator.juju.status().apps) - {APPLICATION}


def relations(operator: Operator) -> set[tuple[str, str, str]]:
    return {
        (name, endpoint, relation.related_app)
        for name, application in operator.juju.status().apps.items()
        for endpoint, related in application.relations.items()
        for relation in related
    }


def count(task: jubilant.Task, *keys: str) -> int:
    return sum(int(task.results[key]) for key in keys)


def failure(operator: Operator, action: str) -> str:
    with pytest.raises(jubilant.TaskError) as raised:
        operator.run(action)
    return raised.value.task.message


def test_a_network_that_is_cut_and_comes_back(
    ready: Operator, testbed: Testbed, artifacts: SampleRelease
) -> None:
    place = configure(ready, "cut")
    task = Task(ready, "push-images")
    wait_for_push(testbed, place)
    with without_network(testbed, REGISTRY_PORT):
        time.sleep(15)
        assert task.status == "running"
    assert task.wait_for_end() == "completed"
    assert int(task.document["results"]["pushed-images"]) == len(artifacts.images.images)


# What it shows, the cut network and the registry of the functional tests show each by itself.
@pytest.mark.thorough
def test_a_registry_that_is_restarted(
    ready: Operator, testbed: Testbed, artifacts: SampleRelease
) -> None:
    place = configure(ready, "restarted")
    task = Task(ready, "push-images")
    wait_for_push(testbed, place)
    testbed.registry.stop()
    try:
        time.sleep(5)
        assert task.status == "running"
    finally:
        testbed.registry.start()
    assert task.wait_for_end() == "completed"
    assert int(task.document["results"]["pushed-images"]) == len(artifacts.images.images)


def test_a_pod_that_is_killed_while_it_pushes(
    ready: Operator, testbed: Testbed, artifacts: SampleRelease
) -> None:
    place = configure(ready, "killed")
    task = Task(ready, "push-images")
    wait_for_push(testbed, place)
    with without_network(testbed, REGISTRY_PORT):
        kill_pod(ready, testbed)
    assert task.status != "completed"
    again = ready.run("push-images")
    # What was pushed is remembered in the pod, or on the volume where there is one.
    assert count(again, "pushed-images", "present-images") == len(artifacts.images.images)


def test_an_action_that_is_cancelled(
    ready: Operator, testbed: Testbed, artifacts: SampleRelease
) -> None:
    place = configure(ready, "cancelled")
    task = Task(ready, "push-images")
    wait_for_push(testbed, place)
    with without_network(testbed, REGISTRY_PORT):
        # juju cancel-task does so; the one of Juju 4.1-beta2 does nothing, not even to tasks that
        # have not begun.
        kill_action(ready, testbed)
        assert task.wait_for_end() == "failed"
    assert applications(ready) == set()
    again = ready.run("push-images")
    assert count(again, "present-images") > 0
    assert count(again, "pushed-images", "present-images") == len(artifacts.images.images)


def test_two_actions_at_once_follow_each_other(ready: Operator, testbed: Testbed) -> None:
    place = configure(ready, "two")
    first = Task(ready, "push-images")
    wait_for_push(testbed, place)
    with without_network(testbed, REGISTRY_PORT):
        second = Task(ready, "push-images")
        time.sleep(3)
        assert (first.status, second.status) == ("running", "pending")
    for task in (first, second):
        assert task.wait_for_end() == "completed", task.document
    assert int(first.document["results"]["pushed-images"]) > 0
    assert int(second.document["results"]["pushed-images"]) == 0


def test_options_that_are_changed_meanwhile_count_for_the_next_action(
    ready: Operator, testbed: Testbed, artifacts: SampleRelease
) -> None:
    place = configure(ready, "before")
    task = Task(ready, "push-images")
    wait_for_push(testbed, place)
    with without_network(testbed, REGISTRY_PORT):
        configure(ready, "after")
        time.sleep(2)
    assert task.wait_for_end() == "completed"
    assert int(task.document["results"]["pushed-images"]) == len(artifacts.images.images)
    again = ready.run("push-images")
    assert int(again.results["pushed-images"]) == len(artifacts.images.images)


# Pods are killed while they push, deploy and relate, too.
@pytest.mark.thorough
def test_a_pod_that_is_killed_while_it_renders(ready: Operator, testbed: Testbed) -> None:
    Task(ready, "render-bundle")
    kill_pod(ready, testbed)
    assert "kubeflow-profiles" in ready.run("render-bundle").results["bundle"]


def test_a_disk_of_the_unit_that_is_full(ready: Operator, testbed: Testbed) -> None:
    configure(ready, "disk")
    with full_disk(testbed, ready, FOLDER):
        message = failure(ready, "deploy")
        # Either the juju client says so, or the system of a file of the charm itself.
        assert (
            "the disk with the files of the juju client is full" in message
            or "No space left on device" in message
        )
        assert "make space" in message
    assert applications(ready) == set()


def test_an_application_that_the_operator_has_deployed(
    ready: Operator, artifacts: SampleRelease, tmp_path: Path
) -> None:
    """It is taken for what it is, and brought to the files of the release by a refresh."""
    charm = next(item for item in artifacts.release.charms if item.name == "kubeflow-profiles")
    path = tmp_path / "kubeflow-profiles.charm"
    path.write_bytes(charm_file(charm))
    resources = {item.name: "registry.airgap.test:5000/by/hand:1" for item in charm.resources}
    ready.juju.deploy(path, "kubeflow-profiles", trust=True, resources=resources)
    assert applications(ready) == {"kubeflow-profiles"}


def deploy_until(operator: Operator, names: Collection[str]) -> Task:
    """Start to deploy, and wait until some applications are there."""
    task = Task(operator, "deploy")
    task.wait_until(lambda: applications(operator) >= set(names))
    return task


def test_a_password_that_is_changed_in_the_middle(ready: Operator) -> None:
    configure(ready, "deployed")
    task = deploy_until(ready, {"kubeflow-profiles", "kfp-profile-controller"})
    user = f"{ready.model}-deployer"
    ready.juju.cli(
        *("change-user-password", user, "--no-prompt"),
        include_model=False,
        stdin=f"{secrets.token_urlsafe(24)}\n",
    )
    assert task.wait_for_end() == "failed"
    message = str(task.document["message"])
    assert "refuses the user or the password of juju-credentials" in message
    assert "juju update-secret" in message
    ready.give_juju_user()


def test_a_pod_that_is_killed_between_applications(ready: Operator, testbed: Testbed) -> None:
    before = applications(ready)
    task = Task(ready, "deploy")
    task.wait_until(lambda: len(applications(ready)) > len(before))
    assert applications(ready) < set(CHARMS)
    kill_pod(ready, testbed)
    assert task.status != "completed"


@pytest.mark.thorough
def test_a_controller_that_does_not_answer_for_a_while(ready: Operator) -> None:
    before = applications(ready)
    task = Task(ready, "deploy")
    task.wait_until(lambda: len(applications(ready)) > len(before))
    with silent_controller():
        time.sleep(20)
    if task.wait_for_end() == "failed":
        assert "run the action again" in str(task.document["message"])
    assert applications(ready) > before


def test_the_next_run_finishes_all_of_it(ready: Operator) -> None:
    ready.run("deploy")
    assert applications(ready) == set(CHARMS)
    assert relations(ready) >= RELATIONS
    # What the operator has deployed by hand is named, and brought to the release when asked for.
    assert "kubeflow-profiles" in str(ready.run("refresh").results["changes"])
    report = ready.run("verify", timeout=1200)
    assert report.results["foreign-images"] == "none"
    assert ready.run("deploy").results["changes"] == "none"


def test_a_pod_that_is_killed_while_it_relates(ready: Operator, testbed: Testbed) -> None:
    for first, endpoint, second in RELATIONS:
        ready.juju.cli("remove-relation", f"{first}:{endpoint}", second)
    ready.juju.wait(lambda _: not relations(ready) & RELATIONS)
    task = Task(ready, "add-relations")
    task.wait_until(lambda: relations(ready) & RELATIONS or task.status == "completed")
    kill_pod(ready, testbed)
    ready.run("add-relations")
    assert relations(ready) >= RELATIONS


@pytest.mark.thorough
def test_an_application_that_the_operator_has_removed(ready: Operator) -> None:
    ready.juju.cli("remove-application", "minio", "--no-prompt", "--destroy-storage")
    # It may still be on its way out.
    message = ""
    for _ in range(120):
        try:
            ready.run("deploy")
            break
        except jubilant.TaskError as error:
            message = error.task.message
            assert "minio" in message
            assert "being removed" in message
            time.sleep(10)
    else:
        raise AssertionError(message)
    assert applications(ready) == set(CHARMS)
    assert relations(ready) >= RELATIONS


def test_a_user_who_may_only_look(ready: Operator) -> None:
    # A testbed that stays up has the user of an earlier run.
    user, password = f"{ready.model}-reader-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    ready.juju.cli("add-user", user, include_model=False)
    ready.juju.cli(
        *("change-user-password", user, "--no-prompt"), include_model=False, stdin=f"{password}\n"
    )
    ready.juju.cli("grant", user, "read", ready.model, include_model=False)
    ready.give_secret("juju-credentials", {"username": user, "password": password})
    try:
        ready.juju.cli("remove-relation", "kubeflow-dashboard:links", "kubeflow-volumes")
        ready.juju.wait(lambda status: "links" not in status.apps["kubeflow-dashboard"].relations)
        message = failure(ready, "add-relations")
        assert "the Juju user of juju-credentials may not do this" in message
        assert "juju grant" in message
        assert password not in message
    finally:
        ready.give_juju_user()
    ready.run("add-relations")
    assert UNIT in ready.juju.status().apps[APPLICATION].units
