"""How long the push takes: against reading the archive alone, and against untar and skopeo.

``python3 -m benchmarks.push`` makes its own archive out of files of this machine, a few gigabytes
with layers that several images share, starts a registry on the loopback address, and prints one
table. Every way starts with an empty registry.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ckf_airgap.artifacts.byte_stream import drain, open_archive
from ckf_airgap.names import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.push import ImagePusher
from tests.testbed.pki import Authority
from tests.testbed.processes import Processes
from tests.testbed.registry import Registry

_SOURCES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/bin"))
_IMAGES_OF_A_BASE = 4
_PUSH = "push"
_DECODE = "decode"


@dataclass(frozen=True)
class _Cost:
    """What one way took."""

    name: str
    seconds: float
    cpu: float
    peak_mib: int
    disk_mib: int


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.push", description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--layer-mib", type=int, default=170, help="(default: %(default)s)")
    parser.add_argument("--only", choices=(_DECODE, _PUSH), help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs="*", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        return _only(arguments.only, *arguments.files)
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as name:
        folder = Path(name)
        archive = folder / "images.tar.gz"
        size = _make(archive, folder, arguments.images, arguments.layer_mib * 1024**2)
        print(
            f"{arguments.images} images, {size / 1e9:.2f} GB of archives, "
            f"{archive.stat().st_size / 1e9:.2f} GB compressed"
        )
        _measure(archive, folder)
    return 0


def _measure(archive: Path, folder: Path) -> None:
    authority = Authority(folder / "pki")
    ways: list[tuple[str, Callable[[Registry], _Cost]]] = [
        ("decode alone", lambda _: _child("decode alone", _DECODE, archive)),
        ("this push", lambda registry: _pushed("this push", registry, archive)),
        ("this push, again", lambda registry: _pushed("this push, again", registry, archive)),
        ("untar and skopeo", lambda registry: _skopeo(registry, archive, folder)),
    ]
    costs: list[_Cost] = []
    registry: Registry | None = None
    for name, way in ways:
        if registry is None or not name.endswith("again"):
            if registry:
                registry.stop()
                shutil.rmtree(registry.data.parent)
            registry = _registry(authority, folder / hashlib.sha256(name.encode()).hexdigest()[:8])
            registry.start()
        costs.append(way(registry))
        stored = sum(path.stat().st_size for path in registry.data.rglob("*") if path.is_file())
        print(f"  {name}: {costs[-1].seconds:.1f} s, registry {stored / 1e9:.2f} GB", flush=True)
    if registry:
        registry.stop()
    decode, push = costs[0].seconds, costs[1].seconds
    print(
        f"\n{'':<20} {'wall s':>7} {'cpu s':>7} {'RSS MiB':>8} {'disk MiB':>9} "
        f"{'to decode':>10} {'to push':>8}"
    )
    for cost in costs:
        print(
            f"{cost.name:<20} {cost.seconds:>7.1f} {cost.cpu:>7.1f} {cost.peak_mib:>8} "
            f"{cost.disk_mib:>9} {cost.seconds / decode:>10.2f} {cost.seconds / push:>8.3f}"
        )


def _registry(authority: Authority, folder: Path) -> Registry:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    return Registry(
        host=f"127.0.0.1:{port}",
        address=f"127.0.0.1:{port}",
        ca=authority.certificate,
        data=folder / "registry",
        username=None,
        certificate=authority.issue("registry", "127.0.0.1", "localhost"),
        processes=Processes(folder / "run", folder / "log"),
        wrap=lambda args: [str(arg) for arg in args],
    )


def _pushed(name: str, registry: Registry, archive: Path) -> _Cost:
    host = folder_of(registry) / "host"
    host.write_text(registry.host)
    return _child(name, _PUSH, archive, registry.ca, host)


def folder_of(registry: Registry) -> Path:
    """Give the folder where a registry keeps everything."""
    return registry.data.parent


def _child(name: str, way: str, *files: Path) -> _Cost:
    """Do one thing in a process of its own, which tells what it took."""
    words = [sys.executable, "-m", "benchmarks.push", "--only", way, "--files", *map(str, files)]
    start = time.monotonic()
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    return _Cost(
        name,
        time.monotonic() - start,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss // 1024,
        0,
    )


def _only(way: str, archive: Path, *files: Path) -> int:
    if way == _DECODE:
        with open_archive(archive) as stream:
            drain(stream)
        return 0
    ca, host_file = files
    host = host_file.read_text()
    client = RegistryClient(host, ca=ca.read_text())
    state = host_file.with_name("push.json")
    result = ImagePusher(client, RegistryLocation(host, "ckf"), state).push(archive)
    return int(bool(result.inventory.damaged))


def _skopeo(registry: Registry, archive: Path, folder: Path) -> _Cost:
    """Unpack, then copy each image: what an operator can do without this project."""
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    before = os.times()
    start = time.monotonic()
    subprocess.run(["tar", "-xzf", archive, "-C", unpacked], check=True)
    size = sum(path.stat().st_size for path in unpacked.iterdir())
    environment = {"SSL_CERT_FILE": str(registry.ca), "PATH": "/usr/bin:/bin"}
    for path in sorted(unpacked.iterdir()):
        target = f"docker://{registry.host}/ckf/{path.stem}:1"
        subprocess.run(
            ["skopeo", "copy", "--quiet", f"docker-archive:{path}", target],
            check=True,
            env=environment,
        )
    seconds = time.monotonic() - start
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    shutil.rmtree(unpacked)
    return _Cost("untar and skopeo", seconds, cpu, 0, size // 1024**2)


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
    """Give layers of about a size, made of real files, none of which is in two of them."""
    folder.mkdir()
    files = (
        Path(root, name)
        for source in _SOURCES
        for root, _, names in os.walk(source)
        for name in sorted(names)
    )
    real = (path for path in files if path.is_file() and not path.is_symlink())
    for number in range(10_000):
        path = folder / f"{number}.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            written = 0
            while written < size:
                batch = list(islice(real, 1))
                if not batch:
                    raise SystemExit("this machine has too few files: use fewer or smaller layers")
                with batch[0].open("rb") as content:
                    entry = tarfile.TarInfo(str(batch[0])[1:])
                    entry.size = batch[0].stat().st_size
                    archive.addfile(entry, content)
                written += entry.size
        with path.open("rb") as file:
            yield path, hashlib.file_digest(file, "sha256").hexdigest()


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
