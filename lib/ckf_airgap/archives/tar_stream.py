"""A tar archive read as a stream, with its completeness checked.

The standard library's ``tarfile`` parses the headers. It is not used to walk the archive, because
it takes a broken or missing header in the middle for the end of the archive, keeps every member
in memory, and reads extended headers of any size.
"""

import tarfile
from collections.abc import Iterator
from enum import Enum

from ckf_airgap.archives.byte_stream import READ_SIZE, ByteStream, skip
from ckf_airgap.errors import ArtifactError, printable

_BLOCK = tarfile.BLOCKSIZE
# Extended headers hold names and attributes; more than this is an attack or damage.
_LONGEST_EXTENDED_HEADER = 1024 * 1024
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
    b"PK": "a zip file, ",
    b"BZh": "compressed with bzip2, ",
    b"\xfd7zXZ": "compressed with xz, ",
    b"\x1f\x8b": "compressed with gzip, ",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard, ",
}
_CURE = "make the archive again, or copy it again and compare checksums"


class MemberKind(Enum):
    """What a member of a tar archive is."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    OTHER = "other"


class TarMember:
    """One member of a tar stream. Its content can be read once, while it is the current one.

    Attributes:
        name: The member's path as it stands in the archive.
        kind: What it is.
        size: The size of its content in bytes; 0 for all but files.
        link_target: For a symbolic or hard link, what it points to.
    """

    def __init__(self, header: tarfile.TarInfo, source: ByteStream, archive: str) -> None:
        self.name = header.name
        self.kind = _kind(header)
        self.size = header.size if self.kind is MemberKind.FILE else 0
        self.link_target = header.linkname
        self.is_hard_link = header.islnk()
        self._source = source
        self._archive = archive
        self._left = self.size

    def read(self, size: int, /) -> bytes:
        """Give up to ``size`` bytes of the content.

        Raises:
            ArtifactError: The archive ends inside this member.
        """
        wanted = min(size, self._left)
        if not wanted:
            return b""
        data = self._source.read(wanted)
        if not data:
            raise ArtifactError(f"{self._archive} ends in the middle of {self.name}", _CURE)
        self._left -= len(data)
        return data

    def skip(self, size: int, /) -> int:
        """Pass over ``size`` bytes of the content, or what is left of it; gives how many.

        Raises:
            ArtifactError: The archive ends inside this member.
        """
        wanted = min(size, self._left)
        if skip(self._source, wanted) < wanted:
            raise ArtifactError(f"{self._archive} ends in the middle of {self.name}", _CURE)
        self._left -= wanted
        return wanted

    def finish(self) -> None:
        """Pass over what is left of the content and its padding."""
        self.skip(self._left)
        padding = -self.size % _BLOCK
        if skip(self._source, padding) < padding:
            raise ArtifactError(f"{self._archive} ends after {self.name}", _CURE)


def read_members(source: ByteStream, archive: str) -> Iterator[TarMember]:
    """Walk a tar archive (POSIX ustar and pax, IEEE Std 1003.1; GNU long names).

    Args:
        source: The archive's bytes.
        archive: Its name, for messages.

    Yields:
        Each member, extended headers applied. A member must be read before the next is asked for.

    Raises:
        ArtifactError: The archive is not a tar archive, damaged, or ends without its end marker.
    """
    extended: dict[str, str] = {}
    is_first = True
    names_size = 0
    while True:
        header = _read_header(source, archive, is_first)
        if header is None:
            return
        is_first = False
        if header.type in _EXTENDED_KINDS:
            extended |= _read_extended_header(header, source, archive)
            continue
        _apply(extended, header, archive)
        extended = {}
        names_size += _BLOCK + len(header.name) + len(header.linkname)
        if names_size > _MOST_OF_NAMES:
            raise ArtifactError(f"{archive} holds too many members to be right", _CURE)
        member = TarMember(header, source, archive)
        yield member
        member.finish()


def read_end(source: ByteStream, archive: str) -> None:
    """Read what stands behind the last member, for the checks that come with the end.

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
    if header.isreg() and not header.issparse():
        return MemberKind.FILE
    if header.issym() or header.islnk():
        return MemberKind.LINK
    return MemberKind.DIRECTORY if header.isdir() else MemberKind.OTHER


def _read_exactly(source: ByteStream, size: int) -> bytes:
    """Give ``size`` bytes, fewer only where the stream ends."""
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _read_header(source: ByteStream, archive: str, is_first: bool) -> tarfile.TarInfo | None:
    """Read the next header block; None at the end marker."""
    block = _read_exactly(source, _BLOCK)
    if is_first and not block:
        raise ArtifactError(f"{archive} is empty", _CURE)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        if len(block) == _BLOCK and not any(block):
            return None
        if is_first:
            found = next((what for start, what in _OTHERS.items() if block.startswith(start)), "")
            raise ArtifactError(f"{archive} is {found}not a tar archive", _CURE) from error
        what = "ends without its end marker" if len(block) < _BLOCK else "is damaged"
        raise ArtifactError(f"{archive} {what} ({error})", _CURE) from error


def _read_extended_header(
    header: tarfile.TarInfo, source: ByteStream, archive: str
) -> dict[str, str]:
    if not 0 <= header.size <= _LONGEST_EXTENDED_HEADER:
        raise ArtifactError(
            f"{archive} has an extended header of {header.size} bytes, which cannot be right",
            _CURE,
        )
    padded = header.size + -header.size % _BLOCK
    content = _read_exactly(source, padded)
    if len(content) < padded:
        raise ArtifactError(f"{archive} ends in the middle of an extended header", _CURE)
    content = content[: header.size]
    if header.type == tarfile.XGLTYPE:
        return {}
    if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        key = "path" if header.type == tarfile.GNUTYPE_LONGNAME else "linkpath"
        return {key: content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    return _parse_pax_records(content, archive)


def _parse_pax_records(content: bytes, archive: str) -> dict[str, str]:
    """Read the records (length, key, value, line feed) of a pax extended header."""
    records: dict[str, str] = {}
    start = 0
    while start < len(content):
        digits, _, _ = content[start : start + _LONGEST_LENGTH_FIELD].partition(b" ")
        end = start + (int(digits) if digits.isdigit() else 0)
        record = content[start + len(digits) + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if not equals or not start < end <= len(content):
            raise ArtifactError(f"{archive} has a damaged extended header", _CURE)
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        start = end
    return records


def _apply(extended: dict[str, str], header: tarfile.TarInfo, archive: str) -> None:
    header.name = printable(extended.get("path", header.name))
    header.linkname = printable(extended.get("linkpath", header.linkname))
    if max(len(header.name), len(header.linkname)) > _LONGEST_NAME:
        raise ArtifactError(f"{archive} has a member whose name is too long to be right", _CURE)
    size = extended.get("size", "")
    if size:
        if not size.isdecimal() or len(size) > _MOST_DIGITS:
            raise ArtifactError(f"{archive} has a damaged extended header", _CURE)
        header.size = int(size)
    if header.size < 0:
        raise ArtifactError(f"{archive} gives a negative size for {header.name}", _CURE)
