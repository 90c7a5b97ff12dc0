"""Segments of a gzip member: runs of whole Deflate blocks that can be reused unchanged.

pigz, pgzip and every program that flushes its output end many blocks with an empty stored block.
Its last four bytes, 00 00 FF FF, end at a byte boundary and serve as a marker (RFC 1951, section
3.2.4). The blocks between two markers refer back at most 32 KiB of content (section 2), so they
can become part of any member in which the same 32 KiB precede them.

Incompressible content is in stored blocks. They have no marker, but begin with their length and
its complement, and end at a byte boundary.

The same bytes also occur inside blocks, by chance or because somebody put them there. So each
boundary is proven. When the decoder has consumed exactly the bytes before a possible boundary, it
gets the probe: a stored block of random bytes that is marked as the last block of the stream. At a
boundary the decoder returns exactly these bytes, consumes the whole probe and reaches the end of
the stream. Inside a stored block it would also return the header of the probe. Inside a compressed
block the random bytes would have to be codes for themselves and for an end of block, which does
not happen by chance. After a proven boundary a new decoder continues, which gets only the 32 KiB
of content before the boundary. So each segment was decoded from its own bytes and those 32 KiB
alone, into content that the checksum of the member covers, and it ends between two blocks: any
other decoder will decode it to the same content. If a boundary proves false, a new decoder decodes
the bytes since the last proven boundary again.

Segments depend on the bytes of the stream alone, not on the pieces in which it is read.
"""

import os
import re
import struct
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from isal import igzip_lib, isal_zlib

_MIB = 1024 * 1024
WINDOW_SIZE = 32 * 1024
"""The maximum distance of a back-reference, in bytes of content (RFC 1951, section 2)."""
LONGEST_SEGMENT = 4 * _MIB
"""The maximum content of a segment, in bytes."""
# A segment is not reused if its blocks are larger than their content by more than 1/_OVERHEAD.
_OVERHEAD = 8
# The minimum content of a segment, in bytes. Each boundary costs a new decoder and a probe, as
# much time as decoding some 20 KiB. The search for markers takes a tenth of the time of decoding.
_SHORTEST_SEGMENT = 512 * 1024
_MARKER = b"\x00\x00\xff\xff"
_MARKERS = re.compile(_MARKER)
# The header of a stored block that is not the last one (RFC 1951, section 3.2.4), with a length
# near those that zlib uses: 16 KiB (3f or 40), or 64 KiB without compression (ff).
_STORED_HEADERS = re.compile(rb"\x00(?=(.[\x3f\x40\xff])(.[\xc0\xbf\x00]))", re.DOTALL)
_STORED_HEADER_SIZE = 5
# The search for stored blocks starts after this many bytes without a boundary.
_STORED_DISTANCE = 512 * 1024
# A marker is skipped if it is closer than this to the previous one, in bytes, so that millions of
# markers cost little.
_MARKER_DISTANCE = 512
# After a boundary, the search for the next marker skips this share of the compressed size that the
# shortest segment would have if it compressed like the previous segment. A segment that compresses
# much better may become too long to be reused.
_FREE_SHARE = 0.8
# The limits of what is kept to restore the decoder after a false boundary: the bytes, and the
# content that they decode to (200 KiB of a file of zeros give 200 MiB). If no boundary is proven
# within them, the search stops for the rest of the member.
_MOST_KEPT = 8 * _MIB
_MOST_KEPT_CONTENT = 1024 * _MIB
# How much of a stream may be decoded twice: 1/_REPEATED_SHARE of it, plus _REPEATED_ALWAYS.
_REPEATED_SHARE = 8
_REPEATED_ALWAYS = _MOST_KEPT_CONTENT
_MOST_DECODED = _MIB
_PROBE_SIZE = 16 * 1024
_TRAILER_SIZE = 8
# New in each process, so that no archive can contain it on purpose.
_RANDOM = os.urandom(_PROBE_SIZE)
# A last stored block (RFC 1951, section 3.2.4).
_PROBE = b"\x01" + struct.pack("<HH", _PROBE_SIZE, _PROBE_SIZE ^ 0xFFFF) + _RANDOM

