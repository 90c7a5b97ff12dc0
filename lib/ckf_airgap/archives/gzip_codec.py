"""The gzip format (RFC 1952) by ISA-L, which is several times as fast as zlib."""

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Protocol, cast

from isal import isal_zlib

# The window of 32 KiB, with the header and the trailer of gzip.
_WINDOW = 31
# The level that compresses about like the first of zlib.
_LEVEL = 1
_library: Any = isal_zlib

GZIP_ERRORS = (cast(type[Exception], _library.error), zlib.error)


class Decompressor(Protocol):
    """Reads one gzip member.

    Attributes:
        eof: Whether its end was reached and its checksum found right.
        unused_data: What follows its end.
        unconsumed_tail: What was not taken yet, because the result would have been too long.
    """

    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decompress some bytes; return at most ``max_length`` bytes of the content.

        Raises:
            Exception: One of GZIP_ERRORS: the member is damaged.
        """
        ...


def compress_block(data: Iterable[bytes | memoryview]) -> bytes:
    """Compress one block independently, so that blocks can be compressed in parallel.

    Args:
        data: What it is to hold.

    Returns:
        Deflate blocks that end at a byte, and are not the last ones (RFC 1951, section 3.2.4).
    """
    blocks = _library.compressobj(_LEVEL, _library.DEFLATED, -15)
    # In one piece: what comes out depends on the pieces, which depend on how the data was read.
    return blocks.compress(b"".join(data)) + blocks.flush(_library.Z_SYNC_FLUSH)


class GzipMember:
    """The header and the trailer around the blocks of a member (RFC 1952, section 2.3)."""

    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

    def __init__(self) -> None:
        self._checksum = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        """Count the content of the member, in order."""
        self._checksum = _library.crc32(data, self._checksum)
        self._size += len(data)

    @property
    def trailer(self) -> bytes:
        """An empty last block, the checksum and the size."""
        return b"\x03\x00" + struct.pack("<II", self._checksum, self._size % 2**32)


def decompressor() -> Decompressor:
    """Begin to read a member."""
    return _library.decompressobj(_WINDOW)


# What one stored block can hold, and what stands before it (RFC 1951, section 3.2.4).
_STORED_BLOCK = 65535
_STORED_HEAD = 5
# Header with an extra field of one empty subfield, and trailer (RFC 1952, section 2.3).
_FILLED_HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_SUBFIELD = b"AG"
_SUBFIELD_HEAD = 4
_TRAILER_SIZE = 8


def stored_size(size: int) -> int:
    """Return the length of a member that ``StoredMember`` makes.

    Args:
        size: The size of its content, in bytes.
    """
    return len(GzipMember.header) + _blocks_size(size) + _TRAILER_SIZE


class StoredMember:
    """A member whose content is stored uncompressed, so that its length is known in advance."""

    def __init__(self, size: int) -> None:
        """Begin one.

        Args:
            size: The size of its content, in bytes.
        """
        self._left = size
        self._member = GzipMember()
        self._pending = GzipMember.header
        self._rest = b""

    def add(self, data: bytes) -> bytes:
        """Add some of the content; return what can be written so far."""
        self._member.add(data)
        data = self._rest + data if self._rest else data
        pieces = [self._pending]
        self._pending = b""
        start = 0
        while len(data) - start >= min(_STORED_BLOCK, self._left) and self._left:
            block = data[start : start + min(_STORED_BLOCK, self._left)]
            self._left -= len(block)
            start += len(block)
            pieces += [_stored_head(len(block), is_last=not self._left), block]
        self._rest = data[start:]
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Return the rest. All of the content must have been added."""
        return self._pending + self._member.trailer[-_TRAILER_SIZE:]


def filled_size(size: int) -> int:
    """Return the minimum length of a member that ``filled_member`` makes.

    Args:
        size: The size of its content, in bytes.
    """
    return len(_FILLED_HEADER) + 2 + _SUBFIELD_HEAD + _blocks_size(size) + _TRAILER_SIZE


def filled_member(content: bytes, length: int) -> bytes:
    """Make a member of a given length.

    An extra field of its header, which every reader passes over, takes up what is left.

    Args:
        content: What it holds, not compressed.
        length: How long it is to be, in bytes: ``filled_size`` of the content, or up to 65,000
            more.
    """
    filling = length - filled_size(len(content))
    head = struct.pack("<H2sH", _SUBFIELD_HEAD + filling, _SUBFIELD, filling)
    pieces = [_FILLED_HEADER, head, bytes(filling)]
    for start in range(0, max(len(content), 1), _STORED_BLOCK):
        block = content[start : start + _STORED_BLOCK]
        pieces += [_stored_head(len(block), is_last=start + _STORED_BLOCK >= len(content)), block]
    member = GzipMember()
    member.add(content)
    return b"".join((*pieces, member.trailer[-_TRAILER_SIZE:]))


def _blocks_size(size: int) -> int:
    return max(1, -(-size // _STORED_BLOCK)) * _STORED_HEAD + size


def _stored_head(size: int, *, is_last: bool) -> bytes:
    return struct.pack("<BHH", is_last, size, size ^ 0xFFFF)
