"""The byte streams that artifacts are read from."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Protocol, runtime_checkable

from ckf_airgap.archives.decoding import (
    LONGEST_MAGIC,
    Compression,
    Decoder,
    DecodingError,
    compression_of,
    make_decoder,
)
from ckf_airgap.archives.segments import SegmentQueue, StreamPosition, stream_position
from ckf_airgap.archives.sources import Source, StoredStream
from ckf_airgap.errors import ArtifactError

READ_SIZE = 1024 * 1024
# How many bytes are read and decoded at a time.
_PIECE_SIZE = 128 * 1024
_REPORT_SECONDS = 30.0
# How many blocks the decoder may be ahead of the reader. Each has at most MOST_DECODED bytes, all
# together 8 MiB: a few milliseconds of work for the decoder or the reader.
_BLOCKS_AHEAD = 8
COPY_AGAIN = "copy it again and compare its checksum with the original"
"""The cure for damaged compressed data."""


class ByteStream(Protocol):
    """A stream of bytes that is read in order."""

    def read(self, size: int, /) -> bytes:
        """Read between one and ``size`` bytes; none at the end."""
        ...


@runtime_checkable
class Skippable(Protocol):
    """A stream that can skip bytes more cheaply than by reading them."""

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes, or fewer at the end; return how many."""
        ...


def skip(stream: ByteStream, size: int) -> int:
    """Skip ``size`` bytes of a stream, by reading them only if necessary.

    Returns:
        The number of bytes skipped; less than ``size`` only at the end of the stream.
    """
    if isinstance(stream, Skippable):
        return stream.skip(size)
    left = size
    while left and (data := stream.read(min(left, READ_SIZE))):
        left -= len(data)
    return size - left


class FileStream:
    """A file from its start, although its first bytes were already read.

    Attributes:
        head: The first bytes.
        has_trailing_data: As for ``ArchiveStream``; False, because the data is not compressed.
    """

    has_trailing_data = False

    def __init__(self, head: bytes, rest: ByteStream | None) -> None:
        """Start with ``head``, followed by ``rest`` if it is not None."""
        self.head = head
        self._unread_head = head
        self._rest = rest

    @property
    def stream_position(self) -> StreamPosition | None:
        """The position of the next byte in the decoded stream; None without a segment_queue."""
        found = stream_position(self._rest)
        return replace(found, offset=found.offset - len(self._unread_head)) if found else None

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes; none at the end."""
        if self._unread_head:
            data, self._unread_head = self._unread_head[:size], self._unread_head[size:]
            return data
        return self._rest.read(size) if self._rest else b""

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes, or what is left; return how many."""
        skipped = min(size, len(self._unread_head))
        self._unread_head = self._unread_head[skipped:]
        if size > skipped and self._rest:
            skipped += skip(self._rest, size - skipped)
        return skipped


class ArchiveStream(ByteStream, Protocol):
    """A decoded archive."""

    @property
    def has_trailing_data(self) -> bool:
        """Whether uncompressed data follows the compressed data; known at the end."""
        ...


