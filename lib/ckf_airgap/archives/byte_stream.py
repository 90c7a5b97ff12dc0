"""Streams of bytes: what every reader of an artifact reads from."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import zstandard

from ckf_airgap.archives.gzip_codec import GZIP_ERRORS, GZIP_MAGIC, decompressor
from ckf_airgap.archives.sources import Source, StoredStream
from ckf_airgap.errors import ArtifactError

READ_SIZE = 1024 * 1024
# What is decoded at a time: small enough that what does not fit into a block is soon copied.
_PIECE = 128 * 1024
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_REPORT_SECONDS = 30.0
# Blocks that the decoder is ahead of the reader: some milliseconds of work for either.
_BLOCKS_AHEAD = 8
# Four bytes can stand for 128 KiB (RFC 8878, section 3.1.1.2): what a small piece can grow to is
# still bearable.
_ZSTD_PIECE = 4096
_CURE = "copy it again and compare its checksum with the original"


class ByteStream(Protocol):
    """Something that gives bytes in order."""

    def read(self, size: int, /) -> bytes:
        """Give one byte or more, ``size`` at the most; none at the end."""
        ...


@runtime_checkable
class Skippable(Protocol):
    """A stream that passes over bytes at less cost than giving them."""

    def skip(self, size: int, /) -> int:
        """Pass over ``size`` bytes, fewer only where the end comes first; gives how many."""
        ...


def skip(stream: ByteStream, size: int) -> int:
    """Pass over bytes of a stream, as cheaply as it can.

    Args:
        stream: The stream.
        size: How many bytes.

    Returns:
        How many were passed; fewer than ``size`` only where the stream ends.
    """
    if isinstance(stream, Skippable):
        return stream.skip(size)
    left = size
    while left and (data := stream.read(min(left, READ_SIZE))):
        left -= len(data)
    return size - left


class _Decoder:
    """Decodes in a thread of its own, a few blocks ahead of whoever reads."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_BLOCKS_AHEAD)
        self._stopped = threading.Event()
        self._block = b""
        self._start = 0
        self._is_at_end = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        if not self._left() and not self._is_at_end:
            self._next_block()
        start = self._start
        self._start = min(start + size, len(self._block))
        if not start and self._start == len(self._block):
            return self._block
        return self._block[start : self._start]

    def skip(self, size: int, /) -> int:
        left = size
        while left:
            if not self._left():
                if not self._is_at_end:
                    self._next_block()
                if not self._left():
                    break
            passed = min(left, self._left())
            self._start += passed
            left -= passed
        return size - left

    def close(self) -> None:
        """End the thread, whether or not all has been read."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread.join()

    def _left(self) -> int:
        return len(self._block) - self._start

    def _next_block(self) -> None:
        self._block, self._start = b"", 0
        if self._failure:
            raise self._failure
        item = self._queue.get()
        if item is None:
            self._is_at_end = True
        elif isinstance(item, BaseException):
            self._failure = item
            raise item
        else:
            self._block = item

    def _run(self) -> None:
        try:
            for block in self._blocks:
                if self._stopped.is_set():
                    return
                if block:
                    self._queue.put(block)
        # Whatever it is, it is for the reader to know.
        except BaseException as error:
            self._queue.put(error)
        else:
            self._queue.put(None)


class _Plain:
    """An archive that is not compressed: what nobody wants of it is not even read."""

    def __init__(self, head: bytes, rest: StoredStream, on_read: Callable[[int], None]) -> None:
        self._head = head
        self._rest = rest
        self._on_read = on_read

    def read(self, size: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        data = self._rest.read(size)
        self._on_read(self._rest.position)
        return data

    def skip(self, size: int, /) -> int:
        passed = min(size, len(self._head))
        self._head = self._head[passed:]
        if size > passed:
            passed += self._rest.skip(size - passed)
            self._on_read(self._rest.position)
        return passed


@contextmanager
def open_archive(
    source: Source, on_read: Callable[[int], None] = lambda _: None
) -> Generator[ByteStream]:
    """Open an archive as a stream, decoded by what it begins with.

    Args:
        source: The archive: gzip of one or more members (RFC 1952, section 2.2), Zstandard (RFC
            8878), or not compressed.
        on_read: Called with the position in the source, in bytes, after each read; perhaps in
            another thread.

    Yields:
        The decoded bytes. Its ``read`` raises ArtifactError for a damaged or truncated archive.

    Raises:
        ArtifactError: The archive cannot be opened, or is empty.
    """
    with source.open() as stored:
        head = stored.read(READ_SIZE)
        if not head:
            raise ArtifactError(f"{source.name} is empty", "give the file again")
        if head.startswith(GZIP_MAGIC):
            blocks = _gunzip(_pieces(head, stored, on_read), source.name)
        elif head.startswith(ZSTD_MAGIC):
            blocks = _unzstd(_pieces(head, stored, on_read), source.name)
        else:
            yield _Plain(head, stored, on_read)
            return
        decoder = _Decoder(blocks)
        try:
            yield decoder
        finally:
            decoder.close()


def _pieces(head: bytes, stored: StoredStream, on_read: Callable[[int], None]) -> Iterator[bytes]:
    data = head
    while data:
        on_read(stored.position)
        yield data
        data = stored.read(_PIECE)


def _gunzip(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    member = decompressor()
    try:
        for data in pieces:
            while data:
                if member.eof:
                    # Padding after the last member is no member.
                    if not data.strip(b"\0"):
                        break
                    member = decompressor()
                yield member.decompress(data, READ_SIZE)
                data = member.unconsumed_tail or member.unused_data
    except GZIP_ERRORS as error:
        raise ArtifactError(f"{name} is damaged ({error})", _CURE) from error
    if not member.eof:
        raise _ends_in_the_middle(name)


def _unzstd(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    decoder = ZstdDecoder()
    try:
        for data in pieces:
            yield from decoder.decode(data)
    except zstandard.ZstdError as error:
        raise ArtifactError(f"{name} is damaged ({error})", _CURE) from error
    if not decoder.is_at_end:
        raise _ends_in_the_middle(name)


class ZstdDecoder:
    """Decodes Zstandard frames that follow each other (RFC 8878, section 3.1).

    The library's own reader takes a frame that breaks off for a complete one.
    """

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()
        self._is_fresh = True

    @property
    def is_at_end(self) -> bool:
        """Whether what was given ends with a frame."""
        return self._decompressor.eof or self._is_fresh

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Decode some more bytes.

        Args:
            data: The bytes.

        Yields:
            What they hold.

        Raises:
            zstandard.ZstdError: They are damaged.
        """
        for start in range(0, len(data), _ZSTD_PIECE):
            piece = data[start : start + _ZSTD_PIECE]
            while piece:
                if self._decompressor.eof:
                    self._decompressor = zstandard.ZstdDecompressor().decompressobj()
                self._is_fresh = False
                yield self._decompressor.decompress(piece)
                piece = self._decompressor.unused_data


def _ends_in_the_middle(name: str) -> ArtifactError:
    return ArtifactError(f"{name} ends in the middle: it was not copied or made completely", _CURE)


def report_reading(source: Source, report: Callable[[str], None]) -> Callable[[int], None]:
    """Make the ``on_read`` of an archive so large that whoever waits wants to know how far it is.

    Args:
        source: The archive.
        report: Called with a line of text every half a minute.
    """
    last = time.monotonic()

    def on_read(position: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_SECONDS:
            last = time.monotonic()
            report(f"reading {source.name}: {position / source.size:.0%}")

    return on_read
