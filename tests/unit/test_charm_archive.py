"""charms.tar.gz: which charms come out of it, where they are put, and what is refused."""

import gzip
import hashlib
import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import unpack_charms
from ckf_airgap.errors import ArtifactError, StorageError
from tests.sample_release import (
    Charm,
    CharmOptions,
    Release,
    Resource,
    SampleRelease,
    charm_file,
    truncate,
    write_charm_archive,
)
from tests.unit.artifacts import files_in, write_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "charms.tar.gz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "unit" / "charms"


def test_the_charms_of_a_release_are_unpacked_whatever_their_files_are_called(
    builtin: SampleRelease, folder: Path
) -> None:
    # The generator gives them names in all four styles that are in use.
    charms = unpack_charms(FileSource(builtin.charms.path), folder).charms
    assert [charm.name for charm in charms] == [charm.name for charm in builtin.release.charms]
    contents = {charm.name: charm_file(charm) for charm in builtin.release.charms}
    for charm in charms:
        content = charm.path.read_bytes()
        assert content == contents[charm.name]
        digest = hashlib.sha256(content).hexdigest()
        assert charm.path == folder / f"{charm.name}_{digest[:7]}.charm"
    assert files_in(folder) == {charm.path.name for charm in charms}


@pytest.mark.parametrize(
    "name",
    [
        "a.charm",
        "./a.charm",
        "a_r12.charm",
        "a_1234567.charm",
        "a_ubuntu-20.04-amd64.charm",
        "charms/a.charm",
        "./some/folder/a_r12.charm",
        "completely-different.charm",
        "/absolute/a.charm",
        "größe.charm",
    ],
)
def test_a_charm_is_known_by_its_metadata(name: str, archive: Path, folder: Path) -> None:
    write_archive(archive, [(name, charm_file(Charm("a")))])
    (charm,) = unpack_charms(FileSource(archive), folder).charms
    assert charm.name == "a"


def test_other_files_and_folders_do_not_count(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for kind, name in ((tarfile.DIRTYPE, "folder.charm"), (tarfile.SYMTYPE, "link.charm")):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "a.charm"
            tar.addfile(member)
        for name, content in (("README.md", b"read me"), ("a.charm", charm_file(Charm("a")))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert [charm.name for charm in unpack_charms(FileSource(archive), folder).charms] == ["a"]
    assert len(files_in(folder)) == 1


def test_two_charms_of_one_name_are_refused_with_both_files(archive: Path, folder: Path) -> None:
    minio = Release.builtin(["minio"]).charms
    made = write_charm_archive(minio, archive, CharmOptions(duplicated=frozenset({"minio"})))
    with pytest.raises(ArtifactError, match=r"contains the charm minio twice") as error:
        unpack_charms(FileSource(archive), folder)
    assert all(charm.file_name in str(error.value) for charm in made.charms)


def versioned(name: str, version: str) -> tuple[str, bytes]:
    """Make a charm that runs a version, and the member that holds it."""
    charm = Charm(
        name, resources=(Resource("oci-image", "oci-image", f"example.org/{name}:{version}"),)
    )
    return f"{name}_{version}.charm", charm_file(charm)


def test_of_several_versions_the_newest_counts_and_the_others_are_between(
    archive: Path, folder: Path
) -> None:
    pilots = [versioned("pilot", version) for version in ("1.9.2", "1.11.0", "1.10.1")]
    write_archive(archive, [pilots[0], versioned("a", "3.0.0"), *pilots[1:]])
    unpacked = unpack_charms(FileSource(archive), folder)
    assert [charm.label for charm in unpacked.charms] == ["a_3.0.0.charm", "pilot_1.11.0.charm"]
    assert [charm.label for charm in unpacked.intermediate] == [
        "pilot_1.9.2.charm",
        "pilot_1.10.1.charm",
    ]
    assert {str(image) for image in unpacked.wanted_images} == {
        "example.org/a:3.0.0",
        *(f"example.org/pilot:{version}" for version in ("1.9.2", "1.10.1", "1.11.0")),
    }
    assert len(files_in(folder)) == 4


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (("1.9.2", "1.9.2"), "contains the charm pilot 1.9.2 twice: in 0.charm and in 1.charm"),
        (("latest", "1.9.2"), "contains the charm pilot 1.9.2 twice: in 0.charm and in 1.charm"),
        (
            ("1.9.2", "1.10.0", "latest"),
            "contains the charm pilot twice: in 0.charm and in 2.charm",
        ),
        (("latest", "edge"), "contains the charm pilot twice: in 0.charm and in 1.charm"),
    ],
)
def test_charms_of_one_name_that_no_version_tells_apart_are_refused(
    versions: tuple[str, ...], said: str, archive: Path, folder: Path
) -> None:
    charms = [versioned("pilot", version)[1] for version in versions]
    write_archive(archive, [(f"{number}.charm", each) for number, each in enumerate(charms)])
    with pytest.raises(ArtifactError) as error:
        unpack_charms(FileSource(archive), folder)
    assert said in error.value.problem


