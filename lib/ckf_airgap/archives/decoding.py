"""Decoders of gzip (RFC 1952) and Zstandard (RFC 8878), in bounded memory."""

import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import Enum
from typing import Any, Protocol, cast

from backports import zstd
from isal import igzip_lib

from ckf_airgap.archives.segments import SegmentedMember, SegmentQueue
from ckf_airgap.errors import ArtifactError

GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# The magic numbers 0x184D2A50 to 0x184D2A5F, little endian (RFC 8878, section 3.1.2).
_SKIPPABLE_FIRST = range(0x50, 0x60)
_SKIPPABLE_REST = b"\x2a\x4d\x18"
LONGEST_MAGIC = 4
"""How many bytes ``compression_of`` needs."""

MOST_DECODED = 1024 * 1024
"""The maximum size of a decoded piece, in bytes."""
# How many bytes the decoder of a member gets in its first call, and in each later one. Bytes after
# the end of the member are copied, which would be slow with a large first step and tiny members.
_FIRST_STEP = 4096
_STEP = 128 * 1024

_MIB = 1024 * 1024
# zstd's default limit: --long=27.
_LARGEST_WINDOW = 128 * _MIB
# Level 19 has a window of 8 MiB: an archive with the largest window can have layers of that level.
_ALL_WINDOWS = _LARGEST_WINDOW + 8 * _MIB


class Compression(Enum):
    """How bytes are compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


def compression_named(media_type: str) -> Compression:
    """Return the compression of a layer by its media type.

    Args:
        media_type: For example ``...layer.v1.tar+gzip`` (OCI) or ``...diff.tar.gzip`` (Docker).
    """
    if media_type.endswith(("+gzip", ".gzip")):
        return Compression.GZIP
    is_zstd = media_type.endswith(("+zstd", ".zstd"))
    return Compression.ZSTD if is_zstd else Compression.NONE


def compression_of(head: bytes) -> Compression:
    """Return the compression of data by its first bytes.

    Zstandard data may begin with a skippable frame (RFC 8878, section 3.1.2), as pzstd writes it.

    Args:
        head: The first bytes: at least ``LONGEST_MAGIC``, unless the data is shorter.
    """
    if head.startswith(GZIP_MAGIC):
        return Compression.GZIP
    if head.startswith(_ZSTD_MAGIC) or _is_skippable(head):
        return Compression.ZSTD
    return Compression.NONE


def _is_skippable(head: bytes) -> bool:
    return head[1:LONGEST_MAGIC] == _SKIPPABLE_REST and head[0] in _SKIPPABLE_FIRST


class DecodingError(Exception):
    """Bytes cannot be decoded.

    Attributes:
        reason: A clause, for example "incorrect checksum".
        cure: What to do about valid data that needs too much memory; None for damaged data.
    """

    def __init__(self, reason: str, cure: str | None = None) -> None:
        """Set the attributes."""
        super().__init__(reason)
        self.reason = reason
        self.cure = cure

    def as_artifact_error(self, name: str, cure: str) -> ArtifactError:
        """Return the error for an artifact or a part of one.

        Args:
            name: Its name in messages.
            cure: What to do if it is damaged.
        """
        if self.cure is None:
            return ArtifactError(f"{name} is damaged ({self.reason})", cure)
        return ArtifactError(f"{name} is not damaged, but {self.reason}", self.cure)


class WindowAllowance:
    """Limits the memory for the windows of all open Zstandard frames of the process.

    An archive and a layer in it are decoded at the same time; two windows of the largest size
    would take twice the memory.

    Attributes:
        reserved: The bytes in use.
    """

    def __init__(self, size: int) -> None:
        """Set the limit, in bytes."""
        self._size = size
        self._lock = threading.Lock()
        self.reserved = 0

    def reserve(self, size: int) -> None:
        """Reserve ``size`` bytes.

        Raises:
            DecodingError: The limit would be exceeded; nothing is reserved.
        """
        with self._lock:
            if self.reserved + size > self._size:
                raise DecodingError(
                    "the Zstandard windows of the archive and of the layer need more than "
                    f"{self._size // _MIB} MiB together",
                    "compress one of them again with a level of at most 19 and without --long",
                )
            self.reserved += size

    def release(self, size: int) -> None:
        """Release ``size`` bytes."""
        with self._lock:
            self.reserved -= size


WINDOWS = WindowAllowance(_ALL_WINDOWS)


class Decoder(Protocol):
    """Decodes a stream piece by piece."""

    @property
    def is_complete(self) -> bool:
        """Whether the data may end here."""
        ...

    @property
    def has_trailing_data(self) -> bool:
        """Whether uncompressed data follows the compressed data; it is ignored."""
        ...

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes.

        Args:
            data: Any number of bytes.

        Yields:
            The content, in pieces of 1 to ``MOST_DECODED`` bytes. Consume all of them before the
            next call.

        Raises:
            DecodingError: The data is damaged, or needs too much memory.
        """
        ...

    def close(self) -> None:
        """Release the memory; nothing more can be decoded."""
        ...


