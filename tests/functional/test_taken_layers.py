"""Layers whose blocks are taken out of the archive as they are."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from testbed.pki import Authority
from tests.functional.archive_case import ArchiveCase
from tests.functional.front import Front
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, Request, proxy
from tests.support.archive_forms import docker_save, old_docker_save
from tests.support.compressed import gzipped
from tests.support.flushed import pigz
from tests.support.sample_images import NamedImage, image_of, layer_of, text_layer_of
from tests.support.tar_files import tar, tar_of

MIB = 1024 * 1024
BASE = text_layer_of("taken-base", 5 * MIB)
OWN = text_layer_of("taken-own", 3 * MIB)
IMAGE = NamedImage(image_of([BASE, OWN]), ("docker.io/kubeflow/jupyter:1.8",))
SMALL = NamedImage(image_of([BASE, layer_of("taken-small")]), ("docker.io/kubeflow/kfam:2.0",))
IMAGES = (IMAGE, SMALL)
FILES = tar_of(jupyter=tar(docker_save([IMAGE])), kfam=tar(docker_save([SMALL])))
# The same images, each at another place, in archives that have nothing else in common.
OTHER = tar_of(kfam=tar(docker_save([SMALL])), j=tar(docker_save([IMAGE])))
PIGZ = pigz(FILES)

ARCHIVES: dict[str, Callable[[], bytes]] = {
    "pigz": lambda: PIGZ,
    "pigz -b 512": lambda: pigz(FILES, "-b", "512"),
    "pigz -i": lambda: pigz(FILES, "-i"),
    "pigz -R": lambda: pigz(FILES, "-R"),
    "pigz -9": lambda: pigz(FILES, "-9"),
    "pigz of one thread": lambda: pigz(FILES, "-p", "1"),
    "gzip": lambda: gzipped(FILES),
    "members": lambda: pigz(FILES[: 6 * MIB]) + pigz(FILES[6 * MIB :]),
    "compressed inside": lambda: gzipped(tar_of(a=PIGZ)),
    "old": lambda: pigz(tar_of(a=tar(old_docker_save([IMAGE])), b=tar(old_docker_save([SMALL])))),
}


def blobs(case: ArchiveCase, image: NamedImage) -> list[str]:
    """List the digests of the layers as they are stored."""
    manifest = json.loads(case.manifest(image.names[0]))
    return [layer["digest"] for layer in manifest["layers"]]


def stored(registry: RunningRegistry, digest: str) -> bytes:
    algorithm, _, name = digest.partition(":")
    root = registry.process.data / "docker/registry/v2/blobs" / algorithm
    return (root / name[:2] / name / "data").read_bytes()


@pytest.mark.parametrize("form", ARCHIVES)
def test_images_come_back_as_they_were(form: str, case: ArchiveCase) -> None:
    archive = ARCHIVES[form]()
    case.require_whole(case.push(archive), IMAGES)
    # Into an empty registry, the same archive gives the same.
    another = ArchiveCase.like(case)
    another.require_whole(another.push(archive), IMAGES)
    assert another.tags() == case.tags()


def test_blocks_stand_in_the_registry_as_in_the_archive(
    shared_registry: RunningRegistry, case: ArchiveCase
) -> None:
    case.require_whole(case.push(PIGZ), IMAGES)
    for digest in blobs(case, IMAGE):
        blob = stored(shared_registry, digest)
        middle = blob[len(blob) // 2 :][:100_000]
        assert middle in PIGZ


@pytest.mark.parametrize("has_journal", [True, False], ids=["journal", "no journal"])
@pytest.mark.parametrize("other", [OTHER, FILES], ids=["elsewhere", "not compressed"])
def test_layers_of_another_archive_are_not_sent(
    other: bytes, has_journal: bool, case: ArchiveCase
) -> None:
    case.require_whole(case.push(PIGZ), IMAGES)
    before = case.tags()
    if not has_journal:
        case.forget()
    next_image = NamedImage(
        image_of([BASE, OWN, layer_of("taken-next")]), ("docker.io/kubeflow/jupyter:1.9",)
    )
    files = tar_of(next=tar(docker_save([next_image])))
    answer = case.push(pigz(files))
    assert answer.status == 0, answer.said
    assert answer.document["uploaded_bytes"] < 10_000
    assert case.pulled(next_image.names[0]) == next_image.image.identity
    if not has_journal:
        case.forget()
    answer = case.push(pigz(other, "-b", "64") if other is OTHER else other)
    assert answer.status == 0, answer.said
    assert (answer.document["uploaded_bytes"], answer.document["pushed"]) == (0, [])
    assert case.tags() == {**before, "kubeflow/jupyter:1.9": case.tags()["kubeflow/jupyter:1.9"]}


def by_method(method: str, end: str, status: int) -> Callable[[Request], Answer | int | None]:
    def refuse(request: Request) -> Answer | int | None:
        is_it = request.method == method and end in request.path
        return status if is_it else None

    return refuse


def test_a_registry_that_lists_no_tags(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with proxy(registry, authority, by_method("GET", "/tags/list", 403)) as host:
        case = Front(registry, tmp_path, capsys, host)
        case.require_whole(case.push(PIGZ), IMAGES)
        case.forget()
        answer = case.push(pigz(OTHER))
        assert answer.status == 0, answer.said
        assert (answer.document["uploaded_bytes"], answer.document["pushed"]) == (0, [])


def pushed_by_skopeo(case: Front, images: Iterable[NamedImage]) -> None:
    """Push images at once to where the archive is pushed to, then let no tag be changed."""
    place, case.place = case.place, case.place.removesuffix("-skopeo")
    assert case.skopeo_pushes(*images)
    case.place = place


def test_a_tag_that_cannot_be_changed_may_stand_for_the_same_image(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken: set[str] = set()

    def refuse(request: Request) -> int | None:
        if request.method != "PUT" or "/manifests/" not in request.path:
            return None
        if request.path in taken:
            return 412
        taken.add(request.path)
        return None

    with proxy(registry, authority, refuse) as host:
        case = Front(registry, tmp_path, capsys, host)
        case.place += "-skopeo"
        pushed_by_skopeo(case, IMAGES)
        before = case.tags()
        answer = case.push(PIGZ)
        assert answer.status == 0, answer.said
        assert answer.document["pushed"] == []
        assert answer.document["present"] == len(IMAGES)
        assert case.tags() == before
        again = case.push()
        assert (again.status, again.document["uploaded_bytes"]) == (0, 0), again.said
        # Another image is another image.
        other = NamedImage(image_of([BASE]), IMAGE.names)
        answer = case.push(pigz(tar_of(a=tar(docker_save([other])))))
        assert answer.status == 2, answer.said
        assert "immutable" in answer.error
        assert case.tags() == before
