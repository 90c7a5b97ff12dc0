"""The push into a real registry: what arrives, what is skipped, what damage is told."""

import json
import os
import sys
from pathlib import Path

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import ImagePusher
from tests.functional.pushes import ALL_LAYOUTS, IMAGES, archive, path_in_registry, push
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import (
    Damage,
    ImageArchive,
    ImageOptions,
    Layout,
    truncate,
    write_image_archive,
)
from tests.support.measured import run_measured

DIGEST = "3c0665cd36aa87e4359a4c8b6271dcba5bdd817815cd0496ed12eb5dde5fd2ec"
BY_DIGEST = f"gcr.io/ml-pipeline/kfp-driver@sha256:{DIGEST}"


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_what_was_saved_is_what_is_pulled(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path, layouts=(layout,))
    result = push(registry, images)
    assert len(result.pushed) == len(IMAGES)
    for saved in images.images:
        repository, tag = path_in_registry(saved.repository_tags[0])
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", tmp_path)
        assert pulled.image_id == saved.image_id
        assert pulled.diff_ids == saved.diff_ids


# A blob that is compressed in the archive cannot be known for the layer that it holds.
@pytest.mark.parametrize("layout", [Layout.LEGACY, Layout.OCI])
def test_a_shared_layer_is_uploaded_once(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path, layouts=(layout,))
    push(registry, images)
    layers = {diff_id for saved in images.images for diff_id in saved.diff_ids}
    # A config and a manifest for each image, and each distinct layer: nothing else is uploaded.
    assert registry.uploads() == 2 * len(IMAGES) + len(layers)


def test_a_second_push_sends_nothing(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path)
    push(registry, images)
    before = registry.uploads()
    result = push(registry, images)
    assert result.pushed == ()
    assert (result.present, result.uploaded_bytes) == (len(IMAGES), 0)
    assert registry.uploads() == before


def test_an_image_that_was_deleted_comes_back(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path)
    push(registry, images)
    repository, tag = path_in_registry(IMAGES[1])
    tags = registry.process.data / "docker/registry/v2/repositories/ckf" / repository
    link = tags / "_manifests/tags" / tag / "current/link"
    link.unlink()
    result = push(registry, images)
    assert result.pushed == (f"{registry.location}/{repository}:{tag}",)
    assert registry.tags(repository) == [tag]


def test_a_registry_that_has_lost_everything_gets_it_again(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    """What is remembered is not believed, for none of the blobs that the same layer makes."""
    images = archive(tmp_path)
    push(registry, images)
    registry.process.stop()
    registry.process.data.rename(tmp_path / "lost")
    registry.process.start()
    assert len(push(registry, images).pushed) == len(IMAGES)
    for saved in images.images:
        repository, tag = path_in_registry(saved.repository_tags[0])
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", tmp_path)
        assert pulled.image_id == saved.image_id


# A blob that is compressed in the archive is known by its digest, whatever it is called.
@pytest.mark.parametrize("layout", ALL_LAYOUTS)
def test_of_the_next_release_only_the_new_layers_are_sent(
    layout: Layout, registry: RunningRegistry, tmp_path: Path
) -> None:
    old = archive(tmp_path, IMAGES[:4], layouts=(layout,))
    push(registry, old)
    before = registry.uploads()
    new = archive(tmp_path, (IMAGES[0], *IMAGES[2:]), layouts=(layout,))
    result = push(registry, new)
    assert len(result.pushed) + result.present == len(new.images)

    def layers(images: ImageArchive) -> set[str]:
        return {diff_id for saved in images.images for diff_id in saved.diff_ids}

    # Two images have a config and a manifest; nothing is sent of the three that are there.
    assert registry.uploads() - before == 2 * 2 + len(layers(new) - layers(old))


def test_a_push_without_its_state_works(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path)
    push(registry, images)
    result = push(registry, images, state="other.json")
    assert (result.pushed, result.present, result.uploaded_bytes) == ((), len(IMAGES), 0)


def test_an_interrupted_push_continues(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path)

    def stop(progress: Progress) -> None:
        if progress.images:
            raise KeyboardInterrupt

    state = tmp_path / "push.json"
    pusher = ImagePusher(registry.client(), registry.location, state, stop)
    with pytest.raises(KeyboardInterrupt):
        pusher.push(FileSource(images.path))
    lines = map(json.loads, state.read_text().splitlines())
    done = sum(line.get("type") == "image" for line in lines)
    assert done
    result = push(registry, images)
    assert (len(result.pushed), result.present) == (len(IMAGES) - done, done)


def test_an_image_without_tags_is_named_by_who_wants_it(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    options = ImageOptions(retagged_fraction=0, program=b"stub")
    images = write_image_archive((BY_DIGEST, *IMAGES), tmp_path / "images.tar.gz", options)
    assert images.images[0].repository_tags == ()
    unnamed = push(registry, images).inventory.unnamed
    assert [image.member for image in unnamed] == [images.images[0].file_name]
    # Once somebody asks for it, it is pushed, although all was done before.
    result = push(registry, images, BY_DIGEST)
    assert result.pushed == (f"{registry.location}/ml-pipeline/kfp-driver:{DIGEST}",)
    pulled = registry.pull(result.pushed[0], tmp_path)
    assert pulled.image_id == images.images[0].image_id


@pytest.mark.parametrize("layout", ALL_LAYOUTS)
@pytest.mark.parametrize("damage", list(Damage))
def test_a_damaged_image_is_named_and_the_others_are_pushed(
    layout: Layout, damage: Damage, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path, layouts=(layout,), damage={IMAGES[1]: damage})
    result = push(registry, images)
    (error,) = result.inventory.damaged
    assert images.images[1].file_name in str(error)
    assert "docker save" in error.cure
    assert len(result.pushed) == len(IMAGES) - 1
    assert registry.tags(path_in_registry(IMAGES[1])[0]) == []
    # Damage is found again by the next run: it is never taken for done.
    again = push(registry, images)
    assert len(again.inventory.damaged) == 1
    assert again.pushed == ()


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.95])
def test_a_truncated_archive_is_told(
    keep: float, registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    truncate(images.path, keep)
    with pytest.raises(ArtifactError, match=r"images\.tar\.gz ends in the middle") as raised:
        push(registry, images)
    assert "copy it again" in raised.value.cure
    assert registry.tags(path_in_registry(IMAGES[-1])[0]) == []


def test_a_file_that_is_no_archive_is_told(registry: RunningRegistry, tmp_path: Path) -> None:
    images = archive(tmp_path)
    images.path.write_bytes(b"PK\x03\x04 not what it should be")
    with pytest.raises(ArtifactError, match="is a zip file, not a tar archive"):
        push(registry, images)


def test_memory_stays_flat(registry: RunningRegistry, tmp_path: Path) -> None:
    """However large a layer is: each is of content that does not get smaller."""
    peaks: list[int] = []
    for megabytes in (50, 200):
        folder = tmp_path / str(megabytes)
        folder.mkdir()
        options = ImageOptions(program=b"stub", payload_kib=megabytes * 1024)
        images = write_image_archive(IMAGES[:1], folder / "images.tar.gz", options)
        words = ["push", "--images", images.path, "--registry", f"{registry.location}/{megabytes}"]
        usage = run_measured(
            ["-m", "ckf_airgap", *words, "--registry-ca", registry.process.ca],
            {**os.environ, "PYTHONPATH": ":".join(sys.path)},
        )
        peaks.append(usage.peak_mib)
    assert max(peaks) < 120, "MiB at the most"
    assert peaks[1] < peaks[0] + 40
