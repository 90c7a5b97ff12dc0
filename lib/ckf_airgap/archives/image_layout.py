"""An OCI image layout as it comes by in a tar archive.

The format is described in the OCI Image Specification v1.1, "Image Layout": ``index.json`` names
the manifests, a manifest names its config and its layers, and all of these are files
``blobs/sha256/<digest>``. They may stand in any order; in archives that ``ckf-airgap pack`` makes
everything but the layers comes first.
"""

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.saved_images import read_config
from ckf_airgap.archives.tar_stream import MemberKind, TarMember
from ckf_airgap.errors import ArtifactError

_BLOB = re.compile(r"(?:.*/)?blobs/(sha256)/([0-9a-f]{64})")
_INDEX = "index.json"
_MARKER = "oci-layout"
_LARGEST_DOCUMENT = 8 * 1024 * 1024
_LARGEST_DOCUMENTS = 128 * 1024 * 1024
_HEAD = 512
# The name with its host, as containerd and docker write it; then the standard's, of which the
# specification leaves open how much of a name it is.
REFERENCE_NAME = "org.opencontainers.image.ref.name"
_NAMES = ("io.containerd.image.name", REFERENCE_NAME)
ORIGINAL_MANIFEST = "ckf-airgap.original-manifest"
"""The annotation with the digest of the manifest that the image had in its registry, where that
one is of a kind that tools do not find in a layout. It is a blob of the layout too."""
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
"""The media type of a manifest."""
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_CURE = "make the archive again (ckf-airgap pack --format oci)"


def belongs_to_layout(member: TarMember) -> bool:
    """Tell whether a member is one of an image layout, by its name."""
    path = posixpath.normpath(member.name)
    return posixpath.basename(path) in (_INDEX, _MARKER) or bool(blob_digest(path))


def blob_digest(path: str) -> str | None:
    """Give the digest of the blob that stands at a path; None where none does."""
    match = _BLOB.fullmatch(posixpath.normpath(path))
    return f"{match[1]}:{match[2]}" if match else None


