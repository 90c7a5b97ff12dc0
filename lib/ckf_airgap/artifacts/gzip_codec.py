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

GZIP_MAGIC = b"\x1f\x8b"
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
        """Take some bytes; gives ``max_length`` bytes of the content at the most.

        Raises:
            Exception: One of GZIP_ERRORS: the member is damaged.
        """
        ...


def compress_block(data: Iterable[bytes]) -> bytes:
    """Compress a part of a member by itself, so that several can be at a time.

    Args:
        data: What it is to hold.

    Returns:
        Deflate blocks that end at a byte, and are not the last ones (RFC 1951, section 3.2.4).
    """
    blocks = _library.compressobj(_LEVEL, _library.DEFLATED, -15)
    pieces = [blocks.compress(piece) for piece in data]
    return b"".join((*pieces, blocks.flush(_library.Z_SYNC_FLUSH)))


class GzipMember:
    """What goes around the blocks of a member (RFC 1952, section 2.3): header and trailer."""

    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

    def __init__(self) -> None:
        self._checksum = 0
        self._size = 0

    def add(self, data: bytes) -> None:
        """Count what the member holds, in order."""
        self._checksum = _library.crc32(data, self._checksum)
        self._size += len(data)

    @property
    def trailer(self) -> bytes:
        """An empty last block, the checksum and the size."""
        return b"\x03\x00" + struct.pack("<II", self._checksum, self._size % 2**32)


def decompressor() -> Decompressor:
    """Begin to read a member."""
    return _library.decompressobj(_WINDOW)
