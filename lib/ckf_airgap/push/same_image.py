"""Finds out whether a tag already points to the same image, perhaps with other blobs.

The blobs of layers depend on the archive that they come from: another archive of the same image
may result in other blobs, and so in another manifest.
"""

from collections.abc import Sequence

from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.oci import sha256_of
from ckf_airgap.push.image_manifests import registry_manifest
from ckf_airgap.registry.client import Published, RegistryClient


def present_image(
    client: RegistryClient, repository: str, tag: str, config: str, diff_ids: Sequence[str]
) -> Published | None:
    """Find the manifest of a tag if it is the given image, whatever the blobs of its layers are.

    Args:
        client: The registry.
        repository: The repository.
        tag: The tag.
        config: The digest of the image's config.
        diff_ids: The digests of the uncompressed layers.

    Returns:
        The manifest, if it has this config and this number of layers, and all its blobs exist;
        otherwise None.

    Raises:
        RegistryError: The registry fails.
    """
    try:
        manifest = registry_manifest(client, repository, tag)
    except ArtifactError:
        return None
    if manifest is None:
        return None
    is_same = manifest.config.digest == config and len(manifest.layers) == len(diff_ids)
    digests = {config, *(layer.digest for layer in manifest.layers)}
    if not is_same or not all(client.has_blob(repository, digest) for digest in digests):
        return None
    return Published(sha256_of(manifest.content), is_new=False)
