"""Digests, blobs and media types, as registries and archives name them.

Sources: OCI Image Specification v1.1 ("Descriptor", "Media Types") and Docker's "Image Manifest
Version 2, Schema 2".
"""

import hashlib
import re
from dataclasses import dataclass

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_GZIP_LAYER = f"{DOCKER_LAYER}.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
"""A layer that is not compressed; ``+gzip`` or ``+zstd`` behind it where it is."""
OCTETS = "application/octet-stream"
"""What a blob is sent as."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """Content by its digest and size.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: Their number.
    """

    digest: str
    size: int


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 digest, the only algorithm that is accepted."""
    return _DIGEST.fullmatch(text) is not None


def sha256_of(content: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_of(content: bytes) -> Blob:
    """Return the descriptor of some bytes."""
    return Blob(sha256_of(content), len(content))
