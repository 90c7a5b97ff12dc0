"""A tar archive read as a stream, with its completeness checked.

The standard library's ``tarfile`` parses the headers. It does not walk the archive, because it
mistakes a broken or missing header in the middle for the end of the archive, keeps every member in
memory, and reads extended headers of any size.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from ckf_airgap.archives.byte_stream import READ_SIZE, ByteStream, skip
from ckf_airgap.archives.segments import StreamPosition, stream_position
from ckf_airgap.archives.sources import read_up_to
from ckf_airgap.archives.sparse import (
    SparseMap,
    SparseStream,
    is_sparse_key,
    old_sparse_map,
    parse_decimal,
    pax_pair,
    pax_sparse_map,
    real_name,
)
from ckf_airgap.errors import ArtifactError, printable

_BLOCK = tarfile.BLOCKSIZE
# The limit for the extended headers of a member: names, attributes and maps of sparse files.
# Larger ones are damaged or hostile.
_LONGEST_EXTENDED_HEADERS = 1024 * 1024
_KEPT_KEYS = frozenset({"path", "linkpath", "size"})
_LONGEST_LENGTH_FIELD = 8
# PATH_MAX of Linux.
_LONGEST_NAME = 4096
# The limit for the headers and names of all members, in bytes, because callers store the names:
# enough for 100,000 members.
_MOST_NAME_BYTES = 64 * 1024 * 1024
# Archives are padded to whole records, whose size tar lets its user choose (--blocking-factor).
_LONGEST_PADDING = 64 * 1024 * 1024
# Formats that are given instead of a tar archive, by their first bytes.
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip file",
    b"PK\x05\x06": "a zip file",
    b"PK\x07\x08": "a zip file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x1f\x8b": "compressed with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "compressed with LZ4",
}
MAKE_AGAIN = "make the archive again, or copy it again and compare checksums"
"""The cure for a damaged tar archive."""


class MemberKind(Enum):
    """The kind of a member of a tar archive."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    OTHER = "other"


