"""How long the push takes: against reading the archive alone, against skopeo and against docker.

``python3 -m benchmarks.push`` makes its own archive out of files of this machine, a few gigabytes
with layers that several images share, starts a registry on the loopback address, and prints one
table. Every way starts with an empty registry. What this push has stored is copied back by skopeo
and compared with the archive. ``--memory`` compares the memory of pushes of 1 and 10 GB instead.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ckf_airgap.artifacts.byte_stream import drain, open_archive
from ckf_airgap.artifacts.gzip_codec import decompressor
from ckf_airgap.artifacts.sources import FileSource
from tests.measured import run_measured
from tests.testbed.pki import Authority
from tests.testbed.processes import Processes
from tests.testbed.registry import Registry, free_port

_SOURCES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/bin"))
_IMAGES_OF_A_BASE = 4
_READ_SIZE = 1024 * 1024
_MEMORY_IMAGES = (3, 28)


@dataclass(frozen=True)
class _Cost:
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


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.push", description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--layer-mib", type=int, default=170, help="(default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="compare the memory of two sizes")
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decode:
        with open_archive(FileSource(arguments.decode)) as stream:
            drain(stream)
        return 0
    counts = _MEMORY_IMAGES if arguments.memory else (arguments.images,)
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as name:
            bench = _Bench(Path(name))
            archive = bench.make(count, arguments.layer_mib * 1024**2)
            if arguments.memory:
                cost = bench.measure("this push", bench.push)
                again = bench.measure("again", bench.push)
                print(
                    f"  pushed in {cost.seconds:.1f} s, peak {cost.peak_mib} MiB; again in "
                    f"{again.seconds:.2f} s, which is {again.seconds / cost.seconds:.1%}",
                    flush=True,
                )
                bench.stop()
            else:
                bench.compare(archive)
    return 0


class _Bench:
    """An archive, and the registry that it is pushed to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archive = folder / "images.tar.gz"
        self._authority = Authority(folder / "pki")
        self._registry = self._new_registry("none")

    def make(self, count: int, layer_size: int) -> Path:
        size = _make(self._archive, self._folder, count, layer_size)
        print(
            f"{count} images, {size / 1e9:.2f} GB of archives, "
            f"{self._archive.stat().st_size / 1e9:.2f} GB compressed",
            flush=True,
        )
        return self._archive

    def compare(self, archive: Path) -> None:
        ways: list[tuple[str, Callable[[], _Cost]]] = [
            ("decode alone", lambda: _child("-m", "benchmarks.push", "--decode", archive)),
            ("this push", self.push),
            ("this push, again", self.push),
            ("untar and skopeo", self._skopeo),
            ("untar and docker", self._docker),
        ]
        costs: list[_Cost] = []
        for name, way in ways:
            try:
                costs.append(self.measure(name, way))
            except _NotAvailableError as error:
                print(f"  {name}: left out: {error}", flush=True)
                continue
            print(f"  {name}: {costs[-1].seconds:.1f} s", flush=True)
            if name == "this push":
                print(f"  copied back by skopeo: {self._check()}", flush=True)
        self.stop()
        _print_table(costs)

    def measure(self, name: str, way: Callable[[], _Cost]) -> _Cost:
        """Take one way, with a registry that is empty unless it is the same way again."""
        if not name.endswith("again"):
            self.stop()
            self._registry = self._new_registry(name)
            self._registry.start()
        before = self._registry_cpu()
        cost = way()
        return replace(
            cost,
            name=name,
            registry_cpu=self._registry_cpu() - before,
            stored_mib=_size(self._registry.data),
        )

    def stop(self) -> None:
        """Stop the registry and remove what it holds."""
        self._registry.stop()
        shutil.rmtree(self._registry.data.parent, ignore_errors=True)

    def push(self) -> _Cost:
        """Push as this project does it."""
        words: list[str | Path] = ["-m", "ckf_airgap", "push", "--images", self._archive]
        words += ["--registry", f"{self._registry.host}/ckf"]
        words += ["--registry-ca", self._registry.ca]
        return _child(*words, "--state", self._registry.data.with_name("pushed"))

    def _new_registry(self, name: str) -> Registry:
        folder = self._folder / f"registry of {name}".replace(" ", "-")
        port = free_port()
        return Registry(
            host=f"127.0.0.1:{port}",
            address=f"127.0.0.1:{port}",
            ca=self._authority.certificate,
            data=folder / "registry",
            username=None,
            certificate=self._authority.issue("registry", "127.0.0.1", "localhost"),
            processes=Processes(folder / "run", folder / "log"),
            wrap=lambda args: [str(arg) for arg in args],
        )

    def _registry_cpu(self) -> float:
        pid = self._registry.processes.pid(self._registry.data.name)
        return _cpu_of(pid) if pid else 0.0

    @property
    def _environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self._registry.ca), "PATH": os.environ["PATH"]}

    def _untar(self) -> Path:
        unpacked = self._folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-xzf", self._archive, "-C", unpacked], check=True)
        return unpacked

    def _skopeo(self) -> _Cost:
        """Unpack, then copy each image."""
        before, start = _cpu_of_children(), time.monotonic()
        unpacked = self._untar()
        size = _size(unpacked)
        for path in sorted(unpacked.iterdir()):
            target = f"docker://{self._registry.host}/ckf/{path.stem}:1"
            words = ["skopeo", "copy", "--quiet", f"docker-archive:{path}", target]
            subprocess.run(words, check=True, env=self._environment)
        seconds, cpu = time.monotonic() - start, _cpu_of_children() - before
        shutil.rmtree(unpacked)
        return _Cost("", seconds, cpu, disk_mib=size)

    def _docker(self) -> _Cost:
        """Unpack, then load, tag and push each image, as the manual way does it."""
        with _DockerDaemon(self._folder / "docker", self._environment) as docker:
            before, start = _cpu_of_children() + docker.cpu, time.monotonic()
            unpacked = self._untar()
            for path in sorted(unpacked.iterdir()):
                name = f"benchmark/{path.stem}:1"
                target = f"{self._registry.host}/ckf/{path.stem}:1"
                docker.run("load", "--quiet", "--input", str(path))
                docker.run("tag", name, target)
                docker.run("push", "--quiet", target)
            seconds = time.monotonic() - start
            cpu = _cpu_of_children() + docker.cpu - before
            size = _size(unpacked) + docker.disk_mib
        shutil.rmtree(unpacked)
        return _Cost("", seconds, cpu, disk_mib=size)

    def _check(self) -> str:
        """Copy every image back, and compare its config and its layers with the archive."""
        saved = _saved(self._archive)
        same = 0
        for name, (config, diff_ids) in saved.items():
            target = self._folder / "pulled"
            source = f"docker://{self._registry.host}/ckf/benchmark/{name}:1"
            subprocess.run(
                ["skopeo", "copy", "--quiet", source, f"dir:{target}"],
                check=True,
                env=self._environment,
            )
            manifest = json.loads(target.joinpath("manifest.json").read_bytes())
            layers = [_diff_id(target / layer["digest"][7:]) for layer in manifest["layers"]]
            same += (manifest["config"]["digest"], layers) == (config, diff_ids)
            shutil.rmtree(target)
        return f"{same} of {len(saved)} images have the config and the diff ids of the archive"


