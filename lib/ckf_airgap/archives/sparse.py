"""Sparse files, which a tar archive stores without their holes (``tar -S``).

The formats are described in the GNU tar manual, "Storing Sparse Files" (section D.1). In the old
GNU format the map of the stored parts is in the header and in blocks after it; in the pax formats
0.0 and 0.1 it is in the extended header, in 1.0 before the content.
"""

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ckf_airgap.archives.byte_stream import ByteStream, skip
from ckf_airgap.errors import ArtifactError

_BLOCK = tarfile.BLOCKSIZE
# The limit for the parts of a file. No real file has more, and a file with more is slow to read.
_MOST_PARTS = 64 * 1024
# The limit for the size of a file relative to its stored size, because holes take no space: near
# the largest ratio of Deflate, 1,032. A file may exceed it by _ALWAYS_ALLOWED bytes.
_MOST_GROWTH = 1024
_ALWAYS_ALLOWED = 1024 * 1024
_LONGEST_NUMBER = 20
_LONGEST_READ = 1024 * 1024
# Offsets and counts of the old format (tar.h, struct sparse, oldgnu_header, sparse_header).
_OLD_MAP, _OLD_MAP_PARTS, _OLD_EXTENDED, _OLD_SIZE = 386, 4, 482, 483
_BLOCK_PARTS, _BLOCK_EXTENDED = 21, 504
_NUMBER_SIZE = 12
_BINARY = 0x80
_PREFIX = "GNU.sparse."
_CURE = "make the archive again without -S (--sparse)"


@dataclass(frozen=True)
class SparseMap:
    """The stored parts of a file.

    Attributes:
        parts: The offset in the file and the size of each part, in bytes.
        size: The size of the file with its holes, in bytes.
        map_size: The size of the map before the stored content, in bytes.
    """

    parts: tuple[tuple[int, int], ...]
    size: int
    map_size: int = 0


def is_sparse_key(key: str) -> bool:
    """Return whether a key of an extended header describes a sparse file."""
    return key.startswith(_PREFIX)


def old_sparse_map(
    block: bytes, read_block: Callable[[], bytes], stored_size: int, file: str
) -> SparseMap:
    """Read the map of the old GNU format.

    Args:
        block: The header block of the member.
        read_block: Returns the next block of the archive; an empty one at its end.
        stored_size: The size of the stored content, in bytes.
        file: The file, for messages.

    Raises:
        ArtifactError: It is damaged.
    """
    parts = _old_parts(block, _OLD_MAP, _OLD_MAP_PARTS, file)
    size = _old_number(block, _OLD_SIZE, file)
    is_extended = bool(block[_OLD_EXTENDED])
    while is_extended:
        block = read_block()
        if len(block) < _BLOCK or len(parts) > _MOST_PARTS:
            raise _damaged(file)
        parts += _old_parts(block, 0, _BLOCK_PARTS, file)
        is_extended = bool(block[_BLOCK_EXTENDED])
    return _checked(parts, size, stored_size, 0, file)


def pax_sparse_map(
    records: Mapping[str, str],
    pairs: Sequence[tuple[int, int]],
    read_block: Callable[[], bytes],
    stored_size: int,
    file: str,
) -> SparseMap | None:
    """Read the map of one of the pax formats.

    Args:
        records: The records of the extended header.
        pairs: The parts in format 0.0.
        read_block: Returns the next block of the archive; an empty one at its end.
        stored_size: The size of the stored content, including a map before it, in bytes.
        file: The file, for messages.

    Returns:
        The map; None if the file is not sparse.

    Raises:
        ArtifactError: It is damaged.
    """
    size = records.get(f"{_PREFIX}realsize") or records.get(f"{_PREFIX}size")
    if size is None:
        return None
    if f"{_PREFIX}major" in records:
        parts, map_size = _leading_map(read_block, file)
        return _checked(parts, _number(size, file), stored_size, map_size, file)
    if f"{_PREFIX}map" in records:
        parts = _listed_map(records[f"{_PREFIX}map"], file)
        return _checked(parts, _number(size, file), stored_size, 0, file)
    return _checked(list(pairs), _number(size, file), stored_size, 0, file)


def real_name(records: Mapping[str, str], name: str) -> str:
    """Return the name of a sparse file; some formats have an artificial one in the header."""
    return records.get(f"{_PREFIX}name", name)


def pax_pair(key: str, value: str, pairs: list[tuple[int, int]], file: str) -> None:
    """Add a record to ``pairs`` if it is one of format 0.0, which has two for each part.

    Raises:
        ArtifactError: It is damaged.
    """
    if key == f"{_PREFIX}offset":
        if len(pairs) >= _MOST_PARTS:
            raise _damaged(file)
        pairs.append((_number(value, file), -1))
    elif key == f"{_PREFIX}numbytes":
        if not pairs or pairs[-1][1] >= 0:
            raise _damaged(file)
        pairs[-1] = pairs[-1][0], _number(value, file)


