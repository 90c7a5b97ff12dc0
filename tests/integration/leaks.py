"""Where a password might be seen: process arguments and environments, and files."""

import os
import stat
import threading
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PAUSE_SECONDS = 0.1
_LARGEST = 64 * 1024 * 1024


@dataclass
class Sightings:
    """What a watch has seen.

    Attributes:
        rounds: How often all processes were looked at.
        programs: The programs that have run meanwhile.
        places: Where a password stood: the program, and in what of it.
    """

    rounds: int = 0
    programs: set[str] = field(default_factory=set[str])
    places: set[str] = field(default_factory=set[str])


@contextmanager
def watching(passwords: Collection[str]) -> Generator[Sightings]:
    """Look at the arguments and environments of all processes of this machine, again and again."""
    seen = Sightings()
    ended = threading.Event()
    wanted = [password.encode() for password in passwords]

    def watch() -> None:
        while not ended.wait(_PAUSE_SECONDS):
            for folder in Path("/proc").glob("[0-9]*"):
                _look_at(folder, wanted, seen)
            seen.rounds += 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _look_at(folder: Path, passwords: Collection[bytes], seen: Sightings) -> None:
    for kind in ("cmdline", "environ"):
        try:
            content = folder.joinpath(kind).read_bytes()
        except OSError:
            return
        if kind == "cmdline":
            seen.programs.add(content.partition(b"\0")[0].rpartition(b"/")[2].decode())
        if any(password in content for password in passwords):
            program = folder.joinpath("comm").read_text().strip()
            seen.places.add(f"{kind} of {program}")


def files_with(passwords: Collection[str], root: Path) -> Mapping[Path, int]:
    """List the files below a folder that hold one of some passwords, with their modes."""
    wanted = [password.encode() for password in passwords]
    found: dict[Path, int] = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                    continue
                content = path.read_bytes()
            except OSError:
                continue
            if any(password in content for password in wanted):
                found[path.relative_to(root)] = stat.S_IMODE(status.st_mode)
    return found
