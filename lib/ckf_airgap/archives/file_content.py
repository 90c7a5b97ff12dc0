"""Classifies a file in an archive by its first bytes."""

import io
import posixpath
import re
from dataclasses import dataclass
from enum import Enum

from ckf_airgap.archives.byte_stream import ByteStream
from ckf_airgap.archives.decoding import Compression, DecodingError, compression_of, make_decoder
from ckf_airgap.archives.sources import read_up_to
from ckf_airgap.archives.tar_stream import is_header, other_format, read_members
from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.untrusted_json import LARGEST_DOCUMENT

HEAD_SIZE = 64 * 1024
"""How many bytes are examined: enough for the usual extended headers of a first member."""
NO_TAR_INSIDE = "that contains no tar archive"
"""Describes compressed data that can be decoded, and so cannot be an image."""
# The paths of the first member in archives of images, from any tool.
_IMAGE_MEMBER = re.compile(
    r"manifest\.json|index\.json|oci-layout|repositories|blobs(?:/.*)?|(?:sha256:)?[0-9a-f]{64}"
    r"(?:/.*|\.json|\.tar|\.tar\.gz)?|[0-9a-f]{64}/(?:layer\.tar|json|VERSION)|.+\.tar"
)
# Members with these names should be archives.
_ARCHIVE_NAME = re.compile(
    r".*\.(?:tar|tgz|tzst|txz|tbz2?|oci)(?:\.[a-z0-9]{1,4})?", re.IGNORECASE
)
_ENDING = re.compile(r"\.(?:tar(?:\.(?:gz|zst|zstd|xz|bz2))?|tgz|tzst|txz|oci)$", re.IGNORECASE)


class Shape(Enum):
    """The kind of a file, after decompression."""

    TAR = "a tar archive"
    DOCUMENT = "a JSON document"
    EMPTY = "empty"
    OTHER = "something else"


@dataclass(frozen=True)
class FileContent:
    """What the first bytes of a file show.

    Attributes:
        shape: The kind of the file, after decompression.
        compression: Its compression.
        first: The path of the first member of a tar archive; empty if it has none, or if the
            first bytes end before that member's header.
        what: Describes a file that cannot be read here, for example ``a zip file``.
    """

    shape: Shape
    compression: Compression
    first: str = ""
    what: str = ""

    @property
    def begins_like_images(self) -> bool:
        """Whether it is a tar archive whose first member is typical of images."""
        return bool(_IMAGE_MEMBER.fullmatch(self.first))


def classify_content(head: bytes, size: int) -> FileContent:
    """Classify a file.

    Args:
        head: Its first ``HEAD_SIZE`` bytes, or all of them.
        size: The size of the file, in bytes.
    """
    compression = compression_of(head)
    if compression is not Compression.NONE:
        return _classify_compressed(head, compression)
    first = _first_member(head)
    if first is not None:
        return FileContent(Shape.TAR, compression, first)
    if not size:
        return FileContent(Shape.EMPTY, compression)
    if head.lstrip()[:1] in (b"{", b"[") and size <= LARGEST_DOCUMENT:
        return FileContent(Shape.DOCUMENT, compression)
    return FileContent(Shape.OTHER, compression, what=other_format(head))


def _classify_compressed(head: bytes, compression: Compression) -> FileContent:
    decoder = make_decoder(compression)
    content = b""
    try:
        for piece in decoder.decode(head):
            content += piece
            if len(content) >= HEAD_SIZE:
                break
    except DecodingError as error:
        what = f"{compression.value} data that cannot be decoded ({error})"
        return FileContent(Shape.OTHER, compression, what=what)
    finally:
        decoder.close()
    first = _first_member(content)
    if first is None:
        what = f"{compression.value} data {NO_TAR_INSIDE}"
        return FileContent(Shape.OTHER, compression, what=what)
    return FileContent(Shape.TAR, compression, first)


def _first_member(head: bytes) -> str | None:
    """Return ``FileContent.first`` of a tar archive; None if it is not a tar archive."""
    try:
        member = next(read_members(io.BytesIO(head), "a file"), None)
    except ArtifactError:
        # Its extended headers may be longer than the head.
        return "" if is_header(head) else None
    return posixpath.normpath(member.name) if member else ""


def is_archive_name(path: str) -> bool:
    """Return whether a file is named like an archive."""
    return bool(_ARCHIVE_NAME.fullmatch(posixpath.basename(path)))


def without_ending(path: str) -> str:
    """Return the base name of an archive without its extensions."""
    return _ENDING.sub("", posixpath.basename(path))


def read_head(stream: ByteStream, size: int) -> bytes:
    """Read the first ``HEAD_SIZE`` bytes of a file, or all of a shorter one."""
    return read_up_to(stream, min(HEAD_SIZE, size))
