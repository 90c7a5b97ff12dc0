"""Compressed files as tools leave them: in members and frames, with what stands behind."""

import gzip
import subprocess
import zlib

from backports import zstd

GZIP_MAGIC = b"\x1f\x8b"
_SKIPPABLE = 0x184D2A50


def gzipped(content: bytes) -> bytes:
    """Compress, with the same bytes each time."""
    return gzip.compress(content, 6, mtime=0)


def gzipped_harder(content: bytes) -> bytes:
    """Compress to other bytes than those of ``gzipped``."""
    return gzip.compress(content, 9, mtime=1)


def gzip_members(content: bytes, count: int = 3) -> bytes:
    """Compress as several members, as parallel compressors and ``cat`` leave them."""
    return b"".join(gzipped(part) for part in _parts(content, count))


def zstandard_frame(content: bytes) -> bytes:
    return zstd.compress(content)


def skippable_frame(content: bytes, number: int = 0) -> bytes:
    """Make a Zstandard frame that is no data; there are sixteen magic numbers for it."""
    magic = _SKIPPABLE + number
    return magic.to_bytes(4, "little") + len(content).to_bytes(4, "little") + content


def pzstd_frames(content: bytes, count: int = 2) -> bytes:
    """Compress as pzstd does: before each frame a skippable one that holds its size."""
    output = b""
    for part in _parts(content, count):
        frame = zstandard_frame(part)
        output += skippable_frame(len(frame).to_bytes(4, "little")) + frame
    return output


def chunked_zstandard(content: bytes) -> bytes:
    """Compress as zstd:chunked does: frames of data, and tables in skippable frames behind."""
    frames = b"".join(zstandard_frame(part) for part in _parts(content, 2))
    return frames + skippable_frame(b'{"version":1,"entries":[]}') + skippable_frame(bytes(64), 15)


def uncompressed(content: bytes) -> bytes:
    """Decompress what is gzip or Zstandard, with all that it consists of; keep anything else."""
    if content.startswith(GZIP_MAGIC):
        output = b""
        while content.startswith(GZIP_MAGIC):
            member = zlib.decompressobj(31)
            output += member.decompress(content) + member.flush()
            content = member.unused_data
        return output
    if _is_zstandard(content):
        command = ["zstd", "-dcq", "--long=31"]
        return subprocess.run(command, input=content, check=True, capture_output=True).stdout
    return content


def _is_zstandard(content: bytes) -> bool:
    magic = int.from_bytes(content[:4], "little")
    return content.startswith(b"\x28\xb5\x2f\xfd") or magic & ~0xF == _SKIPPABLE


def _parts(content: bytes, count: int) -> list[bytes]:
    size = len(content) // count + 1
    return [content[start : start + size] for start in range(0, len(content), size)]
