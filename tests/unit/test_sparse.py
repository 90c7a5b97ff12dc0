"""Sparse files in tar archives: GNU tar's four formats, and maps that lie."""

import io
import random
import re
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.archives.tar_stream import MemberKind, read_end, read_members
from ckf_airgap.errors import ArtifactError

MIB = 1024 * 1024
GIB = 1024 * MIB
Parts = Sequence[tuple[int, int]]

GNU_TAR: Mapping[str, Sequence[str]] = {
    "old": ["--format=gnu"],
    "0.0": ["--format=pax", "--sparse-version=0.0"],
    "0.1": ["--format=pax", "--sparse-version=0.1"],
    "1.0": ["--format=pax", "--sparse-version=1.0"],
}
SHAPES: Mapping[str, tuple[Parts, int]] = {
    "a hole first": ([(MIB, 5000)], MIB + 5000),
    "a hole last": ([(0, 5000)], 3 * MIB),
    "a hole within": ([(0, 4096), (MIB, 4096)], MIB + 4096),
    "only a hole": ([], 2 * MIB),
    "four parts": ([(each * MIB, 4096) for each in range(4)], 4 * MIB),
    "five parts": ([(each * MIB, 4096) for each in range(5)], 5 * MIB),
    "many parts": ([(each * 131072, 512) for each in range(150)], 150 * 131072),
}


def expand(parts: Parts, size: int, stored: bytes) -> bytes:
    content = bytearray(size)
    start = 0
    for place, length in parts:
        content[place : place + length] = stored[start : start + length]
        start += length
    return bytes(content)


def read_all(archive: bytes, most: int = MIB) -> dict[str, bytes]:
    stream = io.BytesIO(archive)
    result: dict[str, bytes] = {}
    for member in read_members(stream, "x.tar"):
        content = bytearray()
        while piece := member.read(most):
            assert len(piece) <= most
            content += piece
        assert len(content) == member.size
        result[member.name] = bytes(content)
    read_end(stream, "x.tar")
    return result


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", GNU_TAR)
def test_what_gnu_tar_makes_is_read(version: str, shape: str, tmp_path: Path) -> None:
    parts, size = SHAPES[shape]
    noise = random.Random(1).randbytes(sum(length for _, length in parts))
    name = "a file with holes " + "and a long name " * 8
    with (tmp_path / name).open("wb") as file:
        start = 0
        for place, length in parts:
            file.seek(place)
            file.write(noise[start : start + length])
            start += length
        file.truncate(size)
    (tmp_path / "behind").write_bytes(b"behind it")
    # Holes are looked for in the content: what file systems tell of them differs.
    words = ["tar", "-cS", "--hole-detection=raw", *GNU_TAR[version], "-C", tmp_path]
    archive = subprocess.run([*words, name, "behind"], check=True, capture_output=True).stdout
    assert len(archive) < size / 2
    assert read_all(archive) == {name: expand(parts, size, noise), "behind": b"behind it"}


def pax_header(records: Sequence[tuple[str, str]]) -> bytes:
    lines: list[str] = []
    for key, value in records:
        text = f" {key}={value}\n"
        size = len(text) + 1
        while size != len(text) + len(str(size)):
            size = len(text) + len(str(size))
        lines.append(f"{size}{text}")
    content = "".join(lines).encode()
    header = tarfile.TarInfo("extended")
    header.type = tarfile.XHDTYPE
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + padded(content)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def file_header(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = size
    return header.tobuf(tarfile.USTAR_FORMAT)


def old_entries(parts: Parts, count: int) -> bytes:
    text = b"".join(b"%011o\0%011o\0" % (place, length) for place, length in parts[:count])
    return text.ljust(24 * count, b"\0")


def checksummed(block: bytes) -> bytes:
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def old(parts: Parts, size: int, stored: bytes, real: bytes | None = None) -> bytes:
    """Make a member of the old format.

    Args:
        parts: The map.
        size: The size of the file.
        stored: What is stored of it.
        real: The field for the size, where it is not to be octal.
    """
    block = bytearray(file_header("f", len(stored)))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[257:265] = b"ustar  \0"
    block[345:500] = bytes(155)
    block[386:482] = old_entries(parts, 4)
    block[482] = len(parts) > 4
    block[483:495] = real or b"%011o\0" % size
    archive = checksummed(bytes(block))
    for start in range(4, len(parts), 21):
        more = parts[start : start + 21]
        archive += old_entries(more, 21) + bytes([start + 21 < len(parts)]) + bytes(7)
    return archive + padded(stored)


def pax_0_0(parts: Parts, size: int, stored: bytes) -> bytes:
    records = [("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", str(len(parts)))]
    for place, length in parts:
        records += [("GNU.sparse.offset", str(place)), ("GNU.sparse.numbytes", str(length))]
    return pax_header(records) + file_header("f", len(stored)) + padded(stored)


def pax_0_1(parts: Parts, size: int, stored: bytes) -> bytes:
    text = ",".join(f"{place},{length}" for place, length in parts)
    return pax_0_1_of(text, size, stored)


def pax_0_1_of(text: str, size: int, stored: bytes) -> bytes:
    records = [
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.size", str(size)),
        ("GNU.sparse.map", text),
    ]
    return pax_header(records) + file_header("GNUSparseFile.1/f", len(stored)) + padded(stored)


def pax_1_0(parts: Parts, size: int, stored: bytes) -> bytes:
    lines = [len(parts), *(number for part in parts for number in part)]
    return pax_1_0_of("".join(f"{line}\n" for line in lines).encode(), size, stored)


def pax_1_0_of(text: bytes, size: int, stored: bytes) -> bytes:
    records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.realsize", str(size)),
    ]
    content = padded(text) + stored
    header = file_header("GNUSparseFile.1/f", len(content))
    return pax_header(records) + header + padded(content)


