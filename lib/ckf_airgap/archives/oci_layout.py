"""The documents of an OCI image layout: ``index.json``, indexes, manifests.

The format is described in the OCI Image Specification v1.1 ("Image Layout", "Image Index", "Image
Manifest", "Descriptor"). Manifests, nested indexes, configs and layers are files
``blobs/<algorithm>/<digest>``; an archive may contain these in any order.
"""

import re
from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.archives.image_config import MOST_LAYERS
from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.untrusted_json import (
    items_of,
    member_of,
    parse_object,
    text_of,
    word_of,
)
from ckf_airgap.images.oci import DOCKER_CONFIG, OCI_CONFIG, OCI_MANIFEST, is_digest, sha256_of

INDEX = "index.json"
MARKER = "oci-layout"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
"""The annotation with a name; the specification allows a whole reference or only a tag."""
ORIGINAL_MANIFEST = "ckf-airgap.original-manifest"
"""The annotation with the digest of the image's manifest in its registry, if the index lists a
converted manifest because tools cannot read the original format in a layout. The original manifest
is a blob of the layout, too."""
REPACK = "make the archive again (ckf-airgap pack --format oci, or skopeo copy)"
"""The cure for a damaged image of a layout."""

# The annotation with the whole reference, which containerd and docker write.
_CONTAINERD_NAME = "io.containerd.image.name"
_BLOB = re.compile(r"(?:.*/)?blobs/([a-z0-9]+)/([0-9a-f]{32,128})")
_ANY_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,128}")
_IMAGE_CONFIG_TYPES = (
    "",
    OCI_CONFIG,
    DOCKER_CONFIG,
)
_LAYER_TYPES = re.compile(
    r"|application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+](?:gzip|zstd))?"
)
_ATTESTATION = ("vnd.docker.reference.type", "attestation-manifest")
_UNKNOWN = "unknown"
_MOST_SHOWN = 100


def blob_digest(path: str) -> str | None:
    """Return the digest in the path of a blob; None for other paths."""
    match = _BLOB.fullmatch(path)
    return f"{match[1]}:{match[2]}" if match else None


@dataclass(frozen=True)
class Descriptor:
    """An entry of an index: a manifest, or another index.

    Attributes:
        digest: Its digest; that of the original manifest if ``ORIGINAL_MANIFEST`` gives one.
        name: Its name, a whole reference; empty if the index gives none.
        platform: Operating system, architecture and variant, as far as given.
        is_attestation: Whether it describes another manifest, such as BuildKit's provenance.
    """

    digest: str
    name: str
    platform: str
    is_attestation: bool

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.name or self.digest


@dataclass(frozen=True)
class BlobDescriptor:
    """An entry of a manifest: its config or a layer.

    Attributes:
        digest: Its digest.
        size: Its size in bytes.
        media_type: Its media type; empty if not given.
    """

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class OciManifest:
    """The manifest of an image, or of an artifact.

    Attributes:
        content: The bytes of the manifest.
        media_type: Its media type.
        config: Its config.
        layers: Its layers, base layer first.
        artifact_type: The type of an artifact, for example ``text/spdx+json``; empty for an image.
    """

    content: bytes
    media_type: str
    config: BlobDescriptor
    layers: tuple[BlobDescriptor, ...]
    artifact_type: str

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return sha256_of(self.content)


def read_index(content: bytes, what: str) -> list[Descriptor] | None:
    """Read an index.

    Args:
        content: The document.
        what: Describes it in messages.

    Returns:
        Its entries; None if the document is not an index.

    Raises:
        ArtifactError: It is damaged.
    """
    document = parse_object(content, what, REPACK)
    if "manifests" not in document:
        return None
    try:
        return [_descriptor(entry) for entry in items_of(document, "manifests")]
    except TypeError as error:
        raise ArtifactError(f"{what} is damaged ({error})", REPACK) from error


def read_manifest(content: bytes, name: str) -> "OciManifest | list[Descriptor]":
    """Read the document of an entry of an index.

    Args:
        content: The document.
        name: The image, for messages.

    Returns:
        The manifest, or the entries of another index.

    Raises:
        ArtifactError: It is damaged, or neither a manifest nor an index.
    """
    what = f"the manifest of {name}"
    entries = read_index(content, what)
    if entries is not None:
        return entries
    document = parse_object(content, what, REPACK)
    try:
        layers = tuple(_blob(layer) for layer in items_of(document, "layers"))
        if len(layers) > MOST_LAYERS:
            raise TypeError(f"{len(layers)} layers are too many")
        config = _blob(document.get("config"))
    except TypeError as error:
        raise ArtifactError(f"{what} is damaged ({error})", REPACK) from error
    return OciManifest(
        content,
        word_of(document, "mediaType") or OCI_MANIFEST,
        config,
        layers,
        _artifact_type(document, config, layers),
    )


def _artifact_type(
    document: dict[str, Any], config: BlobDescriptor, layers: tuple[BlobDescriptor, ...]
) -> str:
    """Return the type of an artifact ("Guidelines for Artifact Usage"); empty for an image."""
    if config.media_type not in _IMAGE_CONFIG_TYPES:
        return word_of(document, "artifactType") or config.media_type
    types = [layer.media_type for layer in layers]
    unknown = [media_type for media_type in types if not _LAYER_TYPES.fullmatch(media_type)]
    # In an image, some layers may have unknown media types; in an artifact, all have.
    return unknown[0] if unknown and len(unknown) == len(layers) else ""


def _descriptor(entry: object) -> Descriptor:
    if not isinstance(entry, dict):
        raise TypeError(f"{str(entry)[:_MOST_SHOWN]} is not a descriptor")
    fields = cast(dict[str, Any], entry)
    annotations = member_of(fields, "annotations")
    platform = member_of(fields, "platform")
    parts = [word_of(platform, key) for key in ("os", "architecture", "variant")]
    return Descriptor(
        _digest(text_of(annotations, ORIGINAL_MANIFEST) or fields.get("digest")),
        _name(annotations),
        "/".join(filter(None, parts)),
        text_of(annotations, _ATTESTATION[0]) == _ATTESTATION[1] or _UNKNOWN in parts,
    )


def _name(annotations: dict[str, Any]) -> str:
    """Return the name of an image; a tag alone is not a name."""
    whole = text_of(annotations, _CONTAINERD_NAME)
    if whole:
        return whole
    name = text_of(annotations, REFERENCE_NAME)
    return name if "/" in name or ":" in name or "@" in name else ""


def _blob(value: object) -> BlobDescriptor:
    fields: dict[str, Any] = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    size = fields.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise TypeError(f"{str(fields)[:_MOST_SHOWN]} is not a descriptor")
    return BlobDescriptor(_digest(fields.get("digest")), size, word_of(fields, "mediaType"))


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _ANY_DIGEST.fullmatch(value):
        raise TypeError(f"{str(value)[:_MOST_SHOWN]} is not a digest")
    if not is_digest(value):
        algorithm = value.partition(":")[0]
        raise TypeError(
            f"blobs have {algorithm} digests, which registries do not accept; skopeo copy makes "
            "sha256 digests"
        )
    return value
