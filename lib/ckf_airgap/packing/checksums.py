"""SHA256SUMS: checksums of files in the format of sha256sum (GNU coreutils)."""

import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ckf_airgap.errors import disk_error, read_error
from ckf_airgap.files.digests import file_sha256

CHECKSUMS = "SHA256SUMS"
"""The name of the file."""
CHECKSUMS_SIGNATURE = f"{CHECKSUMS}.minisig"
"""The name of its signature."""
_AT_ONCE = 4
_LINE = re.compile(r"\\?[0-9a-f]{64} [ *](.+)")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})


def checksum_line(digest: str, name: str) -> str:
    r"""Return the line of SHA256SUMS for a file.

    If the name has a backslash, a line feed or a carriage return, these are escaped and the line
    begins with a backslash (GNU coreutils manual, "md5sum invocation").

    Args:
        digest: The SHA-256, 64 hexadecimal digits.
        name: The file name.
    """
    escaped = name.translate(_ESCAPES)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def checksum_lines(folder: Path) -> dict[str, str]:
    """Read SHA256SUMS in a directory.

    Args:
        folder: The directory.

    Returns:
        The result of ``parse_checksums``; empty if there is no SHA256SUMS.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        return parse_checksums((folder / CHECKSUMS).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise read_error(folder / CHECKSUMS, error) from error


def parse_checksums(content: bytes) -> dict[str, str]:
    """Return the lines of SHA256SUMS that are not blank, each with its line feed.

    The key of a line is the file name in it, as it is written there (perhaps escaped); or its text
    if it is not a checksum. A carriage return before a line feed is ignored.
    """
    lines = [line.removesuffix("\r") for line in content.decode("utf-8", "replace").split("\n")]
    matches = [(line, _LINE.fullmatch(line)) for line in lines if line.strip()]
    return {match[1] if match else line: f"{line}\n" for line, match in matches}


def sha256_of_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Compute the SHA-256 of files, several at a time.

    Args:
        folder: The directory of the files.
        names: The files.

    Returns:
        The SHA-256 of each, 64 hexadecimal digits, by its name, in the order of ``names``.

    Raises:
        StorageError: One cannot be read.
    """
    stopped = threading.Event()

    def digest_of(name: str) -> str:
        path = folder / name
        try:
            with path.open("rb") as file:
                return file_sha256(file, stopped)
        except OSError as error:
            raise read_error(path, error) from error

    with ThreadPoolExecutor(_AT_ONCE, "checksum") as executor:
        try:
            return dict(zip(names, executor.map(digest_of, names), strict=True))
        finally:
            # After an interrupt, do not read the remaining files.
            stopped.set()


def write_checksums(folder: Path, names: Sequence[str], known: Sequence[str] = ()) -> None:
    """Write SHA256SUMS for files; several are read at a time.

    Args:
        folder: The directory of the files and of SHA256SUMS.
        names: The files, in the order of their lines.
        known: Finished lines for files not in ``names``, written last.

    Raises:
        StorageError: A file cannot be read, or SHA256SUMS cannot be written.
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
