"""The manifests that are published."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.oci_layout import OCI_MANIFEST
from ckf_airgap.registry.client import Blob
from ckf_airgap.registry.push_state import StoredLayer


@dataclass(frozen=True)
class _MediaTypes:
    manifest: str
    config: str
    layers: Mapping[Compression, str]


_DOCKER = _MediaTypes(
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    {Compression.GZIP: "application/vnd.docker.image.rootfs.diff.tar.gzip"},
)
_OCI = _MediaTypes(
    OCI_MANIFEST,
    "application/vnd.oci.image.config.v1+json",
    {
        Compression.NONE: "application/vnd.oci.image.layer.v1.tar",
        Compression.GZIP: "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression.ZSTD: "application/vnd.oci.image.layer.v1.tar+zstd",
    },
)


@dataclass(frozen=True)
class Manifest:
    """A manifest as it is published.

    Attributes:
        media_type: Its media type.
        content: Its bytes.
    """

    media_type: str
    content: bytes


def make_manifest(config: Blob, layers: Sequence[StoredLayer]) -> Manifest:
    """Make the manifest of an image.

    That of Docker (Image Manifest Version 2, Schema 2) is taken by every registry; it has no name
    for layers that are not compressed with gzip, which that of OCI has (Image Specification,
    "Image Manifest").

    Args:
        config: The image's config.
        layers: Its layers, base layer first.

    Returns:
        The manifest.
    """
    are_gzip = all(layer.compression is Compression.GZIP for layer in layers)
    types = _DOCKER if are_gzip else _OCI
    document = {
        "schemaVersion": 2,
        "mediaType": types.manifest,
        "config": {"mediaType": types.config, "size": config.size, "digest": config.digest},
        "layers": [
            {
                "mediaType": types.layers[layer.compression],
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
            for layer in layers
        ],
    }
    return Manifest(types.manifest, json.dumps(document, indent=2).encode())
