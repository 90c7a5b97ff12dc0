"""The gzip format (RFC 1952) by ISA-L, which is several times as fast as zlib."""

import zlib
from typing import Any, Protocol, cast

from isal import isal_zlib

# The window of 32 KiB, with the header and the trailer of gzip.
_WINDOW = 31
# The level that compresses about like the first of zlib.
_LEVEL = 1
_library: Any = isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
GZIP_ERRORS = (cast(type[Exception], _library.error), zlib.error)


class Compressor(Protocol):
    """Makes one gzip member."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes; gives what is ready of the result."""
        ...

    def flush(self) -> bytes:
        """Give the rest of the result."""
        ...


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


def compressor() -> Compressor:
    """Begin a member."""
    return _library.compressobj(_LEVEL, _library.DEFLATED, _WINDOW)


def decompressor() -> Decompressor:
    """Begin to read a member."""
    return _library.decompressobj(_WINDOW)
