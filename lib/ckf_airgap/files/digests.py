"""The SHA-256 of files of any size."""

import hashlib
import threading
from typing import BinaryIO

_READ_SIZE = 1024 * 1024


def file_sha256(file: BinaryIO, stopped: threading.Event | None = None) -> str:
    """Read a file to its end.

    ``hashlib.file_digest`` is not in Python 3.10.

    Args:
        file: The file, open for reading.
        stopped: If this is set, the rest is not read; None if nothing stops it.

    Returns:
        The SHA-256 of what was read, 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    while not (stopped and stopped.is_set()) and (data := file.read(_READ_SIZE)):
        digest.update(data)
    return digest.hexdigest()
