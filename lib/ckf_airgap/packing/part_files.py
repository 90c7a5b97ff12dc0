"""Writes an archive as one file or as part files."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.pack_manifest import MOST_PARTS, PackManifest
from ckf_airgap.archives.parts import START_BYTES, part_name, parts_beside
from ckf_airgap.errors import ConfigurationError, disk_error

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,3})")
_UNITS = {
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_NO_START = "0" * 64


def parse_size(text: str, option: str) -> int:
    """Parse a size.

    Args:
        text: A number with a decimal (``4.7GB``) or binary (``700MiB``) unit.
        option: The name of the option, for messages.

    Returns:
        The size in bytes, rounded down.

    Raises:
        ConfigurationError: The text is not a size, or the size is zero.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower(), 0) if match else 0
    size = int(Fraction(match[1]) * unit) if match else 0
    if not size:
        raise ConfigurationError(
            f"{option} is not a size: {text!r}", f"give {option} like 4.7GB or 700MiB"
        )
    return size


def with_archive_size(
    manifest: PackManifest, part_size: int, size_of: Callable[[PackManifest], int]
) -> PackManifest:
    """Add the archive's size and parts to its record.

    Args:
        manifest: The record of the archive. Its ``part_starts`` are kept if their number is right;
            otherwise placeholders of the same length replace them.
        part_size: The size of the parts, in bytes; 0 for one file.
        size_of: Returns the size of the archive with a given record, in bytes.

    Returns:
        The record with its size, its part size and the starts of its parts.

    Raises:
        ConfigurationError: There would be more than ``MOST_PARTS`` parts.
    """
    known, count = manifest.part_starts, 1
    while True:
        starts = known if len(known) == count - 1 else (_NO_START,) * (count - 1)
        made = replace(
            manifest, part_size=part_size if starts else 0, part_starts=starts, archive_size=0
        )
        made = replace(made, archive_size=size_of(made))
        needed = -(-made.archive_size // part_size) if part_size else 1
        if needed > MOST_PARTS:
            least = -(-made.archive_size // MOST_PARTS)
            raise ConfigurationError(
                f"--part-size of {part_size:,} bytes would split an archive of "
                f"{made.archive_size:,} bytes into {needed:,} parts; the maximum is {MOST_PARTS}",
                f"give at least {least:,}B",
            )
        # A higher count only lengthens the record, so the count never shrinks, and the loop ends.
        if needed == count:
            return made
        count = needed


class PartFiles:
    """The file, or the part files, of one archive.

    Attributes:
        names: The file names, in order.
    """

    def __init__(self, path: Path, size: int, part_size: int) -> None:
        """Compute the file names, without creating files.

        Args:
            path: The archive. Its directory must exist.
            size: Its size, in bytes.
            part_size: The size of each part but the last, in bytes; 0 for one file. An
                archive that fits into one part is one file, without a number.
        """
        self.path = path
        self._size = size
        self._part_size = min(part_size, size) or size
        count = -(-size // self._part_size)
        self.names = tuple(
            part_name(path.name, number) if count > 1 else path.name
            for number in range(1, count + 1)
        )
        self._paths = [path.with_name(name) for name in self.names]

    def require_record_fits(self, record: int) -> None:
        """Check that the record of the archive fits into its first part.

        Args:
            record: The size of the record at the start of the archive, in bytes.

        Raises:
            ConfigurationError: It does not fit, so the first part could not identify the others.
        """
        if len(self.names) > 1 and record > self._part_size:
            raise ConfigurationError(
                f"--part-size of {self._part_size:,} bytes is too small for {self.path.name}",
                f"give at least {record:,}B",
            )

    @property
    def are_there(self) -> bool:
        """Whether all files exist."""
        return all(path.exists() for path in self._paths)

    @property
    def allocated(self) -> int:
        """The disk space that the files use, in bytes."""
        return sum(path.stat().st_blocks * 512 for path in self._paths if path.exists())

    def remove_others(self) -> None:
        """Remove files of an earlier run with another part size."""
        for path in (self.path, *parts_beside(self.path).values()):
            if path not in self._paths:
                with suppress(OSError):
                    path.unlink()

    def open(self) -> "OpenFiles":
        """Create the missing files, and open all of them.

        Raises:
            StorageError: A file cannot be created or opened.
        """
        return OpenFiles(self._paths, self._size, self._part_size)


class OpenFiles:
    """The open files of one archive, which threads write to by offset in the archive."""

    def __init__(self, paths: list[Path], size: int, part_size: int) -> None:
        self._paths = paths
        self._part_size = part_size
        self._descriptors: list[int] = []
        for number, path in enumerate(paths):
            try:
                self._descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
                os.ftruncate(self._descriptors[-1], min(part_size, size - number * part_size))
            except OSError as error:
                self.close()
                raise disk_error(path, error) from error

    def __enter__(self) -> "OpenFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes at an offset in the archive.

        Raises:
            StorageError: The bytes cannot be written.
        """
        view = memoryview(data)
        while view:
            number, start, room = self._place(offset)
            try:
                count = os.pwrite(self._descriptors[number], view[:room], start)
            except OSError as error:
                raise disk_error(self._paths[number], error) from error
            view, offset = view[count:], offset + count

    def copy(self, start: int, target: int, size: int) -> None:
        """Copy bytes from one offset in the archive to another.

        Raises:
            StorageError: The bytes cannot be read or written.
        """
        while size:
            data = self._read(start, min(size, READ_SIZE))
            self.write(target, data)
            start, target, size = start + len(data), target + len(data), size - len(data)

    def flush(self) -> None:
        """Flush all data to disk.

        Raises:
            StorageError: The data cannot be written.
        """
        for path, descriptor in zip(self._paths, self._descriptors, strict=True):
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                raise disk_error(path, error) from error

    def starts(self) -> Iterator[str]:
        """Compute the SHA-256 of the start of each part after the first, for the record.

        Raises:
            StorageError: A part cannot be read.
        """
        for number in range(1, len(self._paths)):
            content = self._read(number * self._part_size, START_BYTES)
            yield hashlib.sha256(content).hexdigest()

    def _place(self, offset: int) -> tuple[int, int, int]:
        """Locate an offset: return the index of its part, the offset in it, and the bytes left."""
        number, start = divmod(offset, self._part_size)
        return number, start, self._part_size - start

    def _read(self, offset: int, size: int) -> bytes:
        """Read bytes: up to ``size`` of them, or to the end of a part."""
        number, start, room = self._place(offset)
        try:
            return os.pread(self._descriptors[number], min(size, room), start)
        except OSError as error:
            raise disk_error(self._paths[number], error) from error
