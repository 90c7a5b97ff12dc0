"""The manifests that are published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ckf_airgap.registry.client import Blob
from ckf_airgap.registry.push_state import StoredLayer


@dataclass(frozen=True)
class _MediaTypes:
    manifest: str
    config: str
    gzip_layer: str
    zstd_layer: str


_DOCKER = _MediaTypes(
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "",
)
_OCI = _MediaTypes(
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
)


def make_manifest(config: Blob, layers: Sequence[StoredLayer]) -> dict[str, Any]:
    """Make the manifest of an image.

    That of Docker (Image Manifest Version 2, Schema 2) is taken by every registry; it has no name
    for layers compressed with Zstandard, which that of OCI has (Image Specification, "Image
    Manifest").

    Args:
        config: The image's config.
        layers: Its layers, base layer first.

    Returns:
        The manifest, of the kind that its ``mediaType`` says.
    """
    types = _OCI if any(layer.is_zstd for layer in layers) else _DOCKER
    return {
        "schemaVersion": 2,
        "mediaType": types.manifest,
        "config": {"mediaType": types.config, "size": config.size, "digest": config.digest},
        "layers": [
            {
                "mediaType": types.zstd_layer if layer.is_zstd else types.gzip_layer,
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
            for layer in layers
        ],
    }
