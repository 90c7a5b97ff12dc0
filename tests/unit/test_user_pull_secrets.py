"""Pull secrets in the namespaces of users: given, kept up to date, removed, and nothing else."""

import base64
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ClusterError
from ckf_airgap.kubernetes.user_pull_secrets import (
    SECRET_NAME,
    give_pull_secrets,
    namespaces_without_pull_secret,
    remove_pull_secrets,
)
from tests.unit.kubernetes_api import FakeKubernetes, serve_kubernetes

HOST = "registry.corp:5000"
ACCOUNT = Credentials("puller", "pass-phrase")
ACCOUNTS = ("default", "default-editor", "default-viewer")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FakeKubernetes]:
    with serve_kubernetes(tmp_path, monkeypatch) as fake:
        yield fake


def pull_secrets(cluster: FakeKubernetes, namespace: str, account: str = "default") -> list[str]:
    found = cluster.objects["serviceaccounts", namespace, account]
    return [each["name"] for each in found.get("imagePullSecrets", [])]


def stored(cluster: FakeKubernetes, namespace: str) -> dict[str, Any]:
    secret = cluster.objects["secrets", namespace, SECRET_NAME]
    return json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))


def waiting_pod(cluster: FakeKubernetes, name: str, **spec: Any) -> None:
    """Add a pod that cannot pull its image, for want of a pull secret."""
    image = spec.pop("image", f"{HOST}/ckf/frontend:1")
    kind = spec.pop("owner", "ReplicaSet")
    reason = spec.pop("reason", "ImagePullBackOff")
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "1", "controller": True}
    container = {
        "name": "main",
        "image": image,
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason}},
    }
    cluster.add(
        *("pods", "ann", name),
        metadata={"ownerReferences": [owner]},
        spec={"containers": [{"name": "main", "image": image}], **spec},
        status={"phase": "Pending", "containerStatuses": [container]},
    )


