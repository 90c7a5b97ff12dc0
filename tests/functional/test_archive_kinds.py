"""Every kind of archive that is taken, and every kind of damage, on a real registry."""

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from ckf_airgap.archives.sources import FileSource, StoredStream
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.pusher import ImagePusher, PushResult
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.access_log import blobs_put, log_of
from tests.functional.pushes import ALL_LAYOUTS, IMAGES, archive, check_all, path_in_registry
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Gate, proxy, running, wait_until
from tests.sample_release import ImageArchive, ImageOptions, Layout, write_image_archive
from tests.support.matrix import matrix
from tests.support.tar_edits import edited, repack

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def push(registry: RunningRegistry, path: Path, state: str = "pushed") -> PushResult:
    pusher = ImagePusher(registry.client(), registry.location, path.with_name(state))
    return pusher.push(FileSource(path))


def in_members(content: bytes, *places: float) -> bytes:
    """Compress as several gzip members, split anywhere."""
    cuts = [0, *(int(place * len(content)) for place in places), len(content)]
    parts = [content[a:b] for a, b in pairwise(cuts)]
    return b"".join(gzip.compress(part, 1) for part in parts)


def in_frames(content: bytes, count: int) -> bytes:
    """Compress as several Zstandard frames."""
    size = len(content) // count + 1
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(zstd.compress(part) for part in parts)


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip members": lambda data: in_members(data, 0.1, 0.5000001, 0.9),
    "gzip with padding": lambda data: in_members(data) + bytes(1024),
    "plain": lambda data: data,
    "zstd": lambda data: in_frames(data, 1),
    "zstd frames": lambda data: in_frames(data, 3),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_archive_of_each_encoding(
    encoding: str, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    images.path.write_bytes(ENCODINGS[encoding](gzip.decompress(images.path.read_bytes())))
    assert len(push(registry, images.path).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)


class CountingStream:
    """Counts what is read of another stream."""

    def __init__(self, stream: StoredStream) -> None:
        self._stream = stream
        self.position = 0
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.position = self._stream.position
        self.read_bytes += len(data)
        return data

    def skip(self, size: int, /) -> int:
        skipped = self._stream.skip(size)
        self.position = self._stream.position
        return skipped


class CountingSource(FileSource):
    """A file that counts what is read of it."""

    read_bytes = 0

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        with super().open() as stream:
            counting = CountingStream(stream)
            yield counting
            self.read_bytes += counting.read_bytes


def test_what_is_known_of_a_plain_archive_is_not_even_read(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    options = ImageOptions(layouts=ALL_LAYOUTS, program=b"stub", payload_kib=3_000)
    images = write_image_archive(IMAGES, tmp_path / "images.tar.gz", options)
    images.path.write_bytes(gzip.decompress(images.path.read_bytes()))
    push(registry, images.path)
    repository, tag = path_in_registry(IMAGES[2])
    tags = registry.process.data / "docker/registry/v2/repositories/ckf" / repository
    (tags / "_manifests/tags" / tag / "current/link").unlink()
    counting = CountingSource(images.path)
    pusher = ImagePusher(registry.client(), registry.location, tmp_path / "pushed")
    assert len(pusher.push(counting).pushed) == 1
    # One image of six, and of that not its layers, which the registry has.
    assert counting.read_bytes < images.path.stat().st_size / 4


def test_layers_of_zstandard_are_kept(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path, layouts=(Layout.OCI_ZSTD,))
    assert len(push(registry, images.path).pushed) == len(IMAGES)
    environment = {"SSL_CERT_FILE": str(registry.process.ca), "PATH": os.environ["PATH"]}
    for saved in images.images:
        repository, tag = path_in_registry(saved.image)
        target = tmp_path / saved.file_name
        words = ["skopeo", "copy", "--quiet", f"docker://{registry.location}/{repository}:{tag}"]
        subprocess.run([*words, f"dir:{target}"], check=True, env=environment)
        manifest: dict[str, Any] = json.loads(target.joinpath("manifest.json").read_bytes())
        assert manifest["mediaType"] == OCI_MANIFEST
        assert all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"])
        layers = [target.joinpath(layer["digest"][7:]) for layer in manifest["layers"]]
        assert tuple(_diff_id(layer.read_bytes()) for layer in layers) == saved.diff_ids


def _diff_id(layer: bytes) -> str:
    content = zstd.decompress(layer)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_layer(name: str, content: bytes) -> bool:
    return len(content) > 1_000 and not content.startswith((b"{", b"["))


def without(pattern: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: None if re.search(pattern, name) else content


def flipped(name: str, content: bytes) -> bytes:
    """Flip a bit in the middle of each layer."""
    if not is_layer(name, content):
        return content
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def other_diff_ids(name: str, content: bytes) -> bytes:
    """Let the config name layers that are not there, and stand under its own digest still."""
    return (
        content.replace(b'"diff_ids":["sha256:', b'"diff_ids":["sha256:0')
        if (b"diff_ids" in content)
        else content
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "only an end": lambda _: bytes(10240),
    "no tar": lambda _: b"<html>Not found</html>" * 100,
    "cut short": lambda saved: saved[: len(saved) // 2],
    "no manifest": lambda saved: edited(saved, without(r"^(manifest|index)\.json$")),
    "no config": lambda saved: edited(
        saved, lambda name, content: None if b"diff_ids" in content else content
    ),
    "a layer flipped": lambda saved: edited(saved, flipped),
    "a layer missing": lambda saved: edited(
        saved, lambda name, content: None if is_layer(name, content) else content
    ),
    "a layer cut short": lambda saved: edited(
        saved, lambda name, content: content[:-5000] if is_layer(name, content) else content
    ),
    "other diff ids": lambda saved: edited(saved, other_diff_ids),
    "a manifest that lies": lambda saved: edited(
        saved,
        lambda name, content: (
            content.replace(b'"Layers":[', b'"Layers":["x",')
            if name == "manifest.json"
            else content
        ),
    ),
    "a manifest that is none": lambda saved: edited(
        saved, lambda name, content: b"[{]" if name == "manifest.json" else content
    ),
}


@pytest.mark.parametrize(("damage", "layout"), matrix(tuple(DAMAGES), ALL_LAYOUTS))
def test_each_damage_is_named_and_the_rest_is_pushed(
    damage: str, layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path, layouts=(layout,))
    bad = images.images[2]

    def change(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        yield name, DAMAGES[damage](content) if name == bad.file_name else content

    repack(images.path, change)
    result = push(registry, images.path)
    (error,) = result.inventory.damaged
    assert bad.file_name in error.problem
    assert "docker save" in error.cure
    assert len(result.pushed) == len(IMAGES) - 1
    assert registry.tags(path_in_registry(bad.image)[0]) == []
    check_all(registry, without_image(images, 2), tmp_path)


def without_image(images: ImageArchive, number: int) -> ImageArchive:
    kept = tuple(saved for n, saved in enumerate(images.images) if n != number)
    return ImageArchive(images.path, kept, images.unpacked_size, images.compressor)


def test_a_layer_that_is_damaged_where_it_comes_first_is_taken_from_where_it_is_sound(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path, layouts=(Layout.OCI,))
    first = images.images[0]
    shared = first.diff_ids[0][7:]

    def damage(name: str, content: bytes) -> bytes:
        return content[:-1] + b"x" if name.endswith(shared) else content

    def change(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        yield name, edited(content, damage) if name == first.file_name else content

    repack(images.path, change)
    result = push(registry, images.path)
    assert [error.problem.split(":")[0] for error in result.inventory.damaged] == [first.file_name]
    assert len(result.pushed) == len(IMAGES) - 1
    check_all(registry, without_image(images, 0), tmp_path)


def test_members_of_one_name(registry: RunningRegistry, tmp_path: Path) -> None:
    """What is in the archive twice counts twice, and neither is taken for the other."""
    images = archive(tmp_path)
    first, second = images.images[0].file_name, images.images[1].file_name

    def change(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        yield first if name == second else name, content
        if name == first:
            yield name, content

    repack(images.path, change)
    result = push(registry, images.path)
    assert len(set(result.pushed)) == len(IMAGES)
    check_all(registry, images, tmp_path)
    assert push(registry, images.path).pushed == ()


@pytest.mark.parametrize(("moment", "layout"), matrix((1, 4, 9), ALL_LAYOUTS))
def test_a_push_that_is_killed_sends_no_finished_layer_again(
    moment: int, layout: Layout, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    # Of one layout: a layer is not known again where it stands in another without its name.
    images = archive(tmp_path, layouts=(layout,))
    state = tmp_path / "pushed"
    gate = Gate(
        lambda request: request.method == "PUT" and "digest=" in request.path,
        passing=moment,
        then="cut",
    )
    with proxy(registry, authority, gate) as host:
        words = ["push", "--images", str(images.path), "--registry", f"{host}/ckf"]
        words += ["--registry-ca", str(authority.certificate), "--state", str(state)]
        with running(words) as process:
            gate.wait(process)
            wait_until(lambda: len(blobs_put(log_of(registry))) >= moment, process)
            process.send_signal(signal.SIGKILL)
        before = log_of(registry)
        known = {json.loads(line)["layer"]["blob"]["digest"] for line in layer_lines(tmp_path)}
        gate.open()
        client = RegistryClient(host, ca=authority.certificate.read_text())
        location = RegistryLocation.parse(f"{host}/ckf")
        result = ImagePusher(client, location, state).push(FileSource(images.path))
    assert len(result.pushed) + result.present == len(IMAGES)
    check_all(registry, images, tmp_path)
    after = blobs_put(log_of(registry)[len(before) :])
    assert not known & set(after)
    # What the registry has got may be nothing that the push had heard of yet.
    assert len(set(blobs_put(before)) & set(after)) <= 4


def layer_lines(folder: Path) -> list[str]:
    path = folder / "pushed"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.startswith('{"layer"') and line.endswith("\n")]
