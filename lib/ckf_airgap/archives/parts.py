"""An archive in parts of equal size (the last may be smaller), read as one stream.

The archive consists of ``images.tar.gz.001``, ``images.tar.gz.002`` and so on, joined in the order
of their numbers. ``ckf-airgap pack --part-size`` records the size of the parts, and a hash of the
start of each part but the first. So parts that are missing, truncated, swapped or of another
archive are reported before the archive is read. Parts made by other tools (``split -d -a 3
--numeric-suffixes=1``) are checked by their sizes alone.
"""

import hashlib
import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ckf_airgap.archives.pack_manifest import MOST_PARTS, PackManifest, first_record
from ckf_airgap.archives.sources import (
    FileSource,
    Source,
    StoredStream,
    UrlSource,
    read_at,
)
from ckf_airgap.errors import ArtifactError, ConfigurationError, listed

ARCHIVE_SUFFIXES = (".gz", ".tgz", ".tar", ".zst")
"""The file name extensions of archives."""
START_BYTES = 64 * 1024
"""How many bytes at the start of a part are hashed to identify it."""
_PART = re.compile(r"(?P<name>.+)\.(?P<number>[0-9]{3})", re.DOTALL)
_COPY_AGAIN = "copy these parts again, and check them with SHA256SUMS if you have it"


def part_name(name: str, number: int) -> str:
    """Return the name of a part.

    Args:
        name: The name of the archive.
        number: The number of the part, from 1.
    """
    return f"{name}.{number:03}"


def parse_part_name(text: str) -> tuple[str, int] | None:
    """Split the name of a part into its archive's name and its number; None for other names."""
    match = _PART.fullmatch(text)
    if match and match["name"].endswith(ARCHIVE_SUFFIXES):
        return match["name"], int(match["number"])
    return None


def parts_beside(path: Path) -> dict[int, Path]:
    """Find the parts of an archive in its directory.

    Args:
        path: The path of the whole archive, which need not exist.

    Returns:
        Number -> file, in the order of the numbers.
    """
    found: dict[int, Path] = {}
    with suppress(OSError):
        for entry in os.scandir(path.parent):
            if parse_part_name(entry.name) and entry.name.rpartition(".")[0] == path.name:
                found[int(entry.name.rpartition(".")[2])] = path.with_name(entry.name)
    return dict(sorted(found.items()))


def find_archive(path: Path) -> FileSource:
    """Find an archive that is one file, or several parts.

    Args:
        path: The archive, or its first part.

    Returns:
        The archive, not read yet. If it does not exist, reading it raises ArtifactError.

    Raises:
        ConfigurationError: The path is that of a part other than the first, or of an archive that
            exists both as one file and in parts.
    """
    part = parse_part_name(path.name)
    if part is None:
        if not parts_beside(path):
            return FileSource(path)
        if path.exists():
            raise ConfigurationError(
                f"{path.name} exists both as one file and in parts",
                f"remove the outdated one, or give {part_name(path.name, 1)} to read the parts",
            )
        return FileParts(path)
    name, number = part
    if number != 1:
        raise ConfigurationError(
            f"{path.name} is only a part of {name}",
            f"name the archive, {name}, or its first part, {part_name(name, 1)}",
        )
    return FileParts(path.with_name(name))


