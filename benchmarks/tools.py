"""What benchmarks have in common: what a way costs, registries, and a docker."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.measured import run_measured


@dataclass(frozen=True)
class Cost:
    """What one way took.

    Attributes:
        name: The way.
        seconds: On the clock.
        cpu: In all its processes, in seconds.
        registry_cpu: In the registry, in seconds.
        peak_mib: The largest resident set, where it is one process.
        disk_mib: What it kept on disk meanwhile, the registry's storage not counted.
        stored_mib: The registry's storage.
    """

    name: str
    seconds: float
    cpu: float
    peak_mib: int = 0
    disk_mib: int = 0
    registry_cpu: float = 0
    stored_mib: int = 0


def child(*words: str | Path, product: Path | None = None) -> Cost:
    """Run Python with some words, and see what it takes.

    Args:
        words: The arguments for the interpreter.
        product: A checkout of the product to take; None for this one.
    """
    environment = {**os.environ, "PYTHONPATH": str(product / "lib")} if product else None
    try:
        usage = run_measured(words, environment)
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    return Cost("", usage.seconds, usage.cpu, usage.peak_mib)


class NotAvailableError(Exception):
    """Something to compare with cannot be had."""


class DockerDaemon:
    """Debian's docker, unpacked and not installed, with all that it keeps in a folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._programs = folder / "programs"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DockerDaemon":
        self._folder.mkdir()
        quiet = subprocess.DEVNULL
        for package in ("docker.io", "libdevmapper1.02.1", "tini"):
            words = ["apt-get", "download", "-q", package]
            if subprocess.run(words, cwd=self._folder, stdout=quiet, stderr=quiet).returncode:
                raise NotAvailableError(f"Debian's package {package} cannot be had")
        for package in self._folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, self._programs], check=True)
        path = ":".join(str(self._programs / "usr" / name) for name in ("sbin", "bin"))
        libraries = self._programs / "usr/lib/x86_64-linux-gnu"
        self._environment = {
            **self._environment,
            "PATH": f"{path}:{self._environment['PATH']}",
            "LD_LIBRARY_PATH": str(libraries),
            "DOCKER_HOST": f"unix://{self._folder}/docker.sock",
        }
        # It changes nothing in this machine's network.
        words = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"]
        for option in ("data-root", "exec-root"):
            words += [f"--{option}", str(self._folder / option)]
        words += ["--pidfile", str(self._folder / "pid"), "-H", self._environment["DOCKER_HOST"]]
        with self._folder.joinpath("log").open("wb") as log:
            self._process = subprocess.Popen(words, env=self._environment, stdout=log, stderr=log)
        for _ in range(100):
            if self._folder.joinpath("docker.sock").exists():
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        self.__exit__()
        raise NotAvailableError("its daemon does not start here")

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, *words: str) -> None:
        subprocess.run(
            ["docker", *words], check=True, env=self._environment, stdout=subprocess.DEVNULL
        )

    @property
    def cpu(self) -> float:
        """What it has used, what it started included."""
        return cpu_of(self._process.pid, with_children=True) if self._process else 0.0

    @property
    def disk_mib(self) -> int:
        words = ["du", "-sm", self._folder / "data-root"]
        return int(subprocess.run(words, check=True, capture_output=True).stdout.split()[0])


def cpu_of(pid: int, *, with_children: bool = False) -> float:
    """Read the CPU time of a process, in seconds (proc(5), "/proc/pid/stat")."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    times = fields[11:15] if with_children else fields[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def size_of(folder: Path) -> int:
    """Give the size of the files below a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024**2
