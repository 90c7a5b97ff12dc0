"""The gzip format (RFC 1952) with ISA-L, which is several times as fast as zlib."""

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Protocol, cast

from isal import isal_zlib

# A window of 32 KiB, with gzip header and trailer.
_WINDOW = 31
# Compresses about as well as level 1 of zlib.
_LEVEL = 1
_library: Any = isal_zlib

GZIP_ERRORS = (cast(type[Exception], _library.error), zlib.error)


class Decompressor(Protocol):
    """Reads one gzip member.

    Attributes:
        eof: Whether its end was reached and its checksum was correct.
        unused_data: The bytes after its end.
        unconsumed_tail: The input that is left because the result reached ``max_length`` bytes.
    """

    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decompress the next bytes; return at most ``max_length`` bytes of the content.

        Raises:
            Exception: One of ``GZIP_ERRORS``: the member is damaged.
        """
        ...


def compress_block(data: Iterable[bytes | memoryview]) -> bytes:
    """Compress one block independently, so that blocks can be compressed in parallel.

    Args:
        data: The content, in pieces.

    Returns:
        Deflate blocks that end at a byte boundary, none of them the last of a member (RFC 1951,
        section 3.2.4).
    """
    blocks = _library.compressobj(_LEVEL, _library.DEFLATED, -15)
    # Join the pieces: otherwise the output would depend on how the data was read.
    return blocks.compress(b"".join(data)) + blocks.flush(_library.Z_SYNC_FLUSH)


class GzipMember:
    """The header and the trailer of a member (RFC 1952, section 2.3)."""

    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

    def __init__(self) -> None:
        self._checksum = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        """Add content to the checksum and the size, in order."""
        self._checksum = _library.crc32(data, self._checksum)
        self._size += len(data)

    @property
    def trailer(self) -> bytes:
        """An empty last block, then the checksum and the size."""
        return b"\x03\x00" + struct.pack("<II", self._checksum, self._size % 2**32)


def decompressor() -> Decompressor:
    """Return a decompressor for one member."""
    return _library.decompressobj(_WINDOW)


# The maximum size of the content of a stored block, and the size of its header, in bytes
# (RFC 1951, section 3.2.4).
_STORED_BLOCK = 65535
_STORED_HEADER_SIZE = 5
# A header with an extra field of one subfield (RFC 1952, section 2.3).
_PADDED_HEADER = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_SUBFIELD = b"AG"
_SUBFIELD_HEADER_SIZE = 4
_TRAILER_SIZE = 8


def stored_size(size: int) -> int:
    """Return the length of a ``StoredMember`` with ``size`` bytes of content."""
    return len(GzipMember.header) + _blocks_size(size) + _TRAILER_SIZE


class StoredMember:
    """A member whose content is stored uncompressed, so that its length is known in advance."""

    def __init__(self, size: int) -> None:
        """Start a member with ``size`` bytes of content, at least one."""
        self._left = size
        self._member = GzipMember()
        self._pending = GzipMember.header
        self._rest = b""

    def add(self, data: bytes) -> bytes:
        """Add the next bytes of the content; return what can be written so far."""
        self._member.add(data)
        data = self._rest + data if self._rest else data
        pieces = [self._pending]
        self._pending = b""
        start = 0
        while len(data) - start >= min(_STORED_BLOCK, self._left) and self._left:
            block = data[start : start + min(_STORED_BLOCK, self._left)]
            self._left -= len(block)
            start += len(block)
            pieces += [_stored_header(len(block), is_last=not self._left), block]
        self._rest = data[start:]
        return b"".join(pieces)

    def finish(self) -> bytes:
        """Return the checksum and the size, after all of the content was added."""
        return self._pending + self._member.trailer[-_TRAILER_SIZE:]


def least_padded_size(size: int) -> int:
    """Return the minimum length of a ``padded_member`` with ``size`` bytes of content."""
    return len(_PADDED_HEADER) + 2 + _SUBFIELD_HEADER_SIZE + _blocks_size(size) + _TRAILER_SIZE


def padded_member(content: bytes, length: int) -> bytes:
    """Make a member of a given length, padded with an extra field that readers ignore.

    Args:
        content: The content, which is stored uncompressed.
        length: The length of the member, in bytes: ``least_padded_size`` of the content, or up to
            65,000 more.
    """
    padding = length - least_padded_size(len(content))
    head = struct.pack("<H2sH", _SUBFIELD_HEADER_SIZE + padding, _SUBFIELD, padding)
    pieces = [_PADDED_HEADER, head, bytes(padding)]
    for start in range(0, max(len(content), 1), _STORED_BLOCK):
        block = content[start : start + _STORED_BLOCK]
        pieces += [
            _stored_header(len(block), is_last=start + _STORED_BLOCK >= len(content)),
            block,
        ]
    member = GzipMember()
    member.add(content)
    return b"".join((*pieces, member.trailer[-_TRAILER_SIZE:]))


def _blocks_size(size: int) -> int:
    return max(1, -(-size // _STORED_BLOCK)) * _STORED_HEADER_SIZE + size


def _stored_header(size: int, *, is_last: bool) -> bytes:
    return struct.pack("<BHH", is_last, size, size ^ 0xFFFF)