_igzip: Any = igzip_lib
_zlib: Any = isal_zlib
_ERRORS = (cast(type[Exception], igzip_lib.error), zlib.error)


@dataclass(frozen=True)
class Segment:
    """Whole Deflate blocks, not including the last one of a member.

    Attributes:
        start: The start of their content in the decoded stream, in bytes.
        end: The end of their content.
        pieces: Their bytes, in the pieces that were read.
    """

    start: int
    end: int
    pieces: tuple[memoryview, ...]

    @property
    def blocks(self) -> bytes:
        """A new copy of their bytes, which refer back up to ``WINDOW_SIZE`` bytes of content."""
        return b"".join(self.pieces)


class SegmentQueue:
    """The queue by which the decoder of a stream gives segments to the stream's reader.

    Attributes:
        decoded: The number of bytes decoded so far.
        repeated: The number of bytes decoded twice.
    """

    def __init__(self) -> None:
        """Create the queue of a stream of which nothing is decoded yet."""
        self.decoded = 0
        self.repeated = 0
        self._segments: deque[Segment] = deque()

    def add(self, segment: Segment) -> None:
        """Add a segment, before the decoder returns the last byte of its content."""
        self._segments.append(segment)

    def pop_until(self, end: int) -> list[Segment]:
        """Remove and return the segments that end within the first ``end`` bytes, in order."""
        popped: list[Segment] = []
        # Another thread adds at the other end.
        while self._segments and self._segments[0].end <= end:
            popped.append(self._segments.popleft())
        return popped


@dataclass(frozen=True)
class StreamPosition:
    """A position in a decoded stream.

    Attributes:
        segment_queue: The segments of the stream.
        offset: In bytes from the start of the stream.
    """

    segment_queue: SegmentQueue
    offset: int


@runtime_checkable
class HasStreamPosition(Protocol):
    """A stream over a part of a decoded stream, such as a member of a ``.tar.gz``."""

    @property
    def stream_position(self) -> StreamPosition | None:
        """The position of the next byte in the decoded stream; None without a segment_queue."""
        ...


def stream_position(stream: object) -> StreamPosition | None:
    """Return the ``stream_position`` of any stream; None if it has none."""
    return stream.stream_position if isinstance(stream, HasStreamPosition) else None


