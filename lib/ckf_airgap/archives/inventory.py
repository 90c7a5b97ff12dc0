"""The content of images.tar.gz."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckf_airgap.archives.byte_stream import ArchiveStream, open_archive
from ckf_airgap.archives.image_reader import ImageReader, Readings
from ckf_airgap.archives.image_sink import (
    ImageSink,
    LayerFile,
    NestedArchive,
    PassedOver,
    ReadImage,
    Verdict,
)
from ckf_airgap.archives.pack_manifest import PackedLayer, PackManifest
from ckf_airgap.archives.signed_images import SignedImages
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError, listed
from ckf_airgap.images.naming import MemberNames, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference


@dataclass(frozen=True)
class ArchivedImage:
    """One image of images.tar.gz, or one artifact.

    Attributes:
        member: The member of images.tar.gz that contains it.
        names: Its names in the archive, or the wanted image that the member is named after; empty
            if there is neither.
        image_id: The digest of its config.
        architecture: Its CPU architecture, for example ``amd64``; empty for an artifact.
        artifact_type: The type of an artifact, for example ``text/spdx+json``; empty for an image.
        identity: Distinguishes different images with the same name: the digest of an image's
            config, or of an artifact's manifest.
    """

    member: str
    names: tuple[ImageReference, ...]
    image_id: str
    architecture: str
    artifact_type: str = ""
    identity: str = ""

    @property
    def paths(self) -> tuple[ImagePath, ...]:
        """Its paths below the registry prefix."""
        return tuple(dict.fromkeys(image_path(name) for name in self.names))

    @property
    def description(self) -> str:
        """Its description in the message about two images with the same path."""
        cpu = f", {self.architecture}" if self.architecture else ""
        name = str(self.names[0]) if self.names else "an image without a name"
        return f"{name} (in {self.member}{cpu}, {self.image_id[:19]})"


OnImage = Callable[[ArchivedImage, ReadImage[int]], None]
"""Receives an image's entry in the inventory, and the image."""


@dataclass(frozen=True)
class Inventory:
    """The images of one images.tar.gz.

    Attributes:
        images: The valid images, in the order of the archive. An image that is repeated with the
            same names is listed once.
        damaged: An error for each damaged member or image, and for each image that the archive's
            own record lists but that is missing.
        artifacts: Other content with a manifest: signatures, charts, SBOMs.
        passed_over: The files that are not pushed, with the reason.
        conflicts: An error for each path that belongs to two different images.
        user_images: The names of users' images by their purpose (see ``PackManifest``), if the
            archive records them.
    """

    images: tuple[ArchivedImage, ...]
    damaged: tuple[ArtifactError, ...] = field(default=())
    artifacts: tuple[ArchivedImage, ...] = field(default=())
    passed_over: tuple[PassedOver, ...] = field(default=())
    conflicts: tuple[ArtifactError, ...] = field(default=())
    user_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def unnamed(self) -> tuple[ArchivedImage, ...]:
        """The images without a name, which no charm can use."""
        return tuple(image for image in self.images if not image.names)

    @property
    def possible_images(self) -> tuple[PassedOver, ...]:
        """The skipped files that may be images."""
        return tuple(entry for entry in self.passed_over if entry.may_be_image)

    @property
    def needs_attention(self) -> bool:
        """Whether the operator should check something that is not pushed."""
        return bool(self.damaged or self.conflicts or self.unnamed or self.possible_images)

    def require_sound(self, archive: str) -> None:
        """Require that no image is damaged or conflicts with another.

        Args:
            archive: The name of the archive, for messages.

        Raises:
            ArtifactError: Some images are damaged, or conflict; the message names them.
        """
        for errors, kind in ((self.damaged, "damaged images"), (self.conflicts, "conflicts")):
            if errors:
                problems = listed([error.problem for error in errors])
                cures = listed(list(dict.fromkeys(error.cure for error in errors)))
                raise ArtifactError(f"{archive} contains {len(errors)} {kind}: {problems}", cures)


