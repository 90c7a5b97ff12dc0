"""The files of an archive while it is written, and the way to their names."""

import dataclasses
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.parts import find_archive
from ckf_airgap.errors import ConfigurationError, StorageError
from ckf_airgap.packing.part_files import PartFiles, parse_size, with_archive_size
from ckf_airgap.packing.publication import Publication
from tests.support.kills import KilledError, kill_after

MANIFEST = PackManifest("oci", "amd64", (), ())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4.7GB", 4_700_000_000),
        ("700MiB", 700 * 1024**2),
        ("1 TiB", 1024**4),
        ("2kB", 2000),
        ("2KB", 2000),
        ("0.5k", None),
        ("512B", 512),
        ("1.001kB", 1001),
        ("4.7", None),
        ("4,7GB", None),
        ("GB", None),
        ("-4GB", None),
        ("0GB", None),
        ("0.4B", None),
        ("4PB", None),
        ("1e3MB", None),
        ("9" * 40 + "GB", None),
        ("\u0664GB", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    if size is not None:
        assert parse_size(text, "--part-size") == size
        return
    with pytest.raises(ConfigurationError, match="--part-size is not a size") as raised:
        parse_size(text, "--part-size")
    assert "4.7GB or 700MiB" in raised.value.cure


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.integers(1, 500),
    st.integers(0, 600),
    st.lists(st.tuples(st.integers(0, 499), st.binary(min_size=1, max_size=300)), max_size=8),
    st.tuples(st.integers(0, 499), st.integers(0, 499), st.integers(0, 499)),
)
def test_any_place_in_the_parts_is_that_of_the_archive(
    tmp_path: Path,
    size: int,
    part_size: int,
    writes: list[tuple[int, bytes]],
    copied: tuple[int, int, int],
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    expected = bytearray(size)
    files = PartFiles(tmp_path / "x.tar", size, part_size)
    with files.open() as file:
        for offset, data in writes:
            data = data[: max(0, size - offset)]
            file.write(offset, data)
            expected[offset : offset + len(data)] = data
        start, target, length = copied
        length = min(length, size - start, size - target)
        # Never onto itself.
        if 0 < length <= abs(start - target):
            file.copy(start, target, length)
            expected[target : target + length] = expected[start : start + length]
    written = [tmp_path.joinpath(name).read_bytes() for name in files.names]
    assert b"".join(written) == expected
    assert {path.name for path in tmp_path.iterdir()} == set(files.names)
    if 0 < part_size < size:
        assert {len(content) for content in written[:-1]} == {part_size}
        assert 0 < len(written[-1]) <= part_size
    else:
        assert files.names == ("x.tar",)


@given(st.integers(1, 100_000), st.integers(0, 5_000))
def test_there_is_room_for_the_starts_of_all_parts(size: int, part_size: int) -> None:
    def size_of(said: PackManifest) -> int:
        return size + len(said.encode())

    try:
        made = with_archive_size(MANIFEST, part_size, size_of)
    except ConfigurationError as error:
        assert "the maximum is" in error.problem
        assert size_of(MANIFEST) + 999 * 100 > 999 * part_size
        return
    assert made.archive_size == size_of(made)
    assert made.part_size in (0, part_size)
    count = -(-made.archive_size // part_size) if part_size else 1
    assert len(made.part_starts) == count - 1
    # Where each begins is known later, and takes as much.
    starts = tuple("f" * 64 for _ in made.part_starts)
    known = with_archive_size(
        dataclasses.replace(MANIFEST, part_starts=starts), part_size, size_of
    )
    assert known == dataclasses.replace(made, part_starts=starts)


def test_parts_that_are_too_many_or_too_small(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the maximum is 999") as raised:
        with_archive_size(MANIFEST, 1000, lambda _: 10_000_000)
    assert "10,011B" in raised.value.cure
    with pytest.raises(ConfigurationError, match=r"too small for x\.tar") as raised:
        PartFiles(tmp_path / "x.tar", 10_000, 100).require_record_fits(101)
    assert "101B" in raised.value.cure
    PartFiles(tmp_path / "x.tar", 100, 100).require_record_fits(101)


class TestPublication:
    """Archives in the output directory, with what was there before."""

    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path) -> None:
        self.output = tmp_path
        self.partial = tmp_path / "partial"

    def make(self, part_size: int = 0, bundle: str = "") -> list[str]:
        """Make both archives, of 30 kB each."""
        self.partial.mkdir(exist_ok=True)
        said = dataclasses.replace(MANIFEST, bundle=bundle)
        content = random.Random(bundle).randbytes(30_000)

        def made(manifest: PackManifest) -> bytes:
            output = io.BytesIO()
            with tarfile.open(fileobj=output, mode="w") as tar:
                for name, text in (("ckf-airgap.json", manifest.encode()), ("filler", content)):
                    member = tarfile.TarInfo(name)
                    member.size = len(text)
                    tar.addfile(member, io.BytesIO(text))
            return output.getvalue()

        said = with_archive_size(said, part_size, lambda manifest: len(made(manifest)))
        names: list[str] = []
        for archive in ("charms.tar.gz", "images.tar.gz"):
            files = PartFiles(self.partial / archive, said.archive_size, part_size)
            with files.open() as file:
                file.write(0, made(said))
                file.write(0, made(dataclasses.replace(said, part_starts=tuple(file.starts()))))
            names += files.names
        return names

    def publish(self, names: list[str]) -> None:
        Publication(self.partial, self.output).publish(names)

    @property
    def there(self) -> list[str]:
        return sorted(path.name for path in self.output.iterdir() if path.name != "SHA256SUMS")

    def test_each_earlier_run_is_cleared(self) -> None:
        for part_size in (0, 6500, 0, 12000, 6000, 6400, 0):
            names = self.make(part_size)
            assert (len(names) > 2) == bool(part_size)
            self.publish(names)
            assert self.there == sorted(names)
            for archive in ("charms.tar.gz", "images.tar.gz"):
                assert find_archive(self.output / archive).size > 30_000

    def test_a_publication_that_is_killed_at_any_moment_is_finished(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moment, is_killed = 0, True
        while is_killed:
            self.publish(self.make(6500, "old"))
            names = self.make(0, "new") if moment % 2 else self.make(6000, "new")
            with monkeypatch.context() as patch:
                kill_after(moment // 2, patch)
                try:
                    self.publish(names)
                    is_killed = False
                except KilledError:
                    pass
            Publication(self.partial, self.output).resume()
            if not moment // 2:
                # Not begun yet: it is as before, and made again by the next run.
                text = (self.partial / "complete.incoming").read_text()
                assert json.loads(text) == {"new": ["SHA256SUMS", *names], "present": []}
                self.publish(names)
            assert self.there == sorted(names)
            assert (self.output / "SHA256SUMS").exists()
            moment += 1
        assert moment > 8

    @pytest.mark.parametrize("name", ["images.tar.gz.003", "images.tar.gz.700", "images.tar.gz"])
    def test_what_somebody_else_wrote_is_neither_removed_nor_overwritten(self, name: str) -> None:
        (self.output / name).write_text("precious")
        names = self.make(6500)
        publication = Publication(self.partial, self.output)
        with pytest.raises(ConfigurationError, match=name) as raised:
            publication.require_place([name for name in names if name.startswith("images")])
        assert "move these files elsewhere" in raised.value.cure
        publication.require_place([name for name in names if name.startswith("charms")])
        self.publish([name for name in names if name.startswith("charms")])
        assert (self.output / name).read_text() == "precious"

    def test_a_whole_file_takes_the_place_of_a_damaged_one(self) -> None:
        (self.output / "images.tar.gz").write_text("damaged")
        names = self.make()
        publication = Publication(self.partial, self.output)
        publication.require_place(["images.tar.gz"])
        publication.publish(names)
        assert find_archive(self.output / "images.tar.gz").size > 30_000

    @pytest.mark.parametrize("with_kit", [True, False])
    def test_leftovers_of_another_pack_replace_no_archive_that_is_kept(
        self, with_kit: bool
    ) -> None:
        names = self.make(bundle="kept")
        self.publish(names)
        before = {name: (self.output / name).read_bytes() for name in names}
        if not with_kit:
            checksums = self.output / "SHA256SUMS"
            checksums.write_text(checksums.read_text().splitlines(keepends=True)[0])
        assert self.make(bundle="interrupted") == names
        (self.partial / "README.md").write_text("a kit")
        kit = ["README.md", "kit.json"] if with_kit else []
        Publication(self.partial, self.output).keep(kit[:1])
        assert {name: (self.output / name).read_bytes() for name in names} == before
        assert self.there == sorted([*names, *kit])
        check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
        subprocess.run(check, cwd=self.output, check=True)
        assert len((self.output / "SHA256SUMS").read_text().splitlines()) == len([*names, *kit])

    def test_an_archive_cannot_take_the_place_of_a_directory(self) -> None:
        (self.output / "images.tar.gz").mkdir()
        publication = Publication(self.partial, self.output)
        with pytest.raises(ConfigurationError, match=r"has images\.tar\.gz, not written"):
            publication.require_place(["images.tar.gz"])
        publication.require_place(["charms.tar.gz"])

    def test_a_folder_that_cannot_be_written(self) -> None:
        names = self.make()
        with pytest.raises(StorageError, match="cannot be written"):
            Publication(self.partial, self.output / "nowhere").publish(names)
        self.publish(names)
        assert self.there == sorted(names)
