"""The checks before a deployment, of a release, a registry and a model in memory."""

import dataclasses
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm
from ckf_airgap.deployment import preflight as preflight_module
from ckf_airgap.deployment.preflight import Level, Preflight
from ckf_airgap.deployment.release import Inputs, Release
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.kubernetes.cluster import ClusterFacts, Node
from ckf_airgap.planning.charm_selection import CharmSelection, select_charms
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.upgrades.start_and_target import Permissions

BUNDLE = """
applications:
  kfp-api: {charm: kfp-api}
  db: {charm: mysql-k8s}
"""
NODE = Node("one", "v1.33.1", "amd64", ())


def charm(name: str, image: str = "", **changes: object) -> CharmFile:
    plain = CharmFile(
        path=Path(f"/charms/{name}.charm"),
        label=f"{name}.charm",
        name=name,
        resources={"image": image} if image else {},
        image_options=(),
        options={},
        endpoints=(),
        bases=("ubuntu@24.04",),
        is_podspec=False,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def image(name: str, architecture: str = "amd64") -> ArchivedImage:
    reference = ImageReference.parse(name)
    assert reference
    return ArchivedImage(f"{name.replace('/', '-')}.tar", (reference,), "sha256:0", architecture)


class FakeRegistry(RegistryClient):
    """A registry that has these images and no others."""

    held = frozenset(
        {
            ("juju/jujud-operator", "3.6.8"),
            ("juju/jujud-operator", "4.0.1"),
            ("juju/jujud-operator", "4.1-beta2"),
            ("juju/juju-db", "4.4"),
            ("juju/charm-base", "ubuntu-20.04"),
            ("juju/charm-base", "ubuntu-24.04"),
        }
    )

    def __init__(self) -> None:
        pass

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        return "sha256:0" if (repository, tag) in self.held else None


class FakeRelease(Release):
    """A release with everything in memory."""

    charms_: tuple[CharmFile, ...] = (charm("kfp-api", "a/api:1"), charm("mysql-k8s", "a/db:1"))
    inventory_: Inventory | Exception = Inventory((image("a/api:1"), image("a/db:1")))
    left_out_: int | Exception = 0
    registry_failure: Exception | None = None
    wants_credentials = False
    unreadable_: tuple[UnreadableCharm, ...] = ()

    @property
    def unpacked_charms(self) -> UnpackedCharms:  # type: ignore[override]
        return UnpackedCharms(self.charms_, self.unreadable_)

    @property
    def selected_charms(self) -> CharmSelection:  # type: ignore[override]
        return select_charms(self.charms_, self.inputs.settings, self.unreadable_)

    @property
    def registry(self) -> RegistryClient:  # type: ignore[override]
        return FakeRegistry()

    def check_registry(self) -> None:
        if self.registry_failure:
            raise self.registry_failure

    def inventory(self) -> Inventory:
        if isinstance(self.inventory_, Exception):
            raise self.inventory_
        return self.inventory_

    def check_left_out(self) -> int:
        if isinstance(self.left_out_, Exception):
            raise self.left_out_
        return self.left_out_

    def pull_account(self, plan: object) -> Credentials | None:
        return self.inputs.registry_credentials if self.wants_credentials else None


class FakeModel(JujuModel):
    def __init__(self) -> None:
        self.versions_ = JujuVersions("3.6.8", "3.6.8")
        self.access_ = "admin"
        self.user = "deployer"
        self.agent_images_: str | None = "registry.corp:5000/juju"
        self.settings_: dict[str, object] = {}

    @property
    def name(self) -> str:
        return "admin/kubeflow"

    def versions(self) -> JujuVersions:
        return self.versions_

    def agent_images(self) -> str | None:
        return self.agent_images_

    def settings(self) -> dict[str, object]:
        return self.settings_

    def state(self) -> ModelState:
        return ModelState(frozenset(), {}, {})

    @property
    def access(self) -> str:
        return self.access_


class Checks:
    """The checks, with everything in order at first."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = folder / "charms.tar.gz"
        archive.write_bytes(b"charms")
        inputs = Inputs(
            images=FileSource(folder / "images.tar.gz"),
            charms=FileSource(archive),
            settings=PlanSettings.parse(
                location=RegistryLocation("registry.corp:5000", "ckf"), bundle=BUNDLE
            ),
            registry_credentials=Credentials("pusher", "secret"),
        )
        self.release = FakeRelease(inputs, folder=folder / "work", templates=folder)
        self.model = FakeModel()
        self.login_failure: Exception | None = None
        self.cluster: ClusterFacts | Exception = ClusterFacts((NODE,), "standard")
        monkeypatch.setattr(preflight_module.cluster, "describe", self._look)

    def _look(self) -> ClusterFacts:
        if isinstance(self.cluster, Exception):
            raise self.cluster
        return self.cluster

    def login(self) -> JujuModel:
        if self.login_failure:
            raise self.login_failure
        return self.model

    def found(self, level: Level) -> list[str]:
        findings = Preflight(self.release, self.login, Permissions()).run().findings
        return [str(finding) for finding in findings if finding.level is level]
