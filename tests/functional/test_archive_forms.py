"""Each form that tools save images in: as images.tar.gz itself, and as a member of one.

What the form is, is told by what is in it: the names of the files say nothing, nor does the order.
"""

from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.functional.archive_case import (
    JUPYTER,
    KFAM,
    MINIO,
    SEVERAL,
    ArchiveCase,
    whole_name,
)
from tests.support.archive_forms import (
    FORMS,
    crane_tarball,
    docker_save,
    new_docker_save,
    old_docker_save,
    podman_save,
)
from tests.support.compressed import (
    gzip_members,
    gzipped,
    pzstd_frames,
    skippable_frame,
    uncompressed,
    zstandard_frame,
)
from tests.support.oci_forms import (
    Naming,
    StoredImage,
    annotated,
    buildx_layout,
    documents_last,
    index_of,
    layout,
    oci_layout,
)
from tests.support.sample_images import (
    CHUNKED_ZSTD,
    GZIP_MEMBERS,
    PLAIN,
    PZSTD,
    ZSTD,
    LayerStorage,
    NamedImage,
    SampleImage,
    digest_of,
    hex_of,
    image_of,
    image_without_layers,
    json_of,
    layer_of,
)
from tests.support.skopeo_reader import read_image
from tests.support.tar_files import Entry, hard_link, inside, symbolic_link, tar, tar_of


def check_with_skopeo(case: ArchiveCase, name: str, images: Sequence[NamedImage]) -> None:
    """See that skopeo finds the same images in the same archive."""
    # Skopeo 1.9 cannot read docker's archives while they are compressed with gzip.
    plain = case.folder / "images.tar"
    plain.write_bytes(uncompressed(case.path.read_bytes()))
    for each in images:
        for reference in each.names:
            source = FORMS[name].source(str(plain), reference)
            assert read_image(source, case.folder / "skopeo") == each.image.identity


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_one_image(form: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar(FORMS[form].make([JUPYTER]))))
    case.require_whole(answer, [JUPYTER])
    check_with_skopeo(case, form, [JUPYTER])


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.holds_several])
def test_a_file_of_several_images(form: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar(FORMS[form].make(SEVERAL))))
    case.require_whole(answer, SEVERAL)
    check_with_skopeo(case, form, SEVERAL)


@pytest.mark.parametrize("form", FORMS)
def test_a_member_for_each_image(form: str, case: ArchiveCase) -> None:
    members = {f"image-{n}": tar(FORMS[form].make([each])) for n, each in enumerate(SEVERAL)}
    case.require_whole(case.push(gzipped(tar_of(**members))), SEVERAL)


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if form.holds_several])
def test_a_member_of_several_images(form: str, case: ArchiveCase) -> None:
    two = tar(FORMS[form].make([JUPYTER, KFAM]))
    one = tar(FORMS[form].make([MINIO]))
    case.require_whole(case.push(gzipped(tar_of(two=two, one=one))), SEVERAL)


@pytest.mark.parametrize("form", FORMS)
def test_a_second_run_finds_all_of_it(form: str, case: ArchiveCase) -> None:
    images = SEVERAL if FORMS[form].holds_several else [JUPYTER]
    first = case.push(gzipped(tar(FORMS[form].make(images))))
    assert first.status == 0, first.said
    tags = case.tags()
    for _ in range(2):
        again = case.push()
        assert (again.status, again.document["pushed"]) == (0, []), again.said
        assert again.document["present"] == len(images)
        assert again.document["uploaded_bytes"] == 0
        assert case.tags() == tags


@pytest.mark.parametrize("form", FORMS)
def test_inspect_lists_the_same(form: str, case: ArchiveCase) -> None:
    images = SEVERAL if FORMS[form].holds_several else [JUPYTER]
    answer = case.inspect(gzipped(tar(FORMS[form].make(images))))
    assert answer.status == 0, answer.said
    found = {each["image_id"]: each for each in answer.document["images"]}
    assert set(found) == {each.image.image_id for each in images}
    for each in images:
        listed = found[each.image.image_id]
        assert listed["architecture"] == "amd64"
        assert [whole_name(name) for name in listed["names"]] == list(each.names)


