"""As many images and charms as nobody has: what it takes of memory must not grow with them."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ckf_airgap.commands.main import main
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import (
    Charm,
    ImageOptions,
    Layout,
    Resource,
    write_charm_archive,
    write_image_archive,
)
from tests.support.measured import Usage, run_measured


@dataclass(frozen=True)
class Size:
    """How much there is."""

    charms: int
    images: int


SMALL = Size(charms=4, images=10)
LARGE = Size(charms=200, images=500)


def release(folder: Path, size: Size) -> Path:
    """Write a release in which the charms share the images out among them."""
    images = [f"docker.io/organisation{n % 20}/image-x{n}:1.{n}" for n in range(size.images)]
    charms: list[Charm] = []
    for number in range(size.charms):
        own = images[number :: size.charms]
        resources = tuple(
            Resource(f"image-x{n}", "oci-image", image) for n, image in enumerate(own)
        )
        charms.append(Charm(f"charm-x{number}x", resources))
    folder.mkdir()
    options = ImageOptions(program=b"stub", payload_kib=100, layouts=(Layout.OCI,))
    write_image_archive(images, folder / "images.tar.gz", options)
    write_charm_archive(charms, folder / "charms.tar.gz")
    bundle = {"applications": {charm.name: {"charm": charm.name} for charm in charms}}
    folder.joinpath("bundle.yaml").write_text(yaml.safe_dump(bundle))
    return folder


def measured(*words: str | Path) -> Usage:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    return run_measured(["-m", "ckf_airgap", *words], environment)


# Three minutes, most of them for making the charms.
@pytest.mark.thorough
def test_500_images_and_200_charms(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushes: list[Usage] = []
    plans: list[Usage] = []
    for size in (SMALL, LARGE):
        folder = release(tmp_path / str(size.images), size)
        place = ["--registry", f"{registry.location}/{size.images}"]
        images = ["--images", folder / "images.tar.gz"]
        charms = ["--charms", folder / "charms.tar.gz", "--bundle", folder / "bundle.yaml"]
        pushes.append(measured("push", *images, *place, "--registry-ca", registry.process.ca))
        plans.append(measured("plan", *images, *charms, *place))
        assert main(["plan", *map(str, (*images, *charms, *place))]) == 0
        plan = yaml.load(capsys.readouterr().out, Loader=yaml.CSafeLoader)
        assert len(plan["applications"]) == size.charms
        assert len(plan["resolved"]) == size.images
        assert plan["missing"] == []
    print(f"push of 500 images: {pushes[1]}; plan of 200 charms: {plans[1]}")
    assert pushes[1].peak_mib < pushes[0].peak_mib + 60
    assert plans[1].peak_mib < plans[0].peak_mib + 60
