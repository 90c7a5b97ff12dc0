"""Registries of three makers: what is pushed arrives in each, also by a push that was killed."""

import os
import random
import re
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from testbed.pki import Authority
from tests.functional.registry_case import RegistryCase
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Gate, proxy, running, wait_until
from tests.functional.watch import Watch
from tests.support.archive_forms import docker_save, old_docker_save
from tests.support.compressed import gzipped
from tests.support.flushed import pigz
from tests.support.oci_forms import StoredImage, oci_layout
from tests.support.sample_images import (
    NamedImage,
    digest_of,
    image_of,
    layer_of,
    text_layer_of,
)
from tests.support.tar_files import tar, tar_of

# At how many moments a push is killed; 20 in ``tox -e kills``.
_MOMENTS = int(os.environ.get("CKF_KILL_MOMENTS", "3"))
# One layer is too large to be sent in a single request, and compressed.
_LARGE = 12 * 1024 * 1024


def _seed() -> int:
    """Choose the moments of this run: one and the same in all processes that it is spread over."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    return int(os.environ.get("CKF_KILL_SEED") or zlib.crc32(run.encode()))


def _short(image: NamedImage) -> str:
    """Give the name that an image has below the prefix."""
    return image.names[0].partition("/")[2]


def _repositories(images: Sequence[NamedImage]) -> list[str]:
    """List their repositories below the prefix: each has one for mirrors, by its whole name."""
    names = (name for image in images for name in (_short(image), image.names[0]))
    return sorted(name.rpartition(":")[0] for name in names)


def _two_images(place: str) -> tuple[NamedImage, NamedImage]:
    """Make images that share a layer, which no other test has: blobs are known everywhere."""
    base = layer_of(f"base-{place}")
    return (
        NamedImage(image_of([base, layer_of(f"a-{place}")]), ("docker.io/kubeflow/jupyter:1.8",)),
        NamedImage(image_of([base, layer_of(f"b-{place}")]), ("docker.io/kubeflow/kfam:2.0",)),
    )


def test_images_arrive_once(
    real_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = _two_images(real_registry.location.path)
    files = tar_of(jupyter=tar(docker_save(images[:1])), kfam=tar(docker_save(images[1:])))
    watch = Watch()
    with proxy(real_registry, authority, watch) as host:
        case = RegistryCase(real_registry, tmp_path, capsys, host)
        answer = case.push(gzipped(files))
        case.require_whole(answer, images)
        assert sorted(watch.sent) == sorted(watch.created), "a blob was sent twice"
        before = watch.writes
        again = case.push()
        assert again.status == 0, again.said
        document = again.document
        assert (document["pushed"], document["present"]) == ([], len(images)), again.said
        assert document["uploaded_bytes"] == 0
        assert watch.writes == before
        _require_repositories(real_registry, watch, images)


def test_a_lost_journal_costs_no_layer(
    real_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = real_registry.location.path
    images, files = _release(place)
    minio = NamedImage(image_of([layer_of(f"m-{place}")]), ("quay.io/minio/minio:2023",))
    # Nothing in the names of the files tells to which image they belong.
    whole = tar_of(a=files, b=tar(oci_layout([minio])))
    watch = Watch()
    with proxy(real_registry, authority, watch) as host:
        case = RegistryCase(real_registry, tmp_path, capsys, host)
        assert case.push(gzipped(whole)).status == 0
        before = watch.writes
        case.forget()
        again = case.push()
        document = again.document
        assert (again.status, document["uploaded_bytes"]) == (0, 0), again.said
        assert (document["pushed"], document["present"]) == ([], len(images) + 1)
        assert watch.writes == before
        assert sorted(case.tags()) == sorted(_short(image) for image in [*images, minio])


def test_a_layout_keeps_its_digest(
    real_registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = _two_images(real_registry.location.path)
    case = RegistryCase(real_registry, tmp_path, capsys)
    case.require_whole(case.push(gzipped(tar_of(both=tar(oci_layout(images))))), images)
    manifests = {_short(image): StoredImage.of(image.image).manifest for image in images}
    assert case.tags() == {name: digest_of(content) for name, content in manifests.items()}
    for image in images:
        assert case.manifest(image.names[0]) == manifests[_short(image)]
    assert real_registry.repositories() == _repositories(images)


def _release(place: str) -> tuple[list[NamedImage], bytes]:
    """Make an archive of several forms, of which nothing is in any registry yet."""
    jupyter, kfam = _two_images(place)
    large = [layer_of(f"c-{place}"), text_layer_of(f"large-{place}", _LARGE)]
    pilot = NamedImage(image_of(large), ("quay.io/istio/pilot:1.17",))
    # Each layer stands in one file: what two of them have, in forms that do not know of each
    # other, is sent for both.
    files = tar_of(old=tar(old_docker_save([pilot])), new=tar(docker_save([jupyter, kfam])))
    return [jupyter, kfam, pilot], files


def _remembered(state: Path) -> set[str]:
    """Read what the program has noted to its end, as far as it was written at all."""
    text = state.read_text() if state.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    return {f"sha256:{digest}" for digest in re.findall(r"sha256:([0-9a-f]{64})", whole)}


class _FromThen(Gate):
    """A gate for all requests of the program, from one on."""

    def __init__(self, passing: int, then: Literal["cut"] | None) -> None:
        super().__init__(lambda _: True, passing=passing, then=then)

    @property
    def is_reached(self) -> bool:
        """Whether it holds a request back."""
        return self._reached.is_set()


@pytest.mark.parametrize("seed", [_seed()], ids=lambda seed: f"CKF_KILL_SEED={seed}")
def test_a_push_that_is_killed_continues(
    seed: int,
    real_registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whenever it is killed: each moment has images of its own, of which nothing is there."""
    chosen = random.Random(seed)
    watch = Watch()
    done: list[tuple[RunningRegistry, Sequence[NamedImage]]] = []
    killed = 0

    def begin(name: str) -> tuple[RegistryCase, Sequence[NamedImage]]:
        part = real_registry.below(name)
        case = RegistryCase(part, tmp_path / name, capsys, host)
        images, archive = _release(case.place)
        # Most of the large layer is taken as it is.
        case.path.write_bytes(pigz(archive))
        done.append((part, images))
        return case, images

    with proxy(real_registry, authority, watch) as host:
        case, images = begin("calm")
        answer = case.push()
        total = len(watch.requests)
        case.require_whole(answer, images)
        for passing in chosen.sample(range(total), _MOMENTS):
            case, images = begin(f"after-{passing}")
            earlier = watch.created.copy()
            watch.gate = gate = _FromThen(passing, chosen.choice((None, "cut")))
            with running(case.words) as process:
                # It may end before, where it gets along with fewer requests this time.
                wait_until(lambda: gate.is_reached or process.poll() is not None)  # noqa: B023
                process.kill()
            killed += gate.is_reached
            created, sent = watch.created - earlier, len(watch.sent)
            remembered = _remembered(case.state)
            # What was held back arrives late, or never: as the network has it.
            gate.open()
            watch.gate = None
            answer = case.push()
            assert answer.status == 0, answer.said
            _require_sent_once(watch.sent[sent:], created, remembered, images)
            wanted = {_short(image): image.image.identity for image in images}
            assert {name: case.pulled(f"x/{name}") for name in case.tags()} == wanted
        assert killed > _MOMENTS / 2
        for part, images in done:
            _require_repositories(part, watch, images)


def _require_sent_once(
    sent: Sequence[str], created: set[str], remembered: set[str], images: Sequence[NamedImage]
) -> None:
    """See that what the registry had confirmed before the kill was not sent after it.

    Args:
        sent: What was sent after it.
        created: What was confirmed before it.
        remembered: What the program had noted by then.
        images: The images.
    """
    configs = {image.image.image_id for image in images}
    assert created <= remembered | configs, "it is noted before it is there"
    assert not set(sent) & created


def _require_repositories(
    registry: RunningRegistry, watch: Watch, images: Sequence[NamedImage]
) -> None:
    """See that nothing is in any repository but in those of the images."""
    expected = _repositories(images)
    assert registry.repositories() == expected
    # Not every catalog has the repositories that hold blobs alone.
    prefix = f"{registry.location.path}/"
    filled = [name.removeprefix(prefix) for name in watch.filled if name.startswith(prefix)]
    assert sorted(filled) == expected