class InventoryBuilder:
    """Builds an inventory while the archive is read.

    Attributes:
        damaged: As for ``Inventory``; the caller adds errors.
        passed_over: As for ``Inventory``; the caller adds files.
        user_images: As for ``Inventory``; the caller sets it.
    """

    def __init__(self, member_names: MemberNames) -> None:
        """Start empty.

        Args:
            member_names: Names the images that the archive does not name.
        """
        self._member_names = member_names
        self._images: list[ArchivedImage] = []
        self._artifacts: list[ArchivedImage] = []
        self._owners: dict[ImagePath, ArchivedImage] = {}
        self._conflicts: list[ArtifactError] = []
        self.damaged: list[ArtifactError] = []
        self.passed_over: list[PassedOver] = []
        self.user_images: Mapping[str, tuple[str, ...]] = {}

    def describe(self, image: ReadImage[Any]) -> ArchivedImage:
        """Return the entry for an image."""
        parsed = [ImageReference.parse(text) for text in image.names]
        names = tuple(reference for reference in parsed if reference is not None)
        if not names and image.file_name and not image.artifact_type:
            match = self._member_names.find(image.file_name)
            names = (match,) if match else ()
        identity = image.image_id
        if image.artifact_type and image.manifest:
            identity = image.manifest.digest
        return ArchivedImage(
            image.member, names, image.image_id, image.architecture, image.artifact_type, identity
        )

    def add(self, image: ArchivedImage) -> tuple[ImagePath, ...]:
        """Add an image, and record a conflict for each of its paths that a different image owns.

        Returns:
            The paths that it owns. If two images have the same path, the first one in the archive
            owns it, in every reading.
        """
        own: list[ImagePath] = []
        repeated = None
        for path in image.paths:
            owner = self._owners.setdefault(path, image)
            if owner is image:
                own.append(path)
            elif owner.identity == image.identity:
                repeated = owner
            else:
                self._conflicts.append(_conflict(path, owner, image))
        if repeated and not own:
            reason = f"{image.names[0]} again, as in {repeated.member}"
            self.passed_over.append(PassedOver(image.member, reason))
        else:
            (self._artifacts if image.artifact_type else self._images).append(image)
        return tuple(own)

    def is_undisputed(self, image: ArchivedImage) -> bool:
        """Return whether an added image, or an identical one before it, owns all of its paths."""
        owners = (self._owners[path] for path in image.paths)
        return all(owner.identity == image.identity for owner in owners)

    def build(self) -> Inventory:
        """Return the inventory so far."""
        return Inventory(
            tuple(self._images),
            tuple(self.damaged),
            tuple(self._artifacts),
            tuple(self.passed_over),
            tuple(self._conflicts),
            self.user_images,
        )


def read_inventory(
    source: Source,
    wanted: Iterable[ImageReference] = (),
    *,
    architecture: str = "",
    on_read: Callable[[int], None] = lambda _: None,
    on_file: Callable[[str, Verdict], None] = lambda _file, _verdict: None,
    on_image: OnImage = lambda _entry, _image: None,
    signed: PackManifest | None = None,
) -> Inventory:
    """List the images of images.tar.gz.

    Args:
        source: The archive.
        wanted: The images that the charms use. An image without a name in the archive gets the
            name of the wanted image that its file is named after.
        architecture: The CPU architecture to choose among several; empty for any.
        on_read: Called with the position in the source, in bytes, after each read; perhaps in
            another thread.
        on_file: Called with each file of the archive and its outcome; again in each reading.
        on_image: Called with the entry of each image and the image, whose ``layers`` are the sizes
            of its layers in the archive; again in each reading.
        signed: The record that all images must match, if its signature was checked.

    Returns:
        The inventory, including damaged members.

    Raises:
        ArtifactError: The archive itself is damaged or truncated, exceeds a limit, or contains no
            images; or, with ``signed``, an image does not match the record, is damaged, or
            conflicts with another.
    """
    names = MemberNames(wanted)
    readings = Readings(source.name)
    while True:
        sink = ListingSink(names, on_file, on_image)
        with open_archive(source, on_read) as archive:
            if read_into(sink, sink.builder, source, archive, readings, architecture, signed):
                inventory = sink.builder.build()
                break
    if signed:
        inventory.require_sound(source.name)
    return inventory