def _listed_map(text: str, file: str) -> list[tuple[int, int]]:
    """Read the map of format 0.1: decimal numbers, separated by commas."""
    count = text.count(",") + 1
    if count % 2 or count > 2 * _MOST_PARTS:
        raise _damaged(file)
    numbers = [_number(number, file) for number in text.split(",")]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _leading_map(read_block: Callable[[], bytes], file: str) -> tuple[list[tuple[int, int]], int]:
    """Read the map of format 1.0: decimal numbers, one per line, padded to whole blocks."""
    size = 0

    def read_numbers() -> Iterator[int]:
        nonlocal size
        text = b""
        while len(text) <= _LONGEST_NUMBER:
            block = read_block()
            if len(block) < _BLOCK:
                break
            size += len(block)
            *lines, text = (text + block).split(b"\n")
            for line in lines:
                yield _number(line.decode("ascii", "replace"), file)
        raise _damaged(file)

    numbers = read_numbers()
    count = next(numbers)
    if count > _MOST_PARTS:
        raise _damaged(file)
    return [(next(numbers), next(numbers)) for _ in range(count)], size


def _old_parts(block: bytes, start: int, count: int, file: str) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    for index in range(count):
        at = start + index * 2 * _NUMBER_SIZE
        if not any(block[at : at + 2 * _NUMBER_SIZE].strip(b"\0 ")):
            break
        parts.append((_old_number(block, at, file), _old_number(block, at + _NUMBER_SIZE, file)))
    return parts


def _old_number(block: bytes, at: int, file: str) -> int:
    """Read a number of a header: octal digits, or binary after a byte of 0x80."""
    digits = block[at : at + _NUMBER_SIZE]
    if digits[0] == _BINARY:
        return int.from_bytes(digits[1:], "big")
    try:
        return int(digits.rstrip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise _damaged(file) from error


def parse_decimal(text: str) -> int | None:
    """Parse a number in an extended header (pax); None if it is not a plain decimal number."""
    if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        return None
    return int(text)


def _number(text: str, file: str) -> int:
    number = parse_decimal(text)
    if number is None:
        raise _damaged(file)
    return number


def _checked(
    parts: Sequence[tuple[int, int]], size: int, stored_size: int, map_size: int, file: str
) -> SparseMap:
    """Check that the parts are in order, within the file, and match the stored size."""
    bounded_parts = [(0, 0), *parts, (size, 0)]
    is_sound = all(
        start + length <= following and length >= 0
        for (start, length), (following, _) in pairwise(bounded_parts)
    )
    if not is_sound or sum(length for _, length in parts) + map_size != stored_size:
        raise _damaged(file)
    if size > _MOST_GROWTH * (stored_size + 2 * _BLOCK) + _ALWAYS_ALLOWED:
        raise ArtifactError(
            f"{file} is stored as a sparse file with {size:,} bytes, of which only "
            f"{stored_size:,} are in the archive",
            _CURE,
        )
    return SparseMap(tuple(part for part in parts if part[1]), size, map_size)


def _damaged(file: str) -> ArtifactError:
    return ArtifactError(f"{file} is stored as a sparse file, and its map is damaged", _CURE)


class SparseStream:
    """The content of a sparse file with its holes, read from its stored parts."""

    def __init__(self, stored: ByteStream, sparse: SparseMap) -> None:
        """Start at the start of the file.

        Args:
            stored: The stored parts, one after another.
            sparse: Their offsets and sizes.
        """
        self._stored = stored
        self._size = sparse.size
        self._parts = iter((*sparse.parts, (sparse.size, 0)))
        self._position = 0
        self._start = self._end = 0
        self._next_part()

    def read(self, size: int, /) -> bytes:
        """Read between one and ``size`` bytes; none at the end."""
        hole = min(self._start - self._position, size, _LONGEST_READ)
        if hole > 0:
            self._position += hole
            return bytes(hole)
        data = self._stored.read(min(self._end - self._position, size))
        self._advance(len(data))
        return data

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes, or fewer at the end; return how many."""
        left = size
        while left and self._position < self._size:
            hole = min(self._start - self._position, left)
            if hole > 0:
                self._position += hole
                left -= hole
                continue
            skipped = skip(self._stored, min(self._end - self._position, left))
            if not skipped:
                break
            self._advance(skipped)
            left -= skipped
        return size - left

    def _advance(self, size: int) -> None:
        self._position += size
        if self._position == self._end and self._position < self._size:
            self._next_part()

    def _next_part(self) -> None:
        self._start, size = next(self._parts)
        self._end = self._start + size
