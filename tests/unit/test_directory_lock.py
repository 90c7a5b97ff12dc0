"""Two packs in one directory: the second waits for the operator, not for the first."""

import fcntl
import os
from pathlib import Path

import pytest

from ckf_airgap.errors import ConfigurationError, StorageError
from ckf_airgap.packing.directory_lock import locked


def test_a_second_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "output" / "partial"
    with locked(folder):
        with (
            pytest.raises(ConfigurationError, match=f"another pack is running in {folder.parent}"),
            locked(folder),
        ):
            pass
        assert folder.exists()
    assert not folder.exists()
    folder.mkdir()
    (folder / "journal").touch()
    with locked(folder):
        pass
    assert (folder / "journal").exists()


def test_one_that_is_removed_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a directory that is no longer at its path would be worthless."""
    folder = tmp_path / "partial"
    flock, removed = fcntl.flock, list[int]()

    def remove_first(descriptor: int, operation: int) -> None:
        if len(removed) < 2:
            removed.append(descriptor)
            folder.rmdir()
        if len(removed) == 2:
            folder.mkdir()
            removed.append(0)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked(folder):
        other = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    assert len(removed) == 3


def test_the_directory_of_the_next_pack_stays(tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    with locked(folder):
        folder.rmdir()
        folder.mkdir()
    assert folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "partial").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(StorageError, match="partial cannot be written"),
        locked(tmp_path / "partial"),
    ):
        pass


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_others_can_write_to(tmp_path: Path, mode: int) -> None:
    """A symbolic link of theirs would be followed when the archives are written."""
    folder = tmp_path / "partial"
    folder.mkdir()
    folder.chmod(mode)
    with (
        pytest.raises(ConfigurationError, match=f"another user can write to {folder}"),
        locked(folder),
    ):
        pass
    folder.rmdir()
    with locked(folder):
        assert not folder.stat().st_mode & 0o077


def test_a_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "partial"
    folder.mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(ConfigurationError, match="another user can write"), locked(folder):
        pass