def test_all_forms_in_one_archive(case: ArchiveCase) -> None:
    members: list[Entry] = []
    images: list[NamedImage] = []
    for number, (name, form) in enumerate(FORMS.items()):
        reference = f"docker.io/mixed/image-{number}:1"
        image = NamedImage(image_of([layer_of("base"), layer_of(name)]), (reference,))
        images.append(image)
        members.append(Entry(f"{number}.tar", tar(form.make([image]))))
    in_folder = NamedImage(image_of([layer_of("folder")]), ("docker.io/mixed/folder:1",))
    members[3:3] = inside("a-layout", oci_layout([in_folder]))
    case.require_whole(case.push(gzipped(tar(members))), [*images, in_folder])


JUPYTER_LAYOUT = oci_layout([JUPYTER])
LAYOUTS: Mapping[str, tuple[list[Entry], Sequence[NamedImage]]] = {
    "in a folder": (inside("images", JUPYTER_LAYOUT), [JUPYTER]),
    "with ./ in front": (inside(".", JUPYTER_LAYOUT), [JUPYTER]),
    "a folder for each image": (
        [
            *inside("jupyter", oci_layout([JUPYTER])),
            *inside("kfam", oci_layout([KFAM])),
            *inside("minio", oci_layout([MINIO])),
        ],
        SEVERAL,
    ),
    "a folder for each image, blobs first": (
        [
            *inside("jupyter", documents_last(oci_layout([JUPYTER]))),
            *inside("kfam", documents_last(oci_layout([KFAM]))),
            *inside("minio", documents_last(oci_layout([MINIO]))),
        ],
        SEVERAL,
    ),
    "one at the root and one in a folder": (
        [*oci_layout([JUPYTER]), *inside("second", oci_layout([KFAM]))],
        [JUPYTER, KFAM],
    ),
    "folders in turns": (
        [
            entry
            for pair in zip(
                inside("a", oci_layout([JUPYTER])), inside("b", oci_layout([KFAM])), strict=True
            )
            for entry in pair
        ],
        [JUPYTER, KFAM],
    ),
    "a folder whose name has dots": (
        inside("./deep/kubeflow.jupyter:1.8", JUPYTER_LAYOUT),
        [JUPYTER],
    ),
    "a README in front": ([Entry("README.md", b"# images\n"), *JUPYTER_LAYOUT], [JUPYTER]),
    "JSON of somebody's own in front": (
        [Entry("release.json", b'{"release":"1.8"}'), *JUPYTER_LAYOUT],
        [JUPYTER],
    ),
    "manifest.json in front": (
        sorted(docker_save(SEVERAL), key=lambda entry: entry.name != "manifest.json"),
        SEVERAL,
    ),
    "manifest.json in front, docker 29": (
        sorted(new_docker_save(SEVERAL), key=lambda entry: entry.name != "manifest.json"),
        SEVERAL,
    ),
    "in the order of the digests backwards": (JUPYTER_LAYOUT[::-1], [JUPYTER]),
    "names of containerd": (oci_layout(SEVERAL, Naming.CONTAINERD), SEVERAL),
    "uncompressed layers": (oci_layout(SEVERAL, storage=PLAIN), SEVERAL),
    "without the marker": (
        [entry for entry in JUPYTER_LAYOUT if entry.name != "oci-layout"],
        [JUPYTER],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(name: str, case: ArchiveCase) -> None:
    entries, images = LAYOUTS[name]
    case.require_whole(case.push(gzipped(tar(entries))), images)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_as_a_member(name: str, case: ArchiveCase) -> None:
    entries, images = LAYOUTS[name]
    other = NamedImage(image_of([layer_of("other")]), ("docker.io/other/image:1",))
    members = {"archive": tar(entries), "other": tar(old_docker_save([other]))}
    case.require_whole(case.push(gzipped(tar_of(**members))), [*images, other])


def test_an_image_with_several_names_and_a_digest(case: ArchiveCase) -> None:
    stored = StoredImage.of(JUPYTER.image)
    digest = digest_of(stored.manifest)
    names = ("docker.io/a/one:1", "docker.io/a/one:latest", f"docker.io/b/two@{digest}")
    entries = [annotated(stored.descriptor, Naming.FULL.annotations(name)) for name in names]
    content = tar(layout(index_of(entries), [stored.manifest, *stored.blobs]))
    answer = case.push(gzipped(content))
    assert answer.status == 0, answer.said
    # What is pulled by a digest inside is tagged with it: the digest may change on the way.
    for name in ("docker.io/a/one:1", "docker.io/a/one:latest", f"docker.io/b/two:{digest[7:]}"):
        assert case.pulled(name) == JUPYTER.image.identity


MEMBERS = tar_of(
    jupyter=tar(old_docker_save([JUPYTER])),
    kfam=tar(docker_save([KFAM])),
    minio=tar(crane_tarball([MINIO])),
)
ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip of several members": gzip_members,
    "gzip with zeros behind": lambda data: gzipped(data) + bytes(10240),
    "gzip members with zeros behind": lambda data: gzip_members(data) + bytes(512),
    "gzip with an empty member behind": lambda data: gzipped(data) + gzipped(b""),
    "zstd": zstandard_frame,
    "pzstd": pzstd_frames,
    "zstd with a skippable frame behind": lambda data: (
        zstandard_frame(data) + skippable_frame(b"an index", 14)
    ),
    "zstd with each kind of skippable frame in front": lambda data: (
        b"".join(skippable_frame(b"?", number) for number in range(16)) + zstandard_frame(data)
    ),
    "not compressed": lambda data: data,
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding(name: str, case: ArchiveCase) -> None:
    case.require_whole(case.push(ENCODINGS[name](MEMBERS)), SEVERAL)


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_of_a_layout(name: str, case: ArchiveCase) -> None:
    case.require_whole(case.push(ENCODINGS[name](tar(oci_layout(SEVERAL)))), SEVERAL)


@pytest.mark.parametrize("garbage", [b"\n", b"\0\n", b"signature " * 99])
def test_gzip_with_garbage_behind(garbage: bytes, case: ArchiveCase) -> None:
    answer = case.push(gzipped(MEMBERS) + garbage)
    case.require_whole(answer, SEVERAL)
    (warning,) = [line for line in answer.error.splitlines() if "follows its end" in line]
    assert case.path.name in warning, answer.said


STORAGES: Mapping[str, LayerStorage] = {
    "zstd": ZSTD,
    "pzstd": PZSTD,
    "zstd:chunked": CHUNKED_ZSTD,
    "gzip of several members": GZIP_MEMBERS,
    "not compressed": PLAIN,
}
HOLDERS: Mapping[str, Callable[[LayerStorage], list[Entry]]] = {
    "old docker save": lambda storage: old_docker_save(SEVERAL, storage),
    "docker save": lambda storage: docker_save(SEVERAL, storage),
    "crane tarball": lambda storage: crane_tarball(SEVERAL, storage),
    "OCI layout": lambda storage: oci_layout(SEVERAL, storage=storage),
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_how_layers_are_stored(holder: str, storage: str, case: ArchiveCase) -> None:
    content = tar(HOLDERS[holder](STORAGES[storage]))
    case.require_whole(case.push(gzipped(tar_of(all=content))), SEVERAL)
    direct = ArchiveCase.like(case)
    direct.require_whole(direct.push(gzipped(content)), SEVERAL)


BARE: Mapping[str, SampleImage] = {
    "diff_ids is an empty list": image_without_layers(diff_ids=[]),
    "diff_ids is absent": image_without_layers(),
    "diff_ids is null": image_without_layers(diff_ids=None),
}


def null_layers(entries: list[Entry]) -> list[Entry]:
    """Write ``null`` for the layers in manifest.json."""
    return [
        Entry(entry.name, entry.content.replace(b'"Layers":[]', b'"Layers":null'))
        if entry.name == "manifest.json"
        else entry
        for entry in entries
    ]


BARE_HOLDERS: Mapping[str, Callable[[NamedImage], list[Entry]]] = {
    "old docker save": lambda bare: old_docker_save([bare]),
    "old docker save, Layers null": lambda bare: null_layers(old_docker_save([bare])),
    "docker save": lambda bare: docker_save([bare]),
    "docker save, Layers null": lambda bare: null_layers(docker_save([bare])),
    "OCI layout": lambda bare: oci_layout([bare]),
    "OCI layout, layers null": lambda bare: oci_layout([bare], layers_are_null=True),
    "buildx": lambda bare: buildx_layout([bare]),
}


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("holder", BARE_HOLDERS)
def test_an_image_without_layers(holder: str, name: str, case: ArchiveCase) -> None:
    bare = NamedImage(BARE[name], ("docker.io/kubeflow/bare:1",))
    content = tar(BARE_HOLDERS[holder](bare))
    members = tar_of(bare=content, jupyter=tar(old_docker_save([JUPYTER])))
    case.require_whole(case.push(gzipped(members)), [bare, JUPYTER])
    direct = ArchiveCase.like(case)
    direct.require_whole(direct.push(gzipped(content)), [bare])


def links_for_layers(link: Callable[[str, str], Entry], prefix: str) -> list[Entry]:
    """Save an image that has a layer twice, for which the second time a link stands."""
    config = f"{hex_of(TWICE.image.config)}.json"
    manifest = [
        {
            "Config": config,
            "RepoTags": list(TWICE.names),
            "Layers": ["one/layer.tar", "two/layer.tar"],
        }
    ]
    return [
        Entry("one/layer.tar", TWICE.image.layers[0]),
        link("two/layer.tar", f"{prefix}one/layer.tar"),
        Entry(config, TWICE.image.config),
        Entry("manifest.json", json_of(manifest)),
    ]


TWICE = NamedImage(image_of([layer_of("twice")] * 2), ("docker.io/kubeflow/twice:1",))
EMPTY_LAYER = NamedImage(
    image_of([layer_of("base"), bytes(1024), layer_of("top"), bytes(1024)]),
    ("docker.io/kubeflow/hollow:1",),
)
JSON_LAYER = NamedImage(
    image_of([layer_of("base"), tar([Entry("{brace", b"{}")]), tar([Entry("[", b"[]")])]),
    ("docker.io/kubeflow/brace:1",),
)
NESTED_LAYER = NamedImage(
    image_of([layer_of("base"), tar([Entry("srv/images.tar", tar(old_docker_save([KFAM])))])]),
    ("docker.io/kubeflow/nested:1",),
)
UNUSUAL: Mapping[str, tuple[list[Entry], NamedImage]] = {
    "a hard link for a layer": (links_for_layers(hard_link, ""), TWICE),
    "a hard link for a layer, ./ in front": (
        inside(".", links_for_layers(hard_link, "")),
        TWICE,
    ),
    "a symbolic link for a layer": (links_for_layers(symbolic_link, "../"), TWICE),
    "a link in front of its layer": (links_for_layers(symbolic_link, "../")[::-1], TWICE),
    "a layer twice, crane": (crane_tarball([TWICE]), TWICE),
    "a layer twice, podman": (podman_save([TWICE]), TWICE),
    "a layer twice, docker": (docker_save([TWICE]), TWICE),
    "empty layers": (old_docker_save([EMPTY_LAYER]), EMPTY_LAYER),
    "empty layers, layout": (oci_layout([EMPTY_LAYER]), EMPTY_LAYER),
    "layers that begin as JSON": (docker_save([JSON_LAYER]), JSON_LAYER),
    "layers that begin as JSON, podman": (podman_save([JSON_LAYER]), JSON_LAYER),
    # Layers are tar archives, too; what they hold are no members.
    "a layer with an archive in it": (old_docker_save([NESTED_LAYER]), NESTED_LAYER),
    "a layer with an archive in it, podman": (podman_save([NESTED_LAYER]), NESTED_LAYER),
    "a layer with an archive in it, layout": (oci_layout([NESTED_LAYER]), NESTED_LAYER),
    "a layer with an archive in it, plain layers": (
        oci_layout([NESTED_LAYER], storage=PLAIN),
        NESTED_LAYER,
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_image(name: str, case: ArchiveCase) -> None:
    entries, image = UNUSUAL[name]
    case.require_whole(case.push(gzipped(tar_of(image=tar(entries)))), [image])
    direct = ArchiveCase.like(case)
    direct.require_whole(direct.push(gzipped(tar(entries))), [image])
