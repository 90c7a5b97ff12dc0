"""SHA256SUMS: the checksums of files, as sha256sum of GNU coreutils writes and checks them."""

import hashlib
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.errors import disk_error

CHECKSUMS = "SHA256SUMS"
"""The name of the file."""
CHECKSUMS_SIGNATURE = f"{CHECKSUMS}.minisig"
"""The name of its signature."""
_AT_ONCE = 4
_LINE = re.compile(r"\\?[0-9a-f]{64} [ *](.+)")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def checksum_line(digest: str, name: str) -> str:
    r"""Write the line of a file, with its end.

    A line whose name has a backslash, a line feed or a carriage return begins with a backslash,
    and these are escaped in the name (GNU coreutils manual, "md5sum invocation").

    Args:
        digest: The SHA-256, 64 hexadecimal digits.
        name: The file.
    """
    escaped = name.translate(_ESCAPES)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def checksum_lines(folder: Path) -> dict[str, str]:
    """Read the lines of SHA256SUMS in a directory, by the name in each; none if there is no file.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        return lines_in((folder / CHECKSUMS).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk_error(folder / CHECKSUMS, error) from error


def lines_in(content: bytes) -> dict[str, str]:
    """Return the lines of SHA256SUMS by the name in each; other lines by their text."""
    lines = content.decode("utf-8", "replace").splitlines(keepends=True)
    matches = [(line, _LINE.fullmatch(line.rstrip("\n"))) for line in lines]
    return {match[1] if match else line.rstrip("\n"): line for line, match in matches}


def sha256_of_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Compute the SHA-256 of files, several at a time.

    Args:
        folder: Where the files are.
        names: The files.

    Returns:
        The SHA-256 of each, 64 hexadecimal digits, by its name, in the order of ``names``.

    Raises:
        StorageError: One cannot be read.
    """
    stopped = threading.Event()

    def digest_of(name: str) -> str:
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while not stopped.is_set() and (data := file.read(READ_SIZE)):
                digest.update(data)
        return digest.hexdigest()

    try:
        with ThreadPoolExecutor(_AT_ONCE, "checksum") as executor:
            try:
                return dict(zip(names, executor.map(digest_of, names), strict=True))
            finally:
                # At an interrupt, nobody wants the rest.
                stopped.set()
    except OSError as error:
        raise disk_error(folder / CHECKSUMS, error) from error


def write_checksums(folder: Path, names: Sequence[str], known: Sequence[str] = ()) -> None:
    """Write SHA256SUMS for files, which are read for it, several at a time.

    Args:
        folder: Where the files are, and where it is written.
        names: The files, in the order in which they are to be listed.
        known: Lines of other files, which follow.

    Raises:
        StorageError: One cannot be read, or it cannot be written.
    """
    digests = sha256_of_files(folder, names)
    lines = [checksum_line(digest, name) for name, digest in digests.items()]
    try:
        with (folder / CHECKSUMS).open("w") as file:
            file.writelines([*lines, *known])
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_error(folder / CHECKSUMS, error) from error
