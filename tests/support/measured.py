"""What a program takes of the machine while it runs."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Linux counts what a process was before execve(2) as its own: the peak of a child starts at the
# size of the program that forked it. This one is small, and is asked for the peak of its child.
_MEASURE = """
import json, resource, subprocess, sys, time
start = time.monotonic()
code = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
measured = time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024
open(sys.argv[1], "w").write(json.dumps(measured))
sys.exit(code)
"""


@dataclass(frozen=True)
class Usage:
    """What a program took.

    Attributes:
        seconds: From its start to its end.
        cpu: Seconds of processor time, of its children too.
        peak_mib: The most memory that it held at a time, in MiB.
    """

    seconds: float
    cpu: float
    peak_mib: int


def run_measured(
    words: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    *,
    fails: bool = False,
) -> Usage:
    """Run Python with some words, and see what it takes.

    Args:
        words: The arguments for the interpreter.
        environment: In place of this process's own.
        fails: Whether it has to fail, in a word and not of itself.

    Returns:
        What it took.

    Raises:
        RuntimeError: It failed where it should not, or the other way round; with what it said.
    """
    with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as measured:
        process = subprocess.run(
            # Without site packages the program that measures stays as small as it can be.
            [sys.executable, "-ISc", _MEASURE, measured.name, sys.executable, *words],
            env=environment,
            stderr=said,
            check=False,
        )
        said.seek(0)
        message = said.read().decode()
        if bool(process.returncode) != fails or "Traceback" in message:
            raise RuntimeError(message)
        return Usage(*json.load(measured))
