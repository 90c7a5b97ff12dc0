"""Streams of bytes: what every reader of an artifact reads from."""

import gzip
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ckf_airgap.errors import ArtifactError

READ_SIZE = 1024 * 1024
_REPORT_SECONDS = 30.0
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class ByteStream(Protocol):
    """Something that gives bytes in order."""

    def read(self, size: int, /) -> bytes:
        """Give one byte or more, ``size`` at the most; none at the end."""
        ...


class _CountingFile:
    """A file that reports how far it has been read: the progress of everything built on it."""

    def __init__(self, file: BinaryIO, on_read: Callable[[int], None]) -> None:
        self._file = file
        self._on_read = on_read
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        self._on_read(self._position)
        return data


class _GzipStream:
    """Decompressed bytes, with damage reported as the project's own error."""

    def __init__(self, file: gzip.GzipFile, name: str) -> None:
        self._file = file
        self._name = name

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except EOFError:
            raise ArtifactError(
                f"{self._name} ends in the middle: it was not copied or made completely",
                "copy it again and compare its checksum with the original",
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ArtifactError(
                f"{self._name} is damaged or not a gzip file ({error})",
                "copy it again and compare its checksum with the original",
            ) from error


@contextmanager
def open_gzip(path: Path, on_read: Callable[[int], None] | None = None) -> Generator[ByteStream]:
    """Open a gzip file, of one or more members (RFC 1952, section 2.2), as a stream.

    Args:
        path: The file.
        on_read: Called with the position in the compressed file, in bytes, after each read.

    Yields:
        The decompressed bytes. Its ``read`` raises ArtifactError for a damaged or truncated file.

    Raises:
        ArtifactError: The file cannot be opened, or is empty.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ArtifactError(
            f"{path.name} cannot be opened ({error.strerror})", "give the file again"
        ) from error
    with raw:
        if not raw.peek(1):
            raise ArtifactError(f"{path.name} is empty", "give the file again")
        counted = cast(BinaryIO, _CountingFile(raw, on_read or (lambda _: None)))
        with gzip.GzipFile(fileobj=counted) as file:
            yield _GzipStream(file, path.name)


def report_reading(path: Path, report: Callable[[str], None]) -> Callable[[int], None]:
    """Make the ``on_read`` of a file so large that whoever waits wants to know how far it is.

    Args:
        path: The file.
        report: Called with a line of text every half a minute.
    """
    size = path.stat().st_size
    last = time.monotonic()

    def on_read(position: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_SECONDS:
            last = time.monotonic()
            report(f"reading {path.name}: {position / size:.0%}")

    return on_read


def drain(stream: ByteStream) -> None:
    """Read a stream to its end, for the checks that come with it."""
    while stream.read(READ_SIZE):
        pass
