"""The state of a push, kept in a journal so that the next push continues."""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.image_sink import NestedArchive, PassedOver
from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.sources import FileSource, Source
from ckf_airgap.files.journal import Journal
from ckf_airgap.push.push_records import (
    ArchiveRecord,
    CompleteRecord,
    CopyRecord,
    ImageRecord,
    LayerRecord,
    LostRecord,
    NameRecord,
    NestedRecord,
    PushedImage,
    Record,
    RecordedState,
    StoredLayer,
    read_record,
    write_record,
)

_FORMAT = 6


def state_file_beside(archive: Source) -> Path | None:
    """Return the path of the journal beside an archive.

    Args:
        archive: The archive.

    Returns:
        The path; None if the archive is not a file, or its directory is not writable.
    """
    if isinstance(archive, FileSource) and os.access(archive.path.parent, os.W_OK):
        return archive.path.with_name(f"{archive.name}.pushed")
    return None


class PushState:
    """The state of the push of one archive into one registry.

    Layers stay in the journal when the archive changes: the next release has most of them. Every
    method that records something raises StorageError if the journal cannot be written.

    Attributes:
        notice: A line for the operator if a part of the journal is ignored; otherwise empty.
    """

    def __init__(self, path: Path, registry: str, archive: str, *, key: bytes = b"") -> None:
        """Read the journal.

        Args:
            path: The file. It need not exist; its directory must.
            registry: Identifies the registry prefix. The journal of another prefix is ignored,
                and replaced by the first record; the push then only sends more.
            archive: Identifies the archive. From the journal of another archive, only the layers
                are used.
            key: The key of the journal's seals.

        Raises:
            ConfigurationError: The path is not a regular file of this user.
        """
        self._known = RecordedState()
        header = {"format": _FORMAT, "registry": registry}
        self._journal = Journal(path, header, self._apply, "what has been pushed", key=key)
        self._lock = threading.Lock()
        self.notice = ""
        if self._journal.problem:
            effect = "the part before it is used" if self._known.layers else "it is started anew"
            self.notice = f"{path}: {self._journal.problem}; {effect}"
        # Written with the first record of this archive: reading alone changes nothing.
        self._unwritten_archive = archive if archive != self._known.archive else None
        if self._unwritten_archive is not None:
            ArchiveRecord(archive).apply(self._known)
        # Without the layers that this push adds: when they arrive depends on timing.
        self._gzip_by_diff_id = {
            layer.diff_id: layer
            for layer in self._known.layers.values()
            if layer.diff_id and layer.compression is Compression.GZIP
        }

    @property
    def is_complete(self) -> bool:
        """Whether the archive has been read to its end, without damage and conflicts."""
        return self._known.is_complete

    @property
    def has_layers(self) -> bool:
        """Whether the journal has any layer, of this archive or of another."""
        return bool(self._known.layers)

    @property
    def inventory(self) -> Inventory:
        """The finished images and the skipped files of the archive."""
        listed = [pushed.image for pushed in self._known.images.values()]
        return Inventory(
            tuple(image for image in listed if not image.artifact_type),
            artifacts=tuple(image for image in listed if image.artifact_type),
            passed_over=self._known.passed_over,
        )

    @property
    def images(self) -> Mapping[str, PushedImage]:
        """The finished images, by their keys in the archive."""
        return self._known.images

    def images_of(self, nested: NestedArchive) -> Sequence[str] | None:
        """Return the keys of the images of a nested archive; None if it is not finished."""
        return self._known.nested.get(nested)

    def layer_of(self, digest: str) -> StoredLayer | None:
        """Find a layer whose content was decoded, by its digest in the archive.

        Archives can have the same content with different compressions. The blob that an earlier
        push stored is used for all of them.
        """
        found = self._known.compressed.get(digest) or self._known.layers.get(digest)
        if found and found.diff_id and found.compression is not Compression.NONE:
            return found
        before = self._gzip_by_diff_id.get(digest)
        return before if before and before.blob.digest in self._known.layers else None

    def blob(self, digest: str) -> StoredLayer | None:
        """Find a layer by the digest of its blob."""
        return self._known.layers.get(digest)

    def layer_at(self, place: str) -> StoredLayer | None:
        """Find the layer at a location in this archive."""
        return self._known.layers.get(self._known.places.get(place, ""))

    def layer_named(self, name: str) -> StoredLayer | None:
        """Find a layer by the name that identifies it in several archives."""
        return self._known.layers.get(self._known.names.get(name, ""))

    def is_ambiguous(self, name: str) -> bool:
        """Return whether several layers are known to have the same name."""
        return self._known.names.get(name) == ""

    def repositories(self, digest: str) -> Sequence[str]:
        """List the repositories that have the blob of a layer, the latest first."""
        # Copied in one step: other threads may add repositories.
        return tuple(self._known.repositories.get(digest, {}))[::-1]

    def add_layer(self, layer: StoredLayer, place: str, repositories: Iterable[str]) -> None:
        """Record a layer, its location in the archive, and its repositories."""
        self._add(LayerRecord(layer, place))
        for repository in repositories:
            self.add_repository(layer.blob.digest, repository)

    def add_repository(self, digest: str, repository: str) -> None:
        """Record that a repository has the blob of a layer."""
        if repository not in self._known.repositories.get(digest, {}):
            self._add(CopyRecord(digest, repository))

    def forget_layer(self, digest: str) -> None:
        """Forget a layer whose blob no repository has any longer."""
        self._add(LostRecord(digest))

    def add_name(self, name: str, layer: StoredLayer) -> None:
        """Record the name of a layer, unless the name is recorded already."""
        if name not in self._known.names:
            self._add(NameRecord(name, layer.blob.digest))

    def mark_ambiguous(self, name: str) -> None:
        """Record that a name is ambiguous: several layers have it."""
        self._add(NameRecord(name, ""))

    def add_image(self, key: str, pushed: PushedImage) -> None:
        """Record that an image is finished."""
        self._add(ImageRecord.of(key, pushed))

    def add_nested(self, nested: NestedArchive, images: Sequence[str]) -> None:
        """Record that all images of a nested archive are finished."""
        self._add(NestedRecord(nested, tuple(images)))

    def complete(self, passed_over: Sequence[PassedOver]) -> None:
        """Record that the archive was read to its end, and which of its files are not pushed."""
        if not self._known.is_complete:
            self._add(CompleteRecord(tuple(passed_over)))

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        self._journal.close()

    def _add(self, record: Record) -> None:
        with self._lock:
            if self._unwritten_archive is not None:
                self._journal.add(write_record(ArchiveRecord(self._unwritten_archive)))
                self._unwritten_archive = None
        self._journal.add(write_record(record))

    def _apply(self, document: Mapping[str, Any]) -> None:
        read_record(document).apply(self._known)
