"""What an operator has to look at: images that nobody can ask for, or that are not whole.

All else of the archive is pushed; the exit status and the output say what is left to do.
"""

import bz2
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.functional.archive_case import (
    JUPYTER,
    JUPYTER_TAR,
    KFAM,
    KFAM_TAR,
    MINIO,
    MINIO_TAR,
    Answer,
    ArchiveCase,
    named,
    passed_over,
)
from tests.support.archive_forms import (
    FORMS,
    crane_tarball,
    docker_save,
    old_docker_save,
    podman_save,
)
from tests.support.compressed import gzipped, zstandard_frame
from tests.support.oci_forms import Naming, oci_layout, platforms_layout
from tests.support.sample_images import NamedImage, hex_of, sample_image
from tests.support.tar_files import Entry, hard_link, inside, symbolic_link, tar, tar_of

NAMELESS = NamedImage(sample_image("base", "nameless"))
BADLY_NAMED = NamedImage(NAMELESS.image, ("docker.io/Team/KFAM:1.8",))
UNNAMED: Mapping[str, list[Entry]] = {
    "docker save by id, old": old_docker_save([NAMELESS]),
    "docker save by id": docker_save([NAMELESS]),
    "podman save by id": podman_save([NAMELESS]),
    "a name that is none": crane_tarball([BADLY_NAMED]),
    "a layout whose names are tags": oci_layout(
        [NamedImage(NAMELESS.image, ("docker.io/kubeflow/volumes:1.8",))], Naming.TAG
    ),
    "a layout whose names are words": oci_layout(
        [NamedImage(NAMELESS.image, ("docker.io/kubeflow/volumes:latest",))], Naming.TAG
    ),
    "a layout without names": oci_layout([NAMELESS]),
    "a layout in a folder": inside("volumes", oci_layout([NAMELESS])),
}


def require_cure_of_unnamed(answer: Answer) -> None:
    """See that it says how an image gets its name."""
    assert re.search(r"docker save|--charms|ref\.name", answer.output + answer.error), answer.said


@pytest.mark.parametrize("name", UNNAMED)
def test_an_image_without_a_name(name: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar(UNNAMED[name])))
    assert answer.status == 1, answer.said
    assert answer.document["pushed"] == [], answer.said
    assert len(answer.document["unnamed"]) == 1, answer.said
    assert answer.document["damaged"] == [], answer.said
    assert case.tags() == {}
    require_cure_of_unnamed(answer)


@pytest.mark.parametrize("name", UNNAMED)
def test_a_member_without_a_name(name: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar_of(nameless=tar(UNNAMED[name]), jupyter=JUPYTER_TAR)))
    assert answer.status == 1, answer.said
    case.require_pushed(answer, [JUPYTER])
    (member,) = answer.document["unnamed"]
    assert "nameless.tar" in member
    require_cure_of_unnamed(answer)


def test_inspect_lists_an_image_without_a_name(case: ArchiveCase) -> None:
    members = {"nameless": tar(docker_save([NAMELESS])), "jupyter": JUPYTER_TAR}
    answer = case.inspect(gzipped(tar_of(**members)))
    found = {each["image_id"]: each["names"] for each in answer.document["images"]}
    assert found[NAMELESS.image.image_id] == []
    assert len(found) == 2


