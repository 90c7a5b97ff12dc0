"""What the planning is given, and archives of charms, made from as little as possible."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.images.reference import ImageReference
from tests.sample_release import (
    Charm,
    charm_file,
)

KNATIVE_VERSION = "v1.10.2"


def knative_images(facts: Path) -> list[str]:
    """List the images that the charms of Knative up to 1.12 deploy and do not name."""
    keys = yaml.safe_load((facts / "knative-keymap.yaml").read_text())
    tails = {tail for tails in keys.values() for tail in tails.values()}
    return [f"gcr.io/knative-releases/{tail}:{KNATIVE_VERSION}" for tail in sorted(tails)]


def inventory_of(names: Iterable[str]) -> Inventory:
    """Make an inventory of images that each have one name."""
    images: list[ArchivedImage] = []
    for number, name in enumerate(names):
        reference = ImageReference.parse(name)
        assert reference, name
        images.append(ArchivedImage(f"{number}.tar", (reference,), f"sha256:{number}", "amd64"))
    return Inventory(tuple(images))


def charm_files(charms: Iterable[Charm], folder: Path) -> tuple[CharmFile, ...]:
    """Write charms into a folder, which is made, and read them again."""
    folder.mkdir(exist_ok=True)
    result: list[CharmFile] = []
    for charm in charms:
        path = folder / f"{charm.name}.charm"
        path.write_bytes(charm_file(charm))
        result.append(CharmFile.read(path))
    return tuple(result)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a tar.gz of files; gives its path."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def files_in(folder: Path) -> set[str]:
    """List the files below a folder, by their paths from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
