"""The repositories and tags below the registry prefix that a push of an archive writes.

Each image has two: its own path, and the name under which mirrors find it.
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
"""The image references in the charms of one archive."""


@dataclass(frozen=True)
class ArchiveNames:
    """The names of the images of an archive.

    Attributes:
        label: The archive, for messages.
        names: The names of its images and artifacts.
        unnamed: The members whose images have no name in the archive. Charms may name them.
    """

    label: str
    names: tuple[ImageReference, ...]
    unnamed: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, label: str, record: PackManifest | None, inventory: Inventory | None = None
    ) -> "ArchiveNames":
        """Collect the names from the record and the inventory of an archive.

        Args:
            label: The archive, for messages.
            record: The archive's record; None if it has none. Its names are added to those of
                the inventory.
            inventory: The content of the archive; None if only the record is available.

        Returns:
            The names, each once.
        """
        images = (*inventory.images, *inventory.artifacts) if inventory else ()
        names = [name for image in images for name in image.names]
        if record:
            parsed = (ImageReference.parse(image.name) for image in record.images)
            names += [name for name in parsed if name]
        unnamed = [image.member for image in inventory.unnamed] if inventory else []
        return cls(label, tuple(dict.fromkeys(names)), tuple(unnamed))

    def require_told(self, charms: Sequence[CharmImages]) -> None:
        """Require charms if names below the prefix depend on them.

        Args:
            charms: The images of each archive of charms.

        Raises:
            ConfigurationError: Names depend on charms, but none are given.
        """
        if charms:
            return
        unclear = [str(name) for name in self.names if mirror_path(name) is None]
        for image in (*self.unnamed, *unclear):
            raise ConfigurationError(
                f"{self.label} has images whose names in the registry depend on the charms that "
                f"they were pushed with, for example {image}",
                "add --charms charms.tar.gz, the archive of those charms",
            )

    def paths(
        self, charms: Sequence[CharmImages], location: RegistryLocation
    ) -> frozenset[ImagePath]:
        """List the paths below the prefix that a push with any of the charms writes.

        Args:
            charms: The images of each archive of charms. Each archive may have been pushed with
                the images separately.
            location: The registry prefix.

        Returns:
            The paths.
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
    """Group paths below the prefix by repository.

    Args:
        paths: The paths.
        location: The registry prefix.

    Returns:
        The tags of each repository, by its full name.
    """
    tags: dict[str, set[str]] = {}
    for path in paths:
        # A push skips repositories whose names are too long.
        if not location.length_problem(path):
            tags.setdefault(location.repository(path), set()).add(path.tag)
    return {repository: frozenset(each) for repository, each in tags.items()}
