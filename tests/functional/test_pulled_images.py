"""What another tool finds in the registry, against what the archive holds.

What is expected is worked out here from the archive, with nothing of the project's own code.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError
from ckf_airgap.push.pusher import ImagePusher, PushResult
from tests.functional.pushes import ALL_LAYOUTS
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import ImageOptions, Layout, flip_bit, truncate, write_image_archive

# Written out on purpose: the rule that makes the one from the other is under test.
TAGS = {
    "docker.io/charmedkubeflow/api-server:2.0.5": "charmedkubeflow/api-server:2.0.5",
    "argoproj/workflow-controller:v3.3.10": "argoproj/workflow-controller:v3.3.10",
    "ubuntu:22.04": "ubuntu:22.04",
    "gcr.io/google-containers/busybox": "google-containers/busybox:latest",
    "docker.io/istio/proxyv2:1.17.3": "istio/proxyv2:1.17.3",
}


@dataclass(frozen=True)
class Digests:
    """The digest of an image's config, and those of its uncompressed layers."""

    image_id: str
    diff_ids: tuple[str, ...]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def content_of(archive: tarfile.TarFile, name: str) -> bytes:
    # tarfile follows links.
    file = archive.extractfile(name)
    assert file
    return file.read()


def digests_in_archive(path: Path) -> list[Digests]:
    """Hash what stands in images.tar.gz, in its order."""
    images: list[Digests] = []
    with tarfile.open(path) as archive:
        for member in archive:
            with tarfile.open(fileobj=io.BytesIO(content_of(archive, member.name))) as saved:
                (entry,) = json.loads(content_of(saved, "manifest.json"))
                layers = [content_of(saved, layer) for layer in entry["Layers"]]
                plain = [gzip.decompress(x) if x[:2] == b"\x1f\x8b" else x for x in layers]
                config = content_of(saved, entry["Config"])
                images.append(Digests(digest(config), tuple(map(digest, plain))))
    return images


def pulled(registry: RunningRegistry, tag: str, folder: Path) -> Digests:
    image = registry.pull(f"{registry.location}/{tag}", folder)
    return Digests(image.image_id, image.diff_ids)


def push(registry: RunningRegistry, path: Path) -> PushResult:
    state = path.with_name("push.json")
    return ImagePusher(registry.client(), registry.location, state).push(FileSource(path))


def write(folder: Path, layouts: tuple[Layout, ...], retagged: float = 0) -> Path:
    options = ImageOptions(
        retagged_fraction=retagged, layouts=layouts, program=b"stub", payload_kib=64
    )
    return write_image_archive(tuple(TAGS), folder / "images.tar.gz", options).path


@pytest.mark.parametrize("retagged", [0, 1])
@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_digests_and_tags_are_those_of_the_archive(
    layout: Layout, retagged: float, registry: RunningRegistry, tmp_path: Path
) -> None:
    path = write(tmp_path, (layout,), retagged)
    result = push(registry, path)
    assert result.pushed == tuple(f"{registry.location}/{tag}" for tag in TAGS.values())
    for tag, expected in zip(TAGS.values(), digests_in_archive(path), strict=True):
        assert pulled(registry, tag, tmp_path) == expected
        repository, _, version = tag.partition(":")
        assert registry.tags(repository) == [version]


def small_layer(name: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        add(archive, name, name.encode())
    return content.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def add_link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    archive.addfile(entry)


def config(*layers: bytes) -> bytes:
    root = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": root}).encode()


def test_two_images_in_one_member_with_links_and_several_tags(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    base, top = small_layer("base"), small_layer("top")
    configs = {"one.json": config(base, top), "two.json": config(base, base)}
    entries = [
        {
            "Config": "one.json",
            "RepoTags": ["reg.test/a/one:1", "reg.test/a/uno:1"],
            "Layers": ["1/layer.tar", "2/layer.tar"],
        },
        {
            "Config": "two.json",
            "RepoTags": ["two:2"],
            "Layers": ["3/layer.tar", "4/layer.tar"],
        },
    ]
    saved = io.BytesIO()
    with tarfile.open(fileobj=saved, mode="w") as archive:
        # A symbolic link may come before what it points to; a hard link cannot.
        add_link(archive, "3/layer.tar", "../1/layer.tar", tarfile.SYMTYPE)
        add(archive, "1/layer.tar", base)
        add(archive, "2/layer.tar", top)
        add_link(archive, "4/layer.tar", "1/layer.tar", tarfile.LNKTYPE)
        for name, content in configs.items():
            add(archive, name, content)
        add(archive, "manifest.json", json.dumps(entries).encode())
    path = tmp_path / "images.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "./both.tar", saved.getvalue())

    tags = ("a/one:1", "a/uno:1", "two:2")
    assert push(registry, path).pushed == tuple(f"{registry.location}/{tag}" for tag in tags)
    one = Digests(digest(configs["one.json"]), (digest(base), digest(top)))
    two = Digests(digest(configs["two.json"]), (digest(base), digest(base)))
    assert [pulled(registry, tag, tmp_path) for tag in tags] == [one, one, two]


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_before_the_cut_all_is_usable_and_the_whole_archive_follows(
    keep: float, registry: RunningRegistry, tmp_path: Path
) -> None:
    path = write(tmp_path, (Layout.LEGACY, Layout.OCI))
    whole = path.read_bytes()
    expected = dict(zip(TAGS.values(), digests_in_archive(path), strict=True))
    truncate(path, keep)
    with pytest.raises(ArtifactError):
        push(registry, path)
    there = [tag for tag in expected if registry.tags(tag.partition(":")[0])]
    assert 0 < len(there) < len(expected)
    assert there == list(expected)[: len(there)]
    for tag in there:
        assert pulled(registry, tag, tmp_path) == expected[tag]
    # The operator copies the file again.
    path.write_bytes(whole)
    push(registry, path)
    again = tmp_path / "again"
    again.mkdir()
    for tag, digests in expected.items():
        assert pulled(registry, tag, again) == digests


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8, "checksum", "no checksum"])
def test_damage_to_the_compressed_archive_never_makes_a_wrong_image(
    position: float | str, registry: RunningRegistry, tmp_path: Path
) -> None:
    path = write(tmp_path, (Layout.LEGACY, Layout.OCI))
    expected = dict(zip(TAGS.values(), digests_in_archive(path), strict=True))
    size = path.stat().st_size
    if position == "no checksum":
        os.truncate(path, size - 8)
    elif isinstance(position, float):
        flip_bit(path, int(size * position))
    else:
        flip_bit(path, -8)
    with pytest.raises(ArtifactError, match=r"images\.tar\.gz") as raised:
        push(registry, path)
    assert "copy it again" in raised.value.cure
    for tag, digests in expected.items():
        if registry.tags(tag.partition(":")[0]):
            assert pulled(registry, tag, tmp_path) == digests
