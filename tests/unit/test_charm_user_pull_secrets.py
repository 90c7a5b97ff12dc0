"""The action user-pull-secrets, what follows on update-status, and what verify says."""

import base64
import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import ops
import pytest
from ops import testing

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.kubernetes.cluster import RunningImage
from ckf_airgap.kubernetes.user_pull_secrets import SECRET_NAME
from tests.unit.charm_unit import READY, FakeCore, FakeJujuModel, Unit
from tests.unit.kubernetes_api import FakeKubernetes, serve_kubernetes

PASSWORD = "pull-pass-phrase"
NAMES = ("default", "default-editor", "default-viewer")


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeJujuModel
) -> Generator[FakeKubernetes]:
    with serve_kubernetes(tmp_path, monkeypatch) as fake:
        fake.profile("ann")
        yield fake


@pytest.fixture
def puller(unit: Unit) -> testing.Secret:
    """An account that may only pull, given to the unit."""
    secret = testing.Secret({"username": "puller", "password": f"{PASSWORD}\n"})
    give(unit, secret)
    return secret


def give(unit: Unit, secret: testing.Secret) -> None:
    unit.give_secrets(unit.juju, unit.registry, secret)
    unit.configure(user_pull_credentials=secret.id)


def names_it(cluster: FakeKubernetes, namespace: str) -> bool:
    accounts = (cluster.objects["serviceaccounts", namespace, name] for name in NAMES)
    return all({"name": SECRET_NAME} in each.get("imagePullSecrets", []) for each in accounts)


def password(cluster: FakeKubernetes, namespace: str) -> str:
    data = cluster.objects["secrets", namespace, SECRET_NAME]["data"][".dockerconfigjson"]
    entry = json.loads(base64.b64decode(data))["auths"]["registry.corp:5000"]
    return str(entry["password"])


def test_it_wants_an_account_that_users_may_see(unit: Unit, cluster: FakeKubernetes) -> None:
    """Never the one that may push: whoever works in a namespace reads its secrets."""
    assert unit.fail("user-pull-secrets") == (
        "user-pull-credentials is not set: juju config ckf-airgap user-pull-credentials="
        "secret:..., with an account that may only pull: users can read it"
    )
    assert cluster.requests == []
    unit.update_status()
    assert cluster.requests == []


@pytest.mark.usefixtures("puller")
def test_users_are_given_the_account(unit: Unit, cluster: FakeKubernetes) -> None:
    assert unit.run("user-pull-secrets") == {
        "namespaces": 1,
        "changes": "\n".join(
            [f"ann: secret {SECRET_NAME}", *(f"ann: service account {name}" for name in NAMES)]
        ),
        "not-done": "none",
        "result": "4 changes",
    }
    assert password(cluster, "ann") == PASSWORD
    assert names_it(cluster, "ann")
    assert unit.run("user-pull-secrets")["result"] == "nothing to do"
    assert unit.status() == ops.ActiveStatus(READY)
    stored = cluster.objects["secrets", "ann", SECRET_NAME]["data"][".dockerconfigjson"]
    assert PASSWORD not in unit.shown
    assert stored not in unit.shown


@pytest.mark.usefixtures("puller")
def test_those_who_come_later_are_given_it_on_update_status(
    unit: Unit, cluster: FakeKubernetes
) -> None:
    unit.update_status()
    assert not names_it(cluster, "ann")
    unit.run("user-pull-secrets")
    cluster.profile("bob")
    unit.update_status()
    assert names_it(cluster, "bob")
    assert password(cluster, "bob") == PASSWORD
    assert PASSWORD not in unit.shown


def test_a_changed_password_reaches_users(
    unit: Unit, cluster: FakeKubernetes, puller: testing.Secret
) -> None:
    unit.run("user-pull-secrets")
    changed = replace(
        puller,
        tracked_content={"username": "puller", "password": "next"},
        latest_content={"username": "puller", "password": "next"},
    )
    give(unit, changed)
    unit.state = unit.context.run(unit.context.on.secret_changed(changed), unit.state)
    assert password(cluster, "ann") == "next"


@pytest.mark.usefixtures("puller")
def test_an_api_that_fails_is_no_error_of_the_unit(unit: Unit, cluster: FakeKubernetes) -> None:
    unit.run("user-pull-secrets")
    cluster.refusals["GET", "/api/v1/namespaces"] = [(503, "out of order")]
    before = unit.state.unit_status
    unit.update_status()
    assert unit.state.unit_status == before
    assert any("out of order" in each.message for each in unit.context.juju_log)
    cluster.profile("bob")
    unit.update_status()
    assert names_it(cluster, "bob")


@pytest.mark.usefixtures("puller")
def test_removed_again_nobody_is_given_anything(unit: Unit, cluster: FakeKubernetes) -> None:
    unit.run("user-pull-secrets")
    assert unit.run("user-pull-secrets", remove=True)["result"] == "4 changes"
    assert not [key for key in cluster.objects if key[0] == "secrets"]
    cluster.profile("bob")
    cluster.requests.clear()
    unit.update_status()
    assert cluster.requests == []
    # Removing needs no account.
    unit.configure(user_pull_credentials=None)
    assert unit.run("user-pull-secrets", remove=True)["result"] == "nothing to do"


@pytest.mark.usefixtures("puller")
def test_what_could_not_be_done_fails_the_action(unit: Unit, cluster: FakeKubernetes) -> None:
    cluster.add("secrets", "ann", SECRET_NAME)
    cluster.profile("bob")
    assert "ann: a secret ckf-airgap-registry exists" in unit.fail("user-pull-secrets")
    assert "bob: secret" in unit.results["changes"]
    assert "ann: a secret ckf-airgap-registry exists" in unit.results["not-done"]


@pytest.mark.usefixtures("running")
class TestVerify:
    """What verify says of users without the secret."""

    def test_nothing_where_the_registry_wants_no_account(
        self, unit: Unit, core: FakeCore, cluster: FakeKubernetes
    ) -> None:
        unit.run("push-images")
        results = unit.run("verify")
        assert "without-pull-secret" not in results
        assert cluster.requests == []

    def test_a_note_where_the_nodes_may_have_the_account(
        self, unit: Unit, core: FakeCore, cluster: FakeKubernetes
    ) -> None:
        core.pull_account_ = Credentials("pusher", "x")
        unit.run("push-images")
        results = unit.run("verify")
        # The fake of what runs knows two users, the API only one.
        assert results["without-pull-secret"] == "ann"
        assert "registry.corp:5000 requires an account, and 1 namespaces of users" in str(
            results["result"]
        )

    @pytest.mark.usefixtures("puller")
    def test_a_failure_where_they_should_have_been_given_it(
        self,
        unit: Unit,
        core: FakeCore,
        cluster: FakeKubernetes,
        running: list[RunningImage],
    ) -> None:
        unit.run("user-pull-secrets")
        assert "without-pull-secret" not in unit.run("verify")
        cluster.profile("bob")
        assert unit.fail("verify") == (
            "1 namespaces of users lack their pull secret: see the results of this action"
        )
        assert unit.results["without-pull-secret"] == "bob"
        unit.update_status()
        unit.run("verify")
