"""Digests, blobs and media types, as registries and archives name them.

Sources: OCI Image Specification v1.1 ("Descriptor", "Media Types") and Docker's "Image Manifest
Version 2, Schema 2".
"""

import hashlib
import re
from dataclasses import dataclass

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_GZIP_LAYER = f"{DOCKER_LAYER}.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
"""An uncompressed layer; with the suffix ``+gzip`` or ``+zstd`` a compressed one."""
OCTETS = "application/octet-stream"
"""The content type of an upload."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Blob:
    """The digest and the size of some content.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits.
        size: In bytes.
    """

    digest: str
    size: int


def is_digest(text: str) -> bool:
    """Return whether a text is a SHA-256 digest; no other algorithm is accepted."""
    return _DIGEST.fullmatch(text) is not None


def sha256_of(content: bytes) -> str:
    """Return the digest of some content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_of(content: bytes) -> Blob:
    """Return the digest and the size of some content."""
    return Blob(sha256_of(content), len(content))
