"""A journal of long work that may be killed at any point: a file of JSON lines.

Each line ends with a seal: a code (HMAC, RFC 2104) over this line and those before it, under a key
that only the user who runs this has. So a line that somebody else has written, or that has been
damaged, does not count, nor does what follows it.
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
# What comes of content that is not of the shape that is expected.
_MEANS_NOTHING = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def sealing_key(folder: Path) -> bytes:
    """Return the key that seals the journals of this user; make it on first use.

    Args:
        folder: Where it is kept, readable for nobody else.

    Returns:
        The key. Where it cannot be kept, one that nobody knows later: then what is sealed with it
        counts only as long as this program runs.
    """
    path = folder / "journal.key"
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            with suppress(FileNotFoundError):
                with _open_own(path, os.O_RDONLY) as file:
                    kept = file.read(_KEY_BYTES)
                if len(kept) == _KEY_BYTES:
                    return kept
                # Of a disk that was full, say.
                path.unlink()
            _make_key(path, key)
    except (OSError, ConfigurationError):
        pass
    return key


def _make_key(path: Path, key: bytes) -> None:
    """Write a key, completely or not at all, unless there is one."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink()


def state_folder() -> Path:
    """Return the directory where programs of this user keep state (XDG Base Directory)."""
    base = os.environ.get("XDG_STATE_HOME")
    if base:
        return Path(base, "ckf-airgap")
    try:
        home = Path.home()
    except RuntimeError:
        # The system does not know this user.
        home = Path("/")
    return home / ".local" / "state" / "ckf-airgap"


class Journal:
    """A header line that identifies the work, then one line for each finished item.

    A last line that was not written to its end does not count; it is cut off when the next is
    written.

    Attributes:
        problem: Why something that is there does not count; empty where all of it does.
    """

    def __init__(
        self,
        path: Path,
        head: Mapping[str, object],
        take: Callable[[Mapping[str, Any]], None],
        what: str,
        *,
        key: bytes = b"",
    ) -> None:
        """Read what is there.

        Args:
            path: The file. It need not exist; its directory must.
            head: Tells this work from other work. What is there of other work does not count, and
                is replaced when the first line is written.
            take: Called with each record, of those that are there and of those that are added;
                one thread at a time. A record that it cannot take ends the reading.
            what: What cannot be remembered where the file cannot be written, for the message.
            key: Of the seals; without one they only show damage.

        Raises:
            ConfigurationError: Something stands there that is no file of this user's own.
        """
        self._path = path
        self._head = json.dumps(head).encode()
        self._take = take
        self._what = what
        self._key = key
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        # Of the last line that counts, and of the last that was looked at.
        self._seal = self._sealed = b""
        self._has_whole_line = False
        self.problem = ""
        self._read()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record; from any thread.

        Args:
            record: What JSON can hold; one value at the least.

        Raises:
            StorageError: It cannot be written.
        """
        # As it will be read, and not as it was made: both must be the same.
        text = json.dumps(record).encode()
        with self._lock:
            self._take(json.loads(text))
            if len(text) > _LONGEST_LINE // 2:
                # It would not be read either.
                return
            seal = self._seal
            try:
                if self._file is None:
                    self._file = self._open()
                self._write(self._file, text)
                self._file.flush()
                self._end = self._file.tell()
            except OSError as error:
                # What is there in part is cut off when it is opened again.
                self._seal = seal
                if self._file:
                    with suppress(OSError):
                        self._file.close()
                    self._file = None
                raise StorageError(
                    f"{self._what} cannot be remembered in {self._path} ({error.strerror})",
                    "make space there; then run it again: it continues",
                ) from error

    def close(self) -> None:
        """Close the file; it is opened again when something is added."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _read(self) -> None:
        try:
            file = _open_own(self._path, os.O_RDONLY)
        except OSError:
            # What is not there, or cannot be read, tells nothing.
            return
        with file:
            head = self._line(file)
            if head is None:
                if self._path.stat().st_size:
                    self.problem = "it is not of this work, this user or this version"
                return
            if head != self._head:
                self.problem = "it is of other work"
                return
            while True:
                self._end = file.tell()
                self._seal = self._sealed
                line = self._line(file)
                if line is None:
                    break
                try:
                    self._take(json.loads(line))
                # Whatever its content is: what could be read before holds.
                except _MEANS_NOTHING:
                    self.problem = "a part of it cannot be read"
                    return
            if file.tell() != self._end and self._has_whole_line:
                self.problem = "a part of it is damaged"

    def _line(self, file: IO[bytes]) -> bytes | None:
        """Read a line; None if it is not valid."""
        line = file.readline(_LONGEST_LINE)
        self._has_whole_line = line.endswith(b"\n")
        match = _SEAL.fullmatch(line)
        if match is None:
            return None
        text = match[1] + b"}"
        seal = self._seal_of(text)
        if not hmac.compare_digest(seal.hex().encode(), match[2]):
            return None
        self._sealed = seal
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
            self._write(file, self._head)
        return file


def _open_own(path: Path, flags: int) -> IO[bytes]:
    """Open or create a file, and refuse one that is not a regular file of this user.

    Raises:
        ConfigurationError: It is a link, a device, or somebody else's.
        OSError: It cannot be opened.
    """
    # Nothing is waited for: a pipe without a writer would hold it up.
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
        f"{path} is not a plain file of the user who runs this, and is left alone",
        "remove it, or give another file (on a workstation --state FILE)",
    )
