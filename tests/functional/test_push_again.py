"""Pushes that read an archive again, or are run again: they end, and tell the same."""

import re
import threading
from pathlib import Path

import pytest

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.oci_layout import OciManifest, read_manifest
from ckf_airgap.images.oci import Blob
from ckf_airgap.push import look_ahead
from ckf_airgap.push.image_manifests import possible_manifests
from ckf_airgap.push.look_ahead import first_paths
from ckf_airgap.push.push_records import StoredLayer
from testbed.pki import Authority
from tests.functional.archive_case import JUPYTER, KFAM, MINIO, ArchiveCase
from tests.functional.front import Front
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, Request, proxy
from tests.support.archive_forms import docker_save, old_docker_save
from tests.support.compressed import gzipped
from tests.support.oci_forms import StoredImage, oci_layout
from tests.support.sample_images import NamedImage, sample_image
from tests.support.tar_files import Entry, tar, tar_of

_DIGEST = re.compile(r"/blobs/(sha256:[0-9a-f]{64})")
NAMELESS = [NamedImage(sample_image("base", f"nameless-{number}")) for number in range(4)]


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_confirms_and_does_not_keep(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    passes = 0

    def forget(request: Request) -> Answer | int | None:
        nonlocal passes
        passes += request.method == "POST"
        request.path = request.path.partition("?mount=")[0]
        if request.method == "HEAD" and _DIGEST.search(request.path):
            return 404
        if request.method == "PUT" and "/manifests/" in request.path:
            return Answer(400, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN"}]}')
        is_blob = request.method == "GET" and _DIGEST.search(request.path)
        return 404 if is_blob else None

    images = [JUPYTER, KFAM]
    with proxy(registry, authority, forget) as host:
        case = Front(registry, tmp_path, capsys, host)
        answer = case.push(gzipped(tar(old_docker_save(images))))
    assert answer.status == 2, answer.said
    assert "has lost" in answer.error
    assert passes < 100


def test_a_layer_that_follows_under_its_digest_before_it_has_arrived(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sent twice it could be two blobs, and the digest of an image would depend on chance."""
    layers = 0
    all_begun = threading.Event()

    def hold_the_first(request: Request) -> None:
        nonlocal layers
        if request.method == "POST" and "mount=" not in request.path:
            layers += 1
            if layers == 3:
                all_begun.set()
        if request.method == "PUT" and "/blobs/uploads/" in request.path and layers < 3:
            all_begun.wait(60)

    # The older form of docker's archives does not name the layers that both have by their digest.
    saved = {"jupyter": tar(old_docker_save([JUPYTER])), "kfam": tar(docker_save([KFAM]))}
    with proxy(registry, authority, hold_the_first) as host:
        case = Front(registry, tmp_path, capsys, host)
        case.require_whole(case.push(gzipped(tar_of(**saved))), [JUPYTER, KFAM])
    configs = 2
    assert layers == 3 + configs


def test_names_are_looked_for_once(case: ArchiveCase, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(*args: object, **more: object) -> object:
        nonlocal looks
        looks += 1
        return first_paths(*args, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(look_ahead, "first_paths", counted)
    files = {f"n{number}": tar(old_docker_save([each])) for number, each in enumerate(NAMELESS)}
    for _ in range(2):
        answer = case.push(gzipped(tar_of(**files)))
        assert answer.status == 1, answer.said
        assert len(answer.document["unnamed"]) == len(NAMELESS)
    assert looks <= 4


def test_what_is_passed_over_is_told_every_time(case: ArchiveCase) -> None:
    nested = tar([*docker_save([JUPYTER]), Entry("other.tar.xz", b"\xfd7zXZ\x00" + bytes(100))])
    content = gzipped(tar_of(nested=nested, kfam=tar(docker_save([KFAM]))))
    first, second = case.push(content), case.push(content)
    for answer in (first, second):
        assert answer.status == 1, answer.said
        assert "other.tar.xz" in answer.texts("passed_over")
    assert second.document["present"] == 2


def test_one_tag_of_several_that_is_immutable(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = tuple(f"docker.io/kubeflow/jupyter:{tag}" for tag in ("1", "2", "3"))

    def refuse(request: Request) -> int | None:
        is_it = request.method == "PUT" and request.path.endswith("/manifests/2")
        return 412 if is_it else None

    with proxy(registry, authority, refuse) as host:
        case = Front(registry, tmp_path, capsys, host)
        answer = case.push(gzipped(tar(docker_save([NamedImage(JUPYTER.image, names)]))))
        assert answer.status == 2, answer.said
        assert "kubeflow/jupyter:2 be changed" in answer.error
        for tag in ("1", "3"):
            assert f"kubeflow/jupyter:{tag}" in answer.error
        assert sorted(case.tags()) == ["kubeflow/jupyter:1", "kubeflow/jupyter:3"]


def test_what_the_registry_has_plain_is_compressed_for_docker_all_the_same(
    case: ArchiveCase,
) -> None:
    """What an archive gives does not depend on what was pushed before it, or by whom."""
    saved = gzipped(tar_of(minio=tar(old_docker_save([MINIO]))))
    alone = ArchiveCase.like(case)
    alone.require_whole(alone.push(saved), [MINIO])
    assert case.push(gzipped(tar_of(minio=tar(oci_layout([MINIO]))))).status == 0
    case.forget()
    case.require_whole(case.push(saved), [MINIO])
    assert case.tags() == alone.tags()


def test_a_manifest_with_the_layers_in_another_order_is_not_published() -> None:
    stored = StoredImage.of(JUPYTER.image)
    own = read_manifest(stored.manifest, "jupyter")
    assert isinstance(own, OciManifest)
    layers = [
        StoredLayer(Blob(each.digest, each.size), each.digest, diff_id, Compression.GZIP)
        for each, diff_id in zip(own.layers, JUPYTER.image.diff_ids, strict=True)
    ]
    config = Blob(own.config.digest, own.config.size)
    (first, *_) = possible_manifests(config, layers, own, keeps_own=False)
    assert first.content == stored.manifest
    (first, *_) = possible_manifests(config, layers[::-1], own, keeps_own=False)
    assert first.content != stored.manifest