class TarMember:
    """One member of a tar stream; its content can be read once, while it is the current member.

    Attributes:
        name: Its path in the archive.
        kind: Its kind.
        size: The size of its content in bytes, holes included; 0 unless it is a file.
        link_target: The target of a symbolic or hard link.
        is_hard_link: Whether it is a hard link.
    """

    def __init__(
        self,
        header: tarfile.TarInfo,
        source: ByteStream,
        archive: str,
        sparse: SparseMap | None = None,
    ) -> None:
        self.name = header.name
        self.kind = _kind(header)
        stored_size = header.size if self.kind is MemberKind.FILE else 0
        self.size = sparse.size if sparse else stored_size
        self.link_target = header.linkname
        self.is_hard_link = header.islnk()
        self._source = source
        self._content = SparseStream(source, sparse) if sparse else source
        self._padding = -stored_size % _BLOCK
        self._archive = archive
        self._left = self.size

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes of the content.

        Raises:
            ArtifactError: The archive ends inside this member.
        """
        wanted = min(size, self._left)
        if not wanted:
            return b""
        data = self._content.read(wanted)
        if not data:
            raise ArtifactError(f"{self._archive} ends in the middle of {self.name}", MAKE_AGAIN)
        self._left -= len(data)
        return data

    def skip(self, size: int, /) -> int:
        """Skip ``size`` bytes of the content, or what is left of it; return how many.

        Raises:
            ArtifactError: The archive ends inside this member.
        """
        wanted = min(size, self._left)
        if skip(self._content, wanted) < wanted:
            raise ArtifactError(f"{self._archive} ends in the middle of {self.name}", MAKE_AGAIN)
        self._left -= wanted
        return wanted

    @property
    def stream_position(self) -> StreamPosition | None:
        """The position of the next byte in the decoded stream; None without a segment_queue."""
        return stream_position(self._content)

    def finish(self) -> None:
        """Skip the rest of the content, and its padding.

        Raises:
            ArtifactError: The archive ends inside this member or its padding.
        """
        self.skip(self._left)
        if skip(self._source, self._padding) < self._padding:
            raise ArtifactError(f"{self._archive} ends after {self.name}", MAKE_AGAIN)


def is_header(data: bytes) -> bool:
    """Return whether data begins with the header of a member."""
    try:
        tarfile.TarInfo.frombuf(data[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def other_format(head: bytes) -> str:
    """Describe data that is not a tar archive, for example as ``a zip file``.

    Args:
        head: Its first bytes.

    Returns:
        The description; empty if the format is unknown.
    """
    return next((what for start, what in _OTHER_FORMATS.items() if head.startswith(start)), "")


def read_members(source: ByteStream, archive: str) -> Iterator[TarMember]:
    """Walk a tar archive (POSIX ustar and pax, IEEE Std 1003.1; GNU long names, sparse files).

    Args:
        source: The archive's bytes.
        archive: Its name, for messages.

    Yields:
        Each member, with extended headers applied; it can be read until the next one is requested.

    Raises:
        ArtifactError: The archive is not a tar archive, is damaged, or has no end marker.
    """
    extended = _Extended(archive)
    is_first = True
    names_size = 0
    while True:
        found = _read_header(source, archive, is_first)
        if found is None:
            return
        header, block = found
        is_first = False
        if header.type in _EXTENDED_KINDS:
            extended.read(header, source)
            continue
        extended.apply(header)
        sparse = extended.sparse_map(header, block, source)
        extended = _Extended(archive)
        names_size += _BLOCK + len(header.name) + len(header.linkname)
        if names_size > _MOST_NAME_BYTES:
            raise ArtifactError(f"{archive} contains too many members", MAKE_AGAIN)
        member = TarMember(header, source, archive, sparse)
        yield member
        member.finish()


def read_end(source: ByteStream, archive: str) -> None:
    """Read the padding after the last member, so that checksums at the end are verified.

    Args:
        source: The archive's bytes; all members have been read.
        archive: Its name, for messages.

    Raises:
        ArtifactError: It is damaged, or there is more than padding.
    """
    size = 0
    while data := source.read(READ_SIZE):
        size += len(data)
        if size > _LONGEST_PADDING or any(data):
            raise ArtifactError(
                f"{archive} continues after its end marker",
                "if it was joined from several archives, make one of all their members instead "
                "(tar -czf)",
            )


_EXTENDED_KINDS = frozenset(
    {
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
        tarfile.XHDTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.XGLTYPE,
    }
)


def _kind(header: tarfile.TarInfo) -> MemberKind:
    if header.isreg():
        return MemberKind.FILE
    if header.issym() or header.islnk():
        return MemberKind.LINK
    return MemberKind.DIRECTORY if header.isdir() else MemberKind.OTHER


def _read_header(
    source: ByteStream, archive: str, is_first: bool
) -> tuple[tarfile.TarInfo, bytes] | None:
    """Read the next header; return it with its block, or None at the end marker."""
    block = read_up_to(source, _BLOCK)
    if is_first and not block:
        raise ArtifactError(f"{archive} is empty", MAKE_AGAIN)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"), block
    except tarfile.TarError as error:
        if len(block) == _BLOCK and not any(block):
            return None
        if is_first:
            actual = other_format(block)
            negation = f"{actual}, not" if actual else "not"
            raise ArtifactError(f"{archive} is {negation} a tar archive", MAKE_AGAIN) from error
        problem = "ends without its end marker" if len(block) < _BLOCK else "is damaged"
        raise ArtifactError(f"{archive} {problem} ({error})", MAKE_AGAIN) from error


@dataclass
class _Extended:
    """The extended headers before one member.

    Attributes:
        archive: The archive, for messages.
        records: The records that are used, by key.
        parts: The offsets and sizes of the parts of a sparse file, in format 0.0.
        size: The size of the extended headers, in bytes.
    """

    archive: str
    records: dict[str, str] = field(default_factory=dict[str, str])
    parts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0

    def read(self, header: tarfile.TarInfo, source: ByteStream) -> None:
        """Read an extended header."""
        self.size += _BLOCK + max(header.size, 0)
        if header.size < 0 or self.size > _LONGEST_EXTENDED_HEADERS:
            raise ArtifactError(
                f"{self.archive} has extended headers of {self.size} bytes for one member, which "
                "is too many",
                MAKE_AGAIN,
            )
        padded = header.size + -header.size % _BLOCK
        content = read_up_to(source, padded)
        if len(content) < padded:
            raise ArtifactError(
                f"{self.archive} ends in the middle of an extended header", MAKE_AGAIN
            )
        content = content[: header.size]
        if header.type == tarfile.XGLTYPE:
            return
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            key = "path" if header.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
            self.records[key] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
        else:
            self._parse(content)

    def _parse(self, content: bytes) -> None:
        """Read the records (length, key, value, line feed) of a pax extended header."""
        start = 0
        while start < len(content):
            digits, _, _ = content[start : start + _LONGEST_LENGTH_FIELD].partition(b" ")
            end = start + (int(digits) if digits.isdigit() else 0)
            record = content[start + len(digits) + 1 : end - 1]
            name, equals, value = record.partition(b"=")
            if not equals or not start < end <= len(content):
                raise self._damaged()
            key, text = name.decode("ascii", "replace"), value.decode("utf-8", "surrogateescape")
            pax_pair(key, text, self.parts, self.archive)
            if key in _KEPT_KEYS or is_sparse_key(key):
                self.records[key] = text
            start = end

    def apply(self, header: tarfile.TarInfo) -> None:
        """Apply the extended headers to the header of the member."""
        name = real_name(self.records, self.records.get("path", header.name))
        header.name = printable(name)
        header.linkname = printable(self.records.get("linkpath", header.linkname))
        if max(len(header.name), len(header.linkname)) > _LONGEST_NAME:
            raise ArtifactError(f"{self.archive} has a member whose name is too long", MAKE_AGAIN)
        size = self.records.get("size", "")
        if size:
            number = parse_decimal(size)
            if number is None:
                raise self._damaged()
            header.size = number
        if header.size < 0:
            raise ArtifactError(
                f"{self.archive} gives a negative size for {header.name}", MAKE_AGAIN
            )

    def sparse_map(
        self, header: tarfile.TarInfo, block: bytes, source: ByteStream
    ) -> SparseMap | None:
        """Read the map of a sparse file from the archive; None for other files."""

        def read_block() -> bytes:
            return read_up_to(source, _BLOCK)

        file = f"{header.name} in {self.archive}"
        if header.type == tarfile.GNUTYPE_SPARSE:
            return old_sparse_map(block, read_block, header.size, file)
        if not header.isreg():
            return None
        return pax_sparse_map(self.records, self.parts, read_block, header.size, file)

    def _damaged(self) -> ArtifactError:
        return ArtifactError(f"{self.archive} has a damaged extended header", MAKE_AGAIN)