def make_decoder(compression: Compression, segment_queue: SegmentQueue | None = None) -> Decoder:
    """Make the decoder for a compression.

    Args:
        compression: The compression; for ``NONE`` the decoder returns its input.
        segment_queue: Receives the segments of gzip members; None to record no segments.
    """
    match compression:
        case Compression.NONE:
            return _PlainDecoder()
        case Compression.GZIP:
            return GzipDecoder(segment_queue)
        case Compression.ZSTD:
            return ZstdDecoder()


class _PlainDecoder:
    is_complete = True
    has_trailing_data = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), MOST_DECODED):
            yield data[start : start + MOST_DECODED]

    def close(self) -> None:
        pass


class _Member(Protocol):
    """The libraries' common interface for one gzip member or one Zstandard frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _NotAMemberError(Exception):
    """The data does not begin like a member."""


class _MembersDecoder(ABC):
    """Decodes consecutive members; zeros between and after them are padding."""

    _library_errors: tuple[type[Exception], ...]
    _name: str

    def __init__(self) -> None:
        self._member: _Member | None = None
        # The beginning of the next member, if it is still too short to recognize.
        self._head = b""
        self._has_members = False
        self.has_trailing_data = False

    @property
    def is_complete(self) -> bool:
        """Whether the data ends with a member, or with padding or other data after one."""
        return self._has_members and self._member is None and not self._head

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes; see ``Decoder``."""
        block: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces(data):
                # Join the short pieces of members of a few bytes.
                if size + len(piece) > MOST_DECODED:
                    yield b"".join(block)
                    block, size = [], 0
                block.append(piece)
                size += len(piece)
        except DecodingError:
            self.close()
            # The reader may need only what precedes the damage.
            if size:
                yield b"".join(block)
            raise
        if size:
            yield b"".join(block)

    def close(self) -> None:
        """Release the memory."""
        self._member = None

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data) and not self.has_trailing_data:
            if self._member is None:
                start += self._padding(data, start)
                taken = data[start : start + _FIRST_STEP]
                piece, self._head = self._head + taken, b""
                self._member = self._begin(piece)
                if self._member is None:
                    # Garbage, or the first few bytes of a member.
                    return
            else:
                taken = piece = data[start : start + _STEP]
            start += len(taken)
            yield self._decompress(self._member, piece)
            while not self._member.eof and not self._member.needs_input:
                yield self._decompress(self._member, b"")
            if self._member.eof:
                start -= len(self._member.unused_data)
                self._has_members = True
                self.close()

    def _padding(self, data: bytes, start: int) -> int:
        """Count the zeros at a position between members."""
        if self._head or not self._has_members:
            return 0
        end = start
        while data[end : end + 1] == b"\0":
            zeros = data[end : end + _FIRST_STEP]
            end += len(zeros) - len(zeros.lstrip(b"\0"))
        return end - start

    def _begin(self, piece: bytes) -> _Member | None:
        try:
            member = self._open(piece) if piece else None
        except _NotAMemberError:
            if not self._has_members:
                raise DecodingError(f"it does not begin like {self._name}") from None
            self.has_trailing_data = True
            return None
        if member is None:
            self._head = piece
        return member

    def _decompress(self, member: _Member, data: bytes) -> bytes:
        try:
            return member.decompress(data, MOST_DECODED)
        except self._library_errors as error:
            raise DecodingError(str(error)) from error

    @abstractmethod
    def _open(self, head: bytes) -> _Member | None:
        """Begin a member; return None if its head is too short.

        Raises:
            _NotAMemberError: The data does not begin like a member.
        """