@pytest.mark.parametrize("members", [[], [("README.md", b"")], [("charm.txt", b"x")]])
def test_an_archive_without_charms_is_refused(
    members: list[tuple[str, bytes]], archive: Path, folder: Path
) -> None:
    write_archive(archive, members)
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz contains no \.charm file"):
        unpack_charms(FileSource(archive), folder)


def test_an_empty_file_is_refused(archive: Path, folder: Path) -> None:
    archive.touch()
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz is empty"):
        unpack_charms(FileSource(archive), folder)


def test_a_missing_file_is_refused(archive: Path, folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz cannot be opened"):
        unpack_charms(FileSource(archive), folder)


def test_a_file_that_is_no_gzip_is_refused(archive: Path, folder: Path) -> None:
    archive.write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz is a zip file, not a tar"):
        unpack_charms(FileSource(archive), folder)


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.999])
def test_a_truncated_archive_is_refused_by_name(
    fraction: float, archive: Path, folder: Path
) -> None:
    write_charm_archive(Release.builtin().charms, archive)
    truncate(archive, fraction)
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz ends in the middle"):
        unpack_charms(FileSource(archive), folder)


def test_a_checksum_that_does_not_fit_is_found(archive: Path, folder: Path) -> None:
    write_archive(archive, [("a.charm", charm_file(Charm("a")))])
    data = bytearray(archive.read_bytes())
    data[-8] ^= 0xFF  # RFC 1952: CRC32, then the size, end a member.
    archive.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"charms\.tar\.gz is damaged .*checksum"):
        unpack_charms(FileSource(archive), folder)


def test_a_broken_charm_is_named_as_in_the_archive(archive: Path, folder: Path) -> None:
    write_charm_archive(
        Release.builtin().charms, archive, CharmOptions(without_metadata=frozenset({"kfp-api"}))
    )
    unpacked = unpack_charms(FileSource(archive), folder)
    assert len(unpacked.charms) == len(Release.builtin().charms) - 1
    (charm,) = unpacked.unreadable
    assert charm.name == "kfp-api"
    assert re.search(r"kfp-api\S*\.charm has no metadata\.yaml", charm.error.problem)
    assert len(files_in(folder)) == len(unpacked.charms)
    write_archive(archive, [("sub/broken.charm", b"nothing")])
    with pytest.raises(ArtifactError, match=r"sub/broken\.charm is not a readable charm"):
        unpack_charms(FileSource(archive), folder)


def test_what_another_archive_left_is_removed(archive: Path, folder: Path) -> None:
    write_archive(archive, [(f"{n}.charm", charm_file(Charm(n))) for n in ("a", "b")])
    before = {
        charm.name: charm.path for charm in unpack_charms(FileSource(archive), folder).charms
    }
    (folder / "other").write_text("not a charm, and not to be touched")
    newer = charm_file(Charm("a"), None, {"version": "2\n"})
    write_archive(archive, [("a.charm", newer)])
    (charm,) = unpack_charms(FileSource(archive), folder).charms
    # A new charm never stands under the name of an old one, which the juju client would mix up.
    assert charm.path != before["a"]
    assert files_in(folder) == {charm.path.name, "other"}


def test_unpacking_again_changes_nothing(archive: Path, folder: Path) -> None:
    write_archive(archive, [(f"{n}.charm", charm_file(Charm(n))) for n in ("a", "b")])
    first, again = (unpack_charms(FileSource(archive), folder) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    "name", ["../../escaped.charm", "/tmp/../escaped.charm", "a/../../../escaped.charm"]
)
def test_member_names_do_not_lead_out_of_the_folder(
    name: str, archive: Path, folder: Path, tmp_path: Path
) -> None:
    write_archive(archive, [(name, charm_file(Charm("a")))])
    (charm,) = unpack_charms(FileSource(archive), folder).charms
    assert charm.path.parent == folder
    assert files_in(tmp_path) == {"charms.tar.gz", f"unit/charms/{charm.path.name}"}


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "a/b"])
def test_charm_names_do_not_lead_out_of_the_folder(
    name: str, archive: Path, folder: Path, tmp_path: Path
) -> None:
    write_archive(archive, [("a.charm", charm_file(Charm(name)))])
    with pytest.raises(ArtifactError, match=r"metadata\.yaml of a\.charm names no valid charm"):
        unpack_charms(FileSource(archive), folder)
    assert files_in(tmp_path) == {"charms.tar.gz"}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("/dev/full", r"a\.charm cannot be unpacked \(No space left"),
        ("nowhere/at-all", r"unit/charms cannot be written \(No such file"),
    ],
)
def test_an_unwritable_disk_leaves_nothing_behind(
    target: str, problem: str, archive: Path, folder: Path
) -> None:
    write_archive(archive, [("a.charm", charm_file(Charm("a")))])
    folder.mkdir(parents=True)
    (folder / ".incoming-0").symlink_to(target)
    with pytest.raises(StorageError, match=problem) as raised:
        unpack_charms(FileSource(archive), folder)
    assert ("make space" in raised.value.cure) == (target == "/dev/full")
    assert not os.listdir(folder)