def test_every_user_gets_the_secret_and_every_service_account_names_it(
    cluster: FakeKubernetes,
) -> None:
    cluster.profile("ann")
    cluster.profile("bob", "default")
    cluster.add("namespaces", "", "kubeflow")
    cluster.add("serviceaccounts", "kubeflow", "default")
    done = give_pull_secrets(HOST, ACCOUNT)
    assert done.namespaces == 2
    assert len(done.changes) == 6
    assert done.problems == ()
    entry = stored(cluster, "ann")["auths"][HOST]
    assert (entry["username"], entry["password"]) == ("puller", "pass-phrase")
    assert base64.b64decode(entry["auth"]) == b"puller:pass-phrase"
    secret = cluster.objects["secrets", "bob", SECRET_NAME]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert secret["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "ckf-airgap"}
    assert all(pull_secrets(cluster, "ann", account) == [SECRET_NAME] for account in ACCOUNTS)
    assert pull_secrets(cluster, "bob") == [SECRET_NAME]
    assert pull_secrets(cluster, "kubeflow") == []
    assert ("secrets", "kubeflow", SECRET_NAME) not in cluster.objects


def test_the_second_time_nothing_is_written(cluster: FakeKubernetes) -> None:
    for number in range(30):
        cluster.profile(f"user-{number}")
    assert len(give_pull_secrets(HOST, ACCOUNT).changes) == 120
    cluster.requests.clear()
    assert give_pull_secrets(HOST, ACCOUNT).changes == ()
    # However many users there are.
    assert [request.method for request in cluster.requests] == ["GET"] * 4


def test_who_comes_later_gets_it_next_time(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    give_pull_secrets(HOST, ACCOUNT)
    cluster.profile("bob", "default")
    assert namespaces_without_pull_secret() == ["bob"]
    done = give_pull_secrets(HOST, ACCOUNT)
    assert done.changes == (f"bob: secret {SECRET_NAME}", "bob: service account default")
    # The profile controller makes these a moment later.
    cluster.add("serviceaccounts", "bob", "default-editor")
    assert namespaces_without_pull_secret() == ["bob"]
    done = give_pull_secrets(HOST, ACCOUNT)
    assert done.changes == ("bob: service account default-editor",)
    assert namespaces_without_pull_secret() == []


def test_another_password_reaches_every_secret(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    give_pull_secrets(HOST, ACCOUNT)
    done = give_pull_secrets(HOST, Credentials("puller", "next"))
    assert done.changes == (f"ann: secret {SECRET_NAME}",)
    assert stored(cluster, "ann")["auths"][HOST]["password"] == "next"


def test_pull_secrets_of_others_stay(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    own = [{"name": "team"}, {"name": "ann-dockercfg"}]
    cluster.objects["serviceaccounts", "ann", "default-editor"]["imagePullSecrets"] = own
    cluster.objects["serviceaccounts", "ann", "default-editor"]["secrets"] = [{"name": "token"}]
    cluster.add("secrets", "ann", "team", type="kubernetes.io/dockerconfigjson")
    cluster.add("serviceaccounts", "ann", "notebooks")
    before = json.dumps(cluster.objects["serviceaccounts", "ann", "notebooks"])
    give_pull_secrets(HOST, ACCOUNT)
    there = pull_secrets(cluster, "ann", "default-editor")
    assert there == ["team", "ann-dockercfg", SECRET_NAME]
    done = remove_pull_secrets()
    assert len(done.changes) == 4
    account = cluster.objects["serviceaccounts", "ann", "default-editor"]
    assert account["imagePullSecrets"] == own
    assert account["secrets"] == [{"name": "token"}]
    assert pull_secrets(cluster, "ann") == []
    assert ("secrets", "ann", "team") in cluster.objects
    assert ("secrets", "ann", SECRET_NAME) not in cluster.objects
    assert json.dumps(cluster.objects["serviceaccounts", "ann", "notebooks"]) == before


def test_a_secret_of_somebody_else_under_the_name_is_left_alone(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    cluster.profile("bob")
    cluster.add("secrets", "ann", SECRET_NAME, data={"their": "b3du"})
    done = give_pull_secrets(HOST, ACCOUNT)
    assert len(done.problems) == 1
    assert (
        "ann: a secret ckf-airgap-registry exists that this charm did not create"
        in done.problems[0]
    )
    assert "kubectl delete secret --namespace ann ckf-airgap-registry" in done.problems[0]
    assert cluster.objects["secrets", "ann", SECRET_NAME]["data"] == {"their": "b3du"}
    assert pull_secrets(cluster, "ann") == []
    assert pull_secrets(cluster, "bob") == [SECRET_NAME]
    assert namespaces_without_pull_secret() == ["ann"]
    remove_pull_secrets()
    assert ("secrets", "ann", SECRET_NAME) in cluster.objects


def test_a_namespace_that_is_no_users_any_more_is_cleaned_too(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    give_pull_secrets(HOST, ACCOUNT)
    del cluster.objects["namespaces", "", "ann"]["metadata"]["labels"]
    remove_pull_secrets()
    assert pull_secrets(cluster, "ann") == []
    assert not [key for key in cluster.objects if key[0] == "secrets"]
    assert remove_pull_secrets().changes == ()


def test_a_change_by_somebody_else_meanwhile_is_kept(cluster: FakeKubernetes) -> None:
    cluster.profile("ann", "default")
    path = "/api/v1/namespaces/ann/serviceaccounts/default"
    cluster.refusals["PATCH", path] = [(409, "the object has been modified")]
    assert give_pull_secrets(HOST, ACCOUNT).problems == ()
    assert pull_secrets(cluster, "ann") == [SECRET_NAME]
    patch = cluster.writes[-1].body
    assert patch["metadata"]["resourceVersion"]
    cluster.refusals["PATCH", path] = [(409, "the object has been modified")] * 3
    (problem,) = remove_pull_secrets().problems
    assert "service account default keeps changing" in problem
    # What tells that there is something to remove is still there.
    assert ("secrets", "ann", SECRET_NAME) in cluster.objects


def test_what_concerns_one_namespace_does_not_stop_the_others(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    cluster.profile("bob")
    cluster.profile("eve", deletionTimestamp="2026-01-01T00:00:00Z")
    path = "/api/v1/namespaces/ann/secrets"
    cluster.refusals["POST", path] = [(403, "exceeded quota: secrets=5")]
    done = give_pull_secrets(HOST, ACCOUNT)
    assert done.namespaces == 2
    assert [problem.partition(" ")[0] for problem in done.problems] == ["ann:"]
    assert "exceeded quota" in done.problems[0]
    assert pull_secrets(cluster, "bob") == [SECRET_NAME]
    # Gone between the list and the writing.
    cluster.refusals["POST", path] = [(404, "namespaces not found")]
    done = give_pull_secrets(HOST, ACCOUNT)
    assert (done.changes, done.problems) == ((), ())


@pytest.mark.parametrize("code", [401, 500, 503])
def test_an_api_that_fails_is_one_error(cluster: FakeKubernetes, code: int) -> None:
    cluster.profile("ann")
    cluster.refusals["POST", "/api/v1/namespaces/ann/secrets"] = [(code, "so sorry")]
    with pytest.raises(ClusterError, match=r"refused to give users.*so sorry"):
        give_pull_secrets(HOST, ACCOUNT)


def test_without_trust_the_cure_is_named(cluster: FakeKubernetes) -> None:
    for ask in (
        lambda: give_pull_secrets(HOST, ACCOUNT),
        remove_pull_secrets,
        namespaces_without_pull_secret,
    ):
        cluster.refusals["GET", "/api/v1/secrets"] = [(403, "cannot list resource secrets")]
        with pytest.raises(ClusterError, match=r"cannot list resource secrets.*juju trust"):
            ask()


def test_the_work_of_one_time_is_limited(cluster: FakeKubernetes) -> None:
    for name in ("ann", "bob", "eve"):
        cluster.profile(name, "default")
    done = give_pull_secrets(HOST, ACCOUNT, most_namespaces=2)
    assert (len(done.changes), done.postponed) == (4, 1)
    done = give_pull_secrets(HOST, ACCOUNT, most_namespaces=2)
    assert (len(done.changes), done.postponed) == (2, 0)


def test_a_pod_that_could_never_start_is_replaced(cluster: FakeKubernetes) -> None:
    cluster.profile("ann")
    waiting_pod(cluster, "artifacts-1", serviceAccountName="default-editor")
    waiting_pod(cluster, "notebook-0", owner="StatefulSet", reason="ErrImagePull")
    done = give_pull_secrets(HOST, ACCOUNT)
    assert [change for change in done.changes if "pod" in change] == [
        "ann: pod artifacts-1, which could not pull, deleted",
        "ann: pod notebook-0, which could not pull, deleted",
    ]
    assert not [key for key in cluster.objects if key[0] == "pods"]


@pytest.mark.parametrize(
    "spec",
    [
        {"owner": "Job"},
        {"owner": "Workflow"},
        {"image": "docker.io/library/python:3.11"},
        {"serviceAccountName": "own"},
        {"imagePullSecrets": [{"name": SECRET_NAME}]},
        {"imagePullSecrets": [{"name": "own"}]},
        {"reason": "ContainerCreating"},
    ],
    ids=str,
)
def test_no_other_pod_is_touched(cluster: FakeKubernetes, spec: dict[str, Any]) -> None:
    """A step that fails is the user's to repeat; a pod that would fail again is no help."""
    cluster.profile("ann")
    waiting_pod(cluster, "pod-0", **spec)
    give_pull_secrets(HOST, ACCOUNT)
    give_pull_secrets(HOST, ACCOUNT)
    assert ("pods", "ann", "pod-0") in cluster.objects


def test_pods_elsewhere_are_nobodys_business(cluster: FakeKubernetes) -> None:
    waiting_pod(cluster, "pod-0")
    give_pull_secrets(HOST, ACCOUNT)
    assert cluster.writes == []
