"""What a model holds, in the terms of an upgrade."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.deployment.record import DeploymentRecord
from ckf_airgap.deployment.running_model import (
    ClusterState,
    ModelReader,
    read_cluster_state,
    running_relations,
)
from ckf_airgap.errors import ClusterError
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import (
    DeployedCharm,
    LocalApplication,
    OptionValue,
    Relation,
    Side,
)
from ckf_airgap.kubernetes import cluster
from ckf_airgap.kubernetes.cluster import ClusterFacts, Node
from ckf_airgap.upgrades.start_and_target import RunningModel, UpgradeTarget
from tests.unit.upgrade_model import istio_pilot, read_charms, target_of

PILOT = "{pilot-image: pilot, global-hub: docker.io/istio, global-tag: 1.17.3}"


def state(*relations: tuple[str, str, str]) -> ModelState:
    """Make a model with relations, each as two sides and their interface."""
    sides: dict[Side, frozenset[str]] = {}
    interfaces: dict[Side, str] = {}
    for *texts, interface in relations:
        first, second = map(Side.parse, texts)
        for side, other in ((first, second), (second, first)):
            sides[side] = sides.get(side, frozenset()) | {other.application}
            interfaces[side] = interface
    names = frozenset(side.application for side in sides)
    return ModelState(names, sides, {}, interfaces=interfaces)


def pair(first: str, second: str) -> Relation:
    return Side.parse(first), Side.parse(second)


def found(state: ModelState, *planned: Relation) -> set[frozenset[str]]:
    return {frozenset(map(str, relation.sides)) for relation in running_relations(state, planned)}


class TestRelations:
    """Juju tells with which applications an endpoint is related, and not at which endpoints."""

    def test_are_found_by_their_interface(self) -> None:
        model = state(
            ("katib-db-manager:relational-db", "katib-db:database", "mysql"),
            ("katib-db-manager:k8s", "katib-db:metrics", "other"),
        )
        assert found(model) == {
            frozenset({"katib-db-manager:relational-db", "katib-db:database"}),
            frozenset({"katib-db-manager:k8s", "katib-db:metrics"}),
        }

    def test_one_endpoint_may_have_several_of_an_application(self) -> None:
        model = state(("pilot:ingress", "ui:public", "i"), ("pilot:ingress", "ui:private", "i"))
        assert found(model) == {
            frozenset({"pilot:ingress", "ui:public"}),
            frozenset({"pilot:ingress", "ui:private"}),
        }

    def test_that_could_be_several_are_taken_as_planned(self) -> None:
        model = state(("a:one", "b:one", "i"), ("a:two", "b:two", "i"))
        planned = pair("a:one", "b:one"), pair("b:two", "a:two")
        assert found(model, *planned) == {
            frozenset({"a:one", "b:one"}),
            frozenset({"a:two", "b:two"}),
        }

    def test_that_are_planned_and_not_there_are_none(self) -> None:
        assert found(state(("a:x", "b:x", "i")), pair("a:y", "b:y")) == {frozenset({"a:x", "b:x"})}

    def test_of_an_application_with_itself_are_left_out(self) -> None:
        peers = {Side("a", "peers"): frozenset({"a"})}
        model = ModelState(frozenset({"a"}), peers, {}, interfaces={Side("a", "peers"): "i"})
        assert found(model) == set()


class Store:
    """Keeps nothing."""

    def read(self) -> Mapping[str, str]:
        return {}

    def write(self, content: Mapping[str, str], info: str) -> None:
        raise AssertionError("nothing is to be kept")


class FakeModel(JujuModel):
    """A model of which nobody remembers the deployment."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return "admin/kubeflow"

    def state(self) -> ModelState:
        charms = {name: DeployedCharm(name, 7) for name in ("istio-pilot", "minio", "mine")}
        return ModelState(
            frozenset(charms),
            {},
            {},
            charms=charms,
            bases={"minio": "ubuntu@20.04"},
            leaving=frozenset({"mine"}),
            scales={"istio-pilot": 2, "minio": 0, "mine": 0},
            units={"istio-pilot": 1, "minio": 0, "mine": 1},
            unsettled={"istio-pilot": "1 of 2 units"},
        )

    def versions(self) -> JujuVersions:
        return JujuVersions("3.6.25", "3.6.24")

    def option_defaults(self, application: str) -> Mapping[str, object]:
        self.asked.append(application)
        return {"image-configuration": PILOT, "default-gateway": "istio-gateway", "none": None}


