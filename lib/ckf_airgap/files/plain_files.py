"""Opens what the operator names as a file: no pipe, directory or device, which may never end."""

import errno
import os
import stat
from pathlib import Path


def open_plain(path: Path) -> int:
    """Open a plain file for reading.

    Args:
        path: The file.

    Returns:
        Its descriptor.

    Raises:
        OSError: It is not there, may not be read, or is no plain file.
    """
    # A pipe that nobody writes to is opened all the same.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is not a plain file", str(path))


def read_plain(path: Path, largest: int) -> bytes:
    """Read a plain file.

    Args:
        path: The file.
        largest: How many bytes it may have.

    Raises:
        OSError: As for ``open_plain``, or it is larger.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", str(path))
    return content
