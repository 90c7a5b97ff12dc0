"""How long the push takes: against reading the archive alone, against skopeo and against docker.

``python3 -m benchmarks.push`` makes its own archive out of files of this machine, a few gigabytes
with layers that several images share, starts a registry on the loopback address, and prints one
table. Every way starts with an empty registry. What this push has stored is copied back by skopeo
and compared with the archive. ``--memory`` compares the memory of pushes of 1 and 10 GB instead,
``--before`` this push with that of another checkout, and ``--part-mib`` the push of an archive in
parts with that of one file, in turns.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.sample_images import KINDS, make_archive
from benchmarks.tools import (
    Cost,
    DockerDaemon,
    NotAvailableError,
    child,
    cpu_of,
    cpu_of_children,
    size_of,
)
from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.gzip_codec import decompressor
from ckf_airgap.archives.sources import FileSource
from testbed.pki import Authority
from testbed.registry import Registry

_READ_SIZE = 1024 * 1024
_MEMORY_IMAGES = (3, 28)


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.push", description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--layer-mib", type=int, default=170, help="(default: %(default)s)")
    parser.add_argument("--layers", choices=KINDS, default="plain", help="(default: %(default)s)")
    parser.add_argument("--memory", action="store_true", help="compare the memory of two sizes")
    parser.add_argument("--before", type=Path, help="a checkout of the product, to compare with")
    parser.add_argument("--part-mib", type=int, help="the size of parts, to compare with one file")
    parser.add_argument("--rounds", type=int, default=5, help="of these (default: %(default)s)")
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decode:
        with open_archive(FileSource(arguments.decode)) as stream:
            while stream.read(_READ_SIZE):
                pass
        return 0
    counts = _MEMORY_IMAGES if arguments.memory else (arguments.images,)
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as name:
            bench = _Bench(Path(name))
            bench.make(count, arguments.layer_mib * 1024**2, arguments.layers)
            if arguments.memory:
                cost = bench.measure("this push", bench.push)
                again = bench.measure("again", bench.push)
                print(
                    f"  pushed in {cost.seconds:.1f} s, peak {cost.peak_mib} MiB; again in "
                    f"{again.seconds:.2f} s, which is {again.seconds / cost.seconds:.1%}",
                    flush=True,
                )
                bench.stop()
            elif arguments.part_mib:
                bench.compare_parts(arguments.part_mib * 1024**2, arguments.rounds)
            elif arguments.before:
                bench.compare_with(arguments.before, arguments.rounds)
            else:
                bench.compare()
    return 0


class _Bench:
    """An archive, and the registry that it is pushed to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._archive = folder / "images.tar.gz"
        self._authority = Authority(folder / "pki")
        self._registry = self._new_registry("none")

    def make(self, count: int, layer_size: int, kind: str) -> None:
        size = make_archive(self._archive, self._folder, count, layer_size, kind=kind)
        print(
            f"{count} images, {kind} layers, {size / 1e9:.2f} GB of archives, "
            f"{self._archive.stat().st_size / 1e9:.2f} GB compressed",
            flush=True,
        )

    def compare(self) -> None:
        ways: list[tuple[str, Callable[[], Cost]]] = [
            ("decode alone", self.decode),
            ("this push", self.push),
            ("this push, again", self.push),
            ("untar and skopeo", self._skopeo),
            ("untar and docker", self._docker),
        ]
        costs: list[Cost] = []
        for name, way in ways:
            try:
                costs.append(self.measure(name, way))
            except NotAvailableError as error:
                print(f"  {name}: left out: {error}", flush=True)
                continue
            print(f"  {name}: {costs[-1].seconds:.1f} s", flush=True)
            if name == "this push":
                print(f"  copied back by skopeo: {self._check()}", flush=True)
        self.stop()
        _print_table(costs)

    def compare_with(self, before: Path, rounds: int) -> None:
        """Push as this checkout does it and as another one, and only decode, in turns."""
        ways: dict[str, Callable[[], Cost]] = {
            "this push": self.push,
            "before": lambda: self.push(before),
            "decoding": self.decode,
        }
        self._compare_in_turns(ways, rounds)

    def compare_parts(self, size: int, rounds: int) -> None:
        """Push the archive in parts of a size and as one file, in turns."""
        # One path stands for all parts.
        parts = self._folder / "parts" / self._archive.name
        parts.parent.mkdir()
        words = ["--bytes", str(size), "--numeric-suffixes=1", "--suffix-length=3"]
        subprocess.run(["split", *words, self._archive, f"{parts}."], check=True)
        ways = {"parts": lambda: self.push(archive=parts), "one file": self.push}
        self._compare_in_turns(ways, rounds)

    def _compare_in_turns(self, ways: Mapping[str, Callable[[], Cost]], rounds: int) -> None:
        """Take several ways in turns, and print the ratios of the first to each other."""
        costs: list[dict[str, Cost]] = []
        for number in range(rounds):
            turn = list(ways)[:: -1 if number % 2 else 1]
            costs.append({name: self.measure(name, ways[name]) for name in turn})
            print("  " + ", ".join(f"{name}: {costs[-1][name].seconds:.1f} s" for name in ways))
        self.stop()
        first, *others = ways
        for other in others:
            pairs = [(each[first], each[other]) for each in costs]
            for what in ("seconds", "cpu", "registry_cpu", "peak_mib", "stored_mib"):
                if all(getattr(cost, what) for cost in itertools.chain(*pairs)):
                    _print_ratios(f"{what}, {first} to {other}", what, pairs)

    def measure(self, name: str, way: Callable[[], Cost]) -> Cost:
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
            stored_mib=size_of(self._registry.data),
        )

    def stop(self) -> None:
        """Stop the registry and remove what it holds."""
        self._registry.stop()
        shutil.rmtree(self._registry.data.parent, ignore_errors=True)

    def decode(self) -> Cost:
        """Only decode the archive."""
        return child("-m", "benchmarks.push", "--decode", self._archive)

    def push(self, product: Path | None = None, archive: Path | None = None) -> Cost:
        """Push as this project does it, or another checkout of it; the archive, or its parts."""
        images = archive or self._archive
        words: list[str | Path] = ["-m", "ckf_airgap", "push", "--images", images]
        words += ["--registry", f"{self._registry.host}/ckf"]
        words += ["--registry-ca", self._registry.ca]
        words += ["--state", self._registry.data.with_name("pushed")]
        return child(*words, product=product)

    def _new_registry(self, name: str) -> Registry:
        folder = self._folder / f"registry of {name}".replace(" ", "-")
        return Registry.on_loopback(folder, self._authority)

    def _registry_cpu(self) -> float:
        pid = self._registry.processes.pid(self._registry.data.name)
        return cpu_of(pid) if pid else 0.0

    @property
    def _environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self._registry.ca), "PATH": os.environ["PATH"]}

    def _untar(self) -> Path:
        unpacked = self._folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-xzf", self._archive, "-C", unpacked], check=True)
        return unpacked

    def _skopeo(self) -> Cost:
        """Unpack, then copy each image."""
        before, start = cpu_of_children(), time.monotonic()
        unpacked = self._untar()
        size = size_of(unpacked)
        for path in sorted(unpacked.iterdir()):
            target = f"docker://{self._registry.host}/ckf/{path.stem}:1"
            words = ["skopeo", "copy", "--quiet", f"docker-archive:{path}", target]
            subprocess.run(words, check=True, env=self._environment)
        seconds, cpu = time.monotonic() - start, cpu_of_children() - before
        shutil.rmtree(unpacked)
        return Cost("", seconds, cpu, disk_mib=size)

    def _docker(self) -> Cost:
        """Unpack, then load, tag and push each image, as the manual way does it."""
        with DockerDaemon(self._folder / "docker", self._environment) as docker:
            before, start = cpu_of_children() + docker.cpu, time.monotonic()
            unpacked = self._untar()
            for path in sorted(unpacked.iterdir()):
                name = f"benchmark/{path.stem}:1"
                target = f"{self._registry.host}/ckf/{path.stem}:1"
                docker.run("load", "--quiet", "--input", str(path))
                docker.run("tag", name, target)
                docker.run("push", "--quiet", target)
            seconds = time.monotonic() - start
            cpu = cpu_of_children() + docker.cpu - before
            size = size_of(unpacked) + docker.disk_mib
        shutil.rmtree(unpacked)
        return Cost("", seconds, cpu, disk_mib=size)

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


def _print_ratios(name: str, what: str, pairs: Sequence[tuple[Cost, Cost]]) -> None:
    ratios = sorted(getattr(after, what) / getattr(first, what) for after, first in pairs)
    print(
        f"{name:>32}: median {statistics.median(ratios):.3f} "
        f"(from {ratios[0]:.3f} to {ratios[-1]:.3f})",
        flush=True,
    )


def _print_table(costs: list[Cost]) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
