"""The tags that the kept archives of ``prune`` need."""

import pytest

from ckf_airgap.archives.pack_manifest import PackedImage, PackedLayer, PackManifest
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.pruning.kept_names import ArchiveNames

LOCATION = RegistryLocation.parse("r.corp:5000/ckf")
DIGEST = f"sha256:{'1' * 64}"


def packed(name: str, *found_in: str) -> PackedImage:
    """Return an image with one layer for each image of an earlier release that has it."""
    layers = tuple(PackedLayer(DIGEST, DIGEST, 5, "", each) for each in found_in)
    return PackedImage(name, DIGEST, DIGEST, 5, layers)


def test_the_images_that_a_difference_is_based_on_are_kept() -> None:
    record = PackManifest(
        "oci",
        "amd64",
        (
            packed("docker.io/team/new:2", "", "docker.io/team/old:1", "no name"),
            packed("docker.io/team/same:1", "docker.io/team/same:1", "quay.io/team/base:1"),
        ),
        (),
        stands_on=(DIGEST,),
    )
    names = ArchiveNames.of("it", record)
    assert names.paths([], LOCATION) == {
        ImagePath(f"{host}team/{name}", tag)
        for host, name, tag in [
            *(("", "new", "2"), ("docker.io/", "new", "2")),
            *(("", "old", "1"), ("docker.io/", "old", "1")),
            *(("", "same", "1"), ("docker.io/", "same", "1")),
            *(("", "base", "1"), ("quay.io/", "base", "1")),
        ]
    }


def images(*names: str) -> list[ImageReference]:
    return [reference for name in names if (reference := ImageReference.parse(name))]


def test_each_archive_needs_the_charms_that_name_its_images() -> None:
    """The charms of one release do not tell the names of another."""
    retagged = tuple(images("172.17.0.2:5000/team/tool:1", "docker.io/team/known:1"))
    names = ArchiveNames("one.tar.gz", retagged, ("team-app-1.tar", "team-app-2.tar"))
    second = images("docker.io/team/app:2", "quay.io/team/tool:2")
    with pytest.raises(ConfigurationError, match=r"uses them: team-app-1\.tar; 172\.17") as raised:
        names.require_told([second], LOCATION)
    assert "team-app-2.tar" not in str(raised.value)
    assert "known" not in str(raised.value)
    names.require_told([second, images("docker.io/team/app:1", "quay.io/team/tool:1")], LOCATION)


def test_names_that_depend_on_no_charm_need_none() -> None:
    ArchiveNames("one.tar.gz", tuple(images("docker.io/team/known:1"))).require_told([], LOCATION)


def test_names_retagged_for_the_registry_itself_depend_on_charms() -> None:
    location = RegistryLocation.parse("registry.corp/ckf")
    names = ArchiveNames("one.tar.gz", tuple(images("registry.corp/team/tool:1")))
    with pytest.raises(ConfigurationError, match=r"uses them: registry\.corp/team/tool:1"):
        names.require_told([], location)
    names.require_told([images("quay.io/team/tool:1")], location)
