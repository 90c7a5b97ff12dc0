"""A small archive of images, and its push from Python, without the command."""

from pathlib import Path

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.pusher import ImagePusher, PushResult
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import (
    Damage,
    ImageArchive,
    ImageOptions,
    Layout,
    write_image_archive,
)

IMAGES = (
    "docker.io/charmedkubeflow/api-server:2.0.5",
    "argoproj/workflow-controller:v3.3.10",
    "ubuntu:22.04",
    "gcr.io/google-containers/busybox",
    "docker.io/istio/proxyv2:1.17.3",
    "docker.io/istio/pilot:1.17.3",
)
ALL_LAYOUTS = (Layout.LEGACY, Layout.OCI, Layout.OCI_GZIP)


def archive(
    folder: Path,
    images: tuple[str, ...] = IMAGES,
    *,
    layouts: tuple[Layout, ...] = ALL_LAYOUTS,
    damage: dict[str, Damage] | None = None,
) -> ImageArchive:
    """Write images.tar.gz, with layers of a few kilobytes.

    Args:
        folder: Where to write it.
        images: The names of the images.
        layouts: The forms that the images take in turn.
        damage: What is wrong with which image.
    """
    options = ImageOptions(layouts=layouts, damage=damage or {}, program=b"stub", payload_kib=64)
    return write_image_archive(images, folder / "images.tar.gz", options)


def path_in_registry(image: str) -> tuple[str, str]:
    """Give the repository, below the prefix, and the tag that an image is pushed to."""
    reference = ImageReference.parse(image)
    assert reference
    path = image_path(reference)
    return path.repository, path.tag


def push(
    registry: RunningRegistry, images: ImageArchive, *wanted: str, state: str = "push.json"
) -> PushResult:
    """Push to a registry itself, the images that are wanted or all.

    Args:
        registry: The registry.
        images: The archive.
        wanted: The names of the images; all where none is given.
        state: The name of the journal, which stands beside the archive.
    """
    references = [reference for image in wanted if (reference := ImageReference.parse(image))]
    state_file = images.path.with_name(state)
    pusher = ImagePusher(registry.client(), registry.location, state_file)
    return pusher.push(FileSource(images.path), references)


def push_to(
    host: str,
    authority: Authority,
    images: ImageArchive,
    credentials: Credentials | None = None,
) -> PushResult:
    """Push all images to a host, by the journal that stands beside the archive.

    Args:
        host: The host and port of the registry, or of a proxy before it.
        authority: Who signed its certificate.
        images: The archive.
        credentials: The account, if the registry demands one.
    """
    client = RegistryClient(host, ca=authority.certificate.read_text(), credentials=credentials)
    location = RegistryLocation.parse(f"{host}/ckf")
    pusher = ImagePusher(client, location, images.path.with_name("pushed"))
    return pusher.push(FileSource(images.path))


def check_all(registry: RunningRegistry, images: ImageArchive, folder: Path) -> None:
    """See that the registry has each image as it was saved."""
    for saved in images.images:
        repository, tag = path_in_registry(saved.image)
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", folder)
        assert (pulled.image_id, pulled.diff_ids) == (saved.image_id, saved.diff_ids)


def large_layers(folder: Path) -> ImageArchive:
    """Write images.tar.gz, with layers of several chunks under the fixture small_chunks."""
    options = ImageOptions(layouts=ALL_LAYOUTS, program=b"stub", payload_kib=512)
    return write_image_archive(IMAGES, folder / "images.tar.gz", options)
