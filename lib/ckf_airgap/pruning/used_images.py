"""Where the images that a cluster uses are in the registry."""

from collections.abc import Iterable

from ckf_airgap.images.naming import image_path, mirror_path
from ckf_airgap.images.oci import is_digest
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.images_in_use import UsedImage
from ckf_airgap.pruning.prune_plan import UsedImages


def used_images(images: Iterable[UsedImage], location: RegistryLocation) -> UsedImages:
    """Find all places at which the images may be, whatever name the cluster gives the registry.

    Args:
        images: The images of the cluster.
        location: The registry prefix.
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
        # Nodes with a mirror configuration pull it by its original name.
        for path in (image_path(reference), mirror_path(reference)):
            if path:
                tags.setdefault((location.repository(path), path.tag), each.user)
    return UsedImages(tags, digests)
