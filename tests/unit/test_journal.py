"""The journal: what of a file counts, and which files are left alone."""

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ckf_airgap.errors import ConfigurationError, StorageError
from ckf_airgap.files.journal import Journal, sealing_key, state_directory

HEAD = {"format": 1}
KEY = b"k" * 32
TEBIBYTE = 1 << 40


class Kept:
    """A journal, and the records that it has given."""

    def __init__(self, path: Path, key: bytes = KEY) -> None:
        """Read it."""
        self.records: list[int] = []
        self.journal = Journal(path, HEAD, self._take, "the work", key=key)

    def add(self, *numbers: int) -> None:
        """Add records."""
        for number in numbers:
            self.journal.add({"number": number})
        self.journal.close()

    def _take(self, record: Mapping[str, Any]) -> None:
        self.records.append(record["number"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three records."""
    path = tmp_path / "journal"
    Kept(path).add(1, 2, 3)
    return path


def lines(path: Path) -> list[bytes]:
    """Give the lines of a file: the head, and the records."""
    return path.read_bytes().splitlines(keepends=True)


def test_what_was_added_is_read(path: Path) -> None:
    kept = Kept(path)
    assert (kept.records, kept.journal.problem) == ([1, 2, 3], "")


def test_a_record_is_taken_as_it_is_added(path: Path) -> None:
    kept = Kept(path)
    kept.add(4)
    assert kept.records == [1, 2, 3, 4]


def test_a_line_that_somebody_else_has_written_does_not_count(path: Path) -> None:
    forged = path.with_name("forged")
    Kept(forged, key=b"another").add(1, 9)
    path.write_bytes(path.read_bytes() + lines(forged)[2])
    kept = Kept(path)
    assert (kept.records, kept.journal.problem) == ([1, 2, 3], "a part of it is damaged")


def reordered(of: list[bytes]) -> list[bytes]:
    return [of[0], of[2], of[1], of[3]]


def taken_out(of: list[bytes]) -> list[bytes]:
    return [*of[:2], of[3]]


def repeated(of: list[bytes]) -> list[bytes]:
    return [*of, of[3]]


def changed(of: list[bytes]) -> list[bytes]:
    return [*of[:2], of[2].replace(b"2", b"7", 1), of[3]]


@pytest.mark.parametrize(
    ("change", "left"),
    [(reordered, []), (taken_out, [1]), (repeated, [1, 2, 3]), (changed, [1])],
)
def test_lines_count_only_as_they_were_written(
    path: Path, change: Callable[[list[bytes]], list[bytes]], left: list[int]
) -> None:
    path.write_bytes(b"".join(change(lines(path))))
    kept = Kept(path)
    assert (kept.records, kept.journal.problem) == (left, "a part of it is damaged")
    kept.add(4)
    again = Kept(path)
    assert (again.records, again.journal.problem) == ([*left, 4], "")


def test_a_line_cut_short_by_a_kill_is_no_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    kept = Kept(path)
    assert (kept.records, kept.journal.problem) == ([1, 2], "")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n", id="an empty line"),
        pytest.param(b"[" * 3_000_000 + b"\n", id="three million brackets"),
        pytest.param(b'{"a":' * 1_000_000 + b"\n", id="a million objects"),
        pytest.param(b'{"format": 1, "n": Infinity}\n', id="Infinity"),
        pytest.param(b'{"format": ' + b"9" * 5000 + b"}\n", id="a number of 5,000 digits"),
        pytest.param(b"\xff\xfe\x00" * 1000, id="no text"),
        pytest.param(b'{"format": 1}\n', id="without a seal"),
    ],
)
def test_whatever_stands_there_it_begins_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    kept = Kept(path)
    assert kept.records == []
    assert bool(kept.journal.problem) == bool(content)
    kept.add(1)
    assert Kept(path).records == [1]


def test_a_file_with_a_large_hole_is_not_read_into_memory(path: Path) -> None:
    os.truncate(path, TEBIBYTE)
    kept = Kept(path)
    assert kept.records == [1, 2, 3]
    kept.add(4)
    assert Kept(path).records == [1, 2, 3, 4]
    assert path.stat().st_size < TEBIBYTE


@pytest.mark.parametrize("record", ['{"number": []}', '{"other": 1}', '{"number": 1e999}'])
def test_a_record_that_means_nothing_ends_the_reading(path: Path, record: str) -> None:
    """As one of a later version may be: sealed by the same user, and of another shape."""

    def ignore(document: Mapping[str, Any]) -> None:
        pass

    def take(document: Mapping[str, Any]) -> None:
        read.append(int(document["number"]))

    later = Journal(path, HEAD, ignore, "the work", key=KEY)
    later.add(json.loads(record))
    later.close()
    read: list[int] = []
    journal = Journal(path, HEAD, take, "the work", key=KEY)
    assert (read, journal.problem) == ([1, 2, 3], "a part of it cannot be read")


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"of somebody else")
    for link in (tmp_path / "soft", tmp_path / "hard", tmp_path / "dangling"):
        if link.name == "hard":
            os.link(target, link)
        else:
            link.symlink_to(target if link.name == "soft" else tmp_path / "nothing")
        with pytest.raises(ConfigurationError, match="not a regular file") as raised:
            Kept(link)
        assert str(link) in raised.value.problem
        assert "--state" in raised.value.cure
    assert target.read_bytes() == b"of somebody else"
    assert not (tmp_path / "nothing").exists()


def test_a_second_hard_link_is_told(path: Path, tmp_path: Path) -> None:
    os.link(path, tmp_path / "second")
    with pytest.raises(ConfigurationError, match="has several hard links; it is not touched"):
        Kept(path)


def test_a_link_put_in_its_place_later_is_not_followed(path: Path, tmp_path: Path) -> None:
    kept = Kept(path)
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        kept.add(4)
    assert not (tmp_path / "nothing").exists()


def test_nothing_but_a_plain_file_is_opened(tmp_path: Path) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (folder, pipe, Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            Kept(path)


def test_it_is_readable_for_its_user_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_is_kept_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = sealing_key(folder)
    assert len(key) == 32
    assert sealing_key(folder) == key
    assert sealing_key(tmp_path / "other") != key
    assert stat.S_IMODE((folder / "journal.key").stat().st_mode) == 0o600


def test_a_key_that_somebody_has_put_there_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(KEY)
    (tmp_path / "journal.key").symlink_to(tmp_path / "theirs")
    key = sealing_key(tmp_path)
    assert len(key) == 32
    # Then no key is kept: each program has one of its own.
    assert KEY != key != sealing_key(tmp_path)
    assert (tmp_path / "theirs").read_bytes() == KEY


def test_a_key_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.key").write_bytes(b"short")
    key = sealing_key(tmp_path)
    assert len(key) == 32
    assert sealing_key(tmp_path) == key
    assert [path.name for path in tmp_path.iterdir()] == ["journal.key"]


def test_what_follows_a_write_that_failed_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Journal) -> BinaryIO:
        return Path("/dev/full").open("wb")

    kept = Kept(path)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", full)
        with pytest.raises(StorageError):
            kept.add(4)
    kept.add(5)
    again = Kept(path)
    assert (again.records, again.journal.problem) == ([1, 2, 3, 5], "")


def test_state_is_kept_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/operator")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert state_directory() == Path("/home/operator/.local/state/ckf-airgap")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert state_directory() == Path("/var/state/ckf-airgap")
