"""The result of a pack."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckf_airgap.archives.pack_manifest import PackedCharm, PackedImage, PackManifest
from ckf_airgap.charms.charm_file import wanted_images
from ckf_airgap.charms.charm_version import CharmVersions
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.packing.wanted_images import parse_image


@dataclass(frozen=True)
class IntermediateCharms:
    """The intermediate charms of an upgrade, and the images that only these use.

    Attributes:
        charms: The intermediate charms.
        images: The images that no other charm uses.
    """

    charms: tuple[PackedCharm, ...]
    images: tuple[PackedImage, ...]

    def __str__(self) -> str:
        charm_bytes = sum(charm.size for charm in self.charms)
        layer_bytes = sum(image.size for image in self.images)
        return (
            f"{len(self.charms)} intermediate charms ({charm_bytes:,} bytes), and "
            f"{len(self.images)} images that only they use (at most {layer_bytes:,} bytes of "
            "layers)"
        )


@dataclass(frozen=True)
class Packed:
    """The result of a pack, or of a dry run.

    Attributes:
        manifest: The charms and images.
        image_bytes: The size of images.tar.gz, in bytes.
        charm_bytes: The size of the charms, in bytes.
        layer_bytes: The bytes of the layers as the registries store them, each counted once.
        fetched_bytes: The bytes of the layers that were already fetched.
        warnings: Warnings for the operator.
        intermediate: The intermediate charms of an upgrade, and the images that only these use.
    """

    manifest: PackManifest
    image_bytes: int
    charm_bytes: int
    layer_bytes: int
    fetched_bytes: int
    warnings: tuple[str, ...]
    intermediate: IntermediateCharms


def intermediate_charms(
    versions: CharmVersions, added: Sequence[ImageReference], manifest: PackManifest
) -> IntermediateCharms:
    """Return the intermediate charms of an upgrade, and the images that only these use.

    Args:
        versions: The packed charms, by version.
        added: The images that are packed even if no charm uses them.
        manifest: The record of the archives.
    """
    files = {charm.path.name for charm in versions.intermediate}
    others = {image.upstream for image in (*wanted_images(versions.newest), *added)}
    only_intermediate = {image.upstream for image in wanted_images(versions.intermediate)} - others
    return IntermediateCharms(
        tuple(charm for charm in manifest.charms if charm.file in files),
        tuple(
            image
            for image in manifest.images
            if parse_image(image.name).upstream in only_intermediate
        ),
    )
