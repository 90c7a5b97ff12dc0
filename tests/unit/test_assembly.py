"""The two forms of images.tar.gz, byte by byte."""

import gzip
import hashlib
import io
import json
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.archives.gzip_codec import (
    StoredMember,
    least_padded_size,
    padded_member,
    stored_size,
)
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.errors import StorageError
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.packing.archive_writers import ImageArchiveWriter
from ckf_airgap.packing.assembly import LayerPart, Part, PlainPart, assemble, member_names
from ckf_airgap.packing.conversion import convert_layers
from ckf_airgap.packing.previous_pack import PreviousPack
from ckf_airgap.packing.remote_images import RemoteImage, RemoteLayer
from ckf_airgap.packing.skopeo import Skopeo, SkopeoSettings

GIBIBYTE = 1024**3
NO_SKOPEO = Skopeo(SkopeoSettings("no-such-program"))


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Layers:
    """Layers as a registry has them: compressed, and found again by their digests."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.sizes: dict[str, int] = {}

    def add(self, content: bytes) -> RemoteLayer:
        blob = gzip.compress(content, mtime=0)
        self.blobs[digest(blob)] = blob
        self.sizes[digest(blob)] = len(content)
        kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        return RemoteLayer(Blob(digest(blob), len(blob)), kind, digest(content))


def image(name: str, *layers: RemoteLayer) -> RemoteImage:
    config = json.dumps({"name": name, "rootfs": {"diff_ids": [i.diff_id for i in layers]}})
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    document = {
        "mediaType": kind,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json"},
        "layers": [{"mediaType": layer.media_type} for layer in layers],
    }
    reference = ImageReference.parse(name)
    assert reference
    return RemoteImage(
        reference,
        f"{reference.name}@sha256:{'0' * 64}",
        json.dumps(document).encode(),
        kind,
        config.encode(),
        layers,
    )


def manifest(*images: RemoteImage, layout: str = "docker") -> PackManifest:
    return PackManifest(layout, "amd64", tuple(image.packed for image in images), ())


def write(parts: list[Part], layers: Layers) -> bytes:
    """Put the parts together as the pack does."""
    output = b""
    for part in parts:
        if isinstance(part, PlainPart):
            data = padded_member(part.content, part.length)
        elif part.is_stored:
            blob = layers.blobs[part.layer.blob.digest]
            member = StoredMember(len(blob))
            data = member.add(blob) + member.finish()
        else:
            data = layers.blobs[part.layer.blob.digest]
        assert len(data) == part.length
        output += data
    return output


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {item.name: opened.extractfile(item).read() for item in opened}  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65535, 65536, 200_000])
def test_stored_members_have_the_length_that_is_said_before(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    for filling in (0, 1, 511):
        data = padded_member(content, least_padded_size(size) + filling)
        assert len(data) == least_padded_size(size) + filling
        assert gzip.decompress(data) == content
    if size:
        member = StoredMember(size)
        pieces = [content[start : start + 40_000] for start in range(0, size, 40_000)]
        data = b"".join([*map(member.add, pieces), member.finish()])
        assert len(data) == stored_size(size)
        assert gzip.decompress(data) == content


@pytest.mark.parametrize("odd", [0, 1, 511])
def test_docker_archives_in_an_archive(odd: int) -> None:
    layers = Layers()
    shared = layers.add(b"shared" * 1000)
    own = layers.add(b"own" * 512 + bytes(odd))
    images = [image("a/first:1", shared, own, own), image("b/second@sha256:" + "c" * 64, shared)]
    parts = assemble("docker", images, manifest(*images), layers.sizes)
    # Nothing of the lengths depends on what is known only later.
    before = assemble("docker", images, manifest(*images), {})
    assert [part.length for part in parts] == [part.length for part in before]
    archive = write(parts, layers)
    found = members(gzip.decompress(archive))
    assert list(found) == [
        "ckf-airgap.json",
        "a-first-1.tar",
        f"b-second-{'c' * 64}.tar",
    ]
    said = PackManifest.decode(found["ckf-airgap.json"], "images.tar.gz")
    assert said
    assert said.archive_size == len(archive)
    for each, name in zip(images, list(found)[1:], strict=True):
        saved = members(found[name])
        (entry,) = json.loads(saved["manifest.json"])
        assert entry["RepoTags"] == [each.name]
        assert saved[entry["Config"]] == each.config
        assert [digest(saved[path]) for path in entry["Layers"]] == [
            layer.diff_id for layer in each.layers
        ]
    # A layer that an image has twice stands in it once; one that two images have, in both.
    assert sum(isinstance(part, LayerPart) for part in parts) == 3


def test_an_oci_layout() -> None:
    layers = Layers()
    shared, own = layers.add(b"shared" * 1000), layers.add(b"own" * 30_000)
    images = [image("a/first:1", shared, own), image("b/second", shared)]
    archive = write(assemble("oci", images, manifest(*images), {}), layers)
    found = members(gzip.decompress(archive))
    assert list(found)[:3] == ["ckf-airgap.json", "oci-layout", "index.json"]
    blobs = {name: content for name, content in found.items() if name.startswith("blobs/")}
    assert all(name == f"blobs/sha256/{digest(blob)[7:]}" for name, blob in blobs.items())
    entries = json.loads(found["index.json"])["manifests"]
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
    assert names == ["a/first:1", "b/second:latest"]
    for entry, each in zip(entries, images, strict=True):
        document = json.loads(blobs[f"blobs/sha256/{entry['digest'][7:]}"])
        assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        kinds = {layer["mediaType"] for layer in document["layers"]}
        assert kinds == {"application/vnd.oci.image.layer.v1.tar+gzip"}
        original = entry["annotations"]["ckf-airgap.original-manifest"]
        assert blobs[f"blobs/sha256/{original[7:]}"] == each.manifest
    # Each layer once: two manifests of either kind, two configs, two layers.
    assert len(blobs) == 8


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_a_difference_has_only_the_other_layers(layout: str) -> None:
    layers = Layers()
    shared, old, new = layers.add(b"shared"), layers.add(b"old"), layers.add(b"new")
    stays = image("c/stays:1", shared, old)
    before = manifest(image("a/first:1", shared, old), stays, layout=layout)
    images = [image("a/first:1", shared, new), image("b/second:1", shared, old), stays]
    previous = PreviousPack(before, "before")
    difference = previous.difference(manifest(*images, layout=layout))
    archive = write(assemble(layout, images, difference, layers.sizes), layers)
    found = members(gzip.decompress(archive))
    saved = members(found["a-first-1.tar"]) if layout == "docker" else found
    names = {name.rpartition("/")[2] for name in saved if name.startswith("blobs/")}
    named = {
        each: (each.diff_id if layout == "docker" else each.blob.digest)[7:]
        for each in (shared, old, new)
    }
    assert named[new] in names
    assert not {named[shared], named[old]} & names
    # What describes an image is there in any case.
    for each in images:
        documents = members(found["b-second-1.tar"]) if layout == "docker" else found
        if layout == "oci" or each is images[1]:
            assert each.config in documents.values()


def test_layers_of_many_gibibytes_have_a_place() -> None:
    """In a tar header eight octal digits hold 8 GiB; there are images larger than that."""
    layers = Layers()
    large = layers.add(b"stands for more")
    images = [image("a/large:1", large)]
    sizes = {large.blob.digest: 20 * GIBIBYTE}
    parts = assemble("docker", images, manifest(*images), sizes)
    assert [p.length for p in parts] == [
        p.length for p in assemble("docker", images, manifest(*images), {})
    ]
    (text,) = [p for p in parts if isinstance(p, PlainPart) and b"manifest.json" in p.content]
    start = text.content.index(b"a-large-1.tar")
    outer = tarfile.TarInfo.frombuf(text.content[start : start + 512], "utf-8", "strict")
    assert outer.size > 20 * GIBIBYTE
    inner = tarfile.TarInfo.frombuf(text.content[-512:], "utf-8", "strict")
    assert inner.size == 20 * GIBIBYTE


def test_a_layer_that_was_compressed_before_and_cannot_be_read(tmp_path: Path) -> None:
    layer = replace(Layers().add(b"x"), media_type="application/vnd.oci.image.layer.v1.tar+zstd")
    path = tmp_path / f"{layer.blob.digest[7:]}.gz"
    path.mkdir()
    with pytest.raises(StorageError, match=f"^{path} cannot be read"):
        convert_layers([image("a/first:1", layer)], NO_SKOPEO, tmp_path, print)


def test_a_compressed_layer_that_cannot_be_read_for_the_archive(tmp_path: Path) -> None:
    layer = replace(Layers().add(b"x"), path=tmp_path)
    images = [image("a/first:1", layer)]
    parts = assemble("docker", images, manifest(*images), {})
    with (
        closing(ImageArchiveWriter(tmp_path / "images.tar.gz", parts)) as writer,
        pytest.raises(StorageError, match=f"^{tmp_path} cannot be read"),
    ):
        writer.fetch(NO_SKOPEO, print)


def test_members_have_names_of_their_own() -> None:
    layers = Layers()
    layer = layers.add(b"x")
    images = [image("a/b-c:1", layer), image("a-b/c:1", layer)]
    assert list(member_names(images).values()) == ["a-b-c-1.tar", "a-b-c-1_2.tar"]


def test_a_manifest_keeps_its_length() -> None:
    lengths = {
        len(PackManifest("oci", "amd64", (), (), "", size).encode()) for size in (0, 7, 10**14)
    }
    assert len(lengths) == 1