class DecodedStream:
    """A stream over decoded blocks.

    ``read`` and ``skip`` raise any error of the blocks, and raise it again in each later call.
    """

    def __init__(
        self, blocks: Generator[bytes], decoder: Decoder, segment_queue: SegmentQueue | None = None
    ) -> None:
        """Start before the first block.

        Args:
            blocks: The blocks, none of them empty.
            decoder: Makes the blocks.
            segment_queue: Receives the decoder's segments; None to record no segments.
        """
        self._blocks = blocks
        self._decoder = decoder
        self._segment_queue = segment_queue
        self._block_offset = 0
        self._block = b""
        self._start = 0
        self._failure: BaseException | None = None

    @property
    def has_trailing_data(self) -> bool:
        """Whether uncompressed data follows the compressed data; known at the end."""
        return self._decoder.has_trailing_data

    @property
    def stream_position(self) -> StreamPosition | None:
        """The position of the next byte in the decoded stream; None without a segment_queue."""
        return (
            StreamPosition(self._segment_queue, self._block_offset + self._start)
            if self._segment_queue
            else None
        )

    def read(self, size: int, /) -> bytes:
        """Read between one and ``size`` bytes; none at the end."""
        if not self._left():
            self._next_block()
        start = self._start
        self._start = min(start + size, len(self._block))
        if not start and self._start == len(self._block):
            return self._block
        return self._block[start : self._start]

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes, or fewer at the end; return how many."""
        left = size
        while left and (self._left() or self._next_block()):
            skipped = min(left, self._left())
            self._start += skipped
            left -= skipped
        return size - left

    def close(self) -> None:
        """Release the memory, even if not everything was read."""
        self._blocks.close()

    def _left(self) -> int:
        return len(self._block) - self._start

    def _next_block(self) -> bytes:
        if self._failure:
            raise self._failure
        self._block_offset += len(self._block)
        self._block, self._start = b"", 0
        if self._segment_queue:
            # Drop the segments that nobody used.
            self._segment_queue.pop_until(self._block_offset)
        try:
            self._block = next(self._blocks, b"")
        except BaseException as error:
            self._failure = error
            raise
        return self._block


def decoded(
    stream: ByteStream, compression: Compression, name: str, *, with_segments: bool = False
) -> DecodedStream:
    """Decode a stream in the calling thread, as it is read.

    Args:
        stream: The stream, for example a member of an archive.
        compression: Its compression.
        name: Its name in messages.
        with_segments: Whether to record the segments of a gzip stream on a segment_queue.

    Returns:
        The decoded stream, to be closed. ``read`` and ``skip`` raise ArtifactError if it is
        damaged or truncated.
    """
    segment_queue = SegmentQueue() if with_segments and compression is Compression.GZIP else None
    decoder = make_decoder(compression, segment_queue)

    def pieces() -> Iterator[bytes]:
        while data := stream.read(_PIECE_SIZE):
            yield data

    return DecodedStream(_blocks(pieces(), decoder, name), decoder, segment_queue)


def _blocks(pieces: Iterator[bytes], decoder: Decoder, name: str) -> Generator[bytes]:
    try:
        for data in pieces:
            yield from decoder.decode(data)
            if decoder.has_trailing_data:
                break
    except DecodingError as error:
        raise error.as_artifact_error(name, COPY_AGAIN) from error
    finally:
        decoder.close()
    if not decoder.is_complete:
        raise ArtifactError(
            f"{name} ends in the middle: it was not copied or made completely", COPY_AGAIN
        )


def _produce_ahead(blocks: Generator[bytes]) -> Generator[bytes]:
    """Produce blocks in a thread, a few ahead of the consumer."""
    produced: queue.Queue[bytes | BaseException | None] = queue.Queue(_BLOCKS_AHEAD)
    is_stopped = threading.Event()

    def produce() -> None:
        try:
            for block in blocks:
                if is_stopped.is_set():
                    return
                produced.put(block)
        except BaseException as error:
            # The consumer raises it.
            produced.put(error)
        else:
            produced.put(None)
        finally:
            blocks.close()

    thread = threading.Thread(target=produce, name="decoder", daemon=True)
    thread.start()
    try:
        while (block := produced.get()) is not None:
            if isinstance(block, BaseException):
                raise block
            yield block
    finally:
        is_stopped.set()
        while thread.is_alive():
            # The thread may be waiting until the queue has space.
            with suppress(queue.Empty):
                produced.get(timeout=0.05)
        thread.join()


class _ReportingStream:
    """A stored stream that reports its position."""

    def __init__(self, stored: StoredStream, on_read: Callable[[int], None]) -> None:
        self._stored = stored
        self._on_read = on_read

    def read(self, size: int, /) -> bytes:
        data = self._stored.read(size)
        self._on_read(self._stored.position)
        return data

    def skip(self, size: int, /) -> int:
        skipped = self._stored.skip(size)
        self._on_read(self._stored.position)
        return skipped


@contextmanager
def open_archive(
    source: Source,
    on_read: Callable[[int], None] = lambda _: None,
    *,
    with_segments: bool = False,
) -> Generator[ArchiveStream]:
    """Open an archive as a stream; its first bytes show its compression.

    Args:
        source: The archive: gzip of one or more members (RFC 1952, section 2.2), Zstandard of one
            or more frames (RFC 8878, section 3.1), or not compressed.
        on_read: Called with the position in the source, in bytes, after each read; perhaps in
            another thread.
        with_segments: Whether to record the segments of a gzip archive on a segment_queue.

    Yields:
        The decoded stream. ``read`` raises ArtifactError for a damaged or truncated archive. If
        uncompressed data follows the compressed data, the stream ends before it, as with the gzip
        program, and sets ``has_trailing_data``.

    Raises:
        ArtifactError: The archive cannot be opened or read, or is empty.
    """
    with source.open() as stored:
        head = stored.read(READ_SIZE)
        if not head:
            raise ArtifactError(f"{source.name} is empty", "give the file again")
        while len(head) < LONGEST_MAGIC and (data := stored.read(READ_SIZE)):
            head += data
        compression = compression_of(head)
        if compression is Compression.NONE:
            # No decoder: this stream can skip bytes without reading them.
            yield FileStream(head, _ReportingStream(stored, on_read))
            return
        segment_queue = (
            SegmentQueue() if with_segments and compression is Compression.GZIP else None
        )
        decoder = make_decoder(compression, segment_queue)
        blocks = _blocks(_pieces(head, stored, on_read), decoder, source.name)
        with closing(DecodedStream(_produce_ahead(blocks), decoder, segment_queue)) as stream:
            yield stream


def _pieces(head: bytes, stored: StoredStream, on_read: Callable[[int], None]) -> Iterator[bytes]:
    data = head
    while data:
        on_read(stored.position)
        yield data
        data = stored.read(_PIECE_SIZE)


def report_reading(source: Source, report: Callable[[str], None]) -> Callable[[int], None]:
    """Return an ``on_read`` callback that reports the progress of reading a large archive.

    Args:
        source: The archive.
        report: Called with a line of text every 30 seconds.
    """
    last = time.monotonic()

    def on_read(position: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_SECONDS:
            last = time.monotonic()
            report(f"reading {source.name}: {position / source.size:.0%}")

    return on_read
