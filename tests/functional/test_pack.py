"""The command ``ckf-airgap pack`` against a real registry, with skopeo."""

from pathlib import Path

import pytest
import yaml

from ckf_airgap.cli import main
from tests.functional.conftest import RunningRegistry
from tests.outside import Outside, with_images, write_charms
from tests.sample_release import ImageOptions, Layout, Release

CHARMS = ("minio", "kubeflow-volumes", "jupyter-ui", "istio-pilot", "kfp-api")
OPTIONS = ImageOptions(program=b"stub", layouts=(Layout.LEGACY, Layout.OCI), payload_kib=300)


@pytest.fixture
def outside(
    outside_registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Outside:
    found = Outside(outside_registry.process, tmp_path)
    for key, value in found.environment.items():
        monkeypatch.setenv(key, value)
    return found


@pytest.fixture
def release(outside: Outside, tmp_path: Path) -> Release:
    """A part of a release: its images outside, its charms in the folder ``charms``."""
    release = Release.builtin(CHARMS)
    release = with_images(release, outside.fill(release.images, OPTIONS))
    write_charms(release, tmp_path / "charms")
    return release


def words(outside: Outside, folder: Path, *more: str) -> list[str]:
    ca = str(outside.registry.ca)
    output = str(folder / "packed")
    charms = str(folder / "charms")
    return ["pack", "--charms", charms, "--output", output, "--registry-ca", ca, *more]


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_what_is_packed_can_be_pushed(
    layout: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words(outside, tmp_path, "--format", layout, "--allow-missing")) == 0
    packed = yaml.safe_load(capsys.readouterr().out)
    assert len(packed["images"]) == len(release.images)
    print(packed)
