"""A tar archive read as a stream, with its completeness checked.

The standard library's ``tarfile`` parses the headers. It is not used to walk the archive, because
it takes a broken or missing header in the middle for the end of the archive, keeps every member
in memory, and reads extended headers of any size.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from ckf_airgap.archives.byte_stream import READ_SIZE, ByteStream, skip
from ckf_airgap.archives.segments import TapePosition, tape_position
from ckf_airgap.archives.sparse import (
    SparseMap,
    SparseStream,
    old_sparse_map,
    pax_key_is_kept,
    pax_pair,
    pax_sparse_map,
    real_name,
)
from ckf_airgap.errors import ArtifactError, printable

_BLOCK = tarfile.BLOCKSIZE
# The extended headers of a member hold names, attributes and maps of sparse files; more than this
# is an attack or damage.
_LONGEST_EXTENDED_HEADERS = 1024 * 1024
_KEPT_KEYS = frozenset({"path", "linkpath", "size"})
_LONGEST_LENGTH_FIELD = 8
_MOST_DIGITS = 20
# Longer paths no system has (PATH_MAX).
_LONGEST_NAME = 4096
# What may be remembered of members, in bytes: enough for 100,000.
_MOST_OF_NAMES = 64 * 1024 * 1024
# Archives are filled up to whole records, which tar lets its user choose (--blocking-factor).
_LONGEST_FILLING = 64 * 1024 * 1024
# What is given in the place of a tar archive, by how it begins.
_OTHERS = {
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
"""What to do about a tar archive that is damaged."""


class MemberKind(Enum):
    """What a member of a tar archive is."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    OTHER = "other"


class TarMember:
    """One member of a tar stream. Its content can be read once, while it is the current member.

    Attributes:
        name: The member's path as it stands in the archive.
        kind: What it is.
        size: The size of its content in bytes, holes included; 0 for all but files.
        link_target: For a symbolic or hard link, what it points to.
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
    def tape_position(self) -> TapePosition | None:
        """The place of its next byte in the decoded stream, if there is a tape of it."""
        return tape_position(self._content)

    def finish(self) -> None:
        """Skip the rest of the content and its padding."""
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
    """Describe the format of data that is in the place of a tar archive.

    Args:
        head: Its first bytes.

    Returns:
        For example ``a zip file``; an empty text where it is nothing that is known here.
    """
    return next((what for start, what in _OTHERS.items() if head.startswith(start)), "")


def read_members(source: ByteStream, archive: str) -> Iterator[TarMember]:
    """Walk a tar archive (POSIX ustar and pax, IEEE Std 1003.1; GNU long names, sparse files).

    Args:
        source: The archive's bytes.
        archive: Its name, for messages.

    Yields:
        Each member, extended headers applied. A member must be read before the next is asked for.

    Raises:
        ArtifactError: The archive is not a tar archive, damaged, or ends without its end marker.
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
        if names_size > _MOST_OF_NAMES:
            raise ArtifactError(f"{archive} holds too many members to be right", MAKE_AGAIN)
        member = TarMember(header, source, archive, sparse)
        yield member
        member.finish()


def read_end(source: ByteStream, archive: str) -> None:
    """Read what follows the last member, for the checks at the end.

    Args:
        source: The archive's bytes, of which all members have been read.
        archive: Its name, for messages.

    Raises:
        ArtifactError: It is damaged, or something other than filling stands there.
    """
    size = 0
    while data := source.read(READ_SIZE):
        size += len(data)
        if size > _LONGEST_FILLING or any(data):
            raise ArtifactError(
                f"{archive} goes on behind its end",
                "where it was joined from several archives, make one of all their members instead "
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


def _read_exactly(source: ByteStream, size: int) -> bytes:
    """Read ``size`` bytes, or fewer at the end of the stream."""
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _read_header(
    source: ByteStream, archive: str, is_first: bool
) -> tuple[tarfile.TarInfo, bytes] | None:
    """Read the next header, and return its block too; None at the end marker."""
    block = _read_exactly(source, _BLOCK)
    if is_first and not block:
        raise ArtifactError(f"{archive} is empty", MAKE_AGAIN)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"), block
    except tarfile.TarError as error:
        if len(block) == _BLOCK and not any(block):
            return None
        if is_first:
            found = other_format(block)
            what = f"{found}, not" if found else "not"
            raise ArtifactError(f"{archive} is {what} a tar archive", MAKE_AGAIN) from error
        what = "ends without its end marker" if len(block) < _BLOCK else "is damaged"
        raise ArtifactError(f"{archive} {what} ({error})", MAKE_AGAIN) from error


@dataclass
class _Extended:
    """The extended headers in front of one member.

    Attributes:
        archive: The archive, for messages.
        records: What they say, as far as it is used.
        parts: The stored parts of a sparse file, in the one format that repeats keys for them.
        size: How many bytes they take up.
    """

    archive: str
    records: dict[str, str] = field(default_factory=dict[str, str])
    parts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0

    def read(self, header: tarfile.TarInfo, source: ByteStream) -> None:
        """Read one."""
        self.size += _BLOCK + max(header.size, 0)
        if header.size < 0 or self.size > _LONGEST_EXTENDED_HEADERS:
            raise ArtifactError(
                f"{self.archive} has extended headers of {self.size} bytes for one member, which "
                "cannot be right",
                MAKE_AGAIN,
            )
        padded = header.size + -header.size % _BLOCK
        content = _read_exactly(source, padded)
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
            if key in _KEPT_KEYS or pax_key_is_kept(key):
                self.records[key] = text
            start = end

    def apply(self, header: tarfile.TarInfo) -> None:
        """Apply them to a header."""
        name = real_name(self.records, self.records.get("path", header.name))
        header.name = printable(name)
        header.linkname = printable(self.records.get("linkpath", header.linkname))
        if max(len(header.name), len(header.linkname)) > _LONGEST_NAME:
            raise ArtifactError(
                f"{self.archive} has a member whose name is too long to be right", MAKE_AGAIN
            )
        size = self.records.get("size", "")
        if size:
            if not size.isascii() or not size.isdecimal() or len(size) > _MOST_DIGITS:
                raise self._damaged()
            header.size = int(size)
        if header.size < 0:
            raise ArtifactError(
                f"{self.archive} gives a negative size for {header.name}", MAKE_AGAIN
            )

    def sparse_map(
        self, header: tarfile.TarInfo, block: bytes, source: ByteStream
    ) -> SparseMap | None:
        """Read the map of a sparse file from the archive; None for other files."""

        def read_block() -> bytes:
            return _read_exactly(source, _BLOCK)

        file = f"{header.name} in {self.archive}"
        if header.type == tarfile.GNUTYPE_SPARSE:
            return old_sparse_map(block, read_block, header.size, file)
        if not header.isreg():
            return None
        return pax_sparse_map(self.records, self.parts, read_block, header.size, file)

    def _damaged(self) -> ArtifactError:
        return ArtifactError(f"{self.archive} has a damaged extended header", MAKE_AGAIN)
