"""Archives in parts: found, checked, and read as one stream."""

import hashlib
import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.parts import START_BYTES, find_archive, parse_part_name
from ckf_airgap.archives.sources import FileSource, read_at
from ckf_airgap.errors import ArtifactError, ConfigurationError

CONTENT = random.Random(1).randbytes(1_000_000)
PART = 300_000


def split(path: Path, content: bytes = CONTENT, size: int = PART) -> list[Path]:
    """Split an archive, the last part first: a directory may list files in any order."""
    starts = list(range(0, len(content), size))
    parts = [path.with_name(f"{path.name}.{number:03}") for number in range(1, len(starts) + 1)]
    for part, start in reversed(list(zip(parts, starts, strict=True))):
        part.write_bytes(content[start : start + size])
    return parts


def archive_with_part_record(size: int = PART, seed: int = 2) -> bytes:
    """Make an archive whose record lists its parts."""
    filler = random.Random(seed).randbytes(1_000_000)

    def build(archive_size: int, starts: tuple[str, ...]) -> bytes:
        text = PackManifest(
            "oci", "amd64", (), (), archive_size=archive_size, part_size=size, part_starts=starts
        ).encode()
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w") as tar:
            for name, content in (("ckf-airgap.json", text), ("filler", filler)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return output.getvalue()

    first = build(0, ("0" * 64,) * 3)
    starts = tuple(
        hashlib.sha256(first[at : at + size][:START_BYTES]).hexdigest()
        for at in range(size, len(first), size)
    )
    content = build(len(first), starts)
    assert len(content) == len(first)
    return content


def read_all(source: FileSource) -> bytes:
    with source.open() as stream:
        return b"".join(iter(lambda: stream.read(70_000), b""))


@pytest.mark.parametrize("name", ["images.tar.gz", "images.tar.gz.001"])
@pytest.mark.parametrize("content", [CONTENT, CONTENT[: 3 * PART], archive_with_part_record()])
def test_parts_are_one_archive(name: str, content: bytes, tmp_path: Path) -> None:
    split(tmp_path / "images.tar.gz", content)
    found = find_archive(tmp_path / name)
    assert (found.name, found.size) == ("images.tar.gz", len(content))
    assert found.path == tmp_path / "images.tar.gz"
    assert read_all(found) == content


def test_parts_made_by_split_are_read(tmp_path: Path) -> None:
    (tmp_path / "images.tar.gz").write_bytes(CONTENT)
    command = ["split", "-b", "300KB", "-d", "-a", "3", "--numeric-suffixes=1"]
    subprocess.run([*command, "images.tar.gz", "images.tar.gz."], cwd=tmp_path, check=True)
    assert read_all(find_archive(tmp_path / "images.tar.gz.001")) == CONTENT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_reads_and_skips_match_one_file(tmp_path: Path, data: st.DataObject) -> None:
    """Any sequence of reads and skips gives the same bytes as a single file."""
    content = CONTENT[:1000]
    for path in tmp_path.iterdir():
        path.unlink()
    split(tmp_path / "x.tar", content, data.draw(st.integers(2, 1100), "part size"))
    source = find_archive(tmp_path / "x.tar.001")
    steps = data.draw(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=12))
    position = 0
    with source.open() as stream:
        for is_read, size in steps:
            if is_read:
                found = stream.read(size)
                assert found == content[position : position + len(found)]
                assert found or position == len(content)
                position += len(found)
            else:
                skipped = stream.skip(size)
                assert skipped == min(size, len(content) - position)
                position += skipped
            assert stream.position == position
    at = data.draw(st.integers(0, 1000), "place")
    assert read_at(source, at, 300) == content[at : at + 300]


def test_version_changes_with_any_part(tmp_path: Path) -> None:
    parts = split(tmp_path / "images.tar.gz")
    before = find_archive(parts[0]).version
    assert find_archive(parts[0]).version == before
    parts[1].write_bytes(b"x" * PART)
    assert find_archive(parts[0]).version != before
    assert len(before) < 100


def remove(*numbers: int) -> Callable[[list[Path]], object]:
    return lambda parts: [parts[number].unlink() for number in numbers]


def shorten(number: int) -> Callable[[list[Path]], object]:
    return lambda parts: parts[number].write_bytes(parts[number].read_bytes()[:-1])


def swap(parts: list[Path]) -> None:
    second, third = parts[1].read_bytes(), parts[2].read_bytes()
    parts[1].write_bytes(third)
    parts[2].write_bytes(second)


