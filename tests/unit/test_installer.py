"""The order of the steps, and that only what is missing is done."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ckf_airgap.installer import Inputs, Installer
from ckf_airgap.juju import JujuModel, ModelState
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import PlannedApplication, PlanSettings
from ckf_airgap.planning.topology import Relation, Side
from ckf_airgap.rollout import AT_ONCE
from tests.sample_release import SampleRelease

TEMPLATES = Path(__file__).parents[2] / "templates"
EXCLUDED = "minio,katib-controller"


class FakeModel(JujuModel):
    """A model in memory: what is deployed there, and in what order."""

    def __init__(self) -> None:
        self.applications: set[str] = set()
        self.pairs: set[Relation] = set()
        self.done: list[str] = []
        self.fails_at = ""

    def state(self) -> ModelState:
        sides: dict[Side, frozenset[str]] = {}
        for pair in self.pairs:
            for side, other in (pair, tuple(reversed(pair))):
                sides[side] = sides.get(side, frozenset()) | {other.application}
        return ModelState(frozenset(self.applications), sides, {})

    def deploy_bundle(self, bundle: Path) -> list[str]:
        names = [
            line.strip(" :\n")
            for line in bundle.read_text().splitlines()
            if line.startswith("  ") and line[2] not in " -"
        ]
        assert not self.applications & set(names), "Juju refuses what is there already"
        self.applications |= set(names)
        return self._note(f"bundle of {len(names)}")

    @property
    def uuid(self) -> str:
        return "model-uuid"

    def deploy_application(
        self, application: PlannedApplication, resource_files: Mapping[str, Path] | None = None
    ) -> list[str]:
        assert application.name not in self.applications
        if application.name == self.fails_at:
            raise RuntimeError(application.name)
        self.applications.add(application.name)
        return self._note(f"deploy {application.name}")

    def update_options(self, application: PlannedApplication) -> list[str]:
        assert application.name in self.applications
        return []

    def relate(self, relation: Relation, state: ModelState) -> list[str]:
        if state.has_relation(relation):
            return []
        self.pairs.add(relation)
        return self._note("relate")

    def _note(self, text: str) -> list[str]:
        self.done.append(text)
        return [text]


@pytest.fixture
def installer(builtin: SampleRelease, tmp_path: Path) -> Installer:
    inputs = Inputs(
        images=builtin.images.path,
        charms=builtin.charms.path,
        settings=PlanSettings(
            location=RegistryLocation.parse("registry.corp:5000/ckf"), excluded_charms=EXCLUDED
        ),
    )
    return Installer(inputs, folder=tmp_path / "work", templates=TEMPLATES)


def test_the_applications_come_a_few_at_a_time_then_the_relations(installer: Installer) -> None:
    model = FakeModel()
    plan = installer.plan()
    changes = installer.deploy(plan, model)
    assert changes == model.done
    relations = len(plan.relations)
    assert model.done[-relations:] == ["relate"] * relations
    deployed = model.done[:-relations]
    assert set(deployed) <= {f"bundle of {number}" for number in range(1, AT_ONCE + 1)} | {
        "deploy katib-controller",
        "deploy minio",
    }
    assert {"deploy katib-controller", "deploy minio"} <= set(deployed)
    assert model.applications == {application.name for application in plan.applications}


def test_a_second_time_nothing_is_done(installer: Installer) -> None:
    model = FakeModel()
    installer.deploy(installer.plan(), model)
    assert installer.deploy(installer.plan(), model) == []


def test_what_was_interrupted_continues(installer: Installer) -> None:
    model = FakeModel()
    plan = installer.plan()
    model.fails_at = "minio"
    with pytest.raises(RuntimeError):
        installer.deploy(plan, model)
    model.fails_at = ""
    model.done.clear()
    installer.deploy(plan, model)
    assert model.done == ["deploy minio", *["relate"] * len(plan.relations)]


def test_an_application_that_was_removed_by_hand_comes_back(installer: Installer) -> None:
    model = FakeModel()
    plan = installer.plan()
    installer.deploy(plan, model)
    model.applications.remove("kfp-api")
    model.pairs = {
        pair for pair in model.pairs if "kfp-api" not in (pair[0].application, pair[1].application)
    }
    model.done.clear()
    installer.deploy(plan, model)
    assert model.done[0] == "bundle of 1"
    assert set(model.done[1:]) == {"relate"}
