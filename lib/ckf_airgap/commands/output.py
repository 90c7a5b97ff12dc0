"""What a command prints: its answer, and meanwhile its notices and its progress."""

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import yaml

from ckf_airgap.errors import disk_error

NEEDS_ATTENTION = 1
"""The exit status where something in an archive needs a look."""

_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What a command prints, and its exit status.

    Attributes:
        document: The answer.
        status: The exit status.
        table: The part of it that is shown as a table, where that is asked for.
        markdown: The part of it that is shown as Markdown, where that is asked for.
    """

    document: dict[str, Any]
    status: int = 0
    table: str = ""
    markdown: str = ""

    def text(self, form: str) -> str:
        """Write the answer.

        Args:
            form: ``table``, ``markdown``, ``json`` or ``yaml``.
        """
        if form == "table":
            return self.table
        if form == "markdown":
            return self.markdown
        if form == "json":
            return json.dumps(self.document, indent=2) + "\n"
        # What the output's encoding lacks is escaped, in the way of YAML.
        return yaml.safe_dump(
            self.document,
            sort_keys=False,
            allow_unicode=_encoding().startswith("utf"),
            width=100,
        )


def print_answer(text: str) -> None:
    """Print to standard output; what its encoding lacks is escaped.

    Raises:
        StorageError: It cannot be written.
        BrokenPipeError: Whoever read it has gone.
    """
    shown = text.encode(_encoding(), "backslashreplace").decode(_encoding())
    try:
        print(shown, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would fail again at the end of the process.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        raise disk_error("standard output", error) from error


def notice(text: str) -> None:
    """Tell the operator something on standard error."""
    print(f"ckf-airgap: {text}", file=sys.stderr)


class ProgressLines:
    """Writes how far the work is, a line now and then: for where there is no terminal."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, progress: object) -> None:
        """Write a line, unless the last one is recent."""
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            print(progress, file=sys.stderr, flush=True)


def _encoding() -> str:
    """Tell the encoding of the output; none matters where that is closed or no file."""
    return str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
