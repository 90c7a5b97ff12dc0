"""What a packed archive says of itself, and what else may stand there."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.archives.pack_manifest import (
    PackedCharm,
    PackedImage,
    PackedLayer,
    PackManifest,
    read_pack_manifest,
)
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError

LAYER = PackedLayer(f"sha256:{'4' * 64}", f"sha256:{'5' * 64}", 5, "layer+gzip")
IMAGE = PackedImage("docker.io/a/b:1", f"sha256:{'1' * 64}", f"sha256:{'2' * 64}", 5, (LAYER,))
CHARM = PackedCharm("minio", "minio_r3.charm", "3" * 64, 7, 3, "stable")
MANIFEST = PackManifest(
    *("oci", "amd64", (IMAGE,), (CHARM,), "applications: {}", 12),
    user_images={"jupyter": ("docker.io/a/b:1",)},
)


def document(**changes: Any) -> str:
    return json.dumps(json.loads(MANIFEST.encode()) | changes)


def test_it_is_read_as_it_was_written() -> None:
    assert PackManifest.decode(MANIFEST.encode(), "images.tar.gz") == MANIFEST


def test_one_that_says_nothing_of_users_is_read() -> None:
    written = json.loads(MANIFEST.encode())
    del written["user_images"]
    found = PackManifest.decode(json.dumps(written).encode(), "images.tar.gz")
    assert found == replace(MANIFEST, user_images={})


def test_one_of_before_layers_were_recorded_is_read() -> None:
    written = json.loads(MANIFEST.encode())
    for image in written["images"]:
        del image["layers"]
    del written["stands_on"]
    found = PackManifest.decode(json.dumps(written).encode(), "images.tar.gz")
    assert found == replace(MANIFEST, images=(replace(IMAGE, layers=()),))


def test_a_difference_is_read_as_it_was_written() -> None:
    left_out = replace(LAYER, found_in="docker.io/a/c:1")
    image = replace(IMAGE, layers=(left_out, LAYER))
    difference = replace(MANIFEST, images=(image,), stands_on=(f"sha256:{'6' * 64}",))
    assert PackManifest.decode(difference.encode(), "images.tar.gz") == difference
    assert difference.left_out == {LAYER.digest: left_out}
    assert difference.left_out_bytes == 5
    assert list(replace(difference, layout="docker").left_out) == [LAYER.diff_id]
    assert MANIFEST.left_out == {}


def test_a_release_is_the_same_whatever_is_left_out_of_it() -> None:
    left_out = replace(IMAGE, layers=(replace(LAYER, found_in="docker.io/a/c:1"),))
    same = replace(
        MANIFEST, images=(left_out,), stands_on=("x",), archive_size=1, part_size=2, bundle=""
    )
    assert same.identity == MANIFEST.identity
    for other in (
        replace(MANIFEST, layout="docker"),
        replace(MANIFEST, architecture="arm64"),
        replace(MANIFEST, images=(replace(IMAGE, digest="x"),)),
        replace(MANIFEST, charms=(replace(CHARM, sha256="x"),)),
    ):
        assert other.identity != MANIFEST.identity


def layers(**changes: Any) -> str:
    image = json.loads(MANIFEST.encode())["images"][0]
    image["layers"][0] |= changes
    return document(images=[image])


def images(**changes: Any) -> str:
    return document(images=[json.loads(MANIFEST.encode())["images"][0] | changes])


def test_one_of_a_later_format_says_nothing() -> None:
    assert PackManifest.decode(document(format=2).encode(), "images.tar.gz") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        document(format=0),
        document(format="1"),
        document(format=None),
        document(format=True),
        document(format=1.5),
        document(images=None),
        document(images=["a"]),
        document(images=[{}]),
        document(images=[{"name": 1, "digest": "", "image_id": "", "size": 0}]),
        document(images=[{"name": "", "digest": "", "image_id": "", "size": "0"}]),
        document(images=[{"name": "", "digest": "", "image_id": "", "size": 0, "more": 0}]),
        document(images=[{"name": "", "digest": "", "image_id": "", "size": 0, "layers": [1]}]),
        images(digest=""),
        images(digest="=1"),
        images(digest=f"sha512:{'1' * 128}"),
        images(image_id="sha256:1"),
        images(image_id=f"sha256:{'A' * 64}"),
        layers(digest="sha256:1"),
        layers(diff_id=None),
        layers(size=-1),
        layers(size="5"),
        layers(media_type=1),
        layers(found_in=None),
        # It does not say what it stands on.
        layers(found_in="a/b:1"),
        document(stands_on=["x"]),
        document(stands_on=1),
        document(charms=[{"name": "", "file": "", "sha256": [], "size": 0}]),
        document(user_images=None),
        document(user_images={"jupyter": "a/b:1"}),
        document(user_images={"jupyter": [1]}),
        document(archive_size="many"),
        document(archive_size=None),
        document(archive_size=float("inf")),
        "\udcff",
    ],
)
def test_a_damaged_one_is_told(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"ckf-airgap\.json in images\.tar\.gz is damaged"):
        PackManifest.decode(text.encode(errors="surrogateescape"), "images.tar.gz")


def test_parts_that_do_not_fit_the_size_are_told() -> None:
    text = document(part_size=5, part_starts=["a"])
    with pytest.raises(ArtifactError, match=r"\(12 bytes do not fit 2 parts of 5 bytes\)"):
        PackManifest.decode(text.encode(), "images.tar.gz")


def test_one_that_is_larger_than_any_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    member = tarfile.TarInfo("ckf-airgap.json")
    member.size = 2**40
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(512))
    with pytest.raises(ArtifactError, match="has 1,099,511,627,776 bytes, which is too many"):
        read_pack_manifest(FileSource(path))
