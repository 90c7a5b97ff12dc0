"""Tar archives as streams: what is read, and what damage is told from what."""

import io
import tarfile

import pytest

from ckf_airgap.archives.tar_stream import MemberKind, read_members
from ckf_airgap.errors import ArtifactError


def archive(
    files: dict[str, bytes],
    tar_format: int = tarfile.PAX_FORMAT,
    links: dict[str, str] | None = None,
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            tar.addfile(member)
    return buffer.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    result: dict[str, bytes] = {}
    for member in read_members(io.BytesIO(data), "test.tar"):
        pieces: list[bytes] = []
        while piece := member.read(7):
            pieces.append(piece)
        result[member.name] = b"".join(pieces)
    return result


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_members_come_with_their_content(tar_format: int) -> None:
    files = {"a": b"x" * 513, "b/c": b"", "d": b"y" * 1024}
    assert contents(archive(files, tar_format)) == files


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read(tar_format: int) -> None:
    files = {"n" * 300: b"long", "größe-" + "x" * 120: b"foreign"}
    assert contents(archive(files, tar_format)) == files


def test_links_tell_their_target() -> None:
    data = archive({"a/layer.tar": b"x"}, links={"b/layer.tar": "../a/layer.tar"})
    members = [(m.name, m.kind, m.link_target) for m in read_members(io.BytesIO(data), "t")]
    assert members[1] == ("b/layer.tar", MemberKind.LINK, "../a/layer.tar")


def test_a_member_that_is_not_read_is_skipped() -> None:
    data = archive({"a": b"x" * 5000, "b": b"y"})
    assert [m.name for m in read_members(io.BytesIO(data), "t")] == ["a", "b"]


@pytest.mark.parametrize(
    ("keep", "what"),
    [
        (0, "is empty"),
        (100, "not a tar archive"),
        (512 + 100, "in the middle of a"),
        (512 + 1000, "ends after a"),
        (512 + 1024, "without its end marker"),
        (512 + 1024 + 200, "without its end marker"),
    ],
)
def test_an_archive_that_ends_early_is_told(keep: int, what: str) -> None:
    data = archive({"a": b"x" * 1000, "b": b"y"}, tarfile.USTAR_FORMAT)
    with pytest.raises(ArtifactError, match=what):
        contents(data[:keep])


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end() -> None:
    data = bytearray(archive({"a": b"x", "b": b"y"}, tarfile.USTAR_FORMAT))
    data[1024 + 3] ^= 0xFF
    with pytest.raises(ArtifactError, match="is damaged"):
        contents(bytes(data))


def test_a_header_of_a_gigabyte_is_refused_unread() -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 2**30
    with pytest.raises(ArtifactError, match="extended headers of 1073742336 bytes"):
        contents(header.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 4096)


@pytest.mark.parametrize("records", [b"99999 path=x\n", b"x path=y\n", b"9 pathxx\n"])
def test_damaged_extended_records_are_refused(records: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = len(records)
    block = header.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0")
    with pytest.raises(ArtifactError, match="damaged extended header"):
        contents(block + archive({"a": b""}))


def test_a_zip_is_not_a_tar() -> None:
    with pytest.raises(ArtifactError, match="not a tar archive"):
        contents(b"PK\x03\x04" + b"\0" * 2000)
