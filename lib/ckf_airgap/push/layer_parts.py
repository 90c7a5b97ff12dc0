"""The parts of the blob of a layer: what is compressed here, and what the archive has of it.

A layer that stands uncompressed in an archive of gzip is a part of the content of that archive.
The segments that lie in it are taken as they are, and what is between them is compressed. A
segment refers back to the 32 KiB before it (``archives.segments``), so that these have to belong
to the layer. The parts, one behind the other, are the blocks of one gzip member, whichever they
are.
"""

from collections import deque
from collections.abc import Iterator

from ckf_airgap.archives.file_content import HEAD_SIZE
from ckf_airgap.archives.segments import LONGEST_SEGMENT, WINDOW_SIZE, Segment, TapePosition

# Each of these is compressed by itself, so that several cores can work at one layer. Its size
# decides the bytes that come out, and so the digest of the blob.
_BLOCK_SIZE = 1024 * 1024
# What the first segment follows in the layer. The head of a layer is read before it is known to be
# one, which may discard segments that end in it.
_BEFORE_FIRST = max(WINDOW_SIZE, HEAD_SIZE)

Content = list[memoryview]
"""Content to be compressed, in pieces."""


class LayerParts:
    """Divides a layer into what is compressed and what is taken.

    It depends on the bytes of the archive alone, not on how they are read.
    """

    def __init__(self, position: TapePosition | None) -> None:
        """Begin a layer.

        Args:
            position: Where it begins in the decoded archive; None where nothing can be taken.
        """
        self._tape = position.tape if position else None
        self._begin = position.offset if position else 0
        # The content that no part was made of, and where it begins and ends.
        self._content: deque[memoryview] = deque()
        self._start = self._end = self._begin

    def add(self, data: bytes) -> Iterator[Content | Segment]:
        """Add content of the layer, in order.

        Args:
            data: What was read last from the archive.

        Yields:
            The next parts, in order.
        """
        self._content.append(memoryview(data))
        self._end += len(data)
        # A segment that is not there yet ends behind this.
        reach = LONGEST_SEGMENT if self._tape else 0
        for segment in self._tape.pop_until(self._end) if self._tape else ():
            if segment.start >= max(self._start, self._begin + _BEFORE_FIRST):
                yield from self._compressed(segment.start)
                self._remove(segment.end - segment.start)
                yield segment
        while self._end - reach - self._start >= _BLOCK_SIZE:
            yield self._remove(_BLOCK_SIZE)

    def finish(self) -> Iterator[Content | Segment]:
        """Return the rest of the parts."""
        return self._compressed(self._end)

    def _compressed(self, end: int) -> Iterator[Content]:
        while self._start < end:
            yield self._remove(min(_BLOCK_SIZE, end - self._start))

    def _remove(self, size: int) -> Content:
        """Remove content from the start of what there is."""
        self._start += size
        removed: Content = []
        while size:
            data = self._content.popleft()
            if len(data) > size:
                self._content.appendleft(data[size:])
                data = data[:size]
            removed.append(data)
            size -= len(data)
        return removed
