"""Opens regular files that the operator names; pipes and devices could block or never end."""

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path, *, follows_link: bool = True) -> int:
    """Open a regular file for reading; return its descriptor.

    Args:
        path: The file.
        follows_link: Whether it may be a symbolic link to the file.

    Raises:
        OSError: It does not exist, is not readable, or is not a regular file.
    """
    # O_NONBLOCK: without it, opening a pipe that has no writer would block.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags if follows_link else flags | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_regular(path: Path, largest: int, *, follows_link: bool = True) -> bytes:
    """Read a regular file of at most ``largest`` bytes.

    Args:
        path: The file.
        largest: The limit, in bytes.
        follows_link: Whether it may be a symbolic link to the file.

    Raises:
        OSError: As for ``open_regular``, or it is larger, or reading fails.
    """
    with os.fdopen(open_regular(path, follows_link=follows_link), "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", str(path))
    return content