class _Parts(Source):
    """Several parts as one source; they are found and checked on first access."""

    @cached_property
    def parts(self) -> Sequence[Source]:
        """The parts, in order.

        Raises:
            ArtifactError: A part is missing, damaged, of the wrong size, or from another archive.
        """
        first = self._part(1)
        record = _record(first)
        if record and record.part_size:
            return self._recorded(record)
        parts = self._unrecorded()
        sizes = [part.size for part in parts]
        usual, _ = Counter(sizes[:-1] or sizes).most_common(1)[0]
        _require(
            self.name,
            [
                _other_size(part, size, usual)
                for part, size in zip(parts, sizes, strict=True)
                if size > usual or (size < usual and part is not parts[-1])
            ],
        )
        return parts

    @property
    def size(self) -> int:
        """The size of all parts together, in bytes."""
        return sum(part.size for part in self.parts)

    @property
    def version(self) -> str:
        """The total size, and a hash of the versions of the parts."""
        versions = "\n".join(part.version for part in self.parts)
        return f"{self.size} {hashlib.sha256(versions.encode()).hexdigest()}"

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        """Open the joined parts at their start; each part is opened when it is read."""
        with ExitStack() as stack:
            yield _JoinedStream(self.parts, stack)

    @abstractmethod
    def _part(self, number: int) -> Source:
        """Return a part, which may be missing."""

    @abstractmethod
    def _is_there(self, part: Source) -> bool:
        """Return whether a part exists."""

    @abstractmethod
    def _unrecorded(self) -> Sequence[Source]:
        """Return the existing parts of an archive without a record.

        Raises:
            ArtifactError: A part before the last one is missing.
        """

    def _recorded(self, record: PackManifest) -> Sequence[Source]:
        """Return the parts that the record describes, after checking them against the record."""
        parts: list[Source] = []
        problems: list[str] = []
        starts = ("", *record.part_starts)
        for number, start in enumerate(starts, 1):
            part = self._part(number)
            parts.append(part)
            rest = record.archive_size - (number - 1) * record.part_size
            expected = min(rest, record.part_size)
            if not self._is_there(part):
                problems.append(f"{part.name} is missing")
            elif part.size != expected:
                problems.append(_other_size(part, part.size, expected))
            elif start and (found := part_start(part)) != start:
                actual = starts.index(found) + 1 if found in starts else 0
                cause = f"is part {actual}" if actual else "is damaged or from another archive"
                problems.append(f"{part.name} is not part {number}: it {cause}")
        _require(self.name, problems)
        return parts


class FileParts(_Parts, FileSource):
    """The parts of an archive in one directory.

    Attributes:
        path: The path of the archive, without a part number.
    """

    def __init__(self, path: Path) -> None:
        """Store the path of the archive, without reading anything."""
        super().__init__(path)

    def _part(self, number: int) -> FileSource:
        return FileSource(self.path.with_name(part_name(self.name, number)))

    def _is_there(self, part: Source) -> bool:
        return isinstance(part, FileSource) and part.path.exists()

    def _unrecorded(self) -> Sequence[Source]:
        last = max(parts_beside(self.path), default=1)
        parts = [self._part(number) for number in range(1, last + 1)]
        missing = [f"{part.name} is missing" for part in parts if not self._is_there(part)]
        _require(self.name, missing)
        return parts


class UrlParts(_Parts):
    """The parts of an archive on an HTTPS file server."""

    def __init__(self, url: str, option: str, ca: str | None = None) -> None:
        """Store the address, without sending a request.

        Args:
            url: The address of the archive, or of its first part.
            option: The option that sets the address, for messages.
            ca: CA certificates in PEM format, trusted in addition to the system's.
        """
        address = urlsplit(url)
        path = address.path.rstrip("/")
        part = parse_part_name(path)
        self._address = address._replace(path=part[0] if part else path)
        self._request_settings = (option, ca)
        self.name = self._address.path.rpartition("/")[2]

    @property
    def has_first(self) -> bool:
        """Whether the server has the first part."""
        return self._part(1).is_there

    def _part(self, number: int) -> UrlSource:
        address = self._address._replace(path=part_name(self._address.path, number))
        return UrlSource(urlunsplit(address), *self._request_settings)

    def _is_there(self, part: Source) -> bool:
        return isinstance(part, UrlSource) and part.is_there

    def _unrecorded(self) -> Sequence[Source]:
        parts: list[Source] = [self._part(1)]
        while len(parts) < MOST_PARTS:
            part = self._part(len(parts) + 1)
            if not part.is_there:
                break
            parts.append(part)
        return parts


