"""Divides a layer into the parts of its blob: segments of the archive, and content to compress.

An uncompressed layer of a gzip archive is a part of the archive's decoded content. The archive's
segments within the layer are reused unchanged, and the content between them is compressed. A
segment refers back to the 32 KiB before it (``archives.segments``), so these must belong to the
layer too. The parts in sequence are the blocks of one gzip member.
"""

from collections import deque
from collections.abc import Iterator

from ckf_airgap.archives.file_content import HEAD_SIZE
from ckf_airgap.archives.segments import LONGEST_SEGMENT, WINDOW_SIZE, Segment, StreamPosition

# Blocks of this size are compressed independently, so that several cores can work on one layer.
# The digest of the blob depends on it.
_BLOCK_SIZE = 1024 * 1024
# The minimum content of the layer before its first segment. The head of a file is read before the
# file is known to be a layer, which may discard segments that end in the head.
_BEFORE_FIRST_SEGMENT = max(WINDOW_SIZE, HEAD_SIZE)

Content = list[memoryview]
"""Content to be compressed, in pieces."""


class LayerParts:
    """Divides a layer into segments and content to compress.

    The result depends on the bytes of the archive alone, not on how they are read.
    """

    def __init__(self, position: StreamPosition | None) -> None:
        """Begin a layer.

        Args:
            position: Its start in the decoded archive; None if there are no segments.
        """
        self._segment_queue = position.segment_queue if position else None
        self._layer_start = position.offset if position else 0
        # The content that is not in a part yet, and its start and end.
        self._content: deque[memoryview] = deque()
        self._start = self._end = self._layer_start

    def add(self, data: bytes) -> Iterator[Content | Segment]:
        """Add content of the layer, in order.

        Args:
            data: The bytes read from the archive.

        Yields:
            The next parts, in order.
        """
        self._content.append(memoryview(data))
        self._end += len(data)
        # A later segment may begin this far before the end: do not compress that content yet.
        reach = LONGEST_SEGMENT if self._segment_queue else 0
        for segment in self._segment_queue.pop_until(self._end) if self._segment_queue else ():
            if segment.start >= max(self._start, self._layer_start + _BEFORE_FIRST_SEGMENT):
                yield from self._compressed(segment.start)
                self._remove(segment.end - segment.start)
                yield segment
        while self._end - reach - self._start >= _BLOCK_SIZE:
            yield self._remove(_BLOCK_SIZE)

    def finish(self) -> Iterator[Content | Segment]:
        """Return the last parts, after all content was added."""
        return self._compressed(self._end)

    def _compressed(self, end: int) -> Iterator[Content]:
        while self._start < end:
            yield self._remove(min(_BLOCK_SIZE, end - self._start))

    def _remove(self, size: int) -> Content:
        """Remove and return the first ``size`` bytes that are not in a part yet."""
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
