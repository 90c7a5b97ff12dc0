"""The SHA-256 of files of any size."""

import hashlib
from typing import BinaryIO

_READ_SIZE = 1024 * 1024


def sha256_of(file: BinaryIO) -> str:
    """Read a file to its end.

    ``hashlib.file_digest`` is not in Python 3.10.

    Args:
        file: The file, open for reading.

    Returns:
        The SHA-256 of what was read, 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    while data := file.read(_READ_SIZE):
        digest.update(data)
    return digest.hexdigest()
