"""Images for benchmarks: a few gigabytes of real files, with layers that several images share."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

_SOURCES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/bin"))
_IMAGES_OF_A_FAMILY = 4
_NOISE_SIZE = 16 * 1024 * 1024
KINDS = ("plain", "noise", "gzip")
"""The kinds of layers: of real files; of files that cannot be compressed; compressed by gzip."""


def make_archive(
    path: Path,
    folder: Path,
    images: int,
    layer_size: int,
    *,
    shared_layers: int = 1,
    kind: str = "plain",
) -> int:
    """Write images.tar.gz by the way of the public scripts.

    Args:
        path: The file.
        folder: Where to make the images, one at a time.
        images: How many. Their names are ``docker.io/benchmark/image-0:1`` and so on.
        layer_size: The size of a layer, in bytes, about.
        shared_layers: How many layers four images share. Each has one of its own, too.
        kind: What the layers are, one of ``KINDS``.

    Returns:
        The size of the ``docker save`` archives, in bytes.
    """
    layers = _layers(folder / "layers", layer_size, kind)
    total = 0
    shared: list[tuple[Path, str]] = []
    with (
        subprocess.Popen(
            [shutil.which("pigz") or "gzip", "-c"], stdin=subprocess.PIPE, stdout=path.open("wb")
        ) as gzip,
        tarfile.open(fileobj=gzip.stdin, mode="w|") as outer,
    ):
        for number in range(images):
            if number % _IMAGES_OF_A_FAMILY == 0:
                for layer, _ in shared:
                    layer.unlink()
                shared = [next(layers) for _ in range(shared_layers)]
            own = next(layers)
            member = folder / f"image-{number}.tar"
            _save(member, f"docker.io/benchmark/image-{number}:1", [*shared, own])
            own[0].unlink()
            total += member.stat().st_size
            outer.add(member, member.name)
            member.unlink()
    for layer, _ in shared:
        layer.unlink()
    return total


def _layers(folder: Path, size: int, kind: str) -> Iterator[tuple[Path, str]]:
    """Give layers of about a size, each different from the others, with their diff ids."""
    folder.mkdir(exist_ok=True)
    real = _noise_files(folder / "noise") if kind == "noise" else _real_files()
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
            diff_id = hashlib.file_digest(file, "sha256").hexdigest()
        if kind == "gzip":
            subprocess.run(["pigz", "-f", path], check=True)
            path.with_name(f"{path.name}.gz").rename(path)
        yield path, diff_id


def _noise_files(path: Path) -> Iterator[Path]:
    """Give a file that cannot be compressed, with other content each time."""
    while True:
        path.write_bytes(os.urandom(_NOISE_SIZE))
        yield path


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
            "Layers": [f"blobs/sha256/{_digest(layer)}" for layer, _ in layers],
        }
    ]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for layer, _ in layers:
            archive.add(layer, f"blobs/sha256/{_digest(layer)}")
        for member, content in (
            (config_name, config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
