"""A release that is packed by the command ``ckf-airgap pack``, and what came of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.commands.main import main
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import ImageOptions, Layout
from tests.sample_release.naming import repository
from tests.support.outside import Outside

CHARMS = ("minio", "kubeflow-volumes", "jupyter-ui", "istio-pilot", "kfp-api")
OPTIONS = ImageOptions(program=b"stub", layouts=(Layout.LEGACY, Layout.OCI), payload_kib=300)
Captured = pytest.CaptureFixture[str]


def words(outside: Outside, folder: Path, *more: str) -> list[str]:
    """Give the arguments that pack the charms of a folder into another one below it."""
    ca = str(outside.registry.ca)
    output = str(folder / "packed")
    charms = str(folder / "charms")
    return [
        *("pack", "--charms", charms, "--output", output, "--registry-ca", ca),
        *("--allow-missing", *more),
    ]


def document(capsys: Captured) -> dict[str, Any]:
    """Read what the command has printed."""
    return yaml.safe_load(capsys.readouterr().out)


def push(registry: RunningRegistry, folder: Path, *more: str) -> int:
    """Push what was packed; gives the exit status."""
    images = str(folder / "packed" / "images.tar.gz")
    charms = str(folder / "packed" / "charms.tar.gz")
    ca = str(registry.process.ca)
    place = str(registry.location)
    arguments = ["push", "--images", images, "--charms", charms, "--registry", place]
    return main([*arguments, "--registry-ca", ca, *more])


def in_registry(registry: RunningRegistry, image: str) -> str:
    """Say where an image is after the push, by the rule of the public scripts."""
    components = repository(image).split("/")
    path = "/".join(components[1:] if len(components) > 2 else components)
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
    return f"{registry.location}/{path}:{tag}"


def digest(outside: Outside, image: str) -> str:
    """Give the digest of the manifest of an image."""
    return str(json.loads(outside.skopeo("inspect", f"docker://{image}"))["Digest"])


def archive_digests(folder: Path) -> tuple[str, ...]:
    """Give the digests of both archives."""
    return tuple(
        hashlib.sha256((folder / "packed" / name).read_bytes()).hexdigest()
        for name in ("images.tar.gz", "charms.tar.gz")
    )
