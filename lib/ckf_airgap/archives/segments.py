"""Segments of a gzip member: runs of whole Deflate blocks that can be taken as they are.

pigz, pgzip and every program that flushes end many blocks with an empty stored block, of which the
last four bytes are 00 00 FF FF and end at a byte boundary (RFC 1951, section 3.2.4). What stands
between two such places refers back 32 KiB of content at the most (section 2). Behind the same
32 KiB it can therefore be part of another member.

Content that cannot be compressed stands in stored blocks, without markers; these begin with their
length, twice, and end at a byte boundary.

All of these bytes occur elsewhere too, by chance or on purpose, so that each place is proven. When
the decoder has been fed exactly to such a place, it is fed a last stored block of random bytes,
the probe. Only between two blocks can it give those bytes, take all of them and be at its end. In
a stored block it would give the header of the probe as well; in a block of codes it would have to
read these very bytes, and the end of the block behind them, from bytes that nobody knew. Behind a
proven place a new decoder goes on, which knows nothing but the 32 KiB of content before it. So
each segment has been decoded from nothing but its bytes and these 32 KiB, into the content that is
counted in the checksum of the member, and it ends between two blocks: any other decoder does the
same with it. Behind a place that was none, the decoder is made again as it was before.

What becomes a segment depends on the bytes of the member alone, not on how they are read.
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
"""How far blocks refer back, in bytes of the content, at the most (RFC 1951, section 2)."""
LONGEST_SEGMENT = 4 * _MIB
"""The size of the content of a segment, in bytes, at the most."""
# What the blocks of a segment may take more than their content: as part of that.
_OVERHEAD = 8
# The content of a segment at the least: a new decoder and the probe cost as much as decoding some
# 20 KiB, and looking for markers a tenth of decoding.
_SHORTEST = 512 * 1024
_MARKER = b"\x00\x00\xff\xff"
_MARKERS = re.compile(_MARKER)
# The header of a stored block, not the last one, of about the length that zlib makes: 16 KiB, or
# 64 KiB where nothing is to be compressed (RFC 1951, section 3.2.4).
_STORED_HEADERS = re.compile(rb"\x00(?=(.[\x3f\x40\xff])(.[\xc0\xbf\x00]))", re.DOTALL)
_STORED_HEADER_SIZE = 5
# They are looked for where no marker was found in so many bytes.
_STORED_DISTANCE = 512 * 1024
# So far apart are the markers that are looked at, so that millions of them cost little.
_MARKER_DISTANCE = 512
# Markers are looked for behind this share of the bytes that the shortest segment would take if it
# compressed like the one before. A segment that compresses much better than the one before may
# become too long to be taken.
_FREE_SHARE = 0.8
# What the decoder is fed again behind a marker that was none, at the most, and the content of it:
# of a file of zeros, 200 KiB give 200 MiB. Where no place was proven for so long, none is looked
# for any more.
_MOST_HELD = 8 * _MIB
_MOST_HELD_CONTENT = 1024 * _MIB
# How much of a stream may be decoded twice: as part of it, and besides.
_REPEATED_SHARE = 8
_REPEATED_ALWAYS = _MOST_HELD_CONTENT
_MOST_DECODED = _MIB
_PROBE_SIZE = 16 * 1024
_TRAILER_SIZE = 8
# Not known to whoever makes an archive.
_RANDOM = os.urandom(_PROBE_SIZE)
# A last stored block (RFC 1951, section 3.2.4).
_PROBE = b"\x01" + struct.pack("<HH", _PROBE_SIZE, _PROBE_SIZE ^ 0xFFFF) + _RANDOM

_igzip: Any = igzip_lib
_zlib: Any = isal_zlib
_ERRORS = (cast(type[Exception], igzip_lib.error), zlib.error)


@dataclass(frozen=True)
class Segment:
    """Whole Deflate blocks, none of which is the last of its member.

    Attributes:
        start: Where their content begins in the decoded stream, in bytes from its start.
        end: Where it ends.
        pieces: Their bytes, in pieces as they were read.
    """

    start: int
    end: int
    pieces: tuple[memoryview, ...]

    @property
    def blocks(self) -> bytes:
        """Their bytes: behind the ``WINDOW_SIZE`` bytes of content before, they give the content.

        It is made anew each time.
        """
        return b"".join(self.pieces)


class Tape:
    """The segments of a decoded stream, on their way from the decoder to the reader of the stream.

    Attributes:
        decoded: How many bytes have been decoded.
        repeated: How many of them have been decoded twice.
    """

    def __init__(self) -> None:
        """Begin at the start of the stream."""
        self.decoded = 0
        self.repeated = 0
        self._segments: deque[Segment] = deque()

    def add(self, segment: Segment) -> None:
        """Add a segment; the last byte of its content must not have been handed on yet."""
        self._segments.append(segment)

    def take(self, end: int) -> list[Segment]:
        """Remove what ends in what has been read.

        Args:
            end: How much of the stream has been read, in bytes.

        Returns:
            The segments, in order.
        """
        taken: list[Segment] = []
        # Another thread adds at the other end.
        while self._segments and self._segments[0].end <= end:
            taken.append(self._segments.popleft())
        return taken


@dataclass(frozen=True)
class TapePosition:
    """A place in a decoded stream.

    Attributes:
        tape: The segments of the stream.
        offset: The place, in bytes from the start of the stream.
    """

    tape: Tape
    offset: int


@runtime_checkable
class Taped(Protocol):
    """A stream that is a part of a decoded stream, as it is."""

    @property
    def tape_position(self) -> TapePosition | None:
        """The place of the next byte in the decoded stream; None where there is no tape."""
        ...


def tape_position(stream: object) -> TapePosition | None:
    """Return the place of the next byte of a stream in the decoded stream that it is part of.

    Args:
        stream: Any stream.

    Returns:
        The place, or None where its bytes do not stand in a stream with a tape.
    """
    return stream.tape_position if isinstance(stream, Taped) else None


class SegmentedMember:
    """Decodes one gzip member, and puts its segments on a tape.

    It gives what ``igzip_lib.IgzipDecompressor`` gives, and raises what that raises.

    Attributes:
        eof: Whether its end was reached and its checksum found right.
        unused_data: What follows its end.
    """

    def __init__(self, tape: Tape) -> None:
        """Begin a member.

        Args:
            tape: Gets the segments.
        """
        self._tape = tape
        self._first = tape.decoded
        self.eof = False
        self.unused_data = b""
        # The last content that was decoded, for the next window.
        self._tail = b""
        # What the present decoder began with; None before the first place.
        self._window: bytes | None = None
        self._checksum = 0
        self._decoder = self._new_decoder()
        self._trailer: bytes | None = None
        self._given = b""
        self._at = 0
        # The last bytes before those given: a marker or a header may begin there.
        self._before = b""
        # The first marker at or behind the last start of a search in what is given, or its length:
        # each byte is searched once. None before the first search.
        self._next_marker: int | None = None
        # How much is left of the stored block to the end of which it is fed.
        self._stored_left = 0
        self._to_next_marker = 0
        self._is_at_marker = False
        self._held: list[memoryview] = []
        self._held_size = 0
        self._begun = tape.decoded
        self._has_places = True

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before more is given."""
        is_waiting = self._trailer is not None or self._decoder.needs_input
        return is_waiting and self._at == len(self._given)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode some bytes.

        Args:
            data: The bytes; none unless ``needs_input``.
            max_length: How much to return at the most, in bytes.

        Returns:
            Content, or nothing where more has to be given, or nothing new has come out.

        Raises:
            Exception: The member is damaged: ``igzip_lib.error`` or ``zlib.error``.
        """
        if data:
            before = _STORED_HEADER_SIZE - 1
            self._before = (self._before + self._given[-before:])[-before:]
            self._given, self._at = data, 0
            self._next_marker = None
        if self._trailer is not None:
            self._read_trailer()
            return b""
        part = self._next_part() if self._decoder.needs_input else memoryview(b"")
        content: bytes = self._decoder.decompress(part, max_length)
        self._count(content)
        if self._decoder.eof:
            self._finish()
        elif self._is_at_marker and self._decoder.needs_input:
            self._is_at_marker = False
            if self._tape.decoded - self._begun >= _SHORTEST:
                self._look_at_place()
        return content

    def _new_decoder(self) -> Any:
        if self._window is None:
            return _igzip.IgzipDecompressor(_igzip.DECOMP_GZIP)
        return _igzip.IgzipDecompressor(_igzip.DECOMP_DEFLATE, 15, self._window)

    def _next_part(self) -> memoryview:
        """Return what is to be fed next: to the end of a marker or of a stored block, or all."""
        end = self._next_end() if self._has_places else len(self._given)
        part = memoryview(self._given)[self._at : end]
        self._to_next_marker -= len(part)
        self._at = end
        if self._is_at_marker:
            self._to_next_marker = _MARKER_DISTANCE
        if self._has_places:
            self._hold(part)
        return part

    def _next_end(self) -> int:
        self._is_at_marker = False
        if self._stored_left:
            end = min(self._at + self._stored_left, len(self._given))
            self._stored_left -= end - self._at
            self._is_at_marker = not self._stored_left
            return end
        end = self._marker_end()
        stored = self._stored_block(len(self._given) if end is None else end)
        if stored:
            # First the header alone.
            end, self._stored_left = stored
        elif end is not None:
            self._is_at_marker = True
        return len(self._given) if end is None else end

    def _stored_block(self, before: int) -> tuple[int, int] | None:
        """Find the header of a stored block; give where it ends, and the length of the block."""
        lowest = self._at + max(_STORED_DISTANCE - self._held_size, self._to_next_marker, 1)
        if lowest > len(self._given):
            return None
        seam = self._before + self._given[: _STORED_HEADER_SIZE - 1]
        for data, offset in ((seam, len(self._before)), (self._given, 0)):
            start = max(0, lowest + offset - _STORED_HEADER_SIZE)
            for header in _STORED_HEADERS.finditer(data, start):
                end = header.start() + _STORED_HEADER_SIZE - offset
                if end > before:
                    break
                length, complement = struct.unpack("<HH", header[1] + header[2])
                if length ^ complement == 0xFFFF and end >= lowest:
                    return end, length
        return None

    def _marker_end(self) -> int | None:
        lowest = self._at + max(self._to_next_marker, 1)
        if lowest < len(_MARKER):
            head = self._before + self._given[: len(_MARKER) - 1]
            found = head.find(_MARKER, max(0, lowest + len(self._before) - len(_MARKER)))
            if found >= 0:
                return found + len(_MARKER) - len(self._before)
        start = max(0, lowest - len(_MARKER))
        if self._next_marker is None or self._next_marker < start:
            # Quicker than bytes.find.
            marker = _MARKERS.search(self._given, start)
            self._next_marker = marker.start() if marker else len(self._given)
        if self._next_marker == len(self._given):
            return None
        return self._next_marker + len(_MARKER)

    def _hold(self, part: memoryview) -> None:
        self._held.append(part)
        self._held_size += len(part)
        content = self._tape.decoded - self._begun
        if self._held_size > _MOST_HELD or content > _MOST_HELD_CONTENT:
            self._has_places = self._is_at_marker = False
            self._held.clear()

    def _count(self, content: bytes) -> None:
        self._tape.decoded += len(content)
        if self._window is not None:
            self._checksum = _zlib.crc32(content, self._checksum)
        if len(content) >= WINDOW_SIZE:
            self._tail = content
        elif content:
            self._tail = self._tail[-WINDOW_SIZE:] + content

    def _look_at_place(self) -> None:
        """Prove a place between two blocks, and go on with a new decoder."""
        content = self._tape.decoded - self._begun
        size = self._tape.decoded - self._first
        most = _REPEATED_ALWAYS + self._tape.decoded // _REPEATED_SHARE
        if self._tape.repeated + content > most:
            return
        if not self._is_between_blocks(size):
            self._repeat(content)
            return
        if self._window is None:
            self._checksum = self._checksum_of_first
        elif content <= LONGEST_SEGMENT and self._held_size <= content + content // _OVERHEAD:
            self._tape.add(Segment(self._begun, self._tape.decoded, tuple(self._held)))
        ratio = min(1, self._held_size / content)
        self._to_next_marker = int(_SHORTEST * ratio * _FREE_SHARE)
        self._window = self._tail[-WINDOW_SIZE:]
        self._begun = self._tape.decoded
        self._held, self._held_size = [], 0
        self._decoder = self._new_decoder()

    def _is_between_blocks(self, size: int) -> bool:
        """Feed the probe to the decoder, which is of no more use then."""
        probe = _PROBE
        if self._window is None:
            # It expects the trailer of a member (RFC 1952, section 2.3.1).
            self._checksum_of_first = self._decoder.crc
            checksum = _zlib.crc32(_RANDOM, self._checksum_of_first)
            probe += struct.pack("<II", checksum, (size + _PROBE_SIZE) % 2**32)
        try:
            given = self._decoder.decompress(probe, 2 * _PROBE_SIZE)
        except _ERRORS:
            return False
        return given == _RANDOM and self._decoder.eof and not self._decoder.unused_data

    def _repeat(self, content: int) -> None:
        """Make the decoder as it was before the probe."""
        self._tape.repeated += content
        self._decoder = self._new_decoder()
        for part in self._held:
            self._decoder.decompress(part, _MOST_DECODED)
            while not self._decoder.needs_input:
                self._decoder.decompress(b"", _MOST_DECODED)

    def _finish(self) -> None:
        rest = self._decoder.unused_data
        self._held = []
        if self._window is None:
            # It has read the trailer.
            self.eof = True
            self.unused_data = rest + self._given[self._at :]
        else:
            self._trailer = b""
            self._at -= len(rest)
            self._read_trailer()

    def _read_trailer(self) -> None:
        """Read the checksum and the size (RFC 1952, section 2.3.1), as far as they are given."""
        assert self._trailer is not None
        part = self._given[self._at : self._at + _TRAILER_SIZE - len(self._trailer)]
        self._trailer += part
        self._at += len(part)
        if len(self._trailer) < _TRAILER_SIZE:
            return
        size = (self._tape.decoded - self._first) % 2**32
        if self._trailer != struct.pack("<II", self._checksum, size):
            raise zlib.error("Incorrect checksum found")
        self.eof = True
        self.unused_data = self._given[self._at :]
