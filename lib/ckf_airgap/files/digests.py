"""The SHA-256 of files of any size."""

import hashlib
import threading
from typing import BinaryIO

_READ_SIZE = 1024 * 1024


def file_sha256(file: BinaryIO, stopped: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file, from its current position to its end.

    Python 3.10 does not have ``hashlib.file_digest``.

    Args:
        file: The file, open for reading.
        stopped: An event that ends reading when it is set; None to read the whole file.

    Returns:
        The SHA-256 of what was read, 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    while not (stopped and stopped.is_set()) and (data := file.read(_READ_SIZE)):
        digest.update(data)
    return digest.hexdigest()
