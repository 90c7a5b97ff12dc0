"""What packing makes, and how long it takes: against the way of the public scripts.

``python3 -m benchmarks.pack`` puts images of real files into a registry on the loopback address,
with layers that several images share, as those of Charmed Kubeflow do; packs them in both forms,
and as the public scripts do it (docker pull and docker save for each image, then tar with pigz);
then brings each archive into an empty registry, with this push, and with untar and skopeo.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sample_images import make_archive
from benchmarks.tools import DockerDaemon, NotAvailableError, child, size_of
from testbed.pki import Authority
from testbed.registry import Registry

_MEBIBYTE = 1024**2


@dataclass(frozen=True)
class _Packed:
    """What one way has made.

    Attributes:
        name: The way.
        archive: The images.tar.gz.
        seconds: What it took to make.
        disk_mib: What was on disk meanwhile besides the archive.
        push_seconds: What this push of it took.
        skopeo_seconds: What untar and skopeo took; 0 where that was not tried.
    """

    name: str
    archive: Path
    seconds: float
    disk_mib: int
    push_seconds: float = 0
    skopeo_seconds: float = 0


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.pack", description=__doc__)
    parser.add_argument("--images", type=int, default=12, help="(default: %(default)s)")
    parser.add_argument("--layer-mib", type=int, default=85, help="(default: %(default)s)")
    parser.add_argument(
        "--shared-layers", type=int, default=3, help="of four images each (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as name:
        bench = _Bench(Path(name), arguments.images)
        try:
            bench.fill(arguments.layer_mib * _MEBIBYTE, arguments.shared_layers)
            bench.compare()
        finally:
            bench.outside.stop()
    return 0


class _Bench:
    """The registry outside, and what is packed from it."""

    def __init__(self, folder: Path, images: int) -> None:
        self._folder = folder
        self._authority = Authority(folder / "pki")
        self.outside = Registry.on_loopback(folder / "outside", self._authority)
        self._images = [f"{self.outside.host}/benchmark/image-{i}:1" for i in range(images)]

    def fill(self, layer_size: int, shared_layers: int) -> None:
        """Put the images into the registry outside."""
        archive = self._folder / "made.tar.gz"
        made = make_archive(
            archive, self._folder, len(self._images), layer_size, shared_layers=shared_layers
        )
        self.outside.start()
        self._push(archive, self.outside, path="")
        archive.unlink()
        print(
            f"{len(self._images)} images, {made / 1e9:.2f} GB of docker save archives; in their "
            f"registry {size_of(self.outside.data) * _MEBIBYTE / 1e9:.2f} GB",
            flush=True,
        )

    def compare(self) -> None:
        found: list[_Packed] = []
        for way in (self._public_scripts, self._pack_docker, self._pack_oci):
            try:
                packed = way()
            except NotAvailableError as error:
                print(f"  left out: {error}", flush=True)
                continue
            print(f"  {packed.name}: {packed.seconds:.1f} s", flush=True)
            found.append(self._bring_in(packed))
        _print_table(found)

    def _pack_docker(self) -> _Packed:
        return self._pack("docker")

    def _pack_oci(self) -> _Packed:
        return self._pack("oci")

    def _pack(self, layout: str) -> _Packed:
        output = self._folder / layout
        charms = self._folder / "charms"
        charms.mkdir(exist_ok=True)
        # A pack is of charms; this one takes no image.
        with zipfile.ZipFile(charms / "none.charm", "w") as charm:
            charm.writestr("metadata.yaml", "name: none\n")
        words = ["-m", "ckf_airgap", "pack", "--charms", str(charms), "--output", str(output)]
        words += ["--format", layout, "--registry-ca", str(self.outside.ca), "--allow-missing"]
        for image in self._images:
            words += ["--add-image", image]
        seconds = child(*words).seconds
        return _Packed(f"pack --format {layout}", output / "images.tar.gz", seconds, 0)

    def _public_scripts(self) -> _Packed:
        """Pull and save each image with docker, then tar and pigz."""
        output = self._folder / "public"
        output.mkdir()
        archive = output / "images.tar.gz"
        with DockerDaemon(self._folder / "docker", self._environment) as docker:
            start = time.monotonic()
            members: list[str] = []
            for number, image in enumerate(self._images):
                docker.run("pull", "--quiet", image)
                members.append(f"image-{number}.tar")
                docker.run("save", "--output", str(output / members[-1]), image)
            subprocess.run(
                ["tar", "-c", "--use-compress-program=pigz", "-f", archive, *members],
                cwd=output,
                check=True,
            )
            seconds = time.monotonic() - start
            disk = size_of(output) - archive.stat().st_size // _MEBIBYTE + docker.disk_mib
        for member in members:
            (output / member).unlink()
        return _Packed("docker save and pigz", archive, seconds, disk)

    def _bring_in(self, packed: _Packed) -> _Packed:
        """Bring an archive into an empty registry."""
        seconds: list[float] = []
        ways = [self._push] if packed.name.endswith("oci") else [self._push, self._skopeo]
        for way in ways:
            registry = Registry.on_loopback(self._folder / "inside", self._authority)
            registry.start()
            start = time.monotonic()
            way(packed.archive, registry)
            seconds.append(time.monotonic() - start)
            registry.stop()
            shutil.rmtree(registry.data.parent)
            print(f"    in by {way.__name__[1:]}: {seconds[-1]:.1f} s", flush=True)
        push, skopeo = [*seconds, 0.0][:2]
        return _Packed(packed.name, packed.archive, packed.seconds, packed.disk_mib, push, skopeo)

    def _push(self, archive: Path, registry: Registry, path: str = "/ckf") -> None:
        state = registry.data.with_name("pushed")
        words = ["-m", "ckf_airgap", "push", "--images", str(archive), "--state", str(state)]
        words += ["--registry", f"{registry.host}{path}", "--registry-ca", str(registry.ca)]
        child(*words)

    def _skopeo(self, archive: Path, registry: Registry) -> None:
        unpacked = self._folder / "unpacked"
        unpacked.mkdir()
        subprocess.run(["tar", "-xzf", archive, "-C", unpacked], check=True)
        for member in sorted(unpacked.glob("*.tar")):
            target = f"docker://{registry.host}/ckf/{member.stem}:1"
            words = ["skopeo", "copy", "--quiet", f"docker-archive:{member}", target]
            subprocess.run(words, check=True, env=self._environment)
        shutil.rmtree(unpacked)

    @property
    def _environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self.outside.ca), "PATH": os.environ["PATH"]}


def _print_table(found: list[_Packed]) -> None:
    first = found[0]
    by_skopeo = next((item.skopeo_seconds for item in reversed(found) if item.skopeo_seconds), 0.0)
    print(
        f"\n{'':<22} {'MB':>7} {'to first':>9} {'made in s':>10} {'to first':>9} {'disk MiB':>9} "
        f"{'push s':>7} {'skopeo s':>9} {'skopeo to push':>15}"
    )
    for item in found:
        size = item.archive.stat().st_size
        print(
            f"{item.name:<22} {size / 1e6:>7.0f} {size / first.archive.stat().st_size:>9.2f} "
            f"{item.seconds:>10.1f} {item.seconds / first.seconds:>9.2f} {item.disk_mib:>9} "
            f"{item.push_seconds:>7.1f} {item.skopeo_seconds or '':>9.4} "
            f"{by_skopeo / item.push_seconds:>15.1f}"
        )
    print("\nskopeo to push: untar and skopeo of the default form, to the push of this form")


if __name__ == "__main__":
    sys.exit(main())