@dataclass(frozen=True)
class LayoutImage:
    """An image of a layout.

    Attributes:
        number: Which of the layout's images it is.
        name: What the index calls it; empty where it does not.
        manifest: Its manifest, byte for byte.
        media_type: The manifest's media type.
        config: Its config, byte for byte.
        layers: The digests of its layers with their sizes in bytes, base layer first.
        architecture: Its CPU architecture.
    """

    number: int
    name: str
    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[tuple[str, int], ...]
    architecture: str

    @property
    def image_id(self) -> str:
        """The digest of its config."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    @property
    def label(self) -> str:
        """What to call it in messages."""
        digest = hashlib.sha256(self.manifest).hexdigest()
        return self.name or f"blobs/sha256/{digest}"


@dataclass(frozen=True)
class Descriptor:
    """What ``index.json`` says of one image.

    Attributes:
        number: Which of its images it is.
        name: The image's name, or an empty string.
        digest: The digest of the manifest.
        media_type: The manifest's media type, as far as it is said.
    """

    number: int
    name: str
    digest: str
    media_type: str

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.name or self.digest


class ImageLayout:
    """What has been seen of a layout: its documents in memory, of its layers nothing."""

    def __init__(self, archive: str) -> None:
        """Begin to read one.

        Args:
            archive: Its name, for messages.
        """
        self._archive = archive
        self._documents: dict[str, bytes] = {}
        self._size = 0
        self._index: list[Descriptor] | None = None

    def take(self, member: TarMember) -> bytes | None:
        """Take a member, if it is a document.

        Args:
            member: The member, of which nothing has been read.

        Returns:
            None where it was taken, or is of no interest; its first bytes where it is a layer.

        Raises:
            ArtifactError: It is damaged.
        """
        path = posixpath.normpath(member.name)
        if member.kind is not MemberKind.FILE:
            return None
        digest = blob_digest(path)
        if digest is None and posixpath.basename(path) != _INDEX:
            return None
        head = member.read(_HEAD)
        if not head.startswith((b"{", b"[")) or member.size > _LARGEST_DOCUMENT:
            if digest is None:
                raise ArtifactError(f"{_INDEX} in {self._archive} is not an index", _CURE)
            return head
        content = head + b"".join(iter(lambda: member.read(READ_SIZE), b""))
        self._size += len(content)
        if self._size > _LARGEST_DOCUMENTS:
            raise ArtifactError(f"{self._archive} holds too many JSON files", _CURE)
        if digest is None:
            self._index = self._read_index(content)
        else:
            self._documents[digest] = content
        return None

    def document(self, digest: str) -> bytes | None:
        """Give a blob that was taken for a document, which a layer may look like."""
        return self._documents.get(digest)

    @property
    def index(self) -> list[Descriptor]:
        """The images that the index names.

        Raises:
            ArtifactError: No index has come by.
        """
        if self._index is None:
            raise ArtifactError(
                f"{self._archive} holds neither docker save archives nor the {_INDEX} of an OCI "
                "image layout",
                _CURE,
            )
        return self._index

    @property
    def is_known(self) -> bool:
        """Whether all has come by that tells which image has which layers."""
        if self._index is None:
            return False
        for descriptor in self._index:
            manifest = self._documents.get(descriptor.digest)
            if manifest is None:
                return False
            config = _config_digest(manifest)
            if config and config not in self._documents:
                return False
        return True

    def image(self, descriptor: Descriptor) -> LayoutImage:
        """Give an image.

        Args:
            descriptor: What the index says of it.

        Raises:
            ArtifactError: It is damaged or incomplete.
        """
        name = descriptor.label
        if descriptor.media_type in _INDEX_TYPES:
            raise self._several_architectures(name)
        content = self._sound(descriptor.digest, "the manifest", name)
        try:
            document = cast(dict[str, Any], json.loads(content))
            if "manifests" in document:
                raise self._several_architectures(name)
            config = str(document["config"]["digest"])
            layers = tuple(
                (_digest(layer["digest"]), int(layer["size"])) for layer in document["layers"]
            )
            media_type = str(document.get("mediaType") or descriptor.media_type or OCI_MANIFEST)
        except _DAMAGE as error:
            raise ArtifactError(f"the manifest of {name} is damaged ({error})", _CURE) from error
        text = self._sound(config, "the config", name)
        _, architecture = read_config(text, name)
        return LayoutImage(
            descriptor.number,
            descriptor.name,
            content,
            media_type,
            text,
            layers,
            architecture,
        )

    def _sound(self, digest: str, what: str, name: str) -> bytes:
        content = self._documents.get(digest)
        if content is None:
            raise ArtifactError(f"{self._archive} lacks {what} of {name}, {digest}", _CURE)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ArtifactError(f"{what} of {name} is damaged: it is not {digest}", _CURE)
        return content

    def _read_index(self, content: bytes) -> list[Descriptor]:
        try:
            entries = cast(list[dict[str, Any]], json.loads(content)["manifests"])
            return [
                Descriptor(
                    number,
                    _name(entry),
                    _annotation(entry, ORIGINAL_MANIFEST) or str(entry["digest"]),
                    str(entry.get("mediaType") or ""),
                )
                for number, entry in enumerate(entries)
            ]
        except _DAMAGE as error:
            raise ArtifactError(
                f"{_INDEX} in {self._archive} is damaged ({error})", _CURE
            ) from error

    def _several_architectures(self, name: str) -> ArtifactError:
        return ArtifactError(
            f"{name} stands for several CPU architectures in {self._archive}",
            "pack it for one (ckf-airgap pack --architecture, skopeo copy without --all)",
        )


def _name(entry: dict[str, Any]) -> str:
    return next(filter(None, (_annotation(entry, key) for key in _NAMES)), "")


def _annotation(entry: dict[str, Any], key: str) -> str:
    annotations = cast(dict[str, Any], entry.get("annotations") or {})
    return str(annotations.get(key) or "")


def _digest(value: object) -> str:
    """See that a digest is one of those that blobs of a layout have."""
    if blob_digest(f"blobs/{str(value).replace(':', '/', 1)}") != value:
        raise ValueError(f"{str(value)[:100]} is not a digest")
    return str(value)


def _config_digest(manifest: bytes) -> str | None:
    try:
        return str(json.loads(manifest)["config"]["digest"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
