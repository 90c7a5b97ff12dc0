"""The command ``ckf-airgap pack`` against a real registry, with skopeo."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.cli import main
from tests.functional.conftest import RunningRegistry
from tests.outside import Outside, with_images, write_charms
from tests.sample_release import ImageOptions, Layout, Release
from tests.sample_release.naming import repository

CHARMS = ("minio", "kubeflow-volumes", "jupyter-ui", "istio-pilot", "kfp-api")
OPTIONS = ImageOptions(program=b"stub", layouts=(Layout.LEGACY, Layout.OCI), payload_kib=300)
Captured = pytest.CaptureFixture[str]


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
    return [
        *("pack", "--charms", charms, "--output", output, "--registry-ca", ca),
        *("--allow-missing", *more),
    ]


def document(capsys: Captured) -> dict[str, Any]:
    return yaml.safe_load(capsys.readouterr().out)


def push(registry: RunningRegistry, folder: Path, *more: str) -> int:
    images = str(folder / "packed" / "images.tar.gz")
    charms = str(folder / "packed" / "charms.tar.gz")
    ca = str(registry.process.ca)
    place = str(registry.location)
    return main(
        ["push", "--images", images, "--charms", charms, "--registry", place]
        + ["--registry-ca", ca, *more]
    )


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_what_is_packed_is_pushed_as_it_was_outside(
    layout: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, "--format", layout)) == 0
    packed = document(capsys)
    assert len(packed["images"]) == len(release.images)
    assert packed["format"] == layout
    archive = tmp_path / "packed" / "images.tar.gz"
    assert archive.stat().st_size == packed["images_bytes"]
    assert {path.name for path in archive.parent.iterdir()} == {"images.tar.gz", "charms.tar.gz"}

    assert push(registry, tmp_path) == 0
    assert len(document(capsys)["pushed"]) == len(release.images)
    for image in release.images:
        there = outside.place(image)
        pulled = registry.pull(in_registry(registry, image), tmp_path)
        original = RunningRegistry(outside.registry).pull(there, tmp_path)
        assert pulled == original
        if layout == "oci":
            # Not only what is in it: the very same manifest.
            assert digest(outside, there) == digest(outside, in_registry(registry, image))
    assert push(registry, tmp_path) == 0
    assert document(capsys)["pushed"] == []


def in_registry(registry: RunningRegistry, image: str) -> str:
    """Say where an image is after the push, by the rule of the public scripts."""
    components = repository(image).split("/")
    path = "/".join(components[1:] if len(components) > 2 else components)
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
    return f"{registry.location}/{path}:{tag}"


def digest(outside: Outside, image: str) -> str:
    return str(json.loads(outside.skopeo("inspect", f"docker://{image}"))["Digest"])