class SegmentedMember:
    """Decodes one gzip member, and adds its segments to a segment_queue.

    It has the interface of ``igzip_lib.IgzipDecompressor``, and may also raise ``zlib.error``.

    Attributes:
        eof: Whether its end was reached and its checksum was correct.
        unused_data: The bytes after its end.
    """

    def __init__(self, segment_queue: SegmentQueue) -> None:
        """Start a member whose segments go to ``segment_queue``."""
        self._segment_queue = segment_queue
        self._member_start = segment_queue.decoded
        self.eof = False
        self.unused_data = b""
        # The last decoded content, for the next window.
        self._tail = b""
        # The window of the current decoder; None before the first boundary.
        self._window: bytes | None = None
        self._checksum = 0
        self._decoder = self._new_decoder()
        self._trailer: bytes | None = None
        self._input = b""
        self._position = 0
        # The last bytes of earlier input: a marker or a header may begin in them.
        self._previous = b""
        # The marker in the input that the last search found, or the length of the input if it
        # found none; None before the first search. Kept so that each byte is searched once.
        self._next_marker: int | None = None
        # How much is left of the current stored block.
        self._stored_left = 0
        self._to_next_marker = 0
        self._may_be_boundary = False
        self._kept: list[memoryview] = []
        self._kept_size = 0
        self._boundary = segment_queue.decoded
        self._seeks_boundaries = True

    @property
    def needs_input(self) -> bool:
        """Whether more input is needed for more output."""
        is_waiting = self._trailer is not None or self._decoder.needs_input
        return is_waiting and self._position == len(self._input)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode the next bytes.

        Args:
            data: The bytes; empty unless ``needs_input``.
            max_length: The maximum number of bytes to return.

        Returns:
            Content; perhaps empty.

        Raises:
            Exception: The member is damaged: ``igzip_lib.error`` or ``zlib.error``.
        """
        if data:
            size = _STORED_HEADER_SIZE - 1
            self._previous = (self._previous + self._input[-size:])[-size:]
            self._input, self._position = data, 0
            self._next_marker = None
        if self._trailer is not None:
            self._read_trailer()
            return b""
        part = self._next_part() if self._decoder.needs_input else memoryview(b"")
        content: bytes = self._decoder.decompress(part, max_length)
        self._count(content)
        if self._decoder.eof:
            self._finish()
        elif self._may_be_boundary and self._decoder.needs_input:
            self._may_be_boundary = False
            if self._segment_queue.decoded - self._boundary >= _SHORTEST_SEGMENT:
                self._try_boundary()
        return content

    def _new_decoder(self) -> Any:
        if self._window is None:
            return _igzip.IgzipDecompressor(_igzip.DECOMP_GZIP)
        return _igzip.IgzipDecompressor(_igzip.DECOMP_DEFLATE, 15, self._window)

    def _next_part(self) -> memoryview:
        """Return the next input, up to the end of a marker or a stored block, or all of it."""
        end = self._next_end() if self._seeks_boundaries else len(self._input)
        part = memoryview(self._input)[self._position : end]
        self._to_next_marker -= len(part)
        self._position = end
        if self._may_be_boundary:
            self._to_next_marker = _MARKER_DISTANCE
        if self._seeks_boundaries:
            self._keep(part)
        return part

    def _next_end(self) -> int:
        self._may_be_boundary = False
        if self._stored_left:
            end = min(self._position + self._stored_left, len(self._input))
            self._stored_left -= end - self._position
            self._may_be_boundary = not self._stored_left
            return end
        end = self._marker_end()
        stored = self._stored_block(len(self._input) if end is None else end)
        if stored:
            # This part ends after the header; the content of the block is the next part.
            end, self._stored_left = stored
        elif end is not None:
            self._may_be_boundary = True
        return len(self._input) if end is None else end

    def _stored_block(self, limit: int) -> tuple[int, int] | None:
        """Find a stored block whose header ends by ``limit``; return that end and its length."""
        lowest = self._position + max(_STORED_DISTANCE - self._kept_size, self._to_next_marker, 1)
        if lowest > len(self._input):
            return None
        joined = self._previous + self._input[: _STORED_HEADER_SIZE - 1]
        for data, offset in ((joined, len(self._previous)), (self._input, 0)):
            start = max(0, lowest + offset - _STORED_HEADER_SIZE)
            for header in _STORED_HEADERS.finditer(data, start):
                end = header.start() + _STORED_HEADER_SIZE - offset
                if end > limit:
                    break
                length, complement = struct.unpack("<HH", header[1] + header[2])
                if length ^ complement == 0xFFFF and end >= lowest:
                    return end, length
        return None

    def _marker_end(self) -> int | None:
        lowest = self._position + max(self._to_next_marker, 1)
        if lowest < len(_MARKER):
            head = self._previous + self._input[: len(_MARKER) - 1]
            found = head.find(_MARKER, max(0, lowest + len(self._previous) - len(_MARKER)))
            if found >= 0:
                return found + len(_MARKER) - len(self._previous)
        start = max(0, lowest - len(_MARKER))
        if self._next_marker is None or self._next_marker < start:
            # Faster than bytes.find.
            marker = _MARKERS.search(self._input, start)
            self._next_marker = marker.start() if marker else len(self._input)
        if self._next_marker == len(self._input):
            return None
        return self._next_marker + len(_MARKER)

    def _keep(self, part: memoryview) -> None:
        self._kept.append(part)
        self._kept_size += len(part)
        content = self._segment_queue.decoded - self._boundary
        if self._kept_size > _MOST_KEPT or content > _MOST_KEPT_CONTENT:
            self._seeks_boundaries = self._may_be_boundary = False
            self._kept.clear()

    def _count(self, content: bytes) -> None:
        self._segment_queue.decoded += len(content)
        if self._window is not None:
            self._checksum = _zlib.crc32(content, self._checksum)
        if len(content) >= WINDOW_SIZE:
            self._tail = content
        elif content:
            self._tail = self._tail[-WINDOW_SIZE:] + content

    def _try_boundary(self) -> None:
        """If this is a boundary, finish the segment before it; if not, restore the decoder."""
        content = self._segment_queue.decoded - self._boundary
        size = self._segment_queue.decoded - self._member_start
        most = _REPEATED_ALWAYS + self._segment_queue.decoded // _REPEATED_SHARE
        if self._segment_queue.repeated + content > most:
            return
        if not self._is_between_blocks(size):
            self._restore_decoder(content)
            return
        if self._window is None:
            self._checksum = self._first_checksum
        elif content <= LONGEST_SEGMENT and self._kept_size <= content + content // _OVERHEAD:
            self._segment_queue.add(
                Segment(self._boundary, self._segment_queue.decoded, tuple(self._kept))
            )
        ratio = min(1, self._kept_size / content)
        self._to_next_marker = int(_SHORTEST_SEGMENT * ratio * _FREE_SHARE)
        self._window = self._tail[-WINDOW_SIZE:]
        self._boundary = self._segment_queue.decoded
        self._kept, self._kept_size = [], 0
        self._decoder = self._new_decoder()

    def _is_between_blocks(self, size: int) -> bool:
        """Return whether the decoder is between two blocks; it cannot be used afterwards."""
        probe = _PROBE
        if self._window is None:
            # This decoder expects the trailer of a member (RFC 1952, section 2.3.1).
            self._first_checksum = self._decoder.crc
            checksum = _zlib.crc32(_RANDOM, self._first_checksum)
            probe += struct.pack("<II", checksum, (size + _PROBE_SIZE) % 2**32)
        try:
            result = self._decoder.decompress(probe, 2 * _PROBE_SIZE)
        except _ERRORS:
            return False
        return result == _RANDOM and self._decoder.eof and not self._decoder.unused_data

    def _restore_decoder(self, content: int) -> None:
        """Decode the kept bytes again with a new decoder."""
        self._segment_queue.repeated += content
        self._decoder = self._new_decoder()
        for part in self._kept:
            self._decoder.decompress(part, _MOST_DECODED)
            while not self._decoder.needs_input:
                self._decoder.decompress(b"", _MOST_DECODED)

    def _finish(self) -> None:
        rest = self._decoder.unused_data
        self._kept = []
        if self._window is None:
            # The decoder has read the trailer.
            self.eof = True
            self.unused_data = rest + self._input[self._position :]
        else:
            self._trailer = b""
            self._position -= len(rest)
            self._read_trailer()

    def _read_trailer(self) -> None:
        """Read the checksum and the size, as far as given (RFC 1952, section 2.3.1)."""
        assert self._trailer is not None
        part = self._input[self._position : self._position + _TRAILER_SIZE - len(self._trailer)]
        self._trailer += part
        self._position += len(part)
        if len(self._trailer) < _TRAILER_SIZE:
            return
        size = (self._segment_queue.decoded - self._member_start) % 2**32
        if self._trailer != struct.pack("<II", self._checksum, size):
            raise zlib.error("Incorrect checksum found")
        self.eof = True
        self.unused_data = self._input[self._position :]
