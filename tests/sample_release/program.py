"""The program in the base layer of every sample image, built once with Go and kept in a cache."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).parent / "wait_for_termination" / "main.go"


def cache_folder() -> Path:
    """Tell where built things are kept, which is outside the clone."""
    if folder := os.environ.get("CKF_AIRGAP_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ckf-airgap"


def sample_program() -> bytes:
    """Give the static program for amd64 that sleeps until SIGTERM and then exits with 0.

    Raises:
        FileNotFoundError: It is not in the cache yet and there is no ``go`` on PATH.
        subprocess.CalledProcessError: It cannot be built.
    """
    key = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    program = cache_folder() / f"wait-for-termination-{key}"
    if not program.exists():
        _build(program)
    return program.read_bytes()


def _build(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and moved there, so that runs at the same time do not see half of it.
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        built = Path(folder) / program.name
        subprocess.run(
            ["go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", built, _SOURCE],
            check=True,
            cwd=folder,
            env=os.environ
            | {
                "CGO_ENABLED": "0",
                "GOARCH": "amd64",
                "GOFLAGS": "",
                "GOOS": "linux",
                "GOTOOLCHAIN": "local",
            },
        )
        built.replace(program)