LINKS: Mapping[str, tuple[Entry, str]] = {
    "symbolic, absolute": (symbolic_link("kfam.tar", "/mnt/usb/kfam.tar"), "/mnt/usb/kfam.tar"),
    "symbolic, relative": (symbolic_link("kfam.tar", "../usb/kfam.tar"), "../usb/kfam.tar"),
    "symbolic, .tar.gz": (symbolic_link("images/kfam.tar.gz", "/mnt/k.tgz"), "/mnt/k.tgz"),
    "hard": (hard_link("kfam.tar", "usb/kfam.tar"), "usb/kfam.tar"),
    "without an ending": (symbolic_link("kfam-2.0", "/mnt/usb/kfam-2.0"), "/mnt/usb/kfam-2.0"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_to_what_is_not_there(name: str, case: ArchiveCase) -> None:
    link, target = LINKS[name]
    answer = case.push(gzipped(tar([link, Entry("jupyter.tar", JUPYTER_TAR)])))
    assert answer.status == 1, answer.said
    case.require_pushed(answer, [JUPYTER])
    listed = passed_over(answer, link.name)
    assert listed["may_be_image"] is True
    assert target in listed["reason"]
    assert "tar -h" in listed["cure"] or "tar -ch" in listed["cure"], answer.said
    assert case.inspect().status == 1


def zipped(content: bytes) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("kfam.tar", content)
    return output.getvalue()


FOREIGN: Mapping[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "xz": ("kfam.tar.xz", lzma.compress, "xz"),
    "xz named .tar": ("kfam.tar", lzma.compress, "xz"),
    "bzip2": ("kfam.tar.bz2", bz2.compress, "bzip2"),
    "zip": ("kfam.zip", zipped, "zip"),
    "zip named .tar": ("kfam.tar", zipped, "zip"),
}


def trouble_with(answer: Answer, file: str) -> str:
    """Give all that the command says of a file that it could not read."""
    damaged = [text for text in answer.document["damaged"] if file in text]
    skipped = [
        f"{each['reason']}: {each['cure']}"
        for each in answer.document["passed_over"]
        if each["file"].endswith(file) and each["may_be_image"]
    ]
    assert len(damaged) + len(skipped) == 1, answer.said
    return (damaged or skipped)[0]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_member_of_a_foreign_kind(name: str, case: ArchiveCase) -> None:
    file, compress, word = FOREIGN[name]
    members = [Entry(file, compress(KFAM_TAR)), Entry("jupyter.tar", JUPYTER_TAR)]
    answer = case.push(gzipped(tar(members)))
    assert answer.status == 1, answer.said
    case.require_pushed(answer, [JUPYTER])
    trouble = trouble_with(answer, file)
    assert word in trouble
    # The cure: what to save or compress it with.
    assert re.search(r"gzip|docker save|unzip|unpack", trouble), trouble
    assert case.inspect().status == 1


@pytest.mark.parametrize("name", FOREIGN)
def test_nothing_but_members_of_a_foreign_kind(name: str, case: ArchiveCase) -> None:
    file, compress, word = FOREIGN[name]
    answer = case.push(gzipped(tar([Entry(file, compress(KFAM_TAR))])))
    assert answer.status == 2, answer.said
    assert file in answer.error and word in answer.error, answer.said


@pytest.mark.parametrize("command", ["push", "inspect"])
def test_nothing_but_text(command: str, case: ArchiveCase) -> None:
    texts = [Entry("README.md", b"# images\n"), Entry("release.json", b'{"a": 1}')]
    content = gzipped(tar([*texts, *inside("notes", texts)]))
    answer = case.push(content) if command == "push" else case.inspect(content)
    assert answer.status == 2, answer.said
    (error,) = answer.error.splitlines()
    assert "contains no images" in error


AMD64 = sample_image("base", "server")
ARM64 = sample_image("base-arm64", "server-arm64", architecture="arm64")
SERVER = "docker.io/kserve/server:0.11"
PLATFORMS = platforms_layout(SERVER, [AMD64, ARM64], [JUPYTER])
PLACES: Mapping[str, list[Entry]] = {
    "the archive": PLATFORMS,
    "a folder": inside("images", PLATFORMS),
    "a member": [Entry("images.tar", tar(PLATFORMS))],
    "a member beside": [
        Entry("server.tar", tar(platforms_layout(SERVER, [AMD64, ARM64]))),
        Entry("jupyter.tar", JUPYTER_TAR),
    ],
}


@pytest.mark.parametrize("place", PLACES)
def test_one_name_for_two_platforms(place: str, case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar(PLACES[place])))
    assert answer.status == 1, answer.said
    case.require_pushed(answer, [JUPYTER])
    for refused in (answer, case.inspect()):
        assert refused.status == 1, refused.said
        texts = refused.texts("damaged", "passed_over", "conflicts")
        assert SERVER in texts
        assert "amd64" in texts and "arm64" in texts
        assert "--architecture" in texts + refused.error


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("place", PLACES)
def test_the_platform_that_is_asked_for(place: str, architecture: str, case: ArchiveCase) -> None:
    chosen = NamedImage(AMD64 if architecture == "amd64" else ARM64, (SERVER,))
    answer = case.push(gzipped(tar(PLACES[place])), "--architecture", architecture)
    case.require_whole(answer, [chosen, JUPYTER])
    inspected = case.inspect(None, "--architecture", architecture)
    assert inspected.status == 0, inspected.said
    found = {each["image_id"]: each["architecture"] for each in inspected.document["images"]}
    assert found == {chosen.image.image_id: architecture, JUPYTER.image.image_id: "amd64"}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_of_another_architecture_alone(form: str, case: ArchiveCase) -> None:
    image = named("docker.io/kubeflow/arm:1", "base", "arm", architecture="arm64")
    case.require_whole(case.push(gzipped(tar(FORMS[form].make([image])))), [image])


def without(entries: Sequence[Entry], name: str) -> bytes:
    kept = [entry for entry in entries if entry.name != name]
    assert len(kept) == len(entries) - 1
    return tar(kept)


def flipped(content: bytes, part: bytes) -> bytes:
    """Flip a bit of a file in an archive."""
    place = content.index(part) + len(part) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


KFAM_LAYERS = [hex_of(layer) for layer in KFAM.image.layers]
KFAM_BLOB = f"blobs/sha256/{KFAM_LAYERS[1]}"
KFAM_LAYOUT = oci_layout([KFAM])
KFAM_STORED = max(KFAM_LAYOUT, key=lambda entry: len(entry.content))
DAMAGE: Mapping[str, bytes] = {
    "docker save, cut off": KFAM_TAR[: len(KFAM_TAR) // 2],
    "docker save, end cut off": KFAM_TAR.rstrip(b"\0")[:-512],
    "docker save, gzip cut off": gzipped(KFAM_TAR)[:-100],
    "docker save, gzip checksum wrong": flipped(gzipped(KFAM_TAR), gzipped(KFAM_TAR)[-8:]),
    "docker save, zstd cut off": zstandard_frame(KFAM_TAR)[:-100],
    "docker save, a bit of a layer": flipped(KFAM_TAR, KFAM.image.layers[1]),
    "docker save, a bit of the config": flipped(KFAM_TAR, KFAM.image.config),
    "docker save, without a layer": without(docker_save([KFAM]), KFAM_BLOB),
    "docker save, without the config": without(
        docker_save([KFAM]), f"blobs/sha256/{hex_of(KFAM.image.config)}"
    ),
    "old docker save, a bit of a layer": flipped(
        tar(old_docker_save([KFAM])), KFAM.image.layers[1]
    ),
    "podman save, without a layer": without(podman_save([KFAM]), f"{KFAM_LAYERS[1]}.tar"),
    "podman save, cut off": tar(podman_save([KFAM]))[:5120],
    "layout, a bit of a layer": flipped(tar(KFAM_LAYOUT), KFAM_STORED.content),
    "layout, without a layer": without(KFAM_LAYOUT, KFAM_STORED.name),
    "layout, cut off": tar(KFAM_LAYOUT)[:3000],
    "layout, an index that is no JSON": tar(
        Entry(entry.name, b'{"manifests":[') if entry.name == "index.json" else entry
        for entry in KFAM_LAYOUT
    ),
}


# Nothing but reading a layer shows that a bit of it is wrong, which inspect does not do.
SEEN_BY_PUSH = [name for name in DAMAGE if name.endswith("a bit of a layer")]


def require_damage(answer: Answer) -> None:
    assert answer.status == 1, answer.said
    assert answer.document["damaged"], answer.said
    for text in answer.document["damaged"]:
        assert "kfam.tar" in text or KFAM.names[0].partition("/")[2] in text, answer.said
        # The cure.
        assert re.search(r"docker save|again|pack", text), answer.said


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_member(name: str, case: ArchiveCase) -> None:
    members = {"minio": MINIO_TAR, "kfam": DAMAGE[name], "jupyter": JUPYTER_TAR}
    answer = case.push(gzipped(tar_of(**members)))
    require_damage(answer)
    case.require_pushed(answer, [MINIO, JUPYTER])
    if name not in SEEN_BY_PUSH:
        require_damage(case.inspect())


def test_a_member_of_no_bytes(case: ArchiveCase) -> None:
    answer = case.push(gzipped(tar_of(kfam=b"", jupyter=JUPYTER_TAR)))
    assert answer.status == 1, answer.said
    case.require_pushed(answer, [JUPYTER])
    assert "empty" in trouble_with(answer, "kfam.tar")


LONG = named(f"quay.io/{'/'.join(['mirrored-images-of-kubeflow'] * 8)}/kfam:2.0", "base", "kfam")


@pytest.mark.parametrize("form", [old_docker_save, docker_save, oci_layout])
def test_a_name_that_is_too_long_below_the_prefix(
    form: Callable[[Sequence[NamedImage]], Sequence[Entry]], case: ArchiveCase
) -> None:
    case.place = "/".join(["department"] * 4)
    answer = case.push(gzipped(tar_of(a=tar(form([LONG])), b=tar(form([JUPYTER])))))
    assert answer.status == 2, answer.said
    assert f"{LONG.names[0]} is not pushed: its repository below the prefix" in answer.error
    assert "registries allow 255" in answer.error
    assert "give the option registry a shorter path" in answer.error
    assert list(case.tags()) == ["kubeflow/jupyter:1.8"]