FORMATS: dict[str, Callable[[Parts, int, bytes], bytes]] = {
    "old": old,
    "0.0": pax_0_0,
    "0.1": pax_0_1,
    "1.0": pax_1_0,
}
EVERY_FORMAT = pytest.mark.parametrize("version", FORMATS)
END = bytes(1024)
# A hole and a part, one after the other: the map is in order, and its parts do not overlap.
GAPS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=60)


def parts_of(gaps: Parts) -> list[tuple[int, int]]:
    parts: list[tuple[int, int]] = []
    end = 0
    for hole, length in gaps:
        parts.append((end + hole, length))
        end += hole + length
    return parts


@given(gaps=GAPS, last=st.integers(0, 3000), most=st.integers(1, 5000))
@EVERY_FORMAT
def test_every_map_is_read(version: str, gaps: Parts, last: int, most: int) -> None:
    parts = parts_of(gaps)
    if version == "0.1" and not parts:
        parts = [(0, 0)]
    size = sum(map(sum, gaps)) + last
    stored = random.Random(2).randbytes(sum(length for _, length in parts))
    # An entry of the old format that has neither place nor size ends its map.
    listed = [part for part in parts if version != "old" or any(part)]
    archive = FORMATS[version](listed, size, stored) + file_header("g", 2) + padded(b"xy") + END
    assert read_all(archive, most) == {"f": expand(parts, size, stored), "g": b"xy"}


@given(gaps=GAPS, steps=st.lists(st.tuples(st.booleans(), st.integers(1, 4000)), max_size=60))
@EVERY_FORMAT
def test_reading_and_skipping_meet(
    version: str, gaps: Parts, steps: Sequence[tuple[bool, int]]
) -> None:
    parts = [part for part in parts_of(gaps) if part[1]] or [(0, 1)]
    size = sum(parts[-1]) + 100
    stored = random.Random(3).randbytes(sum(length for _, length in parts))
    content = expand(parts, size, stored)
    members = read_members(io.BytesIO(FORMATS[version](parts, size, stored) + END), "x.tar")
    member = next(members)
    assert (member.name, member.kind, member.size) == ("f", MemberKind.FILE, size)
    position = 0
    for skips, length in steps:
        if skips:
            passed = member.skip(length)
            assert passed == min(length, size - position)
            position += passed
        else:
            data = member.read(length)
            assert data == content[position : position + len(data)]
            assert data or position == size
            position += len(data)
    assert not list(members)


