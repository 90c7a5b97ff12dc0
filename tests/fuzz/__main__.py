"""Look for inputs that break what reads them, led by what code they reach (Atheris, libFuzzer).

``python3 -m tests.fuzz tar --seconds 600`` begins with the inputs of ``corpus/tar``, and leaves
those that reach something new there, as few and as short as it can. An input that breaks something
is written there as well, and fails the unit tests from then on until that is fixed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

_PROCESS = Path(__file__).with_name("process.py")
_LONGEST = 16 * 1024
_SECONDS_FOR_ONE = 20


def main() -> int:
    """Fuzz; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"any of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    failed = [
        target
        for target in arguments.targets or TARGETS
        if not _fuzz(target, arguments.seconds, CORPUS / target)
    ]
    print(f"broken: {', '.join(failed)}" if failed else "nothing was broken")
    return 1 if failed else 0


def _fuzz(target: str, seconds: int, corpus: Path) -> bool:
    """Fuzz one target; tells whether it held."""
    corpus.mkdir(exist_ok=True, parents=True)
    with tempfile.TemporaryDirectory() as name:
        new, merged = Path(name, "new"), Path(name, "merged")
        new.mkdir()
        merged.mkdir()
        flags = [f"-max_len={_LONGEST}", f"-timeout={_SECONDS_FOR_ONE}", "-rss_limit_mb=1024"]
        found = [f"-artifact_prefix={corpus}/broken-", f"-max_total_time={seconds}"]
        status = _run(target, *flags, *found, str(new), str(corpus))
        _run(target, *flags, "-merge=1", str(merged), str(corpus), str(new))
        kept = {path.name for path in merged.iterdir()}
        for path in merged.iterdir():
            target_path = corpus / path.name
            if not target_path.exists():
                target_path.write_bytes(path.read_bytes())
        for path in corpus.iterdir():
            # What has a name of its own was put there by hand, or broke something.
            if len(path.name) == 40 and path.name not in kept:
                path.unlink()
    return status == 0


def _run(target: str, *flags: str) -> int:
    environment = {
        **os.environ,
        "FUZZ_TARGET": target,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    return subprocess.run([_PROCESS, *flags], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
