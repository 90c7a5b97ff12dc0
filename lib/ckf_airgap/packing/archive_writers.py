"""Writes images.tar.gz: each layer to its offset as it arrives, everything else at the end."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.gzip_codec import (
    GZIP_ERRORS,
    StoredMember,
    decompressor,
    padded_member,
)
from ckf_airgap.errors import ArtifactError, DownloadError, read_error
from ckf_airgap.files.journal import Journal
from ckf_airgap.packing.assembly import LayerPart, Part, PlainPart
from ckf_airgap.packing.part_files import OpenFiles, PartFiles
from ckf_airgap.packing.skopeo import BlobReader, Skopeo, digest_mismatch, retried

_AT_ONCE = 4
_WAIT_SECONDS = 0.5
_FORMAT = 1


@dataclass(frozen=True)
class FetchProgress:
    """The progress of fetching layers.

    Attributes:
        fetched: The bytes of the fetched layers.
        total: The bytes of all layers.
    """

    fetched: int
    total: int

    def __str__(self) -> str:
        share = self.fetched / self.total if self.total else 1.0
        return f"{self.fetched:,} of {self.total:,} bytes of layers fetched ({share:.0%})"


class ImageArchiveWriter:
    """Writes one images.tar.gz, or continues that of an earlier run.

    A journal beside the archive lists the layers that are on the disk and verified.

    Attributes:
        files: The files of the archive.
    """

    def __init__(self, path: Path, parts: list[Part], part_size: int = 0) -> None:
        """Read the journal of an earlier run, if there is one.

        Args:
            path: The archive. Its directory must exist.
            parts: The parts of the archive, in order; the first one is its record. If an earlier
                run had other parts, all layers are fetched again.
            part_size: The size of the files that the archive is split into, in bytes; 0 for one
                file.

        Raises:
            ConfigurationError: The record does not fit into ``part_size``, or the journal is not
                a regular file of this user.
        """
        self._parts = parts
        self._offsets: list[int] = []
        self._total = 0
        # The first occurrence of each layer, and the others: each with its offset.
        self._first: dict[str, tuple[int, LayerPart]] = {}
        self._copies: list[tuple[int, LayerPart]] = []
        for part in parts:
            if isinstance(part, LayerPart):
                place = (self._total, part)
                if self._first.setdefault(part.layer.blob.digest, place) is not place:
                    self._copies.append(place)
            self._offsets.append(self._total)
            self._total += part.length
        self._sizes: dict[str, int] = {}
        self.files = PartFiles(path, self._total, part_size)
        self.files.require_record_fits(parts[0].length)
        journal = path.with_name(f"{path.name}.journal")
        if not self.files.are_there:
            journal.unlink(missing_ok=True)
        head = {"format": _FORMAT, "parts": self._identity()}
        self._journal = Journal(journal, head, self._apply, "what has been fetched")
        self._lock = threading.Lock()
        self._fetched = sum(self._first[digest][1].layer.blob.size for digest in self._sizes)
        self._stopped = threading.Event()
        self._readers: list[BlobReader] = []

    @property
    def size(self) -> int:
        """The size of the archive, in bytes."""
        return self._total

    @property
    def sizes(self) -> Mapping[str, int]:
        """The uncompressed size of each fetched layer, by the digest of its blob."""
        return self._sizes

    @property
    def layer_bytes(self) -> int:
        """The bytes of all layers, each counted once."""
        return sum(part.layer.blob.size for _, part in self._first.values())

    @property
    def fetched_bytes(self) -> int:
        """The bytes of the fetched layers."""
        return self._fetched

    @property
    def needed_bytes(self) -> int:
        """The disk space that is still needed, in bytes."""
        return max(0, self._total - self.files.allocated)

    def fetch(self, skopeo: Skopeo, tell: Callable[[FetchProgress], None]) -> None:
        """Fetch the missing layers, several at a time.

        Args:
            skopeo: Reaches the registries.
            tell: Called regularly with the progress, in the calling thread.

        Raises:
            AirgapError: A layer cannot be fetched, differs from its digest, or cannot be written.
        """
        waiting: queue.SimpleQueue[tuple[int, LayerPart]] = queue.SimpleQueue()
        for digest, place in self._first.items():
            if digest not in self._sizes:
                waiting.put(place)
        total = self.layer_bytes
        with self.files.open() as file, ThreadPoolExecutor(_AT_ONCE, "fetch") as executor:
            threads = [
                executor.submit(self._fetch_all, waiting, skopeo, file) for _ in range(_AT_ONCE)
            ]
            try:
                while wait(threads, _WAIT_SECONDS, FIRST_EXCEPTION).not_done:
                    tell(FetchProgress(self._fetched, total))
                    if any(thread.done() and thread.exception() for thread in threads):
                        break
            finally:
                # If one thread fails, and after an interrupt, stop all of them.
                self._stopped.set()
                for blobs in self._readers:
                    blobs.interrupt()
        for thread in threads:
            thread.result()
        tell(FetchProgress(self._fetched, total))

    def finish(self, assembled: Callable[[tuple[str, ...]], list[Part]]) -> None:
        """Write everything but the layers; the archive is then complete.

        Args:
            assembled: Returns the parts, with the sizes of the layers filled in. Its argument is
                the ``part_starts`` of the record; empty while they are unknown.

        Raises:
            StorageError: A file cannot be read or written.
        """
        parts = assembled(())
        with self.files.open() as file:
            for offset, part in self._copies:
                start, _ = self._first[part.layer.blob.digest]
                file.copy(start, offset, part.length)
            for offset, part, before in zip(self._offsets, parts, self._parts, strict=True):
                if part.length != before.length:
                    raise AssertionError
                if isinstance(part, PlainPart):
                    file.write(offset, padded_member(part.content, part.length))
            record = assembled(tuple(file.starts()))[0]
            if isinstance(record, PlainPart):
                file.write(0, padded_member(record.content, record.length))
            file.flush()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _identity(self) -> str:
        digest = hashlib.sha256()
        for part in self._parts:
            content = (
                part.content if isinstance(part, PlainPart) else part.layer.blob.digest.encode()
            )
            digest.update(b"%d %d " % (part.length, len(content)) + content)
        return digest.hexdigest()

    def _apply(self, record: Mapping[str, Any]) -> None:
        digest = str(record["layer"])
        if digest in self._first:
            self._sizes[digest] = int(record["size"])

    def _fetch_all(
        self, waiting: "queue.SimpleQueue[tuple[int, LayerPart]]", skopeo: Skopeo, file: OpenFiles
    ) -> None:
        with skopeo.blobs() as blobs:
            self._readers.append(blobs)
            while not self._stopped.is_set():
                try:
                    offset, part = waiting.get_nowait()
                except queue.Empty:
                    return
                fetch = partial(self._fetch_layer, offset, part, blobs, file)
                size = retried(fetch)
                if size is not None:
                    file.flush()
                    self._journal.add({"layer": part.layer.blob.digest, "size": size})

    def _fetch_layer(
        self, offset: int, part: LayerPart, blobs: BlobReader, file: OpenFiles
    ) -> int | None:
        """Fetch one layer; return its uncompressed size, or None if the pack stops."""
        layer = LayerWriter(part)
        taken = 0
        try:
            for data in _pieces(part, blobs):
                if self._stopped.is_set():
                    return None
                offset_now = offset + layer.written
                file.write(offset_now, layer.take(data))
                taken += len(data)
                self._count(len(data))
            offset_now = offset + layer.written
            file.write(offset_now, layer.finish())
        except DownloadError:
            self._count(-taken)
            if self._stopped.is_set():
                return None
            raise
        return layer.content_size

    def _count(self, size: int) -> None:
        with self._lock:
            self._fetched += size


def _pieces(part: LayerPart, blobs: BlobReader) -> Iterator[bytes]:
    if part.layer.path is None:
        yield from blobs.read(part.pull, part.layer.blob)
        return
    try:
        with part.layer.path.open("rb") as file:
            while data := file.read(READ_SIZE):
                yield data
    except OSError as error:
        raise read_error(part.layer.path, error) from error


class LayerWriter:
    """Checks a layer as it arrives, and converts it to the format of the archive.

    Attributes:
        written: The number of bytes returned for the archive.
        content_size: The size of the uncompressed layer; 0 if tar headers do not need it.
    """

    def __init__(self, part: LayerPart) -> None:
        """Start a layer."""
        self._part = part
        self._blob = part.layer.blob
        self._digest = hashlib.sha256()
        self._size = 0
        self._stored = StoredMember(self._blob.size) if part.is_stored else None
        self._gunzip = None if part.is_stored else _Gunzip(part)
        self.written = 0

    @property
    def content_size(self) -> int:
        """The size of the uncompressed layer; 0 if tar headers do not need it."""
        return self._gunzip.size if self._gunzip else 0

    def take(self, data: bytes) -> bytes:
        """Add a piece of the blob; return what to write.

        Raises:
            DownloadError: The blob is longer than its manifest says.
        """
        self._size += len(data)
        if self._size > self._blob.size:
            raise self._other_bytes()
        self._digest.update(data)
        if self._gunzip:
            self._gunzip.take(data)
        return self._count(self._stored.add(data) if self._stored else data)

    def finish(self) -> bytes:
        """Check the complete blob; return the rest of what to write.

        Raises:
            DownloadError: The size or the digest of the blob differs.
            ArtifactError: The digest matches, but the blob is not gzip, or its content does not
                have the layer's diff ID.
        """
        if self._size != self._blob.size or f"sha256:{self._digest.hexdigest()}" != (
            self._blob.digest
        ):
            raise self._other_bytes()
        if self._gunzip:
            self._gunzip.finish()
        return self._count(self._stored.finish() if self._stored else b"")

    def _count(self, data: bytes) -> bytes:
        self.written += len(data)
        return data

    def _other_bytes(self) -> DownloadError:
        return digest_mismatch(f"layer {self._blob.digest} of {self._part.pull}")


class _Gunzip:
    """Checks that a layer is gzip and that its content has the diff ID of its image."""

    def __init__(self, part: LayerPart) -> None:
        self._part = part
        self._member = decompressor()
        self._digest = hashlib.sha256()
        self._damage = ""
        self.size = 0

    def take(self, data: bytes) -> None:
        try:
            while data and not self._damage:
                if self._member.eof:
                    self._member = decompressor()
                content = self._member.decompress(data, READ_SIZE)
                self._digest.update(content)
                self.size += len(content)
                data = self._member.unconsumed_tail or self._member.unused_data
        except GZIP_ERRORS as error:
            # The digest is checked first: it differs if the layer was damaged on the way.
            self._damage = str(error)

    def finish(self) -> None:
        if self._damage:
            raise self._unfit(self._damage)
        if not self._member.eof:
            raise self._unfit("it ends in the middle")
        if f"sha256:{self._digest.hexdigest()}" != self._part.layer.diff_id:
            raise self._unfit("its content is not what the image's config says")

    def _unfit(self, why: str) -> ArtifactError:
        return ArtifactError(
            f"layer {self._part.layer.blob.digest} of {self._part.pull} does not fit into a "
            f"docker save archive ({why})",
            "pack with --format oci, which keeps layers unchanged, or leave the image out",
        )
