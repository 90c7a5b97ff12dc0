"""Reports progress in the unit's status and in the log of an action or of the unit."""

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import ops

from ckf_airgap.errors import AirgapError, disk_errors, listed
from ckf_airgap.push.progress import Progress

logger = logging.getLogger(__name__)

# Juju keeps at most 1,000 log lines of an action: progress is logged only at this interval.
_LOG_SECONDS = 30
_STATUS_SECONDS = 5
# The size of the longest error message. Hook tools reject arguments of 128 KiB or more.
_MOST_LINE_BYTES = 2_000
UNIT_DISK = "the unit's disk"


class UnitReporter:
    """Reports progress in the unit's status and in a log.

    Attributes:
        results: Function that adds to the action's results.
    """

    def __init__(
        self,
        unit: ops.Unit,
        log: Callable[[str], None],
        results: Callable[[Mapping[str, object]], None],
    ) -> None:
        self._unit = unit
        self._log = log
        self.results = results
        self._logged_at = 0.0
        self._shown_at = 0.0

    @classmethod
    def of_action(cls, unit: ops.Unit, event: ops.ActionEvent) -> "UnitReporter":
        """Report to the operator who runs an action."""
        return cls(unit, event.log, lambda results: event.set_results(dict(results)))

    @classmethod
    def of_hook(cls, unit: ops.Unit) -> "UnitReporter":
        """Report to the unit's log."""
        return cls(unit, logger.info, lambda results: logger.info("%s", results))

    def log(self, text: str) -> None:
        """Log a text as one printable line."""
        self._log(listed([text], most_bytes=_MOST_LINE_BYTES))

    def step(self, text: str) -> None:
        """Show a step in the status and in the log."""
        self._show(text)
        self.log(text)

    def _show(self, text: str) -> None:
        self._unit.status = ops.MaintenanceStatus(listed([text], most_bytes=_MOST_LINE_BYTES))

    def progress(self, text: str) -> None:
        """Show the progress of a step in the status, and now and then in the log."""
        self._show(text)
        if time.monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = time.monotonic()
            self.log(text)

    def pushing(self, progress: Progress) -> None:
        """Show a push: log each image, and update the totals every few seconds."""
        for reference in progress.finished:
            self.log(f"pushed {reference}")
        if time.monotonic() - self._shown_at >= _STATUS_SECONDS:
            self._shown_at = time.monotonic()
            self.progress(f"pushing images: {progress}")


@contextmanager
def reporting(unit: ops.Unit, event: ops.ActionEvent) -> Generator[UnitReporter]:
    """Report an action, and fail it with the message of an AirgapError.

    Args:
        unit: The unit.
        event: The action.

    Yields:
        The reporter.
    """
    try:
        with disk_errors(UNIT_DISK):
            yield UnitReporter.of_action(unit, event)
    except AirgapError as error:
        event.fail(str(error))
