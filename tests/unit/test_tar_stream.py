"""Tar archives as streams: what is read, and what damage is told from what."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.archives.tar_stream import MemberKind, read_end, read_members
from ckf_airgap.errors import ArtifactError
from tests.support.compressed import gzipped


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


def extended(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = tarfile.TarInfo("extended")
    header.type = kind
    header.size = len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


def record(key: str, value: bytes) -> bytes:
    text = b" " + key.encode() + b"=" + value + b"\n"
    return min(
        line
        for digits in range(1, 5)
        if len(line := b"%d" % (len(text) + digits) + text) == len(text) + digits
    )


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_the_extended_headers_of_a_member_have_a_limit_together(kind: bytes) -> None:
    header = extended(record("comment", bytes(1000)), kind)
    # The padding of a header does not count.
    largest = header * (1024 * 1024 // (512 + 1014))
    end = archive({"a": b"content"}, tarfile.USTAR_FORMAT)
    if kind != tarfile.GNUTYPE_LONGNAME:
        # What is not used of them counts only until its member comes.
        assert contents((largest + end[:1024]) * 3 + end) == {"a": b"content"}
    with pytest.raises(ArtifactError, match=r"extended headers of [0-9]+ bytes for one member"):
        contents(largest + header + end)


@given(
    name=st.text(st.characters(exclude_categories=()), min_size=1, max_size=50),
    tar_format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_a_name_is_one_line_of_text(name: str, tar_format: int) -> None:
    encoded = name.encode("utf-8", "surrogatepass")
    if tar_format == tarfile.PAX_FORMAT:
        start = extended(record("path", encoded))
    else:
        start = extended(encoded + b"\0", tarfile.GNUTYPE_LONGNAME)
    (read,) = contents(start + archive({"a": b""}))
    assert read.isprintable()
    read.encode()


def test_what_a_terminal_would_obey_is_replaced() -> None:
    name = record("path", b"a\nb\0c\x1b[1m\xff.tar")
    assert list(contents(extended(name) + archive({"a": b""}))) == [
        "a\ufffdb\ufffdc\ufffd[1m\ufffd.tar"
    ]


@pytest.mark.parametrize(("behind", "garbage"), [(b"\n", True), (bytes(700), False)])
def test_garbage_behind_the_compressed_archive_is_not_read(
    behind: bytes, garbage: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzipped(archive({"a": b"content"})) + behind)
    with open_archive(FileSource(path)) as stream:
        assert [member.name for member in read_members(stream, "x")] == ["a"]
        read_end(stream, "x")
        assert stream.has_trailing_data == garbage


def test_an_archive_that_is_incomplete_before_the_garbage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzipped(archive({"a": b"x" * 2000}, tarfile.USTAR_FORMAT)[:1000]) + b"\n")
    with (
        open_archive(FileSource(path)) as stream,
        pytest.raises(ArtifactError, match="x ends in the middle of a"),
    ):
        list(read_members(stream, "x"))


def test_tar_archives_behind_each_other_are_told() -> None:
    stream = io.BytesIO(archive({"a": b""}) * 2)
    list(read_members(stream, "x"))
    with pytest.raises(ArtifactError, match="x continues after its end marker"):
        read_end(stream, "x")
