"""charms.tar.gz and charms that somebody made to do harm: one clear error, and nothing outside."""

import os
import resource
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import unpack_charms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import AirgapError
from ckf_airgap.packing.packed_charms import charms_in
from tests.unit.artifacts import files_in, write_archive
from tests.unit.hostile_charm_files import CHARMS, METADATA, ODD, charm


@pytest.mark.parametrize("name", CHARMS)
def test_a_hostile_charm_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    make, words = CHARMS[name]
    path = write_archive(tmp_path / "charms.tar.gz", [("bad.charm", make())])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AirgapError, match=words) as raised:
        unpack_charms(FileSource(path), tmp_path / "unit" / "charms")
    assert "bad.charm" in raised.value.problem
    assert raised.value.cure
    assert len(str(raised.value)) < 600
    assert "\x1b" not in str(raised.value)
    assert files_in(tmp_path) == {"charms.tar.gz"}
    # In KiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 200 * 1024


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_in_a_charm_is_no_error_of_this_program(name: str, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "charms.tar.gz", [("odd.charm", ODD[name]())])
    try:
        (found,) = unpack_charms(FileSource(path), tmp_path / "unit" / "charms").charms
    except AirgapError as error:
        assert "odd.charm" in error.problem
        return
    assert found.name == "some"
    assert found.assumes.holds("4.0") in (True, False)
    assert found.images is not None


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, "/etc/passwd"
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header("a.charm", 2**45), r"a\.charm cannot be unpacked \(\d+ MB are free\): make space"),
        (header("a.charm", 0, tarfile.SYMTYPE) + bytes(1024), r"contains no \.charm file"),
        (header("a.charm", 0, tarfile.CHRTYPE) + bytes(1024), r"contains no \.charm file"),
        (header("a.charm", 0, tarfile.FIFOTYPE) + bytes(1024), r"contains no \.charm file"),
        (header("a.charm", 0, tarfile.DIRTYPE) + bytes(1024), r"contains no \.charm file"),
        (bytes(1024) + b"more" * 512, "continues after its end marker"),
    ],
    ids=["a terabyte", "a link", "a device", "a pipe", "a folder", "joined"],
)
def test_members_that_are_no_charms(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "charms.tar.gz"
    path.write_bytes(content)
    with pytest.raises(AirgapError, match=words):
        unpack_charms(FileSource(path), tmp_path / "unit" / "charms")
    assert files_in(tmp_path) == {"charms.tar.gz"}


def test_a_resource_that_is_merged_from_another_is_one(tmp_path: Path) -> None:
    text = (
        "resources:\n  a: &a {type: oci-image, upstream-source: x/y:1}\n  b: {<<: *a}\n"
        "  c: {<<: *a, upstream-source: x/z:1}\n"
    )
    path = tmp_path / "some.charm"
    path.write_bytes(charm(metadata_yaml=METADATA + text))
    assert CharmFile.read(path).resources == {"a": "x/y:1", "b": "x/y:1", "c": "x/z:1"}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nothing(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    "make",
    [a_pipe, a_folder, a_link_to_nothing, a_link_to_itself, a_device, nothing],
    ids=lambda make: make.__name__,
)
def test_what_is_no_file_among_charms_is_a_finding(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "minio_r1.charm")
    (tmp_path / "good.charm").write_bytes(charm())
    (found,), (unreadable,) = charms_in(tmp_path)
    assert found.file.name == "some"
    assert unreadable.name == "minio"
    assert "minio_r1.charm is not a readable charm" in unreadable.error.problem
