"""Keeps a second pack out of the directory in which a pack works."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ckf_airgap.errors import ConfigurationError, disk_error


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Lock a directory, which is created if missing and removed on exit if it is empty.

    Whoever has the lock may remove the directory: the lock then ends, and another pack makes a
    directory of its own.

    Args:
        folder: The directory.

    Raises:
        ConfigurationError: Another pack has locked it.
        StorageError: It cannot be created.
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
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise disk_error(folder, error) from error
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


def _is_at(descriptor: int, folder: Path) -> bool:
    """Return whether an open directory still has its path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(folder))
    return False