@pytest.mark.parametrize("name", ["a_{digest}.charm", "left-over.charm"])
def test_a_charm_that_cannot_be_replaced_or_removed_is_told(
    name: str, archive: Path, folder: Path
) -> None:
    content = charm_file(Charm("a"))
    write_archive(archive, [("a.charm", content)])
    obstacle = folder / name.format(digest=hashlib.sha256(content).hexdigest()[:7])
    obstacle.mkdir(parents=True)
    with pytest.raises(StorageError) as raised:
        unpack_charms(FileSource(archive), folder)
    assert raised.value.problem.startswith(f"{obstacle} cannot be written (")
    assert "make space" not in raised.value.cure


def test_an_archive_that_ends_in_the_middle_leaves_nothing_behind(
    archive: Path, folder: Path
) -> None:
    write_archive(archive, [("a.charm", charm_file(Charm("a")))])
    content = gzip.decompress(archive.read_bytes())
    archive.write_bytes(content[:700])
    with pytest.raises(ArtifactError):
        unpack_charms(FileSource(archive), folder)
    assert not os.listdir(folder)


def test_one_that_cannot_be_read_is_one_finding(archive: Path, folder: Path) -> None:
    broken_options = charm_file(Charm("c"), None, {"config.yaml": "options: ["})
    write_archive(
        archive,
        [
            ("a.charm", charm_file(Charm("a"))),
            ("minio_r57.charm", b"not a charm"),
            ("folder/x.charm", broken_options),
            ("b.charm", charm_file(Charm("b"))),
        ],
    )
    unpacked = unpack_charms(FileSource(archive), folder)
    assert [charm.name for charm in unpacked.charms] == ["a", "b"]
    # The metadata tells which charm it is, where they can be read.
    assert [(each.label, each.name) for each in unpacked.unreadable] == [
        ("minio_r57.charm", "minio"),
        ("folder/x.charm", "c"),
    ]
    assert (
        "config.yaml of folder/x.charm is not valid YAML" in unpacked.unreadable[1].error.problem
    )
    assert len(os.listdir(folder)) == 2


def test_where_none_can_be_read_all_are_named_at_once(archive: Path, folder: Path) -> None:
    write_archive(archive, [(f"{name}.charm", b"x") for name in "abc"])
    with pytest.raises(ArtifactError) as raised:
        unpack_charms(FileSource(archive), folder)
    assert raised.value.problem.startswith("3 charms in charms.tar.gz: ")
    for name in "abc":
        assert f"{name}.charm is not a readable charm" in raised.value.problem


def test_there_are_not_more_than_any_release_has(archive: Path, folder: Path) -> None:
    broken = [(f"x{number}.charm", b"x") for number in range(1_000)]
    write_archive(archive, [("a.charm", charm_file(Charm("a"))), *broken])
    with pytest.raises(ArtifactError, match=r"contains more than 1000 \.charm files"):
        unpack_charms(FileSource(archive), folder)
    write_archive(archive, [("a.charm", charm_file(Charm("a"))), *broken[1:]])
    assert len(unpack_charms(FileSource(archive), folder).unreadable) == 999


def test_all_charms_together_have_a_limit(archive: Path, folder: Path) -> None:
    options = "options:\n" + "\n".join(f"  o{number}: {{}}" for number in range(20_000))
    more = {"config.yaml": options}
    files = {"a": "a", "b": "b", "third": "c", "fourth": "d"}
    charms = [
        (f"{file}.charm", charm_file(Charm(name), None, more)) for file, name in files.items()
    ]
    write_archive(archive, charms)
    unpacked = unpack_charms(FileSource(archive), folder)
    assert len(unpacked.charms) == 2
    assert "has more than 100000 values" in unpacked.unreadable[0].error.problem
    # What is over it is not read once more, not even for its name.
    assert [charm.name for charm in unpacked.unreadable] == ["third", "fourth"]


def test_a_full_disk_is_told_with_the_space_needed(archive: Path, folder: Path) -> None:
    write_archive(archive, [("a.charm", charm_file(Charm("a")))])
    folder.mkdir(parents=True)
    (folder / ".incoming-0").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"a\.charm cannot be unpacked \(No space left"):
        unpack_charms(FileSource(archive), folder)


def test_those_of_few_values_are_read_whatever_others_take(archive: Path, folder: Path) -> None:
    options = "options:\n" + "\n".join(f"  o{number}: {{}}" for number in range(20_000))
    large = [
        (f"{name}.charm", charm_file(Charm(name), None, {"config.yaml": options}))
        for name in "abcd"
    ]
    sound = ("minio.charm", charm_file(Charm("minio")))
    write_archive(archive, [*large, sound])
    unpacked = unpack_charms(FileSource(archive), folder)
    assert [charm.name for charm in unpacked.charms] == ["a", "b", "minio"]
    assert [charm.name for charm in unpacked.unreadable] == ["c", "d"]
