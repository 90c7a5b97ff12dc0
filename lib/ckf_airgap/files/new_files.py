"""Writes files that replace earlier files only when they are complete."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ckf_airgap.files.temporary_files import removed_on_exit


@contextmanager
def new_file(path: Path, mode: int = 0o666) -> Generator[BinaryIO]:
    """Write a file that replaces an earlier one on exit; after an error, the earlier one stays.

    A symbolic link at the path is replaced, and its target is not touched.

    Args:
        path: The file. Its directory must exist.
        mode: Its permissions, which the umask restricts.

    Yields:
        The file, open for writing.

    Raises:
        OSError: It cannot be written.
    """
    incoming = path.with_name(f"{path.name}.incoming")
    # A run that was killed may have left this file, or somebody may have put a link there.
    with suppress(FileNotFoundError):
        incoming.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(incoming, flags, mode)
    with removed_on_exit(incoming):
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.replace(incoming, path)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all.

    Args:
        path: The file. Its directory must exist.
        text: Its content.

    Raises:
        OSError: It cannot be written.
    """
    with new_file(path, mode=0o600) as file:
        file.write(text.encode())
