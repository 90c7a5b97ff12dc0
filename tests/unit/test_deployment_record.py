"""What is remembered of a deployment."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ckf_airgap.credentials import Credentials
from ckf_airgap.deployment.record import Deployed, DeploymentRecord
from ckf_airgap.juju_values import DeployedCharm
from ckf_airgap.planning.plan import PlannedApplication

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


def test_nothing_is_known_at_first(store: Store, tmp_path: Path) -> None:
    record = DeploymentRecord(store)
    item = planned(tmp_path)
    assert not record.knows(item)
    assert not record.is_same_charm(item, DeployedCharm("minio", 0))
    assert not record.was_podspec("minio", DeployedCharm("minio", 0))
    assert record.other_images(item, None) == ["oci-image"]


def test_what_was_deployed_is_remembered(store: Store, tmp_path: Path) -> None:
    item = planned(tmp_path)
    DeploymentRecord(store).remember([Deployed(item, DeployedCharm("minio", 0))], OLD)
    record = DeploymentRecord(store)
    assert record.knows(item)
    assert record.is_same_charm(item, DeployedCharm("minio", 0))
    assert not record.is_same_charm(item, DeployedCharm("minio", 1))
    assert not record.is_same_charm(planned(tmp_path, content="other"), DeployedCharm("minio", 0))
    assert record.other_images(item, OLD) == []
    assert record.other_images(planned(tmp_path, image="r/minio:2"), OLD) == ["oci-image"]


def test_the_kind_of_a_charm_holds_for_that_charm_alone(store: Store, tmp_path: Path) -> None:
    DeploymentRecord(store).remember(
        [Deployed(planned(tmp_path), DeployedCharm("minio", 0), True)], OLD
    )
    record = DeploymentRecord(store)
    assert record.was_podspec("minio", DeployedCharm("minio", 0))
    assert not record.was_podspec("minio", DeployedCharm("minio", 1))
    assert not record.was_podspec("katib-db", DeployedCharm("minio", 0))


@pytest.mark.parametrize(("before", "now"), [(OLD, NEW), (None, NEW), (OLD, None)])
def test_another_account_reaches_the_resources(
    before: Credentials | None, now: Credentials | None, store: Store, tmp_path: Path
) -> None:
    """The pull secret of a resource holds the account that it was attached with."""
    item = planned(tmp_path)
    record = DeploymentRecord(store)
    record.remember([Deployed(item, DeployedCharm("minio", 0))], before)
    assert record.other_images(item, now) == ["oci-image"]
    record.remember([Deployed(item, DeployedCharm("minio", 0))], now)
    assert DeploymentRecord(store).other_images(item, now) == []


@pytest.mark.parametrize(
    "content",
    ["", "null", "7", "[]", "{}", '{"salt": "a", "applications": {"minio": {}}}', "[" * 100_000],
)
def test_what_is_no_record_counts_as_none(content: str, store: Store, tmp_path: Path) -> None:
    store.content = {"record": content}
    record = DeploymentRecord(store)
    assert not record.knows(planned(tmp_path))
    record.remember([Deployed(planned(tmp_path), DeployedCharm("minio", 0))], OLD)
    assert DeploymentRecord(store).knows(planned(tmp_path))


def test_no_password_is_in_it(store: Store, tmp_path: Path) -> None:
    DeploymentRecord(store).remember([Deployed(planned(tmp_path), DeployedCharm("minio", 0))], OLD)
    assert "pass phrase" not in str(store.content)
    assert "ckf-airgap" in store.info
