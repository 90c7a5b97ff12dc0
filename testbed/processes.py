"""The testbed's long-running processes, started and stopped by their own id."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.host import TestbedError


@dataclass(frozen=True)
class Processes:
    """The processes that are recorded in a folder.

    Attributes:
        records: Where each process's id is kept.
        logs: Where each process's output goes.
    """

    records: Path
    logs: Path

    def start(
        self, name: str, args: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> int:
        """Start a process, unless it runs.

        Returns:
            Its process id.
        """
        if running := self.pid(name):
            return running
        self.records.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess: its objects want to outlive their process, and this process is to stay.
        pid = os.posix_spawnp(
            str(args[0]),
            [str(arg) for arg in args],
            {**os.environ, **(env or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log(name)), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        record = {"pid": pid, "started": _start_time(pid)}
        self._record(name).write_text(json.dumps(record))
        return pid

    def pid(self, name: str) -> int | None:
        """Give the id of a process that runs; None where it does not."""
        try:
            record = json.loads(self._record(name).read_text())
        except (OSError, ValueError):
            return None
        # An id is used again after a while; the start time tells whether it is the same process.
        is_same = record["started"] and record["started"] == _start_time(record["pid"])
        return int(record["pid"]) if is_same else None

    @property
    def names(self) -> list[str]:
        """The processes that were started and not stopped, alive or not."""
        return sorted(path.stem for path in self.records.glob("*.json"))

    def stop(self, name: str, patience: float = 20) -> None:
        """End a process: politely, and after some seconds not."""
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10)):
            pid = self.pid(name)
            if pid is None:
                break
            os.kill(pid, number)
            _wait_for_end(pid, seconds)
        self._record(name).unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Give the file that a process writes to."""
        return self.logs / f"{name}.log"

    def require(self, name: str) -> None:
        """Fail where a process has ended.

        Raises:
            TestbedError: It has; the message holds the end of its log.
        """
        if self.pid(name) is None:
            end = self.log(name).read_text(errors="replace")[-1500:]
            raise TestbedError(f"{name} has ended; its log {self.log(name)} ends with:\n{end}")

    def _record(self, name: str) -> Path:
        return self.records / f"{name}.json"


def end_all(pids: Sequence[int]) -> None:
    """Kill processes that nobody recorded, found by what they belong to."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for pid in pids:
        _wait_for_end(pid, 10)


def _wait_for_end(pid: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _start_time(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    # A child of this process stays a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _start_time(pid: int) -> int | None:
    """Read when a process started, in clock ticks since boot (proc(5), stat); None: it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else int(started)
