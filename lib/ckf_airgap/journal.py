"""A record of long work that may be killed at any point: a file of JSON lines."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ckf_airgap.errors import StorageError

_LONGEST_HEAD = 64 * 1024


class Journal:
    """Lines that say what is done, after a first one that says what work it is.

    A last line that was not written to its end does not count; it is cut off when the next is
    written.
    """

    def __init__(
        self,
        path: Path,
        head: Mapping[str, object],
        take: Callable[[Mapping[str, Any]], None],
        what: str,
    ) -> None:
        """Read what is there.

        Args:
            path: The file. It need not exist; its folder must.
            head: Tells this work from other work. What is there of other work does not count, and
                is replaced when the first line is written.
            take: Called with each record, of those that are there and of those that are added;
                one thread at a time. A record that it cannot take ends the reading.
            what: What cannot be remembered where the file cannot be written, for the message.
        """
        self._path = path
        self._head = head
        self._take = take
        self._what = what
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._read()

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record; from any thread.

        Args:
            record: What JSON can hold.

        Raises:
            StorageError: It cannot be written.
        """
        # As it will be read, and not as it was made: both must be the same.
        line = json.dumps(record).encode()
        with self._lock:
            self._take(json.loads(line))
            try:
                if self._file is None:
                    self._file = self._open()
                self._file.write(line + b"\n")
                self._file.flush()
                self._end = self._file.tell()
            except OSError as error:
                # What is there in part is cut off when it is opened again.
                if self._file:
                    with suppress(OSError):
                        self._file.close()
                    self._file = None
                raise StorageError(
                    f"{self._what} cannot be remembered in {self._path} ({error.strerror})",
                    "make space there; then run it again: it continues",
                ) from error

    def close(self) -> None:
        """Close the file. It is opened again when there is something to add."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                if json.loads(file.readline(_LONGEST_HEAD)) != self._head:
                    return
                self._end = file.tell()
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._take(json.loads(line))
                    self._end += len(line)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # What could be read so far holds.
            return

    def _open(self) -> IO[bytes]:
        if not self._end:
            file = self._path.open("wb")
            file.write(json.dumps(self._head).encode() + b"\n")
            return file
        file = self._path.open("r+b")
        file.truncate(self._end)
        file.seek(self._end)
        return file
