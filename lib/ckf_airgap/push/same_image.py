"""Whether a tag stands for an image already, with other blobs of the same layers.

The blobs of an image depend on the archive that they were taken from. An archive that is made anew
gives other ones for the same layers, and so another manifest for the same image.
"""

from collections.abc import Sequence

from ckf_airgap.archives.oci_layout import OciManifest, read_manifest
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.oci import sha256_of
from ckf_airgap.registry.client import Published, RegistryClient


def present_image(
    client: RegistryClient, repository: str, tag: str, config: str, diff_ids: Sequence[str]
) -> Published | None:
    """Look whether a tag stands for an image, whatever its layers are stored as.

    Args:
        client: The registry.
        repository: The repository.
        tag: The tag.
        config: The digest of the config of the image, which says what its layers hold.
        diff_ids: The digests of their content.

    Returns:
        What the tag stands for, where that has this config, as many layers, and all blobs are
        there; else None.

    Raises:
        RegistryError: The registry fails.
    """
    content = client.read_manifest(repository, tag)
    try:
        manifest = read_manifest(content, tag) if content else None
    except ArtifactError:
        return None
    if not isinstance(manifest, OciManifest) or not content:
        return None
    is_same = manifest.config.digest == config and len(manifest.layers) == len(diff_ids)
    digests = {config, *(layer.digest for layer in manifest.layers)}
    if not is_same or not all(client.has_blob(repository, digest) for digest in digests):
        return None
    return Published(sha256_of(content), is_new=False)
