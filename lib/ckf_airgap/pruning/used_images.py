"""Finds the images that a cluster uses in the registry."""

from collections.abc import Iterable

from ckf_airgap.images.naming import image_path, mirror_path
from ckf_airgap.images.oci import is_digest
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.images_in_use import UsedImage
from ckf_airgap.pruning.prune_plan import UsedImages


def used_images(images: Iterable[UsedImage], location: RegistryLocation) -> UsedImages:
    """Find all tags and digests that the cluster's image references may point to.

    The host in a reference does not matter: nodes may reach the registry under another name.

    Args:
        images: The images that the cluster uses.
        location: The registry prefix.

    Returns:
        The tags and digests, with their users.
    """
    tags: dict[tuple[str, str], str] = {}
    digests: dict[str, str] = {}
    pulled: dict[str, set[str]] = {}
    for each in images:
        reference = ImageReference.parse(each.image)
        named = (each.digest, (reference and reference.digest) or "", each.image)
        known = [digest for digest in named if is_digest(digest)]
        for digest in known:
            digests.setdefault(digest, each.user)
        for repository, tag in _places(reference, location) if reference else ():
            tags.setdefault((repository, tag), each.user)
            pulled.setdefault(repository, set()).update(known)
    return UsedImages(tags, digests, pulled)


def _places(reference: ImageReference, location: RegistryLocation) -> Iterable[tuple[str, str]]:
    """List the repositories and tags that a reference may point to."""
    _, upstream = reference.upstream
    yield upstream.repository, upstream.tag
    # Nodes with a mirror configuration pull an image by its original name.
    for path in (image_path(reference), mirror_path(reference)):
        if path:
            yield location.repository(path), path.tag
