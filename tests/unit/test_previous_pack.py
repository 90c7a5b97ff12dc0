"""What a difference leaves out of a release, and where the registry has it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.archives.pack_manifest import PackedImage, PackedLayer, PackManifest
from ckf_airgap.errors import ArtifactError, ConfigurationError
from ckf_airgap.packing.previous_pack import PreviousPack, left_out_text


def digest(number: int) -> str:
    return f"sha256:{number:064}"


def layer(number: int, *, compressed: int = 0) -> PackedLayer:
    """Describe a layer; the same content may be compressed in several ways."""
    return PackedLayer(digest(10 * number + compressed), digest(number), 100 + number, "+gzip")


def image(name: str, *layers: PackedLayer, version: int = 0) -> PackedImage:
    size = sum(each.size for each in layers)
    return PackedImage(name, digest(version), digest(version), size, layers)


def release(*images: PackedImage, layout: str = "oci") -> PackManifest:
    return PackManifest(layout, "amd64", images, ())


def found_in(manifest: PackManifest) -> list[list[str]]:
    return [[each.found_in for each in image.layers] for image in manifest.images]


FIRST = release(image("a:1", layer(1), layer(2)), image("b:1", layer(1), layer(3)))


def test_it_leaves_out_what_is_there() -> None:
    now = release(
        image("a:1", layer(1), layer(4), version=1),
        image("b:1", layer(1), layer(3)),
        image("c:1", layer(2)),
        image("d:1", layer(5), layer(5)),
    )
    difference = PreviousPack(FIRST, "first").difference(now)
    # a:1 moves, so that the layer which it shares is looked for in b:1.
    assert found_in(difference) == [["b:1", ""], ["b:1", "b:1"], ["a:1"], ["", ""]]
    assert difference.stands_on == (FIRST.identity,)
    assert left_out_text(difference) == (
        "3 layers (306 bytes), including all layers of 2 of 4 images"
    )
    assert difference.identity == now.identity


@pytest.mark.parametrize(("layout", "expected"), [("docker", ""), ("oci", "one.io/team/a:1")])
@pytest.mark.parametrize("name", ["one.io/team/a:1", "two.io/team/a:1"])
def test_a_layer_that_only_a_moved_tag_leads_to(layout: str, expected: str, name: str) -> None:
    """Layers of docker save archives are found by the tag alone; hosts do not tell tags apart."""
    before = release(image("one.io/team/a:1", layer(1)), image("b:1", layer(2)), layout=layout)
    moved = image(name, layer(1), layer(3), version=1)
    now = release(moved, image("c:1", layer(1), layer(2)), layout=layout)
    assert found_in(PreviousPack(before, "first").difference(now)) == [
        [expected, ""],
        [expected, "b:1"],
    ]


def test_a_chain() -> None:
    second = PreviousPack(FIRST, "first").difference(release(image("e:1", layer(1), layer(5))))
    third = PreviousPack(second, "second").difference(
        release(image("a:1", layer(1), layer(2)), image("f:1", layer(5), layer(6)))
    )
    # The second has no b:1 any more, so only what it lists can be left to the registry.
    assert found_in(third) == [["e:1", ""], ["e:1", ""]]
    assert third.stands_on == (second.identity, FIRST.identity)


@pytest.mark.parametrize(("layout", "expected"), [("docker", ["a:1"]), ("oci", [""])])
def test_the_same_content_compressed_in_another_way(layout: str, expected: list[str]) -> None:
    """A layout keeps blobs as they are; a docker save archive holds only the content."""
    before = release(image("a:1", layer(1)), layout=layout)
    now = release(image("a:1", layer(1, compressed=1)), layout=layout)
    assert found_in(PreviousPack(before, "first").difference(now)) == [expected]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"layout": "docker"},
            "has the format oci, .* cannot have docker: pack with --format oci",
        ),
        ({"architecture": "arm64"}, "cannot have arm64: pack with --architecture amd64"),
    ],
)
def test_one_of_another_kind(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        PreviousPack(FIRST, "first").difference(replace(FIRST, **changes))  # type: ignore[arg-type]


def test_it_is_read_from_its_record(tmp_path: Path) -> None:
    path = tmp_path / "first.json"
    path.write_bytes(FIRST.encode())
    assert PreviousPack.read(path) == PreviousPack(FIRST, str(path))
    path.write_text("{}")
    with pytest.raises(ArtifactError, match="is damaged"):
        PreviousPack.read(path)
    path.write_text(json.dumps({"format": 2}))
    with pytest.raises(ConfigurationError, match=r"no record .* that this version can read"):
        PreviousPack.read(path)
    path.write_bytes(release(replace(FIRST.images[0], layers=())).encode())
    with pytest.raises(ConfigurationError, match="by an earlier version"):
        PreviousPack.read(path)