@pytest.fixture
def running() -> RunningModel:
    model = FakeModel()
    reader = ModelReader(
        model=model,
        state=model.state(),
        record=DeploymentRecord(Store()),
        account=None,
        cluster=ClusterState(
            kubernetes=Version(1, 29), podspec=frozenset({"minio"}), deployments=frozenset({"d"})
        ),
    )
    running = reader.read(UpgradeTarget(applications={}))
    # One question for each charm that the rules go by, none for the others.
    assert model.asked == ["istio-pilot"]
    return running


def test_what_nobody_remembers_is_read_where_it_runs(running: RunningModel) -> None:
    pilot, minio = running.applications["istio-pilot"], running.applications["minio"]
    assert pilot.version == Version(1, 17, 3)
    assert (pilot.digest, pilot.fixed, pilot.has_storage) == (None, None, None)
    assert (pilot.scale, pilot.units, pilot.is_active) == (2, 1, False)
    assert (minio.is_podspec, pilot.is_podspec) == (True, None)
    assert (minio.base, minio.scale, minio.is_active) == ("ubuntu@20.04", 0, True)
    assert running.applications["mine"].is_leaving


def test_model_and_cluster_are_told(running: RunningModel) -> None:
    assert (running.name, running.juju) == ("kubeflow", "3.6.24")
    assert (running.kubernetes, running.deployments) == (Version(1, 29), {"d"})


def test_the_oldest_node_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = tuple(Node(v, v, "amd64", ()) for v in ("v1.33.1", "v1.9.0", "v1.29.3-eks-1", "new"))

    def names(namespace: str) -> frozenset[str]:
        return frozenset({f"one of {namespace}"})

    monkeypatch.setattr(cluster, "describe", lambda: ClusterFacts(nodes, ""))
    monkeypatch.setattr(cluster, "deployments", names)
    monkeypatch.setattr(cluster, "podspec_applications", names)
    found = read_cluster_state("kubeflow")
    assert found == ClusterState(
        kubernetes=Version(1, 9),
        deployments=frozenset({"one of kubeflow"}),
        podspec=frozenset({"one of kubeflow"}),
    )


def test_a_cluster_that_cannot_be_looked_at_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> ClusterFacts:
        raise ClusterError("the Kubernetes API refused", "juju trust")

    monkeypatch.setattr(cluster, "describe", refuse)
    found = read_cluster_state("kubeflow")
    assert found.problem and found.kubernetes is None


def test_what_runs_is_compared_with_the_plan_for_that_very_charm(tmp_path: Path) -> None:
    """A walk that was killed has brought the charm between, and not its options."""
    before, between, after = (
        read_charms([istio_pilot(version)], tmp_path / version)[0]
        for version in ("1.17.3", "1.18.7", "1.19.10")
    )
    target = target_of([after], [between])

    class Model(FakeModel):
        def state(self) -> ModelState:
            charms = {"istio-pilot": DeployedCharm("istio-pilot", 8)}
            return ModelState(frozenset(charms), {}, {}, charms=charms)

        def option_defaults(self, application: str) -> Mapping[str, object]:
            return between.options

        def changed_options(self, application: LocalApplication) -> dict[str, OptionValue]:
            assert application.file == between.path
            had = before.options["image-configuration"]
            return {k: v for k, v in application.options.items() if v != had}

    model = Model()
    reader = ModelReader(
        model=model, state=model.state(), record=DeploymentRecord(Store()), account=None
    )
    running = reader.read(target).applications["istio-pilot"]
    assert running.version == Version(1, 18, 7)
    assert "1.18.7" in str(running.other_options["image-configuration"])
