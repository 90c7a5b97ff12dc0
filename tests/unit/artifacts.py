"""What the planning is given, made from as little as possible."""

from collections.abc import Iterable
from pathlib import Path

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.names import ImageReference
from tests.sample_release import Charm, charm_file


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
