"""The records of the journal of a push.

Applied in order, they result in the state of the push.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.image_sink import NestedArchive, PassedOver
from ckf_airgap.archives.inventory import ArchivedImage
from ckf_airgap.images.oci import Blob, is_digest
from ckf_airgap.images.reference import ImagePath, is_repository


@dataclass(frozen=True)
class StoredLayer:
    """A layer in the registry.

    Attributes:
        blob: The stored blob.
        source: The digest of the layer in the archive: that of the blob if it is stored
            unchanged, otherwise that of the content that the push compressed.
        diff_id: The digest of its uncompressed content; empty if it was never decoded.
        compression: Its compression.
    """

    blob: Blob
    source: str
    diff_id: str
    compression: Compression

    @classmethod
    def unread(cls, blob: Blob, compression: Compression) -> "StoredLayer":
        """Describe a blob that is stored unchanged, and was not decoded."""
        is_plain = compression is Compression.NONE
        return cls(blob, blob.digest, blob.digest if is_plain else "", compression)


@dataclass(frozen=True)
class PushedImage:
    """A finished image of the archive: it is in the registry, or has no name to push it under.

    Attributes:
        image: The image.
        manifests: The digest of its manifest under each path that it owns; empty if it owns none,
            because it has no name or repeats an earlier image of the archive.
    """

    image: ArchivedImage
    manifests: Mapping[ImagePath, str]


@dataclass
class RecordedState:
    """The state of a push.

    Attributes:
        archive: The archive to which images and places belong.
        layers: The layers in the registry, by the digest of their blobs.
        compressed: The layers that the push compressed, by the digest of the uncompressed layer.
        repositories: The repositories that have a blob, in the order in which they got it, by the
            digest of the blob.
        names: The digest of the blob for each name that identifies a layer in several archives;
            empty if the name is ambiguous.
        places: The digest of the blob for each location in the archive.
        images: The finished images, by their keys in the archive.
        nested: The keys of the images of each finished nested archive.
        passed_over: The files of the archive that are not pushed.
        is_complete: Whether the archive was read to its end.
    """

    archive: str = ""
    layers: dict[str, StoredLayer] = field(default_factory=dict[str, StoredLayer])
    compressed: dict[str, StoredLayer] = field(default_factory=dict[str, StoredLayer])
    repositories: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    names: dict[str, str] = field(default_factory=dict[str, str])
    places: dict[str, str] = field(default_factory=dict[str, str])
    images: dict[str, PushedImage] = field(default_factory=dict[str, PushedImage])
    nested: dict[NestedArchive, tuple[str, ...]] = field(
        default_factory=dict[NestedArchive, tuple[str, ...]]
    )
    passed_over: tuple[PassedOver, ...] = ()
    is_complete: bool = False


class ArchiveRecord(msgspec.Struct, frozen=True, tag="archive"):
    """The archive that the following images and places belong to."""

    version: str

    def apply(self, known: RecordedState) -> None:
        """Forget the images and places of the previous archive."""
        known.archive = self.version
        known.places.clear()
        known.images.clear()
        known.nested.clear()
        known.passed_over = ()
        known.is_complete = False


class LayerRecord(msgspec.Struct, frozen=True, tag="layer"):
    """A layer in the registry, and its location in the archive."""

    layer: StoredLayer
    place: str

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        layer = self.layer
        for digest in filter(None, (layer.source, layer.diff_id)):
            _checked(digest)
        known.layers[_checked(layer.blob.digest)] = layer
        if layer.source != layer.blob.digest:
            known.compressed[layer.source] = layer
        known.places[self.place] = layer.blob.digest


class CopyRecord(msgspec.Struct, frozen=True, tag="copy"):
    """A repository that has the blob of a layer."""

    digest: str
    repository: str

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        if not is_repository(self.repository):
            raise ValueError("not a repository name")
        known.repositories.setdefault(_checked(self.digest), {})[self.repository] = None


class LostRecord(msgspec.Struct, frozen=True, tag="lost"):
    """A layer that no repository has any longer."""

    digest: str

    def apply(self, known: RecordedState) -> None:
        """Forget it."""
        if layer := known.layers.pop(self.digest, None):
            known.compressed.pop(layer.source, None)
        known.repositories.pop(self.digest, None)


class NameRecord(msgspec.Struct, frozen=True, tag="name"):
    """A name of a layer in several archives; without a digest, the name is ambiguous."""

    name: str
    digest: str

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        known.names[self.name] = _checked(self.digest) if self.digest else ""


class ImageRecord(msgspec.Struct, frozen=True, tag="image"):
    """A finished image, with the repository, tag and digest of each of its manifests."""

    key: str
    image: ArchivedImage
    manifests: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, key: str, pushed: PushedImage) -> "ImageRecord":
        """Make the record of an image."""
        paths = pushed.manifests.items()
        manifests = tuple((path.repository, path.tag, digest) for path, digest in paths)
        return cls(key, pushed.image, manifests)

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        manifests = {
            ImagePath(name, tag): _checked(digest) for name, tag, digest in self.manifests
        }
        known.images[self.key] = PushedImage(self.image, manifests)


class NestedRecord(msgspec.Struct, frozen=True, tag="nested"):
    """A nested archive whose images are all finished."""

    archive: NestedArchive
    images: tuple[str, ...]

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        known.nested[self.archive] = self.images


class CompleteRecord(msgspec.Struct, frozen=True, tag="complete"):
    """The archive was read to its end."""

    passed_over: tuple[PassedOver, ...]

    def apply(self, known: RecordedState) -> None:
        """Remember it."""
        known.passed_over = self.passed_over
        known.is_complete = True


Record = (
    ArchiveRecord
    | LayerRecord
    | CopyRecord
    | LostRecord
    | NameRecord
    | ImageRecord
    | NestedRecord
    | CompleteRecord
)


def read_record(document: object) -> Record:
    """Read a record.

    Args:
        document: The record as JSON values.

    Raises:
        ValueError: It is not a record.
    """
    try:
        return msgspec.convert(document, type=Record)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def write_record(record: Record) -> dict[str, Any]:
    """Return a record as JSON values."""
    return msgspec.to_builtins(record)


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise ValueError("not a digest")
    return digest
