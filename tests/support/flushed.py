"""Gzip members whose blocks can be taken apart, as parallel compressors and flushes leave them."""

import subprocess
import zlib
from collections.abc import Sequence

MARKER = b"\x00\x00\xff\xff"
"""The end of an empty stored block (RFC 1951, section 3.2.4)."""


def pigz(content: bytes, *options: str) -> bytes:
    """Compress as pigz does.

    Args:
        content: What to compress.
        options: Its options.
    """
    words = ["pigz", "-c", *options]
    return subprocess.run(words, input=content, check=True, capture_output=True).stdout


def flushed(content: bytes, sizes: Sequence[int], mode: int, level: int = 6) -> bytes:
    """Compress with a flush now and then.

    Args:
        content: What to compress.
        sizes: Behind how many bytes it is flushed, in turns; none: never.
        mode: ``zlib.Z_SYNC_FLUSH``, ``zlib.Z_FULL_FLUSH`` or ``zlib.Z_PARTIAL_FLUSH``.
        level: As of gzip.
    """
    member = zlib.compressobj(level, zlib.DEFLATED, 31)
    output: list[bytes] = []
    start, number = 0, 0
    while sizes and start < len(content):
        size = sizes[number % len(sizes)]
        output += [member.compress(content[start : start + size]), member.flush(mode)]
        start += size
        number += 1
    return b"".join((*output, member.compress(content[start:]), member.flush()))


def stored(content: bytes) -> bytes:
    """Make a member of stored blocks, so that its content stands in it as it is."""
    return flushed(content, [], zlib.Z_SYNC_FLUSH, level=0)