class _NotAvailableError(Exception):
    """Something to compare with cannot be had."""


class _DockerDaemon:
    """Debian's docker, unpacked and not installed, with all that it keeps in a folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._programs = folder / "programs"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "_DockerDaemon":
        self._folder.mkdir()
        quiet = subprocess.DEVNULL
        for package in ("docker.io", "libdevmapper1.02.1", "tini"):
            words = ["apt-get", "download", "-q", package]
            if subprocess.run(words, cwd=self._folder, stdout=quiet, stderr=quiet).returncode:
                raise _NotAvailableError(f"Debian's package {package} cannot be had")
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
        raise _NotAvailableError("its daemon does not start here")

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
        return _cpu_of(self._process.pid, with_children=True) if self._process else 0.0

    @property
    def disk_mib(self) -> int:
        words = ["du", "-sm", self._folder / "data-root"]
        return int(subprocess.run(words, check=True, capture_output=True).stdout.split()[0])


def _print_table(costs: list[_Cost]) -> None:
    known = {cost.name: cost.seconds for cost in costs}
    decode, push = known["decode alone"], known["this push"]
    print(
        f"\n{'':<18} {'wall s':>7} {'cpu s':>6} {'registry cpu s':>15} {'RSS MiB':>8} "
        f"{'disk MiB':>9} {'registry MiB':>13} {'to decode':>10} {'to push':>8}"
    )
    for cost in costs:
        print(
            f"{cost.name:<18} {cost.seconds:>7.1f} {cost.cpu:>6.1f} {cost.registry_cpu:>15.1f} "
            f"{cost.peak_mib or '':>8} {cost.disk_mib:>9} {cost.stored_mib:>13} "
            f"{cost.seconds / decode:>10.2f} {cost.seconds / push:>8.3f}"
        )


def _child(*words: str | Path) -> _Cost:
    """Run Python with some words, and see what it takes."""
    try:
        usage = run_measured(words)
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    return _Cost("", usage.seconds, usage.cpu, usage.peak_mib)


def _cpu_of(pid: int, *, with_children: bool = False) -> float:
    """Read the CPU time of a process, in seconds (proc(5), "/proc/pid/stat")."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    times = fields[11:15] if with_children else fields[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def _cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _size(folder: Path) -> int:
    """Give the size of the files below a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024**2


def _saved(archive: Path) -> dict[str, tuple[str, list[str]]]:
    """Read from the archive what every image is: the digest of its config, its diff ids."""
    saved: dict[str, tuple[str, list[str]]] = {}
    with tarfile.open(archive, "r|gz") as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member), mode="r|") as inner:
                for entry in inner:
                    content = inner.extractfile(entry)
                    if content and entry.size < _READ_SIZE and entry.name.startswith("blobs/"):
                        config = content.read()
                        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
                        diff_ids = json.loads(config)["rootfs"]["diff_ids"]
                        saved[Path(member.name).stem] = (digest, diff_ids)
    return saved


def _diff_id(blob: Path) -> str:
    """Hash what a layer holds."""
    digest, member = hashlib.sha256(), decompressor()
    with blob.open("rb") as file:
        while data := file.read(_READ_SIZE):
            while data:
                digest.update(member.decompress(data, _READ_SIZE))
                data = member.unconsumed_tail
    return f"sha256:{digest.hexdigest()}"


def _make(path: Path, folder: Path, images: int, layer_size: int) -> int:
    """Write images.tar.gz, of two layers each, the lower of which a few images share."""
    layers = _layers(folder / "layers", layer_size)
    total = 0
    bases: list[tuple[Path, str]] = []
    with (
        subprocess.Popen(
            [shutil.which("pigz") or "gzip", "-c"], stdin=subprocess.PIPE, stdout=path.open("wb")
        ) as gzip,
        tarfile.open(fileobj=gzip.stdin, mode="w|") as outer,
    ):
        for number in range(images):
            if number % _IMAGES_OF_A_BASE == 0:
                bases.append(next(layers))
            own = next(layers)
            member = folder / f"image-{number}.tar"
            _save(member, f"docker.io/benchmark/image-{number}:1", [bases[-1], own])
            own[0].unlink()
            total += member.stat().st_size
            outer.add(member, member.name)
            member.unlink()
    for base, _ in bases:
        base.unlink()
    return total


def _layers(folder: Path, size: int) -> Iterator[tuple[Path, str]]:
    """Give layers of about a size, made of real files, each different from the others."""
    folder.mkdir()
    real = _real_files()
    for number in range(10_000):
        path = folder / f"{number}.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            mark = str(number).encode()
            entry = tarfile.TarInfo("layer")
            entry.size = len(mark)
            archive.addfile(entry, io.BytesIO(mark))
            written = 0
            while written < size:
                source = next(real)
                with source.open("rb") as content:
                    entry = tarfile.TarInfo(str(source)[1:])
                    entry.size = source.stat().st_size
                    archive.addfile(entry, content)
                written += entry.size
        with path.open("rb") as file:
            yield path, hashlib.file_digest(file, "sha256").hexdigest()


def _real_files() -> Iterator[Path]:
    """Give files of this machine, from the first again after the last."""
    while True:
        for source in _SOURCES:
            for root, _, names in os.walk(source):
                paths = (Path(root, name) for name in sorted(names))
                yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _save(path: Path, name: str, layers: list[tuple[Path, str]]) -> None:
    """Write a docker save archive in the layout since Docker 25."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for _, digest in layers]},
        }
    ).encode()
    config_name = f"blobs/sha256/{hashlib.sha256(config).hexdigest()}"
    manifest = [
        {
            "Config": config_name,
            "RepoTags": [name],
            "Layers": [f"blobs/sha256/{digest}" for _, digest in layers],
        }
    ]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for layer, digest in layers:
            archive.add(layer, f"blobs/sha256/{digest}")
        for member, content in (
            (config_name, config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    sys.exit(main())
