"""A journal of a long job that may be killed at any point: a file of JSON lines.

Each line ends with a seal: an HMAC (RFC 2104) of this line and all lines before it, with a key
that only the current user has. Reading stops at the first line that is damaged or that somebody
else has written.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ckf_airgap.errors import ConfigurationError, StorageError

_LONGEST_LINE = 16 * 1024 * 1024
_SEAL = re.compile(rb'(.*), "seal": "([0-9a-f]{64})"\}\n', re.DOTALL)
_KEY_BYTES = 32
# The errors of ``apply`` for a record of an unexpected shape.
_INVALID_RECORD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def sealing_key(directory: Path) -> bytes:
    """Return the key that seals the journals of this user; create it on first use.

    Args:
        directory: Holds the key in a file that only its owner can read.

    Returns:
        The key, 32 bytes. If it cannot be stored, a random one: journals sealed with it are valid
        only until this program ends.
    """
    path = directory / "journal.key"
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            with suppress(FileNotFoundError):
                with _open_own(path, os.O_RDONLY) as file:
                    stored = file.read(_KEY_BYTES)
                if len(stored) == _KEY_BYTES:
                    return stored
                # Cut off, for example by a full disk.
                path.unlink()
            _store_key(path, key)
    except (OSError, ConfigurationError):
        pass
    return key


def _store_key(path: Path, key: bytes) -> None:
    """Write a key, completely or not at all, unless the file exists."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink()


def state_directory() -> Path:
    """Return the directory for this user's state (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME")
    if base:
        return Path(base, "ckf-airgap")
    try:
        home = Path.home()
    except RuntimeError:
        # This user has no home directory.
        home = Path("/")
    return home / ".local" / "state" / "ckf-airgap"


class Journal:
    """A header line that identifies the job, then one line for each record.

    An incomplete last line is ignored, and overwritten by the next record.

    Attributes:
        problem: Why a part of the file is ignored; empty if all complete lines are valid.
    """

    def __init__(
        self,
        path: Path,
        header: Mapping[str, object],
        apply: Callable[[Mapping[str, Any]], None],
        what: str,
        *,
        key: bytes = b"",
    ) -> None:
        """Read the file.

        Args:
            path: The file. It need not exist; its directory must.
            header: Identifies the job. A file with another header is ignored, and replaced by the
                first ``add``.
            apply: Called with each record that is read or added, by one thread at a time. Reading
                stops at a record of an unexpected shape, for which it raises one of
                ``_INVALID_RECORD``.
            what: What the file records, for the message if it cannot be written.
            key: The key of the seals; without a key they only detect damage.

        Raises:
            ConfigurationError: The path is not a regular file of this user.
        """
        self._path = path
        self._header = json.dumps(header).encode()
        self._apply = apply
        self._what = what
        self._key = key
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        # The seals of the last valid line, and of the last line that was read.
        self._seal = self._seal_read = b""
        self._has_whole_line = False
        self.problem = ""
        self._read()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record; can be called from any thread.

        A record of more than 8 MiB is applied, but not written.

        Args:
            record: Values that JSON can represent, at least one.

        Raises:
            ConfigurationError: The path is not a regular file of this user.
            StorageError: The file cannot be written.
        """
        text = json.dumps(record).encode()
        with self._lock:
            # Apply exactly what a later run will read.
            self._apply(json.loads(text))
            if len(text) > _LONGEST_LINE // 2:
                # A later run might not read a line of this length.
                return
            seal = self._seal
            try:
                if self._file is None:
                    self._file = self._open()
                self._write(self._file, text)
                self._file.flush()
                self._end = self._file.tell()
            except OSError as error:
                # Opening the file again cuts off the incomplete line.
                self._seal = seal
                if self._file:
                    with suppress(OSError):
                        self._file.close()
                    self._file = None
                raise StorageError(
                    f"{self._what} cannot be recorded in {self._path} ({error.strerror})",
                    "make space there; then run it again: it continues",
                ) from error

    def close(self) -> None:
        """Close the file; the next ``add`` opens it again."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _read(self) -> None:
        try:
            file = _open_own(self._path, os.O_RDONLY)
        except OSError:
            # Without a readable file the job starts from the beginning.
            return
        with file:
            header = self._line(file)
            if header is None:
                if self._path.stat().st_size:
                    self.problem = "it belongs to another job, user or version"
                return
            if header != self._header:
                self.problem = "it belongs to another job"
                return
            while True:
                self._end = file.tell()
                self._seal = self._seal_read
                line = self._line(file)
                if line is None:
                    break
                try:
                    self._apply(json.loads(line))
                except _INVALID_RECORD:
                    # The records before it stay valid.
                    self.problem = "a part of it cannot be read"
                    return
            if file.tell() != self._end and self._has_whole_line:
                self.problem = "a part of it is damaged"

    def _line(self, file: IO[bytes]) -> bytes | None:
        """Read a line and return it without its seal; None if it is not valid."""
        line = file.readline(_LONGEST_LINE)
        self._has_whole_line = line.endswith(b"\n")
        match = _SEAL.fullmatch(line)
        if match is None:
            return None
        text = match[1] + b"}"
        seal = self._seal_of(text)
        if not hmac.compare_digest(seal.hex().encode(), match[2]):
            return None
        self._seal_read = seal
        return text

    def _seal_of(self, text: bytes) -> bytes:
        return hmac.digest(self._key, self._seal + text, hashlib.sha256)

    def _write(self, file: IO[bytes], text: bytes) -> None:
        seal = self._seal_of(text)
        file.write(text[:-1] + b', "seal": "' + seal.hex().encode() + b'"}\n')
        self._seal = seal

    def _open(self) -> IO[bytes]:
        file = _open_own(self._path, os.O_RDWR | os.O_CREAT)
        file.truncate(self._end)
        file.seek(self._end)
        if not self._end:
            self._seal = b""
            self._write(file, self._header)
        return file


def _open_own(path: Path, flags: int) -> IO[bytes]:
    """Open or create a regular file of this user.

    Raises:
        ConfigurationError: It is not a regular file, has more than one hard link, or belongs to
            another user.
        OSError: It cannot be opened.
    """
    # O_NONBLOCK: without it, opening a pipe that has no writer would block.
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        if path.is_symlink() or path.is_dir():
            raise _not_own(path) from None
        raise
    found = os.fstat(descriptor)
    is_own = found.st_uid == os.geteuid() and found.st_nlink == 1
    if not (stat.S_ISREG(found.st_mode) and is_own):
        os.close(descriptor)
        raise _not_own(path)
    return os.fdopen(descriptor, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "r+b")


def _not_own(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not a regular file of the current user, or has several hard links; "
        "it is not touched",
        "remove it, or give another file (on a workstation, with --state FILE)",
    )
