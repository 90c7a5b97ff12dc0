"""What images.tar.gz really holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ckf_airgap.archives.byte_stream import ByteStream
from ckf_airgap.archives.image_archive import OpenedImages, open_images
from ckf_airgap.archives.image_layout import ImageLayout, LayoutImage, blob_digest
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.saved_images import LayerContent, SavedImage, read_saved_images
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import ImagePath, ImageReference, image_path, wanted_by_member_name


@dataclass(frozen=True)
class ArchivedImage:
    """One image of images.tar.gz.

    Attributes:
        member: The member of images.tar.gz that holds it.
        names: The references it goes by: its RepoTags, or the wanted image that its member's file
            name stands for. Empty where neither tells.
        image_id: The digest of its config.
        architecture: Its CPU architecture, for example ``amd64``.
    """

    member: str
    names: tuple[ImageReference, ...]
    image_id: str
    architecture: str

    @property
    def paths(self) -> tuple[ImagePath, ...]:
        """Where it is pushed to, below the registry prefix."""
        return tuple(dict.fromkeys(image_path(name) for name in self.names))


@dataclass(frozen=True)
class Inventory:
    """The images of one images.tar.gz.

    Attributes:
        images: The readable ones, in the order of the archive.
        damaged: One error for each member that is not readable.
    """

    images: tuple[ArchivedImage, ...]
    damaged: tuple[ArtifactError, ...] = field(default=())

    @property
    def unnamed(self) -> tuple[ArchivedImage, ...]:
        """The images that nothing tells the name of: nobody can ask for them."""
        return tuple(image for image in self.images if not image.names)

    def require_undamaged(self, archive: str) -> None:
        """Refuse to go on with an archive that holds damaged members.

        Args:
            archive: What to call it.

        Raises:
            ArtifactError: It holds some; the message names all of them.
        """
        if self.damaged:
            listed = "; ".join(error.problem for error in self.damaged)
            raise ArtifactError(
                f"{archive} holds {len(self.damaged)} damaged archives: {listed}",
                "save these images again (docker save), make the archive again and give it again",
            )


def read_inventory(
    archive: ByteStream, name: str, size: int, wanted: Iterable[ImageReference] = ()
) -> Inventory:
    """List the images of images.tar.gz without keeping anything of their layers.

    Args:
        archive: The decompressed archive.
        name: Its name, for messages.
        size: Its size as it is stored, in bytes.
        wanted: The images that the charms take: they name the images that have no RepoTags.

    Returns:
        The inventory; damaged members are listed in it.

    Raises:
        ArtifactError: The archive itself is damaged or ends in the middle.
    """
    wanted = tuple(wanted)
    opened = open_images(archive, name, size)
    read = _read_layout if opened.is_layout else _read_saved
    images, damaged = read(opened, name, wanted)
    if opened.manifest:
        damaged += _lacking(opened.manifest, images, damaged, name)
    return Inventory(tuple(images), tuple(damaged))


def _read_saved(
    opened: OpenedImages, _: str, wanted: tuple[ImageReference, ...]
) -> tuple[list[ArchivedImage], list[ArtifactError]]:
    images: list[ArchivedImage] = []
    damaged: list[ArtifactError] = []
    for member in opened.members:
        try:
            saved = read_saved_images(member, member.name, _ignore_layer)
        except ArtifactError as error:
            damaged.append(damaged_member(member.name, error))
        else:
            images += archived_images(member.name, saved, wanted)
    return images, damaged


def _read_layout(
    opened: OpenedImages, name: str, _: tuple[ImageReference, ...]
) -> tuple[list[ArchivedImage], list[ArtifactError]]:
    layout = ImageLayout(name)
    sizes: dict[str, int] = {}
    for member in opened.members:
        if layout.take(member) is not None and (digest := blob_digest(member.name)):
            sizes[digest] = member.size
    images: list[ArchivedImage] = []
    damaged: list[ArtifactError] = []
    for descriptor in layout.index:
        try:
            image = layout.image(descriptor)
            require_layers(image, sizes, layout)
        except ArtifactError as error:
            damaged.append(error)
        else:
            images.append(layout_image(image))
    return images, damaged


def require_layers(image: LayoutImage, sizes: Mapping[str, int], layout: ImageLayout) -> None:
    """See that all layers of an image are in its layout.

    Args:
        image: The image.
        sizes: The sizes of the layers that have come by, in bytes, by digest.
        layout: The layout.

    Raises:
        ArtifactError: One is missing, or is not as long as the manifest says.
    """
    for digest, size in image.layers:
        document = layout.document(digest)
        found = sizes.get(digest) if document is None else len(document)
        if found != size:
            what = "lacks the layer" if found is None else f"has {found} of {size} bytes of"
            raise ArtifactError(
                f"{image.label} {what} {digest}",
                "make the archive again (ckf-airgap pack --format oci)",
            )


def layout_image(image: LayoutImage) -> ArchivedImage:
    """List an image of a layout."""
    reference = ImageReference.parse(image.name)
    names = (reference,) if reference else ()
    return ArchivedImage(image.label, names, image.image_id, image.architecture)


def _lacking(
    manifest: PackManifest,
    images: Iterable[ArchivedImage],
    damaged: Iterable[ArtifactError],
    archive: str,
) -> list[ArtifactError]:
    """Compare an archive with what it says of itself."""
    found = {str(name): image.image_id for image in images for name in image.names}
    told = " ".join(error.problem for error in damaged)
    return [
        ArtifactError(
            f"{archive} does not hold {image.name} as it was packed", "copy the archive again"
        )
        for image in manifest.images
        if found.get(image.name) != image.image_id and image.name not in told
    ]


def damaged_member(member: str, error: ArtifactError) -> ArtifactError:
    """Say of damage inside a member which member it is, and how to get another."""
    problem = error.problem if member in error.problem else f"{member}: {error.problem}"
    return ArtifactError(problem, "save this image again (docker save), make the archive again")


def archived_images(
    member: str, saved: Iterable[SavedImage[object]], wanted: Iterable[ImageReference]
) -> list[ArchivedImage]:
    """Name the images of one member.

    Args:
        member: The member's path in images.tar.gz.
        saved: The images in it.
        wanted: The images that the charms take.

    Returns:
        One entry for each image.
    """
    result: list[ArchivedImage] = []
    for image in saved:
        parsed = [ImageReference.parse(text) for text in image.names]
        names = tuple(reference for reference in parsed if reference is not None)
        if not names and (match := wanted_by_member_name(member, wanted)):
            names = (match,)
        result.append(ArchivedImage(member, names, image.image_id, image.architecture))
    return result


def _ignore_layer(_: LayerContent) -> None:
    """Take a layer for granted: whoever pushes it checks it."""
