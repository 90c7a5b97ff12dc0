"""Archives mixed at random: no file is lost in silence, no image is lost, none appears twice."""

import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.allowance import Allowance
from ckf_airgap.archives.image_sink import Verdict
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.reference import ImageReference
from tests.support.archive_forms import (
    crane_tarball,
    docker_save,
    jib_tarball,
    new_docker_save,
    old_docker_save,
    podman_save,
)
from tests.support.compressed import gzipped, pzstd_frames, zstandard_frame
from tests.support.oci_forms import (
    OCI_INDEX,
    Naming,
    StoredImage,
    annotated,
    buildx_layout,
    descriptor,
    documents_last,
    index_of,
    layout,
    oci_layout,
)
from tests.support.sample_images import NamedImage, image_of, layer_of, sample_image
from tests.support.tar_files import Entry, folder, inside, symbolic_link, tar

Forms = dict[str, Callable[[Sequence[NamedImage]], list[Entry]]]
FORMS: Forms = {
    "docker save before 25": old_docker_save,
    "docker save of 25 to 28": docker_save,
    "docker save of 29": new_docker_save,
    "podman": podman_save,
    "crane": crane_tarball,
    "OCI": oci_layout,
    "buildx": buildx_layout,
}
WRAPS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzipped,
    "zstd": zstandard_frame,
    "pzstd": pzstd_frames,
    "tar in tar": lambda content: tar([Entry("inner.tar", content)]),
}
OTHERS: dict[str, bytes] = {
    "README.md": b"# images\n",
    ".DS_Store": b"\0\0\0\1Bud1",
    "._image.tar": b"\0\5\x16\7" + bytes(200),
    "checksums.txt": b"0" * 64,
    "settings.json": b'{"some": "thing"}',
}


KINDS = ("archive", "archive", "archive", "layout", "other", "damage", "link", "xz")
ENDINGS = (".tar", ".TAR", ".tar.gz", ".tgz", "", ".img")
DIALECTS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


class Recipe(NamedTuple):
    """What a part of an archive is to be; small, so that a failure can be read."""

    kind: str
    images: int
    form: str
    wrap: str
    ending: str
    folder: str
    dialect: int
    other: str
    kept: float


RECIPES = st.builds(
    Recipe,
    st.sampled_from(KINDS),
    st.integers(1, 2),
    st.sampled_from(sorted(FORMS)),
    st.sampled_from(sorted(WRAPS)),
    st.sampled_from(ENDINGS),
    st.sampled_from(("", "./", "a/")),
    st.sampled_from(DIALECTS),
    st.sampled_from(sorted(OTHERS)),
    st.floats(0.1, 0.8),
)


@dataclass(frozen=True)
class Part:
    """A part of an archive, with what is to be found of it.

    Attributes:
        entries: What stands in the archive.
        images: The names of its images; of a damaged one those that may be whole.
        is_damaged: Whether it is to be told as damaged.
        may_be_lost: Whether it is to be told as perhaps an image.
    """

    entries: list[Entry]
    images: tuple[str, ...] = ()
    is_damaged: bool = False
    may_be_lost: bool = False


def made(recipe: Recipe, number: int) -> Part:
    """Make one part, whose names and paths no other part has."""
    name = f"part-{number}"
    images = [
        NamedImage(sample_image("base", f"{name}-{each}"), (f"docker.io/team/{name}-{each}:1",))
        for each in range(recipe.images)
    ]
    names = tuple(image.names[0] for image in images)
    if recipe.kind == "other":
        return Part([Entry(f"{name}/{recipe.other}", OTHERS[recipe.other])])
    if recipe.kind == "link":
        return Part([symbolic_link(f"{name}.tar", "/mnt/usb/image.tar")], may_be_lost=True)
    if recipe.kind == "xz":
        return Part([Entry(f"{name}.tar.xz", b"\xfd7zXZ\0" + bytes(99))], may_be_lost=True)
    if recipe.kind == "layout":
        inner = inside(name, oci_layout(images))
        return Part([folder(name), *inner], names)
    content = tar(FORMS[recipe.form](images), recipe.dialect)
    if recipe.kind == "damage":
        # What fills up the last record does not count.
        cut = content[: int(len(content.rstrip(b"\0")) * recipe.kept)]
        return Part([Entry(f"{name}.tar", cut)], names, is_damaged=True)
    path = f"{recipe.folder}{name}{recipe.ending}"
    return Part([Entry(path, WRAPS[recipe.wrap](content))], names)


SURE = NamedImage(sample_image("base", "sure"), ("docker.io/team/sure:1",))


def read(content: bytes) -> tuple[Inventory, Counter[str]]:
    """Read an archive; gives what it holds, and how often each file was accounted for."""
    accounts: Counter[str] = Counter()

    def account(file: str, _: Verdict) -> None:
        accounts[file] += 1

    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(content)
        file.flush()
        inventory = read_inventory(FileSource(Path(file.name)), on_file=account)
    return inventory, accounts


def paths(names: Iterable[str]) -> Counter[str]:
    """Count images by where they go; ``docker.io/`` is left out by docker itself."""
    references = (ImageReference.parse(name) for name in names)
    return Counter(str(image_path(each)) for each in references if each)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECIPES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_every_file_is_accounted_for_once_and_no_image_is_lost(
    recipes: list[Recipe], order: Random
) -> None:
    parts = [made(recipe, number) for number, recipe in enumerate(recipes)]
    parts.append(Part([Entry("sure.tar", tar(old_docker_save([SURE])))], SURE.names))
    order.shuffle(parts)
    inventory, accounts = read(tar(entry for part in parts for entry in part.entries))
    found = paths(str(name) for image in inventory.images for name in image.names)
    sound = paths(name for part in parts if not part.is_damaged for name in part.images)
    # An image may be whole before the place where its archive was cut off.
    whole = paths(name for part in parts if part.is_damaged for name in part.images)
    assert sound <= found <= sound + whole
    assert len(inventory.damaged) == sum(part.is_damaged for part in parts)
    assert len(inventory.possible_images) == sum(part.may_be_lost for part in parts)
    assert inventory.conflicts == ()
    assert set(accounts.values()) == {1}
    outer = {
        entry.name.removeprefix("./")
        for part in parts
        for entry in part.entries
        if entry.kind != tarfile.DIRTYPE
    }
    assert outer <= accounts.keys()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.sampled_from(sorted(WRAPS)), st.booleans())
