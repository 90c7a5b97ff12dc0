"""The names below the registry prefix that the images of an archive have.

They are those that a push gives: the path of each image, and the name by which mirrors find it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.naming import MemberNames, image_path, mirror_path, mirror_paths
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation

CharmImages = Sequence[ImageReference]
"""The images that the charms of one archive name."""


@dataclass(frozen=True)
class ArchiveNames:
    """The images of an archive, as it names them.

    Attributes:
        label: The archive, for messages.
        names: The names of its images and artifacts.
        unnamed: The members with images that it does not name: charms may.
    """

    label: str
    names: tuple[ImageReference, ...]
    unnamed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, label: str, record: PackManifest | None, inventory: Inventory | None = None
    ) -> "ArchiveNames":
        """Collect them.

        Args:
            label: The archive, for messages.
            record: What the archive says of itself, if it does. It counts besides the inventory.
            inventory: What the archive holds; None if only the record is at hand.
        """
        held = (*inventory.images, *inventory.artifacts) if inventory else ()
        names = [name for image in held for name in image.names]
        if record:
            parsed = (ImageReference.parse(image.name) for image in record.images)
            names += [name for name in parsed if name]
        unnamed = [image.member for image in inventory.unnamed] if inventory else []
        return cls(label, tuple(dict.fromkeys(names)), tuple(unnamed))

    def require_told(self, charms: Sequence[CharmImages]) -> None:
        """Require charms if the names below the prefix depend on them.

        Raises:
            ConfigurationError: No charms are given, and they would matter.
        """
        if charms:
            return
        unclear = [str(name) for name in self.names if mirror_path(name) is None]
        for image in (*self.unnamed, *unclear):
            raise ConfigurationError(
                f"{self.label} has images whose names in the registry depend on the charms that "
                f"they were pushed with, for example {image}",
                "give these with --charms charms.tar.gz",
            )

    def paths(
        self, charms: Sequence[CharmImages], location: RegistryLocation
    ) -> frozenset[ImagePath]:
        """List the paths below the prefix that a push with any of the charms gives.

        Args:
            charms: The images of each archive of charms; each may name images on its own.
            location: The prefix.
        """
        names = [*self.names, *self._named_by(charms)]
        wanted = [image for each in charms for image in each]
        return frozenset(
            (*map(image_path, names), *mirror_paths(names, wanted, location.host).values())
        )

    def _named_by(self, charms: Sequence[CharmImages]) -> Iterable[ImageReference]:
        for wanted in charms:
            member_names = MemberNames(wanted)
            for member in self.unnamed:
                if name := member_names.find(without_ending(member)):
                    yield name


def kept_tags(paths: Iterable[ImagePath], location: RegistryLocation) -> dict[str, frozenset[str]]:
    """Group paths below the prefix: the tags of each repository, by its whole name."""
    tags: dict[str, set[str]] = {}
    for path in paths:
        # Nothing is pushed to a repository whose name is too long.
        if not location.length_problem(path):
            tags.setdefault(location.repository(path), set()).add(path.tag)
    return {repository: frozenset(each) for repository, each in tags.items()}
