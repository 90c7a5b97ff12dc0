"""Keeps a second pack, and other users, out of the directory in which a pack works."""

import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ckf_airgap.errors import ConfigurationError, disk_error

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Lock a directory, which is created if missing and removed on exit if it is empty.

    The owner of the lock may remove the directory. That ends the lock: another pack then creates
    and locks a new directory.

    Args:
        folder: The directory.

    Raises:
        ConfigurationError: Another pack has locked it, or another user could write to it.
        StorageError: It cannot be created or opened.
    """
    descriptor = _lock(folder)
    try:
        yield
    finally:
        # Remove the directory if nothing was fetched.
        with suppress(OSError):
            if _is_at(descriptor, folder):
                folder.rmdir()
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Create and lock the directory; return its descriptor."""
    while True:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise disk_error(folder, error) from error
        _require_own(descriptor, folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigurationError(
                f"another pack is running in {folder.parent}",
                "wait for it, or choose another directory with --output",
            ) from error
        if _is_at(descriptor, folder):
            return descriptor
        # The pack that had the lock has removed this directory.
        os.close(descriptor)


def _require_own(descriptor: int, folder: Path) -> None:
    """Raise an error if another user could have replaced files with symbolic links.

    Raises:
        ConfigurationError: Another user owns the directory or can write to it; it is closed.
    """
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE:
        return
    os.close(descriptor)
    raise ConfigurationError(
        f"another user can write to {folder}, in which the archives are made",
        "remove this directory, or choose another one with --output",
    )


def _is_at(descriptor: int, folder: Path) -> bool:
    """Return whether an open directory still has its path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(folder))
    return False
