"""The original names of an archive's images, and which of them the registry can serve."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.naming import image_path, is_retagged, mirror_paths
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests

CONFIGURE_NODES = "configure the nodes with the output of the action mirrors"
"""The cure for a node that does not find an image by its original name."""


@dataclass(frozen=True)
class OriginalNames:
    """The original names of an archive's images.

    Attributes:
        location: The registry prefix.
        paths: Where mirrors find each name, below the prefix.
        unknown: The names whose original registry is unknown.
    """

    location: RegistryLocation
    paths: Mapping[ImageReference, ImagePath]
    unknown: tuple[ImageReference, ...]

    @classmethod
    def of(
        cls,
        inventory: Inventory,
        wanted: Iterable[ImageReference],
        location: RegistryLocation,
    ) -> "OriginalNames":
        """Find the original names.

        Args:
            inventory: The content of the archive.
            wanted: The images that the charms use. They give the original names of images whose
                names in the archive do not contain the registry.
            location: The registry prefix.
        """
        names = [name for image in inventory.images for name in image.names]
        paths = mirror_paths(names, wanted, location.host)
        known = {image_path(name) for name in paths}
        unknown = (name for name in names if is_retagged(name, location.host))
        return cls(
            location, paths, tuple(name for name in unknown if image_path(name) not in known)
        )

    def require_some(self) -> None:
        """Raise an error if there is no original name.

        Raises:
            ArtifactError: There is none, so a mirror would serve no image.
        """
        if not self.paths:
            raise ArtifactError(
                "no image of the archive has a name with its original registry",
                "give the charms that use the images with --charms",
            )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The original registries."""
        return tuple(sorted({mirrored_host(path) for path in self.paths.values()}))

    def lacking(self, client: RegistryClient) -> dict[ImageReference, str]:
        """Look each name up in the registry, as a container runtime does with a mirror.

        Args:
            client: The registry.

        Returns:
            The names that the registry cannot serve, each with the reason.

        Raises:
            RegistryError: The registry fails.
        """
        with concurrent_requests() as map_requests:
            problems = map_requests(partial(self._problem, client), self.paths)
            by_name = zip(self.paths, problems, strict=True)
            return {name: problem for name, problem in by_name if problem}

    def _problem(self, client: RegistryClient, name: ImageReference) -> str:
        path = self.paths[name]
        repository = self.location.repository(path)
        if problem := self.location.length_problem(path):
            return problem
        if client.manifest_digest(repository, name.digest or path.tag):
            return ""
        if name.digest and client.manifest_digest(repository, path.tag):
            return (
                "a runtime asks for it by its digest, which the archive has not kept: the "
                f"registry has only {self.location.reference(path)}"
            )
        return f"the registry has no {self.location.reference(path)}: push the archive again"


def mirrored_host(path: ImagePath) -> str:
    """Return the original registry of an image from the path at which mirrors find it."""
    return path.repository.partition("/")[0]
