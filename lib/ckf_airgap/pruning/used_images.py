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
    for each in images:
        reference = ImageReference.parse(each.image)
        known = (each.digest, reference.digest if reference else "", each.image)
        for digest in known:
            if digest and is_digest(digest):
                digests.setdefault(digest, each.user)
        if reference is None:
            continue
        _, upstream = reference.upstream
        tags.setdefault((upstream.repository, upstream.tag), each.user)
        # Nodes with a mirror configuration pull an image by its original name.
        for path in (image_path(reference), mirror_path(reference)):
            if path:
                tags.setdefault((location.repository(path), path.tag), each.user)
    return UsedImages(tags, digests)
