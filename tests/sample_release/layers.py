"""Layers of images: small tar files whose bytes depend on nothing but what goes into them."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.sample_release.damage import flip_bit

ENTRYPOINT = "/bin/wait-for-termination"
MODIFIED = 1_704_067_200
"""The time stamp of everything, 2024-01-01: two runs give the same bytes."""

_PASSWD = b"root:x:0:0:root:/root:/bin/false\n_daemon_:x:584792:584792::/nonexistent:/bin/false\n"
_GROUP = b"root:x:0:\n_daemon_:x:584792:\n"
_BLOCK = 4096


@dataclass(frozen=True)
class Layer:
    """A layer as an uncompressed tar file.

    Attributes:
        path: Where it lies.
        diff_id: The SHA-256 of it, in hexadecimal.
    """

    path: Path
    diff_id: str


def add_folder(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    """Add a folder to an archive."""
    entry = _entry(name, mode)
    entry.type = tarfile.DIRTYPE
    archive.addfile(entry)


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """Add a file with that content to an archive."""
    entry = _entry(name, mode)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def add_file(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file from the disk to an archive, under another name and without its metadata."""
    entry = _entry(name, 0o644)
    entry.size = path.stat().st_size
    with path.open("rb") as content:
        archive.addfile(entry, content)


def add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    """Add a symbolic link to an archive."""
    entry = _entry(name, 0o777)
    entry.type = tarfile.SYMTYPE
    entry.linkname = target
    archive.addfile(entry)


def base_layer(folder: Path, program: bytes) -> Layer:
    """Make the layer that all images have in common: what a container needs to start."""
    path = folder / "base.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        add_folder(archive, "bin/")
        add_bytes(archive, ENTRYPOINT[1:], program, 0o755)
        add_folder(archive, "etc/")
        add_bytes(archive, "etc/group", _GROUP)
        add_bytes(archive, "etc/passwd", _PASSWD)
        add_folder(archive, "tmp/", 0o1777)
    return _finished(path)


def organisation_layer(folder: Path, organisation: str) -> Layer:
    """Make the layer that the images of one organisation have in common."""
    path = folder / f"organisation-{organisation}.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        add_folder(archive, "etc/")
        add_bytes(archive, "etc/organisation", f"{organisation}\n".encode())
    return _finished(path)


def top_layer(folder: Path, image: str, payload_kib: int) -> Layer:
    """Make the layer that only one image has.

    Args:
        folder: Where to make it.
        image: The name of the image, which the layer's content depends on.
        payload_kib: The size of its payload, which compresses to about a half.
    """
    payload = folder / "payload"
    with payload.open("wb") as file:
        for block in _payload(image, payload_kib):
            file.write(block)
    path = folder / "top.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        add_folder(archive, "etc/")
        add_bytes(archive, "etc/image", f"{image}\n".encode())
        add_folder(archive, "opt/")
        add_file(archive, "opt/payload", payload)
    payload.unlink()
    return _finished(path)


def flip_payload_bit(layer: Layer) -> None:
    """Change a bit in the payload of a top layer, which leaves it a readable tar file."""
    with tarfile.open(layer.path) as archive:
        payload = archive.getmember("opt/payload")
    flip_bit(layer.path, payload.offset_data + payload.size // 2)


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    entry.mtime = MODIFIED
    return entry


def _finished(path: Path) -> Layer:
    return Layer(path, file_digest(path))


def _payload(image: str, kib: int) -> Iterator[bytes]:
    remaining = kib * 1024
    number = 0
    while remaining > 0:
        seed = f"{image} {number}".encode()
        # One half random, one half not: about what files of real images compress to. The halves
        # differ in size: pigz ends its blocks differently then, as it does for real files.
        random_bytes = hashlib.shake_256(seed).digest(_BLOCK)
        half = _BLOCK // 4 + random_bytes[0]
        block = random_bytes[:half] + bytes(half)
        yield block[:remaining]
        remaining -= len(block)
        number += 1