class ServedArchive(Source):
    """An archive on an HTTPS file server: one file, or several parts.

    Requests the file first. If the server does not have it, requests its first part.
    """

    def __init__(self, url: str, option: str, ca: str | None = None) -> None:
        """Store the address, without sending a request.

        Args:
            url: The address of the archive, or of its first part.
            option: The option that sets the address, for messages.
            ca: CA certificates in PEM format, trusted in addition to the system's.

        Raises:
            ConfigurationError: The address is not the HTTPS URL of a file, contains credentials,
                or is that of a part other than the first; or ``ca`` is not a certificate.
        """
        self._file = UrlSource(url, option, ca)
        self._parts_arguments = (url, option, ca)
        self._part_name = parse_part_name(self._file.name)
        if self._part_name and self._part_name[1] != 1:
            name = self._part_name[0]
            raise ConfigurationError(
                f"{option} is the address of a single part of {name}",
                f"give the address of {name}, or of its first part, {part_name(name, 1)}",
            )
        self.name = self._part_name[0] if self._part_name else self._file.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServedArchive) and other._file == self._file

    def __hash__(self) -> int:
        return hash(self._file)

    @property
    def size(self) -> int:
        """The size of the archive according to the server, in bytes."""
        return self._found.size

    @property
    def version(self) -> str:
        """A text that differs if the content differs, such as an ETag."""
        return self._found.version

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        """Open the archive at its start."""
        with self._found.open() as stream:
            yield stream

    @cached_property
    def _found(self) -> Source:
        parts = UrlParts(*self._parts_arguments)
        if self._part_name or (not self._file.is_there and parts.has_first):
            return parts
        return self._file


def part_start(part: Source) -> str:
    """Return the SHA-256 of the first ``START_BYTES`` of a part, as in the record (hexadecimal).

    Raises:
        ArtifactError: It cannot be read.
    """
    return hashlib.sha256(read_at(part, 0, START_BYTES)).hexdigest()


def _record(first: Source) -> PackManifest | None:
    """Read the record of an archive from its first part; None if there is no readable record."""
    with suppress(ArtifactError):
        return first_record(first)
    return None


def _other_size(part: Source, size: int, expected: int) -> str:
    return f"{part.name} has {size:,} bytes, not {expected:,}"


def _truncated(part: Source) -> ArtifactError:
    return ArtifactError(f"{part.name} was truncated while it was read", _COPY_AGAIN)


def _require(name: str, problems: Sequence[str]) -> None:
    if problems:
        raise ArtifactError(f"{name} is not complete: {listed(problems)}", _COPY_AGAIN)


class _JoinedStream:
    """Reads one part after the other. A part that is skipped as a whole is not opened."""

    def __init__(self, parts: Sequence[Source], stack: ExitStack) -> None:
        # Sizes are taken now, to detect a part that is truncated while it is read.
        self._parts: Iterator[tuple[Source, int]] = iter([(part, part.size) for part in parts])
        self._stack = stack
        self._part: Source | None = None
        self._stream: StoredStream | None = None
        self._left = 0
        self.position = 0
        self._next_part()

    def read(self, size: int, /) -> bytes:
        while self._part:
            if not self._left:
                self._next_part()
                continue
            data = self._opened(self._part).read(min(size, self._left))
            if not data:
                raise _truncated(self._part)
            self._count(len(data))
            return data
        return b""

    def skip(self, size: int, /) -> int:
        left = size
        while left and self._part:
            is_whole = left >= self._left
            skipped = self._left if is_whole else self._opened(self._part).skip(left)
            if not (skipped or is_whole):
                raise _truncated(self._part)
            left -= skipped
            self._count(skipped)
            if not self._left:
                self._next_part()
        return size - left

    def _count(self, size: int) -> None:
        self._left -= size
        self.position += size

    def _opened(self, part: Source) -> StoredStream:
        if self._stream is None:
            self._stream = self._stack.enter_context(part.open())
        return self._stream

    def _next_part(self) -> None:
        self._stack.close()
        self._stream = None
        self._part, self._left = next(self._parts, (None, 0))