def replace_with_part_of_another_archive(parts: list[Path]) -> None:
    other = archive_with_part_record(seed=3)
    parts[2].write_bytes(other[2 * PART : 3 * PART])


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (remove(0), ["images.tar.gz.001 is missing"]),
        (remove(1), ["images.tar.gz.002 is missing"]),
        (shorten(0), ["images.tar.gz.001 has 299,999 bytes, not 300,000"]),
        (shorten(1), ["images.tar.gz.002 has 299,999 bytes, not 300,000"]),
    ],
)
@pytest.mark.parametrize(
    "content", [CONTENT, archive_with_part_record()], ids=["split by hand", "recorded"]
)
def test_missing_and_truncated_parts_are_named(
    content: bytes, damage: Callable[[list[Path]], object], problems: list[str], tmp_path: Path
) -> None:
    parts = split(tmp_path / "images.tar.gz", content)
    damage(parts)
    with pytest.raises(ArtifactError, match=r"images\.tar\.gz is not complete") as raised:
        _ = find_archive(tmp_path / "images.tar.gz").size
    for problem in problems:
        assert problem in raised.value.problem
    # Intact parts are not reported.
    assert raised.value.problem.count("images.tar.gz.") == len(problems)


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (remove(3), ["images.tar.gz.004 is missing"]),
        (shorten(3), ["images.tar.gz.004 has"]),
        (remove(2, 3), ["003 is missing", "004 is missing"]),
        (
            swap,
            [
                "images.tar.gz.002 is not part 2: it is part 3",
                "images.tar.gz.003 is not part 3: it is part 2",
            ],
        ),
        (
            replace_with_part_of_another_archive,
            ["images.tar.gz.003 is not part 3: it is damaged or from another archive"],
        ),
    ],
    ids=["last missing", "last truncated", "two missing", "swapped", "of another archive"],
)
def test_errors_found_only_through_the_record(
    damage: Callable[[list[Path]], object], problems: list[str], tmp_path: Path
) -> None:
    parts = split(tmp_path / "images.tar.gz", archive_with_part_record())
    damage(parts)
    with pytest.raises(ArtifactError) as raised:
        _ = find_archive(tmp_path / "images.tar.gz").size
    for problem in problems:
        assert problem in raised.value.problem
    assert raised.value.problem.count("images.tar.gz.") == len(problems)


def test_only_the_first_part_names_an_archive(tmp_path: Path) -> None:
    parts = split(tmp_path / "images.tar.gz")
    with pytest.raises(ConfigurationError, match=r"images\.tar\.gz\.002 is only a part") as raised:
        find_archive(parts[1])
    assert "images.tar.gz.001" in raised.value.cure


def test_whole_file_beside_parts_is_ambiguous(tmp_path: Path) -> None:
    parts = split(tmp_path / "images.tar.gz")
    (tmp_path / "images.tar.gz").write_bytes(b"of last month")
    with pytest.raises(ConfigurationError, match="both as one file and in parts"):
        find_archive(tmp_path / "images.tar.gz")
    assert read_all(find_archive(parts[0])) == CONTENT


def test_a_part_that_ends_while_it_is_read(tmp_path: Path) -> None:
    parts = split(tmp_path / "images.tar.gz")
    source = find_archive(parts[0])
    with source.open() as stream:
        stream.read(10)
        parts[1].write_bytes(b"short")
        with pytest.raises(ArtifactError, match=r"images\.tar\.gz\.002 was truncated"):
            while stream.read(PART):
                pass


def test_a_part_that_ends_while_it_is_skipped(tmp_path: Path) -> None:
    parts = split(tmp_path / "images.tar.gz")
    with find_archive(parts[0]).open() as stream:
        parts[1].write_bytes(b"short")
        with pytest.raises(ArtifactError, match=r"images\.tar\.gz\.002 was truncated"):
            stream.skip(PART + 10)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("images.tar.gz.001", ("images.tar.gz", 1)),
        ("a.tgz.999", ("a.tgz", 999)),
        ("images.tar.gz", None),
        ("images.tar.gz.01", None),
        ("images.tar.gz.0001", None),
        ("release.2024.001", None),
        (".001", None),
        ("images.tar.gz.\u0661\u0661\u0661", None),
    ],
)
def test_the_names_of_parts(text: str, parsed: tuple[str, int] | None) -> None:
    assert parse_part_name(text) == parsed


@pytest.mark.parametrize(
    "changes",
    [
        {"part_size": 10},
        {"part_starts": ["a"]},
        {"part_size": -1, "part_starts": ["a"]},
        {"part_size": 1, "part_starts": ["a"]},
        {"part_size": 10**9, "part_starts": ["a"]},
        {"part_size": 1, "part_starts": ["a"] * 999, "archive_size": 1000},
        {"part_size": "1e999"},
        {"part_starts": 5},
    ],
)
def test_invalid_part_record(changes: dict[str, object]) -> None:
    whole = json.loads(PackManifest("oci", "amd64", (), (), archive_size=100).encode())
    with pytest.raises(ArtifactError, match="is damaged"):
        PackManifest.decode(json.dumps(whole | changes).encode(), "images.tar.gz")
