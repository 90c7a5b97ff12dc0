"""Finds the tags and digests in the registry that a cluster may use."""

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
        The tags and digests, with the resources that use them.
    """
    tags: dict[tuple[str, str], str] = {}
    digests: dict[str, str] = {}
    pulled: dict[str, set[str]] = {}
    for image in images:
        reference = ImageReference.parse(image.image)
        candidates = (image.digest, (reference and reference.digest) or "", image.image)
        known = [digest for digest in candidates if is_digest(digest)]
        for digest in known:
            digests.setdefault(digest, image.user)
        for repository, tag in _possible_tags(reference, location) if reference else ():
            tags.setdefault((repository, tag), image.user)
            pulled.setdefault(repository, set()).update(known)
    return UsedImages(tags, digests, pulled)


def _possible_tags(
    reference: ImageReference, location: RegistryLocation
) -> Iterable[tuple[str, str]]:
    """List the repositories and tags that a reference may point to."""
    _, upstream = reference.upstream
    yield upstream.repository, upstream.tag
    # Nodes with a mirror configuration pull an image by its original name.
    for path in (image_path(reference), mirror_path(reference)):
        if path:
            yield location.repository(path), path.tag
