"""What is remembered of a deployment."""

from pathlib import Path

import pytest

from ckf_airgap.credentials import Credentials
from ckf_airgap.deployment.record import DeploymentRecord
from ckf_airgap.planning.plan import PlannedApplication

OLD = Credentials("puller", "the old pass phrase")
NEW = Credentials("puller", "the new pass phrase")


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


def test_nothing_is_known_at_first(tmp_path: Path) -> None:
    record = DeploymentRecord({}, "model")
    item = planned(tmp_path)
    assert not record.knows(item)
    assert not record.is_same_charm(item, "minio-0")
    assert record.other_images(item, None) == ["oci-image"]


def test_what_was_deployed_is_remembered(tmp_path: Path) -> None:
    entries: dict[str, str] = {}
    item = planned(tmp_path)
    DeploymentRecord(entries, "model").remember(item, "minio-0", OLD)
    record = DeploymentRecord(entries, "model")
    assert record.knows(item)
    assert record.is_same_charm(item, "minio-0")
    assert not record.is_same_charm(item, "minio-1")
    assert not record.is_same_charm(planned(tmp_path, content="other"), "minio-0")
    assert record.other_images(item, OLD) == []
    assert record.other_images(planned(tmp_path, image="r/minio:2"), OLD) == ["oci-image"]
    assert not DeploymentRecord(entries, "another model").knows(item)


@pytest.mark.parametrize(("before", "now"), [(OLD, NEW), (None, NEW), (OLD, None)])
def test_another_account_reaches_the_resources(
    before: Credentials | None, now: Credentials | None, tmp_path: Path
) -> None:
    """The pull secret of a resource holds the account that it was attached with."""
    entries: dict[str, str] = {}
    item = planned(tmp_path)
    record = DeploymentRecord(entries, "model")
    record.remember(item, "minio-0", before)
    assert record.other_images(item, now) == ["oci-image"]
    record.remember(item, "minio-0", now)
    assert record.other_images(item, now) == []


def test_a_record_without_an_account_is_no_change(tmp_path: Path) -> None:
    entries: dict[str, str] = {}
    item = planned(tmp_path)
    record = DeploymentRecord(entries, "model")
    record.remember(item, "minio-0", OLD)
    del entries["model account minio"]
    assert record.other_images(item, NEW) == []


def test_no_password_is_in_it(tmp_path: Path) -> None:
    entries: dict[str, str] = {}
    DeploymentRecord(entries, "model").remember(planned(tmp_path), "minio-0", OLD)
    assert "pass phrase" not in str(entries)
