"""The target of a push."""

from collections.abc import Iterable
from dataclasses import dataclass

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.inventory import ArchivedImage
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.reference import ImagePath
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.destinations import Destinations
from ckf_airgap.push.layer_uploads import LayerUploads
from ckf_airgap.push.push_records import PushedImage
from ckf_airgap.push.push_state import PushState
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.registry_errors import RefusedError


@dataclass(frozen=True)
class Target:
    """The target of a push.

    Attributes:
        client: The registry.
        location: The registry prefix of the images.
        state: What this push and earlier ones have pushed there.
        member_names: Names the images that have no names in the archive.
        layers: Finds and sends layers.
        destinations: Chooses repositories for layers whose image is not known yet.
    """

    client: RegistryClient
    location: RegistryLocation
    state: PushState
    member_names: MemberNames
    layers: LayerUploads
    destinations: Destinations

    def repositories(self, paths: Iterable[ImagePath]) -> list[str]:
        """List the repositories of some paths, without those whose names are too long."""
        fit = (path for path in paths if not self.location.length_problem(path))
        return list(dict.fromkeys(map(self.location.repository, fit)))

    def is_there(self, pushed: PushedImage) -> bool:
        """Return whether the registry still has a pushed image under all of its paths."""
        try:
            return all(
                self.client.manifest_digest(self.location.repository(path), path.tag) == digest
                for path, digest in pushed.manifests.items()
            )
        except RefusedError:
            # The push of this image reports it.
            return False

    def is_named_otherwise(self, image: ArchivedImage) -> bool:
        """Return whether an image was recorded without a name, and a wanted image names it now."""
        member = without_ending(image.member)
        return not image.names and self.member_names.find(member) is not None