class GzipDecoder(_MembersDecoder):
    """Decodes consecutive gzip members (RFC 1952, section 2.2)."""

    _library_errors = (cast(type[Exception], igzip_lib.error), zlib.error)
    _name = "gzip"

    def __init__(self, segment_queue: SegmentQueue | None = None) -> None:
        super().__init__()
        self._segment_queue = segment_queue

    def _open(self, head: bytes) -> _Member | None:
        if not head.startswith(GZIP_MAGIC[: len(head)]):
            raise _NotAMemberError
        if len(head) < len(GZIP_MAGIC):
            return None
        if self._segment_queue:
            return SegmentedMember(self._segment_queue)
        library: Any = igzip_lib
        return library.IgzipDecompressor(library.DECOMP_GZIP)


class ZstdDecoder(_MembersDecoder):
    """Decodes consecutive Zstandard frames, skippable ones too (RFC 8878, section 3.1).

    An open frame reserves its window in ``WINDOWS``.
    """

    _library_errors = (zstd.ZstdError,)
    _name = "Zstandard"

    def __init__(self) -> None:
        super().__init__()
        self._window = 0

    def close(self) -> None:
        """Release the memory."""
        super().close()
        WINDOWS.release(self._window)
        self._window = 0

    def _open(self, head: bytes) -> _Member | None:
        magic = head[:LONGEST_MAGIC]
        is_skippable = magic[0] in _SKIPPABLE_FIRST and _SKIPPABLE_REST.startswith(magic[1:])
        if not is_skippable and not _ZSTD_MAGIC.startswith(magic):
            raise _NotAMemberError
        if len(magic) < LONGEST_MAGIC:
            return None
        window = 0 if is_skippable else window_of(head)
        if window is None:
            return None
        if window > _LARGEST_WINDOW:
            raise DecodingError(
                f"it was made with a window of {-(-window // _MIB)} MiB "
                f"(zstd --long={(window - 1).bit_length()} or --ultra)",
                "make it again with at most --long=27",
            )
        WINDOWS.reserve(window)
        self._window = window
        return zstd.ZstdDecompressor()


def window_of(head: bytes) -> int | None:
    """Return the window size of a Zstandard frame, in bytes.

    Args:
        head: The beginning of the frame; its header has at most 18 bytes (RFC 8878, section
            3.1.1.1).

    Returns:
        The window size (section 3.1.1.1.2); for a frame of a single segment, its content size
        (section 3.1.1.1.1.2). None if ``head`` is too short.
    """
    # Skip the magic number and the frame header descriptor.
    start = 5
    if len(head) < start:
        return None
    descriptor = head[start - 1]
    if not descriptor & 0x20:
        if len(head) == start:
            return None
        exponent, mantissa = divmod(head[start], 8)
        base = 1 << (10 + exponent)
        return base + base // 8 * mantissa
    start += (0, 1, 2, 4)[descriptor & 3]
    end = start + (1, 2, 4, 8)[descriptor >> 6]
    if len(head) < end:
        return None
    size = int.from_bytes(head[start:end], "little")
    return size + 256 if end - start == 2 else size
