"""What is remembered of a deployment."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version
from ckf_airgap.deployment.record import Deployed, DeploymentRecord, KnownCharm
from ckf_airgap.juju.juju_values import DeployedCharm, Side
from ckf_airgap.planning.plan import PlannedApplication
from ckf_airgap.upgrades.start_and_target import WalkMemory

OLD = Credentials("puller", "the old pass phrase")
NEW = Credentials("puller", "the new pass phrase")


class Store:
    """Keeps in memory what is written."""

    def __init__(self) -> None:
        self.content: Mapping[str, str] = {}
        self.info = ""

    def read(self) -> Mapping[str, str]:
        return self.content

    def write(self, content: Mapping[str, str], info: str) -> None:
        self.content, self.info = content, info


@pytest.fixture
def store() -> Store:
    return Store()


def planned(
    folder: Path, *, content: str = "charm", image: str = "r/minio:1"
) -> PlannedApplication:
    file = folder / f"{content}.charm"
    file.write_text(content)
    return PlannedApplication(
        name="minio",
        charm="minio",
        file=file,
        base=None,
        is_excluded=False,
        scale=1,
        constraints=None,
        resources={"oci-image": image},
        options={},
    )


def deployed(item: PlannedApplication, **details: object) -> Deployed:
    """Give an application as it was deployed, revision 0 of its charm."""
    file = CharmFile(
        path=item.file,
        label=item.file.name,
        name="minio",
        resources={"oci-image": "docker.io/minio/minio:ckf-1.10-b40ac43"},
        image_options=(),
        options={},
        endpoints=(),
        bases=(),
        is_podspec=False,
    )
    charm = replace(file, **details)  # type: ignore[arg-type]
    return Deployed(item, DeployedCharm("minio", 0), charm)


def test_nothing_is_known_at_first(store: Store, tmp_path: Path) -> None:
    record = DeploymentRecord(store)
    item = planned(tmp_path)
    assert not record.knows(item)
    assert not record.is_same_charm(item, DeployedCharm("minio", 0))
    assert record.known_charm("minio", DeployedCharm("minio", 0)) is None
    assert record.walk is None
    assert record.other_images(item, None) == ["oci-image"]


def test_what_was_deployed_is_remembered(store: Store, tmp_path: Path) -> None:
    item = planned(tmp_path)
    DeploymentRecord(store).remember([deployed(item)], OLD)
    record = DeploymentRecord(store)
    assert record.knows(item)
    assert record.is_same_charm(item, DeployedCharm("minio", 0))
    assert not record.is_same_charm(item, DeployedCharm("minio", 1))
    assert not record.is_same_charm(planned(tmp_path, content="other"), DeployedCharm("minio", 0))
    assert record.other_images(item, OLD) == []
    assert record.other_images(planned(tmp_path, image="r/minio:2"), OLD) == ["oci-image"]


def test_what_is_known_of_a_charm_holds_for_that_charm_alone(store: Store, tmp_path: Path) -> None:
    item = planned(tmp_path)
    charm = deployed(item, is_podspec=True, has_storage=True, fixed="f1")
    DeploymentRecord(store).remember([charm], OLD)
    record = DeploymentRecord(store)
    known = record.known_charm("minio", DeployedCharm("minio", 0))
    assert known == KnownCharm(
        digest=record.digest(item.file),
        version=Version(1, 10),
        is_podspec=True,
        has_storage=True,
        fixed="f1",
    )
    assert record.known_charm("minio", DeployedCharm("minio", 1)) is None
    assert record.known_charm("katib-db", DeployedCharm("minio", 0)) is None


def test_of_a_record_of_the_version_before_nothing_is_lost(store: Store, tmp_path: Path) -> None:
    """It had no versions, and not what no refresh changes: that is not known then."""
    item = planned(tmp_path)
    DeploymentRecord(store).remember([deployed(item)], OLD)
    document = json.loads(store.content["record"])
    for key in ("version", "has_storage", "fixed"):
        del document["applications"]["minio"][key]
    document.pop("walk", None)
    store.content = {"record": json.dumps(document)}
    record = DeploymentRecord(store)
    known = record.known_charm("minio", DeployedCharm("minio", 0))
    assert known == KnownCharm(
        digest=record.digest(item.file),
        version=None,
        is_podspec=False,
        has_storage=None,
        fixed=None,
    )


def test_a_walk_is_remembered_until_its_end(store: Store, tmp_path: Path) -> None:
    pair = (Side("minio", "object-storage"), Side("mine", "s3"))
    walk = WalkMemory(
        scales={"istio-ingressgateway": 2}, replacing=frozenset({"mlmd"}), relations=(pair,)
    )
    DeploymentRecord(store).remember_walk(walk)
    record = DeploymentRecord(store)
    assert record.walk == walk
    # What is deployed meanwhile does not touch it.
    record.remember([deployed(planned(tmp_path))], OLD)
    assert DeploymentRecord(store).walk == walk
    record.remember_walk(None)
    record = DeploymentRecord(store)
    assert record.walk is None
    assert record.knows(planned(tmp_path))


@pytest.mark.parametrize(("before", "now"), [(OLD, NEW), (None, NEW), (OLD, None)])
def test_another_account_reaches_the_resources(
    before: Credentials | None, now: Credentials | None, store: Store, tmp_path: Path
) -> None:
    """The pull secret of a resource holds the account that it was attached with."""
    item = planned(tmp_path)
    record = DeploymentRecord(store)
    record.remember([deployed(item)], before)
    assert record.other_images(item, now) == ["oci-image"]
    record.remember([deployed(item)], now)
    assert DeploymentRecord(store).other_images(item, now) == []


@pytest.mark.parametrize(
    "content",
    ["", "null", "7", "[]", "{}", '{"salt": "a", "applications": {"minio": {}}}', "[" * 100_000],
)
def test_what_is_no_record_counts_as_none(content: str, store: Store, tmp_path: Path) -> None:
    store.content = {"record": content}
    record = DeploymentRecord(store)
    assert not record.knows(planned(tmp_path))
    record.remember([deployed(planned(tmp_path))], OLD)
    assert DeploymentRecord(store).knows(planned(tmp_path))


def test_no_password_is_in_it(store: Store, tmp_path: Path) -> None:
    DeploymentRecord(store).remember([deployed(planned(tmp_path))], OLD)
    assert "pass phrase" not in str(store.content)
    assert "ckf-airgap" in store.info
