"""The tags that the kept archives of ``prune`` need."""

from ckf_airgap.archives.pack_manifest import PackedImage, PackedLayer, PackManifest
from ckf_airgap.images.reference import ImagePath
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
