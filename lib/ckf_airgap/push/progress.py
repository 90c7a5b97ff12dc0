"""The progress of a push."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

# The period over which the rate is measured, and the minimum time between two reports.
_RATE_SECONDS = 60.0
_REPORT_SECONDS = 0.5
_MINUTE = 60
_HOUR = 3600


@dataclass(frozen=True)
class Progress:
    """The progress of a push.

    Attributes:
        images: How many images are done: the new references, and the images that the registry had
            already.
        finished: The references created or moved since the last report.
        read_bytes: The bytes of the (compressed) archive that were read.
        archive_bytes: The size of the (compressed) archive.
        sent_bytes: The bytes sent to the registry.
        rate: Bytes of the archive read per second, over the last minute.
    """

    images: int
    finished: tuple[str, ...]
    read_bytes: int
    archive_bytes: int
    sent_bytes: int
    rate: float

    @property
    def fraction(self) -> float:
        """The share of the archive that has been read, from 0 to 1."""
        return self.read_bytes / self.archive_bytes if self.archive_bytes else 0.0

    def __str__(self) -> str:
        left = ""
        if self.rate:
            seconds = (self.archive_bytes - self.read_bytes) / self.rate
            left = f" at {_bytes(self.rate)}/s, about {_duration(seconds)} left"
        return (
            f"{self.images} images done, {_bytes(self.read_bytes)} of "
            f"{_bytes(self.archive_bytes)} read ({self.fraction:.0%}){left}, "
            f"{_bytes(self.sent_bytes)} sent"
        )


class Meter:
    """Counts the work of several threads, and reports it in the thread that reads the archive."""

    def __init__(self, archive_bytes: int, on_report: Callable[[Progress], None]) -> None:
        """Start counting.

        Args:
            archive_bytes: The size of the (compressed) archive.
            on_report: Called with the progress.
        """
        self._archive_bytes = archive_bytes
        self._on_report = on_report
        self._lock = threading.Lock()
        self._images = 0
        self._finished: list[str] = []
        self._read = 0
        self._sent = 0
        self._reported_at = 0.0
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def read(self, position: int) -> None:
        """Record the position in the archive; from any thread."""
        self._read = position

    def sent(self, size: int) -> None:
        """Record that bytes were sent; from any thread."""
        with self._lock:
            self._sent += size

    def finished(self, references: list[str]) -> None:
        """Record new references in the registry; from any thread."""
        with self._lock:
            self._images += len(references)
            self._finished += references

    def present(self, count: int) -> None:
        """Record images that the registry had already; from any thread."""
        with self._lock:
            self._images += count

    def tick(self, *, now: bool = False) -> None:
        """Report the progress, unless the last report was less than half a second ago.

        Args:
            now: Whether to report in any case.
        """
        time_now = time.monotonic()
        if not now and time_now - self._reported_at < _REPORT_SECONDS:
            return
        self._reported_at = time_now
        with self._lock:
            finished, self._finished = tuple(self._finished), []
            images, sent = self._images, self._sent
        progress = Progress(
            images, finished, self._read, self._archive_bytes, sent, self._rate(time_now)
        )
        self._on_report(progress)

    def _rate(self, now: float) -> float:
        self._samples.append((now, self._read))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        then, position = self._samples[0]
        # When the archive is read again, the position goes back.
        return max(0.0, (self._read - position) / (now - then)) if now > then else 0.0


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
