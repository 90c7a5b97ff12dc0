"""The output of a command: its result, notices and progress."""

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, TextIO

import yaml

from ckf_airgap.errors import disk_error

NEEDS_ATTENTION = 1
"""The exit status of a command that ended, but lists something that needs attention."""

_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """The result of a command, and its exit status.

    Attributes:
        document: The result, for the formats ``json`` and ``yaml``.
        status: The exit status.
        table: The result for the formats ``table`` and ``text``, if the command has them.
        markdown: The result for the format ``markdown``, if the command has it.
    """

    document: dict[str, Any]
    status: int = 0
    table: str = ""
    markdown: str = ""

    def text(self, form: str) -> str:
        """Return the result as text.

        Args:
            form: The format: ``table``, ``text``, ``markdown``, ``json`` or ``yaml``.
        """
        if form in ("table", "text"):
            return self.table
        if form == "markdown":
            return self.markdown
        if form == "json":
            return json.dumps(self.document, indent=2) + "\n"
        # Characters that the output's encoding lacks are escaped as YAML does.
        return yaml.safe_dump(
            self.document,
            sort_keys=False,
            allow_unicode=_encoding().startswith("utf"),
            width=100,
        )


def print_answer(text: str) -> None:
    """Print to standard output; escape characters that its encoding lacks.

    If its reader has closed it, the rest is dropped.

    Raises:
        StorageError: It cannot be written.
    """
    shown = text.encode(_encoding(), "backslashreplace").decode(_encoding())
    try:
        print(shown, end="", flush=True)
    except OSError as error:
        drop_buffer(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise disk_error("standard output", error) from error


def drop_buffer(stream: TextIO) -> None:
    """Drop what a stream could not write: it would fail again at the end of the process."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def notice(text: str) -> None:
    """Print a notice on standard error."""
    print(f"ckf-airgap: {text}", file=sys.stderr)


class ProgressLines:
    """Writes a line of progress from time to time, for output that is not a terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, progress: object) -> None:
        """Write a line, unless the last one is recent."""
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)


def _encoding() -> str:
    """Return the encoding of the output; UTF-8 if it is closed or has none."""
    return str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
