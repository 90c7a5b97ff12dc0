"""What is done to a model, in which order, and that only what is missing is done."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.deployment.deployer import Deployer
from ckf_airgap.deployment.release import Inputs, Release
from ckf_airgap.errors import ConfigurationError, JujuError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_secret import ModelSecret
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import (
    DeployedCharm,
    LocalApplication,
    OptionValue,
    Relation,
    Side,
)
from ckf_airgap.juju.rollout import AT_ONCE
from ckf_airgap.planning.plan import Plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.upgrades.start_and_target import Permissions
from tests.sample_release import SampleRelease

TEMPLATES = Path(__file__).parents[2] / "templates"
EXCLUDED = "minio,katib-controller"
NOTHING = Permissions()


class FakeSecret(ModelSecret):
    """A secret in memory."""

    def __init__(self) -> None:
        self.content: dict[str, str] = {}
        self.writes = 0

    def read(self) -> Mapping[str, str]:
        return dict(self.content)

    def write(self, content: Mapping[str, str], info: str) -> None:
        self.content = dict(content)
        self.writes += 1

    def forget_charm(self, application: str) -> None:
        """Change what is kept of the charm that an application was deployed from."""
        document = json.loads(self.content["record"])
        document["applications"][application]["digest"] = "another digest"
        self.content["record"] = json.dumps(document)


class FakeModel(JujuModel):
    """A model in memory: what is deployed there, and in what order."""

    def __init__(self) -> None:
        self.applications: set[str] = set()
        self.charms: dict[str, CharmFile] = {}
        self.revisions: dict[str, int] = {}
        self.options: dict[str, dict[str, OptionValue]] = {}
        self.bundles: list[str] = []
        self.files: dict[str, str] = {}
        self.pairs: set[Relation] = set()
        self.done: list[str] = []
        self.fails_at = ""
        self.dies_after = ""
        self.leaving: frozenset[str] = frozenset()
        self.version = "3.6.25"
        self.bases: dict[str, str] = {}
        self.scales: dict[str, int] = {}
        self.refuses_units = frozenset[str]()
        self.record = FakeSecret()

    def secret(self, name: str) -> ModelSecret:
        assert name == "ckf-airgap-record"
        return self.record

    def state(self) -> ModelState:
        sides: dict[Side, frozenset[str]] = {}
        for pair in self.pairs:
            for side, other in (pair, tuple(reversed(pair))):
                sides[side] = sides.get(side, frozenset()) | {other.application}
        charms = {
            name: DeployedCharm(self.charms[name].name, self.revisions.get(name, 0))
            for name in self.applications
        }
        present = frozenset(self.applications)
        return ModelState(
            present,
            sides,
            {},
            charms=charms,
            leaving=self.leaving,
            bases=self.bases,
            interfaces={side: self._interface(side) for side in sides},
            scales=self._units(),
            units=self._units(),
        )

    def _units(self) -> dict[str, int]:
        return {name: self.scales.get(name, 1) for name in self.applications}

    @property
    def name(self) -> str:
        return "admin/kubeflow"

    def option_defaults(self, application: str) -> Mapping[str, object]:
        return self.charms[application].options

    def _interface(self, side: Side) -> str:
        endpoint = self.charms[side.application].endpoint(side.endpoint)
        assert endpoint
        return endpoint.interface

    def scale_application(self, application: str, units: int) -> list[str]:
        self.scales[application] = units
        return self._note(f"scale {application} to {units}")

    def deploy_bundle(self, bundle: Path) -> list[str]:
        document = yaml.safe_load(bundle.read_text())
        names = list(document["applications"])
        assert not self.applications & set(names), "Juju refuses what is there already"
        self.bundles.append(bundle.read_text())
        for name, body in document["applications"].items():
            self.options[name] = dict(body.get("options") or {})
            self.charms[name] = CharmFile.read(Path(body["charm"]))
            for source in body.get("resources", {}).values():
                if source.startswith("/"):
                    self._read(Path(source))
        self.applications |= set(names)
        return self._note(f"bundle of {len(names)}")

    def deploy_application(self, application: LocalApplication) -> list[str]:
        assert application.name not in self.applications
        if application.name == self.fails_at:
            raise RuntimeError(application.name)
        self.applications.add(application.name)
        self.options[application.name] = dict(application.options)
        self.charms[application.name] = CharmFile.read(application.file)
        for source in application.resources.values():
            if source.startswith("/"):
                self._read(Path(source))
        if application.name == self.dies_after:
            raise RuntimeError(application.name)
        return self._note(f"deploy {application.name}")

    def versions(self) -> JujuVersions:
        return JujuVersions(self.version, self.version)

    def refresh_application(
        self,
        application: LocalApplication,
        *,
        base: str | None = None,
    ) -> list[str]:
        assert not (application.name in self.refuses_units and self.scales[application.name])
        self.revisions[application.name] = self.revisions.get(application.name, 0) + 1
        self.options[application.name] = dict(application.options)
        return self._note(f"refresh {application.name}{f' on {base}' if base else ''}")

    def attach_resource(self, application: str, resource: str, source: str) -> list[str]:
        if source.startswith("/"):
            self._read(Path(source))
        return self._note(f"attach {application}/{resource}")

    def changed_options(self, application: LocalApplication) -> dict[str, OptionValue]:
        current = self.options.get(application.name, {})
        return {k: v for k, v in application.options.items() if current.get(k) != v}

    def update_options(self, application: LocalApplication) -> list[str]:
        assert application.name in self.applications
        changed = self.changed_options(application)
        return self.set_options(application.name, changed) if changed else []

    def set_options(self, application: str, options: Mapping[str, OptionValue]) -> list[str]:
        self.options[application] |= options
        return self._note(f"options of {application}")

    def relate(self, relation: Relation, state: ModelState) -> list[str]:
        if state.has_relation(relation):
            return []
        self.pairs.add(relation)
        return self._note("relate")

    def _read(self, path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        self.files[path.name] = path.read_text()

    def _note(self, text: str) -> list[str]:
        self.done.append(text)
        return [text]


class OpenRegistry(Release):
    """A release whose registry gives images to everybody."""

    def pull_account(self, plan: Plan) -> Credentials | None:
        return None


class PrivateRegistry(Release):
    """A release whose registry gives nothing without credentials."""

    def pull_account(self, plan: Plan) -> Credentials | None:
        return self.inputs.registry_credentials


def inputs(made: SampleRelease) -> Inputs:
    return Inputs(
        images=FileSource(made.images.path),
        charms=FileSource(made.charms.path),
        settings=PlanSettings.parse(
            location=RegistryLocation.parse("registry.corp:5000/ckf"), excluded_charms=EXCLUDED
        ),
        registry_credentials=Credentials("pusher", "pass-phrase"),
    )


def next_run(given: Inputs, folder: Path) -> Release:
    """Make a release that knows nothing but what the folder keeps."""
    return OpenRegistry(given, folder=folder, templates=TEMPLATES)


@pytest.fixture
def release(builtin: SampleRelease, tmp_path: Path) -> Release:
    return next_run(inputs(builtin), tmp_path / "work")


def test_the_applications_come_a_few_at_a_time_then_the_relations(release: Release) -> None:
    model = FakeModel()
    plan = release.plan()
    changes = Deployer(release, model).deploy(plan).changes
    assert list(changes) == model.done
    relations = len(plan.relations)
    assert model.done[-relations:] == ["relate"] * relations
    deployed = model.done[:-relations]
    assert set(deployed) <= {f"bundle of {number}" for number in range(1, AT_ONCE + 1)} | {
        "deploy katib-controller",
        "deploy minio",
    }
    assert {"deploy katib-controller", "deploy minio"} <= set(deployed)
    assert model.applications == {application.name for application in plan.applications}


def test_a_second_time_nothing_is_done(release: Release) -> None:
    model = FakeModel()
    Deployer(release, model).deploy(release.plan())
    writes = model.record.writes
    assert Deployer(release, model).deploy(release.plan()).changes == ()
    assert model.record.writes == writes


def test_what_was_interrupted_continues(release: Release) -> None:
    model = FakeModel()
    plan = release.plan()
    model.fails_at = "minio"
    with pytest.raises(RuntimeError):
        Deployer(release, model).deploy(plan)
    model.fails_at = ""
    model.done.clear()
    Deployer(release, model).deploy(plan)
    assert model.done == ["deploy minio", *["relate"] * len(plan.relations)]


def test_what_was_deployed_when_the_run_was_killed_is_not_refreshed(release: Release) -> None:
    """Between an application and the record of what it was deployed from a run can be killed."""
    model = FakeModel()
    plan = release.plan()
    model.dies_after = "minio"
    with pytest.raises(RuntimeError):
        Deployer(release, model).deploy(plan)
    model.dies_after = ""
    model.done.clear()
    outcome = Deployer(release, model).deploy(plan)
    assert outcome.outdated == ()
    assert not {"deploy minio", "refresh minio"} & set(model.done)
    model.done.clear()
    assert Deployer(release, model).refresh(plan, NOTHING).changes == ()
    assert Deployer(release, model).differences(plan, model.state()) == []


def test_what_was_announced_and_is_not_there_is_forgotten(release: Release) -> None:
    model = FakeModel()
    plan = release.plan()
    model.fails_at = "minio"
    with pytest.raises(RuntimeError):
        Deployer(release, model).deploy(plan)
    assert "minio" in json.loads(model.record.content["record"])["applications"]
    Deployer(release, model).differences(plan, model.state())
    assert "minio" not in json.loads(model.record.content["record"])["applications"]


def test_an_application_that_was_removed_by_hand_comes_back(release: Release) -> None:
    model = FakeModel()
    plan = release.plan()
    Deployer(release, model).deploy(plan)
    model.applications.remove("kfp-api")
    model.pairs = {
        pair for pair in model.pairs if "kfp-api" not in (pair[0].application, pair[1].application)
    }
    model.done.clear()
    Deployer(release, model).deploy(plan)
    assert model.done[0] == "bundle of 1"
    assert set(model.done[1:]) == {"relate"}


def test_an_application_that_is_being_removed_is_not_taken_for_there(
    release: Release,
) -> None:
    model = FakeModel()
    model.leaving = frozenset({"kfp-api", "of-the-operator"})
    with pytest.raises(JujuError, match=r"^kfp-api cannot be deployed .* being removed") as raised:
        Deployer(release, model).deploy(release.plan())
    assert "run the action again" in raised.value.cure
    with pytest.raises(JujuError, match=r"^kfp-api cannot be deployed .* being removed"):
        Deployer(release, model).check(None)
    assert model.done == []


def test_a_value_that_no_command_can_have_is_told_before_anything_is_pushed(
    builtin: SampleRelease, tmp_path: Path
) -> None:
    settings = PlanSettings.parse(
        location=RegistryLocation("registry.corp:5000", "ckf"),
        excluded_charms="minio",
        overlay=f"applications: {{minio: {{options: {{mode: {'a' * 140_000}}}}}}}",
    )
    given = replace(inputs(builtin), settings=settings)
    model = FakeModel()
    with pytest.raises(ConfigurationError, match=r"^the option mode of minio has 140,005 bytes"):
        Deployer(Release(given, folder=tmp_path / "work", templates=TEMPLATES), model).check(None)
    assert model.done == []
    # Of a bundle the client takes it.
    given = replace(given, settings=replace(settings, excluded_charms=()))
    Deployer(Release(given, folder=tmp_path / "other", templates=TEMPLATES), model).check(None)


def test_a_changed_option_that_the_client_reads_as_a_file_is_refused_before_the_push(
    builtin: SampleRelease, tmp_path: Path
) -> None:
    def check(value: str, permissions: Permissions | None) -> None:
        settings = PlanSettings.parse(
            location=RegistryLocation("registry.corp:5000", "ckf"),
            excluded_charms="katib-controller",
            overlay=f"applications: {{minio: {{options: {{mode: '{value}'}}}}}}",
        )
        folder = tmp_path / value.strip("@")
        Deployer(next_run(replace(inputs(builtin), settings=settings), folder), model).check(
            permissions
        )

    model = FakeModel()
    check("@new", None)
    charms = next_run(inputs(builtin), tmp_path / "charms").unpacked_charms.charms
    model.applications = {"minio"}
    model.charms = {"minio": next(charm for charm in charms if charm.name == "minio")}
    model.options = {"minio": {"mode": "@same"}}
    check("@same", None)
    for value, permissions in (("@changed", None), ("@same", NOTHING)):
        with pytest.raises(ConfigurationError, match=r"^the option mode of minio begins with @"):
            check(value, permissions)


def test_credentials_to_pull_are_in_files_that_do_not_stay(
    builtin: SampleRelease, tmp_path: Path
) -> None:
    model = FakeModel()
    work = tmp_path / "work"
    release = PrivateRegistry(inputs(builtin), folder=work, templates=TEMPLATES)
    plan = release.plan()
    Deployer(release, model).deploy(plan)
    resources = [(i.name, name) for i in plan.applications for name in i.resources]
    assert set(model.files) == {f"{application}.{name}.yaml" for application, name in resources}
    kfam = yaml.safe_load(model.files["kubeflow-profiles.kfam-image.yaml"])
    assert kfam == {
        "registrypath": "registry.corp:5000/ckf/kubeflownotebookswg/kfam:v1.8.0",
        "username": "pusher",
        "password": "pass-phrase",
    }
    assert not (work / "resources").exists()
    assert "pass-phrase" not in "".join(model.bundles)
    assert "pass-phrase" not in release.render(plan)


def test_a_refresh_gives_another_account_to_every_resource(
    builtin: SampleRelease, tmp_path: Path
) -> None:
    """The pull secrets would keep the old password: a pod that moves could not start."""
    model = FakeModel()
    given = inputs(builtin)
    release = PrivateRegistry(given, folder=tmp_path, templates=TEMPLATES)
    plan = release.plan()
    Deployer(release, model).deploy(plan)
    assert Deployer(release, model).refresh(plan, NOTHING).changes == ()
    changed = replace(given, registry_credentials=Credentials("pusher", "another"))
    release = PrivateRegistry(changed, folder=tmp_path, templates=TEMPLATES)
    resources = [f"{i.name}/{name}" for i in plan.applications for name in i.resources]
    changes = Deployer(release, model).refresh(plan, NOTHING).changes
    assert sorted(changes) == sorted(f"attach {name}" for name in resources)
    assert "another" in model.files["kubeflow-profiles.kfam-image.yaml"]
    assert Deployer(release, model).refresh(plan, NOTHING).changes == ()
    assert "another" not in str(model.record.content)


class TestDifferences:
    """What the model holds otherwise than planned."""

    def test_of_a_deployment_there_are_none(self, release: Release) -> None:
        model = FakeModel()
        Deployer(release, model).deploy(release.plan())
        assert Deployer(release, model).differences(release.plan(), model.state()) == []

    def test_an_option_that_names_an_image_is_named(self, release: Release) -> None:
        model = FakeModel()
        plan = release.plan()
        Deployer(release, model).deploy(plan)
        del model.options["argo-controller"]["executor-image"]
        argo = next(each for each in plan.applications if each.name == "argo-controller")
        image = argo.options["executor-image"]
        assert Deployer(release, model).differences(plan, model.state()) == [
            f"argo-controller: the option executor-image is not set to {image}"
        ]

    def test_what_is_not_deployed_is_named(self, release: Release) -> None:
        model = FakeModel()
        plan = release.plan()
        Deployer(release, model).deploy(plan)
        model.applications.remove("minio")
        assert Deployer(release, model).differences(plan, model.state()) == [
            "minio is not deployed"
        ]

    def test_a_charm_or_an_image_of_another_release_is_named(self, release: Release) -> None:
        model = FakeModel()
        plan = release.plan()
        Deployer(release, model).deploy(plan)
        other = _changed(plan, "kfp-api", resources={"oci-image": "h:5/api:2"})
        assert Deployer(release, model).differences(other, model.state()) == [
            "kfp-api has a charm, image or pull account that differs from the plan"
        ]


def test_where_everybody_may_pull_no_credentials_are_given(release: Release) -> None:
    model = FakeModel()
    Deployer(release, model).deploy(release.plan())
    assert model.files == {}


def _changed(plan: Plan, name: str, **changes: object) -> Plan:
    applications = tuple(
        replace(item, **changes) if item.name == name else item  # type: ignore[arg-type]
        for item in plan.applications
    )
    return replace(plan, applications=applications)


class TestRefresh:
    @pytest.fixture
    def model(self, release: Release) -> FakeModel:
        model = FakeModel()
        Deployer(release, model).deploy(release.plan())
        model.done.clear()
        return model

    def test_of_nothing_changes_nothing(self, release: Release, model: FakeModel) -> None:
        assert Deployer(release, model).refresh(release.plan(), NOTHING).changes == ()
        assert Deployer(release, model).deploy(release.plan()).outdated == ()

    def test_of_another_charm(self, release: Release, model: FakeModel, tmp_path: Path) -> None:
        other = tmp_path / "other.charm"
        other.write_bytes(b"another revision")
        charms = tuple(
            replace(charm, path=other) if charm.name == "kfp-api" else charm
            for charm in release.unpacked_charms.charms
        )
        release.unpacked_charms = UnpackedCharms(charms)
        plan = _changed(release.plan(), "kfp-api", file=other, options={"a": 1})
        assert Deployer(release, model).deploy(plan).outdated == ("kfp-api",)
        # Until then its options stay: they may be of the other charm.
        assert Deployer(release, model).deploy(plan).changes == ()
        assert Deployer(release, model).refresh(plan, NOTHING).changes == ("refresh kfp-api",)
        assert model.options["kfp-api"] == {"a": 1}
        assert Deployer(release, model).refresh(plan, NOTHING).changes == ()

    def test_of_another_image(self, release: Release, model: FakeModel) -> None:
        plan = _changed(release.plan(), "kfp-api", resources={"oci-image": "h:5/api:2"})
        assert Deployer(release, model).refresh(plan, NOTHING).changes == (
            "attach kfp-api/oci-image",
        )
        assert Deployer(release, model).refresh(plan, NOTHING).changes == ()

    def test_of_another_option(self, release: Release, model: FakeModel) -> None:
        Deployer(release, model).refresh(release.plan(), NOTHING)
        plan = _changed(release.plan(), "kfp-api", options={"a": 1})
        assert Deployer(release, model).refresh(plan, NOTHING).changes == ("options of kfp-api",)

    def test_of_an_application_that_is_new(self, release: Release, model: FakeModel) -> None:
        model.applications.remove("kfp-ui")
        model.pairs = {
            pair for pair in model.pairs if "kfp-ui" not in {side.application for side in pair}
        }
        changes = Deployer(release, model).refresh(release.plan(), NOTHING).changes
        assert changes[0] == "bundle of 1"
        assert set(changes[1:]) == {"relate"}

    def test_by_another_pod_of_nothing_changes_nothing(
        self, release: Release, model: FakeModel, tmp_path: Path
    ) -> None:
        release = next_run(release.inputs, tmp_path / "another pod")
        assert Deployer(release, model).refresh(release.plan(), NOTHING).changes == ()

    def test_after_a_pod_that_was_killed_is_of_what_it_left(
        self, release: Release, tmp_path: Path
    ) -> None:
        """What it had deployed by then is known."""
        model = FakeModel()
        model.fails_at = "katib-controller"
        with pytest.raises(RuntimeError):
            Deployer(release, model).deploy(release.plan())
        known = set(model.applications)
        model.fails_at = ""
        model.done.clear()
        release = next_run(release.inputs, tmp_path / "another pod")
        Deployer(release, model).refresh(release.plan(), NOTHING)
        refreshed = {line.split()[1] for line in model.done if line.startswith("refresh ")}
        # The part in which it was killed is not: at most as many as start at a time.
        assert known - refreshed
        assert len(refreshed) < AT_ONCE

    @pytest.mark.parametrize("kept", ["", "no record", "{}", '{"salt": 1}', "[" * 100_000])
    def test_of_what_nobody_remembers(
        self, release: Release, model: FakeModel, tmp_path: Path, kept: str
    ) -> None:
        model.record.content = {"record": kept}
        release = next_run(release.inputs, tmp_path / "another pod")
        plan = release.plan()
        # Nothing says that anything is wrong.
        assert Deployer(release, model).deploy(plan).outdated == ()
        assert Deployer(release, model).deploy(plan).changes == ()
        changes = Deployer(release, model).refresh(plan, NOTHING).changes
        assert sorted(changes) == sorted(f"refresh {item.name}" for item in plan.applications)
        assert Deployer(release, model).refresh(plan, NOTHING).changes == ()


class TestRefreshToAnotherBase:
    @pytest.fixture
    def model(self, release: Release, tmp_path: Path) -> FakeModel:
        """A model in which kfp-api is the one application of which the charm is another."""
        model = FakeModel()
        before = next_run(release.inputs, tmp_path / "before")
        Deployer(before, model).deploy(before.plan())
        model.record.forget_charm("kfp-api")
        model.done.clear()
        model.bases = {"kfp-api": "ubuntu@18.04", "kfp-ui": "ubuntu@18.04"}
        return model

    @pytest.fixture
    def plan(self, release: Release) -> Plan:
        return _changed(release.plan(), "kfp-api", base="ubuntu@24.04")

    def test_moves_it_on_juju_3(self, release: Release, model: FakeModel, plan: Plan) -> None:
        changes = Deployer(release, model).refresh(plan, NOTHING).changes
        assert changes == ("refresh kfp-api on ubuntu@24.04",)

    def test_is_refused_on_juju_4_before_anything_changes(
        self, release: Release, model: FakeModel, plan: Plan
    ) -> None:
        model.version = "4.1-beta2"
        model.applications.remove("kfp-ui")
        with pytest.raises(JujuError, match=r"to another base: kfp-api \(on ubuntu@18\.04, "):
            Deployer(release, model).refresh(plan, NOTHING)
        assert model.done == []

    def test_is_refused_before_any_image_is_looked_at(
        self, release: Release, model: FakeModel, tmp_path: Path
    ) -> None:
        model.version = "4.1-beta2"
        charms = tuple(
            replace(charm, bases=("ubuntu@24.04",)) if charm.name == "kfp-api" else charm
            for charm in release.unpacked_charms.charms
        )
        images = FileSource(tmp_path / "not there yet")
        release = next_run(replace(release.inputs, images=images), tmp_path / "another pod")
        release.unpacked_charms = UnpackedCharms(charms)
        Deployer(release, model).check(None)
        with pytest.raises(JujuError, match=r"to another base: kfp-api \(on ubuntu@18\.04, "):
            Deployer(release, model).check(NOTHING)
        assert model.done == []


def test_a_podspec_charm_becomes_a_sidecar_charm_while_it_has_no_units(
    release: Release, tmp_path: Path
) -> None:
    model = FakeModel()
    plan = release.plan()
    charms = tuple(
        replace(each, has_storage=False, fixed="") for each in release.unpacked_charms.charms
    )
    podspec = tuple(replace(each, is_podspec=each.name == "minio") for each in charms)
    sidecar = tuple(replace(each, is_podspec=False) for each in charms)
    release.unpacked_charms = UnpackedCharms(podspec)
    Deployer(release, model).deploy(plan)
    model.done.clear()
    model.record.forget_charm("minio")
    model.scales["minio"] = 3
    model.refuses_units = frozenset({"minio"})
    release = next_run(release.inputs, tmp_path / "another pod")
    release.unpacked_charms = UnpackedCharms(sidecar)
    assert Deployer(release, model).refresh(plan, NOTHING).changes == (
        "scale minio to 0",
        "refresh minio",
        "scale minio to 3",
    )
    # The charm that runs now is no podspec charm.
    model.record.forget_charm("minio")
    model.refuses_units = frozenset()
    release = next_run(release.inputs, tmp_path / "yet another pod")
    release.unpacked_charms = UnpackedCharms(sidecar)
    assert Deployer(release, model).refresh(plan, NOTHING).changes == ("refresh minio",)


def test_what_lacks_an_image_is_left_out_with_its_relations(release: Release) -> None:
    model = FakeModel()
    plan = _changed(release.plan(), "kfp-api", lacking=("oci-image",))
    Deployer(release, model).deploy(plan)
    assert "kfp-api" not in model.applications
    assert not [p for p in model.pairs if "kfp-api" in {side.application for side in p}]
    assert len(model.applications) == len(plan.applications) - 1