class Counting(io.BytesIO):
    """A stream that counts what was read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


@EVERY_FORMAT
def test_a_hole_is_given_in_pieces_and_skipped_for_nothing(version: str) -> None:
    stored = bytes(2 * MIB)
    parts, size = [(GIB, 2 * MIB)], GIB + 2 * MIB
    stream = Counting(FORMATS[version](parts, size, stored) + END)
    member = next(read_members(stream, "x"))
    before = stream.count
    assert member.read(10 * MIB) == bytes(MIB)
    assert member.skip(GIB - MIB) == GIB - MIB
    assert stream.count == before
    assert member.skip(size) == 2 * MIB


PART = 512
STORED = bytes(2 * PART)
LIES: Mapping[str, tuple[Parts, int, bytes]] = {
    "overlapping": ([(0, PART), (PART - 1, PART)], 9999, STORED),
    "unordered": ([(5000, PART), (0, PART)], 9999, STORED),
    "beyond the end": ([(0, PART), (9999, PART)], 9999, STORED),
    "longer than the file": ([(0, 2 * PART)], 2 * PART - 1, STORED),
    "more than is stored": ([(0, 3 * PART)], 9999, STORED),
    "less than is stored": ([(0, PART)], 9999, STORED),
    "nothing of what is stored": ([(1, 0)], 9999, STORED),
}
SPARSE_CURE = re.escape("make the archive again without -S (--sparse)")


def refused(archive: bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=SPARSE_CURE) as raised:
        read_all(archive)
    assert re.search(words, raised.value.problem)
    assert "x.tar" in raised.value.problem


@pytest.mark.parametrize("lie", LIES)
@EVERY_FORMAT
def test_a_map_that_lies_is_refused(version: str, lie: str) -> None:
    refused(FORMATS[version](*LIES[lie]) + END, "^f in x.tar is .*its map is damaged")


@EVERY_FORMAT
def test_a_file_of_far_more_than_is_stored_is_refused(version: str) -> None:
    largest = 1024 * (len(STORED) + 1024) + MIB
    if version == "1.0":
        # The map counts among what is stored.
        largest += 1024 * 512
    parts = [(0, len(STORED))]
    assert len(read_all(FORMATS[version](parts, largest, STORED) + END)["f"]) == largest
    for size in (largest + 1, 2**33 - 1):
        refused(FORMATS[version](parts, size, STORED) + END, "f in x.tar .* sparse .* bytes")


@EVERY_FORMAT
def test_too_many_parts_are_refused(version: str) -> None:
    parts = [(2 * each, 1) for each in range(70_000)]
    archive = FORMATS[version](parts, 140_000, bytes(70_000)) + END
    with pytest.raises(
        ArtifactError, match=r"x\.tar (is stored as a sparse|has extended headers)|"
    ):
        read_all(archive)


@pytest.mark.parametrize(
    "archive",
    [
        old([], 0, STORED, b"-0000000001\0"),
        old([], 0, STORED, b"\x80" + b"\xff" * 11),
        old([(0, 1024)] * 5, 9999, STORED)[:700],
        pax_0_1_of("0,512,600", 9999, STORED),
        pax_0_1_of("0,512,600,-512", 9999, STORED),
        pax_0_1_of("", 9999, STORED),
        pax_1_0_of(b"1\n0\n", 9999, STORED),
        pax_1_0_of(b"", 9999, STORED),
        pax_1_0_of(b"-1\n", 9999, STORED),
        pax_1_0_of(b"70000\n", 9999, STORED),
        pax_1_0_of(b"1\n0\n" + b"9" * 600 + b"\n", 9999, STORED),
        pax_1_0_of(b"1\n0\n\xff\n", 9999, STORED),
        pax_header([("GNU.sparse.numbytes", "5")]),
        pax_header([("GNU.sparse.offset", "5"), ("GNU.sparse.offset", "6")])
        + pax_header([("GNU.sparse.size", "9")])
        + file_header("f", 0),
        pax_header([("GNU.sparse.offset", "0"), ("GNU.sparse.numbytes", "1" * 30)]),
    ],
)
def test_a_damaged_map_is_refused(archive: bytes) -> None:
    refused(archive + (END if len(archive) % 512 == 0 else b""), "sparse file, and its map is")


def test_a_map_without_lines_is_not_read_to_the_end_of_the_archive() -> None:
    stream = Counting(pax_1_0_of(b"1" * MIB, 9999, STORED) + END)
    with pytest.raises(ArtifactError, match="its map is damaged"):
        list(read_members(stream, "x.tar"))
    assert stream.count < 8 * 512


@EVERY_FORMAT
@pytest.mark.parametrize("missing", [1, 700, 1500])
def test_a_sparse_file_that_breaks_off_is_told(version: str, missing: int) -> None:
    parts = [(0, 512), (9000, 512), (20_000, 512)]
    archive = FORMATS[version](parts, 30_000, bytes(3 * 512))
    with pytest.raises(ArtifactError, match="in the middle of f"):
        read_all(archive[:-missing])
