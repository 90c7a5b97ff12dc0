"""Images that would stand under one path: none may take the place of another in silence."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.functional.archive_case import JUPYTER, JUPYTER_TAR, ArchiveCase, named
from tests.sample_release import Charm, Resource, write_charm_archive
from tests.support.archive_forms import (
    crane_tarball,
    docker_save,
    new_docker_save,
    old_docker_save,
)
from tests.support.compressed import gzipped
from tests.support.oci_forms import oci_layout
from tests.support.sample_images import (
    GZIP,
    GZIP_HARDER,
    PLAIN,
    ZSTD,
    LayerStorage,
    NamedImage,
)
from tests.support.tar_files import Entry, inside, tar, tar_of

HUB = named("docker.io/team/app:1", "base", "hub")
QUAY = named("quay.io/team/app:1", "base", "quay")
AMD64 = named("docker.io/team/app:1", "base", "amd64")
ARM64 = named("docker.io/team/app:1", "base", "arm64", architecture="arm64")
# Docker leaves the name of its own hub out.
REGISTRIES = ("quay.io/team/app:1", "team/app:1")
ARCHITECTURES = ("amd64", "arm64")
CONFLICTS: Mapping[str, tuple[list[Entry], Sequence[str]]] = {
    "two registries, two members": (
        [
            Entry("hub.tar", tar(crane_tarball([HUB]))),
            Entry("quay.tar", tar(crane_tarball([QUAY]))),
            Entry("jupyter.tar", JUPYTER_TAR),
        ],
        REGISTRIES,
    ),
    "two registries, one member": (
        [
            Entry("both.tar", tar(docker_save([HUB, QUAY]))),
            Entry("jupyter.tar", JUPYTER_TAR),
        ],
        REGISTRIES,
    ),
    "two registries, one layout": (oci_layout([HUB, QUAY, JUPYTER]), REGISTRIES),
    "two registries, a layout and a member": (
        [
            *inside("hub", oci_layout([HUB])),
            Entry("jupyter.tar", JUPYTER_TAR),
            Entry("quay.tar.gz", gzipped(tar(new_docker_save([QUAY])))),
        ],
        REGISTRIES,
    ),
    "two architectures, one member": (
        [
            Entry("app.tar", tar(old_docker_save([AMD64, ARM64]))),
            Entry("jupyter.tar", JUPYTER_TAR),
        ],
        ARCHITECTURES,
    ),
    "two architectures, two members": (
        [
            Entry("app-amd64.tar", tar(docker_save([AMD64]))),
            Entry("app-arm64.tar", tar(docker_save([ARM64]))),
            Entry("jupyter.tar", JUPYTER_TAR),
        ],
        ARCHITECTURES,
    ),
    "two builds of one tag": (
        [
            Entry("app-monday.tar", tar(docker_save([HUB]))),
            Entry("app-tuesday.tar", tar(docker_save([AMD64]))),
            Entry("jupyter.tar", JUPYTER_TAR),
        ],
        ("app-monday.tar", "app-tuesday.tar"),
    ),
}


def require_both(text: str, both: Sequence[str]) -> None:
    """See that a text names both images of a path."""
    assert "team/app:1" in text
    rest = text
    for each in both:
        assert each in rest, text
        # A short name stands in a long one, too.
        rest = rest.replace(each, "")


@pytest.mark.parametrize("name", CONFLICTS)
def test_two_images_for_one_path(name: str, case: ArchiveCase) -> None:
    entries, both = CONFLICTS[name]
    first = case.push(gzipped(tar(entries)))
    assert first.status == 1, first.said
    (conflict,) = first.document["conflicts"]
    require_both(conflict, both)
    assert case.pulled(JUPYTER.names[0]) == JUPYTER.image.identity
    assert first.document["damaged"] == [], first.said
    tags = case.tags()
    for has_journal in (True, True, False, True):
        if not has_journal:
            case.forget()
        again = case.push()
        assert again.status == 1, again.said
        assert again.document["conflicts"] == [conflict]
        assert case.tags() == tags
        if has_journal:
            assert again.document["pushed"] == [], again.said


@pytest.mark.parametrize("name", CONFLICTS)
def test_inspect_lists_the_conflict(name: str, case: ArchiveCase) -> None:
    entries, both = CONFLICTS[name]
    answer = case.inspect(gzipped(tar(entries)))
    assert answer.status == 1, answer.said
    (conflict,) = answer.document["conflicts"]
    require_both(conflict, both)
    assert len(answer.document["images"]) == 3


@pytest.mark.parametrize("name", CONFLICTS)
def test_plan_refuses_the_archive(name: str, case: ArchiveCase) -> None:
    entries, both = CONFLICTS[name]
    case.path.write_bytes(gzipped(tar(entries)))
    charms = case.folder / "charms.tar.gz"
    image = Resource("app-image", "oci-image", "docker.io/team/app:1")
    write_charm_archive([Charm("team-app", (image,))], charms)
    archives = ("--images", str(case.path), "--charms", str(charms))
    answer = case.run("plan", *archives, "--registry", "registry.corp:5000/ckf")
    assert answer.status == 2, answer.said
    require_both(answer.error, both)


def saved(storage: LayerStorage) -> bytes:
    return tar(docker_save([HUB], storage))


def stored(storage: LayerStorage) -> bytes:
    return tar(oci_layout([HUB], storage=storage))


SAME: Mapping[str, Callable[[], list[Entry]]] = {
    "two levels of gzip": lambda: [
        Entry("one.tar", saved(GZIP)),
        Entry("two.tar", saved(GZIP_HARDER)),
    ],
    "two levels of gzip, crane": lambda: [
        Entry("one.tar", tar(crane_tarball([HUB], GZIP))),
        Entry("two.tar", tar(crane_tarball([HUB], GZIP_HARDER))),
    ],
    "not compressed, and gzip": lambda: [
        Entry("one.tar", tar(old_docker_save([HUB]))),
        Entry("two.tar", saved(GZIP)),
    ],
    "zstd, and not compressed": lambda: [
        Entry("one.tar", saved(ZSTD)),
        Entry("two.tar", saved(PLAIN)),
    ],
    "two layouts": lambda: [
        *inside("one", oci_layout([HUB], storage=GZIP)),
        *inside("two", oci_layout([HUB], storage=GZIP_HARDER)),
    ],
    "a layout of zstd, and a docker save": lambda: [
        Entry("one.tar", stored(ZSTD)),
        Entry("two.tar", tar(old_docker_save([HUB]))),
    ],
    "a docker save, and a layout of gzip": lambda: [
        Entry("one.tar", tar(old_docker_save([HUB]))),
        Entry("two.tar", stored(GZIP)),
    ],
    "the same file twice": lambda: [
        Entry("one.tar", saved(PLAIN)),
        Entry("copies/one.tar", saved(PLAIN)),
    ],
}


@pytest.mark.parametrize("name", SAME)
def test_one_image_twice(name: str, case: ArchiveCase) -> None:
    content = gzipped(tar([*SAME[name](), Entry("jupyter.tar", JUPYTER_TAR)]))
    first = case.push(content)
    assert first.status == 0, first.said
    assert first.document["conflicts"] == [], first.said
    assert case.pulled(HUB.names[0]) == HUB.image.identity
    assert case.pulled(JUPYTER.names[0]) == JUPYTER.image.identity
    tags = case.tags()
    assert len(tags) == 2
    for has_journal in (True, True, False, True):
        if not has_journal:
            case.forget()
        again = case.push()
        assert again.status == 0, again.said
        assert case.tags() == tags
        if has_journal:
            assert again.document["pushed"] == [], again.said
            assert again.document["uploaded_bytes"] == 0, again.said
    inspected = case.inspect()
    assert (inspected.status, inspected.document["conflicts"]) == (0, []), inspected.said


def test_one_image_under_two_names(case: ArchiveCase) -> None:
    other = NamedImage(HUB.image, ("quay.io/team/other:2",))
    members = {"one": tar(crane_tarball([HUB])), "two": tar(old_docker_save([other]))}
    case.require_whole(case.push(gzipped(tar_of(**members))), [HUB, other])


def test_one_image_of_two_registries_is_no_conflict(case: ArchiveCase) -> None:
    mirrored = NamedImage(HUB.image, QUAY.names)
    members = {"hub": tar(crane_tarball([HUB])), "quay": tar(crane_tarball([mirrored]))}
    answer = case.push(gzipped(tar_of(**members)))
    assert answer.status == 0, answer.said
    assert answer.document["conflicts"] == [], answer.said
    assert len(case.tags()) == 1
    assert case.pulled(HUB.names[0]) == HUB.image.identity
