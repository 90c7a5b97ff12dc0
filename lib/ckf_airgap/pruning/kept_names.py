"""The repositories and tags below the registry prefix that a push of an archive writes.

Each image has two names there: its own path, and its full original name, which mirrors use.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.errors import ConfigurationError, listed
from ckf_airgap.images.naming import MemberNames, image_path, is_retagged, mirror_paths
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
        based_on: If the archive is a difference: the names of images of earlier releases that have
            the layers that it leaves out. A push of the archive needs these images.
    """

    label: str
    names: tuple[ImageReference, ...]
    unnamed: tuple[str, ...] = ()
    based_on: tuple[ImageReference, ...] = ()

    @classmethod
    def of(
        cls, label: str, record: PackManifest | None, inventory: Inventory | None = None
    ) -> "ArchiveNames":
        """Collect the names from the record and the inventory of an archive.

        Args:
            label: The archive, for messages.
            record: The archive's record; None if it has none. The names in the record are added to
                those in the inventory.
            inventory: The content of the archive; None if only the record is available.

        Returns:
            The names, each once.
        """
        images = (*inventory.images, *inventory.artifacts) if inventory else ()
        names = [name for image in images for name in image.names]
        packed = record.images if record else ()
        names += _parsed(image.name for image in packed)
        unnamed = [image.member for image in inventory.unnamed] if inventory else []
        based_on = _parsed(layer.found_in for image in packed for layer in image.layers)
        return cls(label, tuple(dict.fromkeys(names)), tuple(unnamed), tuple(based_on))

    def require_told(self, charms: Sequence[CharmImages], location: RegistryLocation) -> None:
        """Require that the given charms determine all names of the images below the prefix.

        Args:
            charms: The images of each archive of charms.
            location: The registry prefix.

        Raises:
            ConfigurationError: Names depend on charms that are not given.
        """
        named = {member for member, _ in self._named_by(charms)}
        charm_paths = {image_path(image) for images in charms for image in images}
        retagged = (name for name in self.names if is_retagged(name, location.host))
        unclear = [
            *(member for member in self.unnamed if member not in named),
            *(str(name) for name in retagged if image_path(name) not in charm_paths),
        ]
        if unclear:
            raise ConfigurationError(
                f"{self.label} has images whose names in the registry depend on the charms that "
                f"they were pushed with, and no given charm uses them: {listed(unclear)}",
                "add --charms charms.tar.gz, the archive of those charms",
            )

    def paths(
        self, charms: Sequence[CharmImages], location: RegistryLocation
    ) -> frozenset[ImagePath]:
        """List the paths below the prefix that a push with any of the charms writes.

        Args:
            charms: The images of each archive of charms. The archive of images may have been
                pushed several times, each time with one of them.
            location: The registry prefix.

        Returns:
            The paths.
        """
        by_charms = (name for _, name in self._named_by(charms))
        names = [*self.names, *by_charms, *self.based_on]
        wanted = [image for images in charms for image in images]
        return frozenset(
            (*map(image_path, names), *mirror_paths(names, wanted, location.host).values())
        )

    def _named_by(self, charms: Sequence[CharmImages]) -> Iterable[tuple[str, ImageReference]]:
        """List the unnamed members that are named after images of charms, with these images."""
        for wanted in charms:
            member_names = MemberNames(wanted)
            for member in self.unnamed:
                if name := member_names.find(without_ending(member)):
                    yield member, name


def _parsed(names: Iterable[str]) -> Iterable[ImageReference]:
    references = map(ImageReference.parse, dict.fromkeys(names))
    return (reference for reference in references if reference)


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
    return {repository: frozenset(found) for repository, found in tags.items()}