def test_an_archive_of_any_form_is_taken_directly(form: str, wrap: str, is_one: bool) -> None:
    names = ["docker.io/team/one:1", "quay.io/other/two:2"][: 1 if is_one else 2]
    images = [NamedImage(sample_image("base", name), (name,)) for name in names]
    inventory, accounts = read(WRAPS[wrap](tar(FORMS[form](images))))
    assert [image.image_id for image in inventory.images] == [
        each.image.image_id for each in images
    ]
    assert not inventory.needs_attention
    assert set(accounts.values()) == {1}


def test_jib_names_every_config_alike() -> None:
    members: list[Entry] = []
    for number in range(3):
        name = f"gcr.io/team/service-{number}:1"
        image = NamedImage(sample_image("base", name), (name,))
        members.append(Entry(f"service-{number}.tar", tar(jib_tarball([image]))))
    inventory, _ = read(tar(members))
    assert len({image.image_id for image in inventory.images}) == 3


THREE = [
    NamedImage(sample_image("base", word), (f"docker.io/team/{word}:1",))
    for word in ("one", "two", "three")
]


# The first number is exceeded while the archive is read, the other one at its end.
@pytest.mark.parametrize("most", [1, 13])
@pytest.mark.parametrize("order", [list, documents_last], ids=["index first", "index last"])
def test_too_many_layers_of_all_images_refuse_the_whole_archive(
    order: Callable[[list[Entry]], list[Entry]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckf_airgap.archives.layout_images._MOST_LAYERS", most)
    with pytest.raises(ArtifactError, match=f"list more than {most} layers together"):
        read(tar(order(oci_layout(THREE))))


def test_too_much_memory_for_the_list_of_images_refuses_the_whole_archive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [
        NamedImage(image_of([layer_of(word)] * 500), (f"docker.io/team/{word}:1",))
        for word in ("one", "two")
    ]
    entries = crane_tarball(images)
    documents = (entry for entry in entries if not entry.name.endswith(".tar.gz"))
    # Enough for the documents, and not for the layers that the configs list.
    limit = sum(len(entry.content) for entry in documents) + 10_000
    monkeypatch.setattr("ckf_airgap.archives.image_reader.Allowance", lambda: Allowance(limit))
    with pytest.raises(ArtifactError, match="needs more than 0 MiB of memory"):
        read(tar(entries))


def in_indexes(named: NamedImage, depth: int) -> bytes:
    """Write a layout of an image in indexes in each other, that of the layout not counted."""
    stored = StoredImage.of(named.image)
    described, blobs = stored.descriptor, [stored.manifest, *stored.blobs]
    for _ in range(depth):
        blobs.append(index_of([described]))
        described = descriptor(OCI_INDEX, blobs[-1])
    names = Naming.FULL.annotations(named.names[0])
    return tar(layout(index_of([annotated(described, names)]), blobs))


def test_an_image_in_too_many_indexes_is_told_as_that() -> None:
    inventory, _ = read(in_indexes(SURE, 4))
    assert [image.image_id for image in inventory.images] == [SURE.image.image_id]
    with pytest.raises(ArtifactError, match="sure:1 is an index nested 4 levels deep"):
        read(in_indexes(SURE, 5))


def test_without_a_wanted_architecture_no_image_is_left_out_for_another() -> None:
    images = [
        NamedImage(sample_image("base", word, architecture=architecture), SURE.names)
        for word, architecture in (("one", "amd64"), ("two", ""))
    ]
    inventory, _ = read(tar(old_docker_save(images)))
    assert [image.architecture for image in inventory.images] == ["amd64", ""]
    assert inventory.passed_over == ()
    assert len(inventory.conflicts) == 1


def test_compressed_data_without_an_archive_is_told_as_that() -> None:
    content = tar(
        [Entry("sure.tar", tar(old_docker_save([SURE]))), Entry("dump.gz", gzipped(b"x"))]
    )
    (skipped,) = read(content)[0].passed_over
    assert (skipped.file, skipped.reason, skipped.cure) == (
        "dump.gz",
        "gzip data that contains no tar archive",
        "",
    )


def test_compressed_data_that_cannot_be_decoded_may_be_an_image() -> None:
    damaged = gzipped(tar(docker_save([SURE])))[:10] + b"\xff" * 1000
    content = tar([Entry("sure.tar", tar(old_docker_save([SURE]))), Entry("image.gz", damaged)])
    (skipped,) = read(content)[0].passed_over
    assert skipped.reason.startswith("gzip data that cannot be decoded (")
    assert skipped.may_be_image


@pytest.mark.parametrize("form", [docker_save, oci_layout])
def test_the_only_image_is_named_after_the_file_of_the_archive(
    form: Callable[[Sequence[NamedImage]], list[Entry]], tmp_path: Path
) -> None:
    path = tmp_path / "minio.tar"
    path.write_bytes(tar(form([NamedImage(SURE.image)])))
    found: list[str] = []
    read_inventory(FileSource(path), on_image=lambda _, image: found.append(image.file_name))
    assert found == ["minio"]
