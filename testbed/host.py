"""The machine underneath: its commands, its Debian packages, and where things are kept."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed import versions

PACKAGES = (
    "apache2-utils",
    "ca-certificates",
    "chromium",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "docker-registry",
    "gcc",
    "git",
    "iproute2",
    "iptables",
    "libc6-dev",
    "mmdebstrap",
    "minisign",
    "nginx-light",
    "pigz",
    "runc",
    "skopeo",
)
_NO_SERVICES = Path("/usr/sbin/policy-rc.d")


class TestbedError(Exception):
    """Something of the testbed failed; the message says what to do."""

    __test__ = False


def say(text: str) -> None:
    """Tell the person at the terminal what is going on."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Generator[None]:
    """Tell how long a step takes."""
    start = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: {time.monotonic() - start:.0f} s")


def run(
    args: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a command to its end.

    Args:
        args: The command.
        cwd: Its working directory.
        env: What to add to the environment.
        stdin: What it reads.

    Returns:
        Its standard output.

    Raises:
        TestbedError: It failed; the message holds the end of what it said.
    """
    try:
        process = subprocess.run(
            [str(arg) for arg in args],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        raise TestbedError(f"{args[0]} cannot be run: {error}") from error
    if process.returncode:
        command = " ".join(str(arg) for arg in args)
        said = (process.stderr or process.stdout)[-2000:]
        raise TestbedError(f"failed with {process.returncode}: {command}\n{said}")
    return process.stdout


def install_packages() -> None:
    """Install the Debian packages that are missing, without starting their services.

    Raises:
        TestbedError: This is not a Debian with apt, or not root.
    """
    if not _missing_packages():
        return
    if os.geteuid() != 0:
        raise TestbedError(f"install as root: apt-get install {' '.join(_missing_packages())}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with _alone("packages"):
        # Another process may have installed them meanwhile.
        missing = _missing_packages()
        if not missing:
            return
        with step(f"installing {' '.join(missing)}"), _services_stay_down():
            run(["apt-get", "update", "-qq"], env=quiet)
            run(
                ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], env=quiet
            )


def _missing_packages() -> list[str]:
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"]
    installed = set(run(query).splitlines())
    return [name for name in PACKAGES if f"{name} installed" not in installed]


@contextmanager
def _alone(name: str) -> Generator[None]:
    """Keep other processes from doing the same at the same time."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_stay_down() -> Generator[None]:
    """Keep packages from starting services (invoke-rc.d(8), policy-rc.d)."""
    if _NO_SERVICES.exists():
        yield
        return
    _NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
    _NO_SERVICES.chmod(0o755)
    try:
        yield
    finally:
        _NO_SERVICES.unlink()


def cache_folder() -> Path:
    """Give the folder for what is built once: outside of any clone."""
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("CKF_AIRGAP_CACHE", base / "ckf-airgap"))


def cached(name: str, version: str, make: Callable[[Path], None]) -> Path:
    """Give a folder of the cache, made if it is not there whole; by one process at a time.

    Args:
        name: What it is.
        version: Tells it from other versions of it.
        make: Fills an empty folder.

    Returns:
        The folder.
    """
    folder = cache_folder() / f"{name}-{version}-{versions.RECIPE}"
    if folder.is_dir():
        return folder
    with _alone(folder.name):
        # Another process may have made it meanwhile.
        if not folder.is_dir():
            _make(folder, f"{name} {version}", make)
    return folder


def _make(folder: Path, what: str, make: Callable[[Path], None]) -> None:
    # Only a rename makes it count: what was killed half way is made again.
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    with step(f"building {what}"):
        make(unfinished)
    unfinished.rename(folder)