def read_into(
    sink: ImageSink[Any],
    builder: InventoryBuilder,
    source: Source,
    archive: ArchiveStream,
    readings: Readings,
    architecture: str,
    signed: PackManifest | None = None,
) -> bool:
    """Read an archive once.

    Args:
        sink: Receives the images.
        builder: The sink's inventory.
        source: The archive.
        archive: The opened archive.
        readings: Its readings so far.
        architecture: The CPU architecture to choose among several; empty for any.
        signed: The record that all images must match, if its signature was checked.

    Returns:
        Whether everything was read; otherwise the archive has to be read again.

    Raises:
        ArtifactError: As for ``ImageReader.read`` and ``Readings.settle``.
    """
    if signed:
        sink = SignedImages(sink, signed, source.name)
    reader = ImageReader(
        source.name, source.size, sink, architecture=architecture, roles=readings.roles
    )
    is_settled = readings.settle(reader.read(archive))
    if archive.has_trailing_data:
        reason = "uncompressed data follows its end, and is not read"
        builder.passed_over.append(PassedOver(source.name, reason, is_warning=True))
    if is_settled:
        builder.damaged += _missing_images(reader.manifest, builder, source.name)
    return is_settled


def _missing_images(
    manifest: PackManifest | None, builder: InventoryBuilder, archive: str
) -> list[ArtifactError]:
    """Return an error for each image that an archive's own record lists but that was not found.

    Images that other errors mention are left out.
    """
    if manifest is None:
        return []
    inventory = builder.build()
    found = {str(name): image.image_id for image in inventory.images for name in image.names}
    reported = {word for error in inventory.damaged for word in error.problem.split()}
    return [
        ArtifactError(
            f"{archive} does not contain {image.name} as it was packed", "copy the archive again"
        )
        for image in manifest.images
        if found.get(image.name) != image.image_id and image.name not in reported
    ]


class ListingSink:
    """A sink that only lists what it receives."""

    sends = False

    def __init__(
        self,
        names: MemberNames,
        on_file: Callable[[str, Verdict], None] = lambda _file, _verdict: None,
        on_image: OnImage = lambda _entry, _image: None,
    ) -> None:
        """Prepare for one reading of the archive.

        Args:
            names: Names the images that the archive does not name.
            on_file: As for ``read_inventory``.
            on_image: As for ``read_inventory``.
        """
        self.builder = InventoryBuilder(names)
        self._on_file = on_file
        self._on_image = on_image

    def pack_manifest(self, manifest: PackManifest) -> None:
        """Keep users' images; ``read_into`` checks the images."""
        self.builder.user_images = manifest.user_images

    def has_nested(self, archive: NestedArchive) -> bool:
        """Return False: read every nested archive."""
        return False

    def finished_nested(self, archive: NestedArchive) -> None:
        """Ignore it."""

    def needs_layers(self, image: ReadImage[int]) -> bool:
        """Return True: read every image."""
        return True

    def layer(self, layer: LayerFile, image: ReadImage[int] | None) -> int:
        """Return the size of a layer."""
        return layer.size

    def left_out(self, digest: str, layer: PackedLayer) -> Any:
        """Return the size of a layer that is in an earlier archive, not in this one."""
        return layer.size

    def image(self, image: ReadImage[int]) -> None:
        """List an image."""
        entry = self.builder.describe(image)
        self.builder.add(entry)
        self._on_image(entry, image)

    def damaged(self, file: str, error: ArtifactError) -> None:
        """List an error."""
        self.builder.damaged.append(error)

    def passed_over(self, entry: PassedOver) -> None:
        """List a file that is not pushed."""
        self.builder.passed_over.append(entry)

    def outcome(self, file: str, verdict: Verdict) -> None:
        """Pass the outcome on."""
        self._on_file(file, verdict)


def _conflict(path: ImagePath, first: ArchivedImage, second: ArchivedImage) -> ArtifactError:
    return ArtifactError(
        f"two different images have the path {path} in the registry: {first.description} and "
        f"{second.description}; the second is not pushed under this path",
        "remove one of them from the archive, or save it under another name (docker tag)",
    )
