"""The command, run for what it takes of the machine and for what it says."""

import json
import os
import sys
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.measured import Usage, run_measured

MOST_MEMORY = 256
"""In MiB."""
LONGEST_ERROR = 2200
LONGEST_TEXT = 2200
# Only what hangs takes so long.
PATIENCE = 400.0
# Stands between run_measured and the command, and keeps what the command says.
_KEEP = """
import json, subprocess, sys
kept, patience = sys.argv[1], float(sys.argv[2])
with open(kept + ".out", "wb") as out, open(kept + ".err", "wb") as err:
    process = subprocess.Popen(sys.argv[3:], stdout=out, stderr=err)
    try:
        status = process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        sys.exit(f"it has not ended after {patience:.0f} s")
with open(kept, "w") as file:
    json.dump(status, file)
"""


@dataclass(frozen=True)
class Measured:
    """How the command ended.

    Attributes:
        status: Its exit status.
        document: What it printed.
        error: What it said on standard error.
        usage: What it took.
    """

    status: int
    document: Mapping[str, Any]
    error: str
    usage: Usage


def measure(words: list[str]) -> Measured:
    """Run the command."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        command = [sys.executable, "-m", "ckf_airgap", *words, "--format", "json"]
        usage = run_measured(
            ["-ISc", _KEEP, kept, str(PATIENCE), *command],
            {**os.environ, "PYTHONPATH": ":".join(sys.path)},
        )
        output = kept.with_suffix(".out").read_text()
        return Measured(
            json.loads(kept.read_text()),
            json.loads(output) if output else {},
            kept.with_suffix(".err").read_text(),
            usage,
        )


def check(name: str, path: Path, measured: Measured) -> None:
    """See that it took little and said little."""
    usage = measured.usage
    print(
        f"\n{name:50} {path.stat().st_size:>12,} bytes {usage.peak_mib:>5} MiB "
        f"{usage.seconds:>6.1f} s  exit {measured.status}"
    )
    assert "Traceback" not in measured.error, measured.error[-3000:]
    assert usage.peak_mib < MOST_MEMORY
    assert measured.status in (0, 1, 2)
    if measured.status == 2:
        assert len(measured.error.encode()) < LONGEST_ERROR, len(measured.error)
        assert measured.error.count("ckf-airgap: error: ") == 1
    for text in texts(measured.document):
        assert len(text) < LONGEST_TEXT, (len(text), text[:300])


def texts(document: object) -> Generator[str]:
    """Give all words of a document."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, list):
        for each in document:  # pyright: ignore[reportUnknownVariableType]
            yield from texts(each)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(document, dict):
        for key, value in document.items():  # pyright: ignore[reportUnknownVariableType]
            yield from texts(key)  # pyright: ignore[reportUnknownArgumentType]
            yield from texts(value)  # pyright: ignore[reportUnknownArgumentType]
