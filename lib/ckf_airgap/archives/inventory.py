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
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError, listed
from ckf_airgap.images.naming import MemberNames, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference


@dataclass(frozen=True)
class ArchivedImage:
    """One image of images.tar.gz, or one artifact.

    Attributes:
        member: The member of images.tar.gz that holds it.
        names: The references it goes by: those that the archive has for it, or the wanted image
            that its member's file name stands for. Empty where neither tells.
        image_id: The digest of its config.
        architecture: Its CPU architecture, for example ``amd64``; empty for an artifact.
        artifact_type: What it is where it is no image, for example ``text/spdx+json``; else empty.
        identity: What tells it from others of its names: the digest of its config, of an artifact
            that of its manifest.
    """

    member: str
    names: tuple[ImageReference, ...]
    image_id: str
    architecture: str
    artifact_type: str = ""
    identity: str = ""

    @property
    def paths(self) -> tuple[ImagePath, ...]:
        """The paths that it is pushed to, below the registry prefix."""
        return tuple(dict.fromkeys(image_path(name) for name in self.names))

    @property
    def description(self) -> str:
        """How to name it if another one has the same path."""
        cpu = f", {self.architecture}" if self.architecture else ""
        name = str(self.names[0]) if self.names else "an image without a name"
        return f"{name} (in {self.member}{cpu}, {self.image_id[:19]})"


@dataclass(frozen=True)
class Inventory:
    """The images of one images.tar.gz.

    Attributes:
        images: The readable ones, in the order of the archive, each once.
        damaged: One error for each member or image that is not readable.
        artifacts: What has a manifest and is no image: signatures, charts, SBOMs.
        passed_over: The files that are not pushed, with the reason.
        conflicts: One error for each path that two different images would have in the registry.
        user_images: Those that users take, by what they are for, as far as the archive says.
    """

    images: tuple[ArchivedImage, ...]
    damaged: tuple[ArtifactError, ...] = field(default=())
    artifacts: tuple[ArchivedImage, ...] = field(default=())
    passed_over: tuple[PassedOver, ...] = field(default=())
    conflicts: tuple[ArtifactError, ...] = field(default=())
    user_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def unnamed(self) -> tuple[ArchivedImage, ...]:
        """The images whose name nothing tells: no charm can use them."""
        return tuple(image for image in self.images if not image.names)

    @property
    def perhaps_lost(self) -> tuple[PassedOver, ...]:
        """The skipped files that may be images."""
        return tuple(entry for entry in self.passed_over if entry.may_be_image)

    @property
    def needs_attention(self) -> bool:
        """Whether something is not pushed that an operator has to look at."""
        return bool(self.damaged or self.conflicts or self.unnamed or self.perhaps_lost)

    def require_sound(self, archive: str) -> None:
        """Refuse an archive with damaged or conflicting parts.

        Args:
            archive: What to call it.

        Raises:
            ArtifactError: There are some; the message names them.
        """
        for errors, what in ((self.damaged, "damaged images"), (self.conflicts, "conflicts")):
            if errors:
                problems = listed([error.problem for error in errors])
                cures = listed(list(dict.fromkeys(error.cure for error in errors)))
                raise ArtifactError(f"{archive} holds {len(errors)} {what}: {problems}", cures)


class InventoryBuilder:
    """Collects what is found in an archive while it is read."""

    def __init__(self, member_names: MemberNames) -> None:
        """Start empty.

        Args:
            member_names: Names the images that the archive has no names for.
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
        """Describe an image as the list shows it."""
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
        """List an image.

        Returns:
            The paths that are its own. Of two images with one path the first in the archive has
            it, whenever the archive is read.
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
        """Return whether no other image has one of the paths of an added image."""
        owners = (self._owners[path] for path in image.paths)
        return all(owner.identity == image.identity for owner in owners)

    def build(self) -> Inventory:
        """Return what was collected."""
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
) -> Inventory:
    """List the images of images.tar.gz without keeping anything of their layers.

    Args:
        source: The archive.
        wanted: The images that the charms take: they name the images that have no names.
        architecture: The CPU architecture to take where an image is there for several; empty
            where none is preferred.
        on_read: Called with the position in the source, in bytes, after each read; perhaps in
            another thread.
        on_file: Called with each file of the archive, and what has become of it.

    Returns:
        The inventory; damaged members are listed in it.

    Raises:
        ArtifactError: The archive itself is damaged or ends in the middle.
    """
    names = MemberNames(wanted)
    readings = Readings(source.name)
    while True:
        sink = ListingSink(names, on_file)
        with open_archive(source, on_read) as archive:
            if read_into(sink, sink.builder, source, archive, readings, architecture):
                return sink.builder.build()


def read_into(
    sink: ImageSink[Any],
    builder: InventoryBuilder,
    source: Source,
    archive: ArchiveStream,
    readings: Readings,
    architecture: str,
) -> bool:
    """Read an archive once.

    Args:
        sink: Whoever wants the images.
        builder: Collects what the sink is given.
        source: The archive.
        archive: The same, opened.
        readings: Earlier readings of it.
        architecture: The CPU architecture to take where there are several; empty: any.

    Returns:
        Whether all is said; otherwise it has to be read again.

    Raises:
        ArtifactError: The archive itself is damaged or ends in the middle.
    """
    reader = ImageReader(
        source.name, source.size, sink, architecture=architecture, roles=readings.roles
    )
    is_settled = readings.settle(reader.read(archive))
    if archive.garbage:
        builder.passed_over.append(_garbage_behind(source.name))
    if is_settled:
        builder.damaged += _lacking_images(reader.manifest, builder, source.name)
    return is_settled


def _garbage_behind(archive: str) -> PassedOver:
    """Warn about bytes after the end of a compressed archive."""
    reason = "something else than compressed data stands behind its end, and is not read"
    return PassedOver(archive, reason, is_warning=True)


def _lacking_images(
    manifest: PackManifest | None, builder: InventoryBuilder, archive: str
) -> list[ArtifactError]:
    """Compare an archive with its own record.

    Args:
        manifest: What it says, if it says anything.
        builder: What was found in it.
        archive: Its name, for messages.

    Returns:
        An error for each image that it does not hold as it was packed, and of which nothing
        else is told.
    """
    if manifest is None:
        return []
    inventory = builder.build()
    found = {str(name): image.image_id for image in inventory.images for name in image.names}
    told = {word for error in inventory.damaged for word in error.problem.split()}
    return [
        ArtifactError(
            f"{archive} does not hold {image.name} as it was packed", "copy the archive again"
        )
        for image in manifest.images
        if found.get(image.name) != image.image_id and image.name not in told
    ]


class ListingSink:
    """A sink that keeps only the list."""

    sends = False

    def __init__(
        self,
        names: MemberNames,
        on_file: Callable[[str, Verdict], None] = lambda _file, _verdict: None,
    ) -> None:
        """Prepare for one reading of the archive.

        Args:
            names: Names the images that have no names.
            on_file: Called with each file of the archive, and what has become of it.
        """
        self.builder = InventoryBuilder(names)
        self._on_file = on_file

    def packed(self, manifest: PackManifest) -> None:
        """Take from the record what images are for; the rest is compared with what is found."""
        self.builder.user_images = manifest.user_images

    def has(self, archive: NestedArchive) -> bool:
        """Have every nested archive read."""
        return False

    def read(self, archive: NestedArchive) -> None:
        """Ignore it."""

    def needs(self, image: ReadImage[int]) -> bool:
        """Have every image read."""
        return True

    def layer(self, layer: LayerFile, image: ReadImage[int] | None) -> int:
        """Use only the size of a layer."""
        return layer.size

    def image(self, image: ReadImage[int]) -> None:
        """List an image."""
        self.builder.add(self.builder.describe(image))

    def damaged(self, file: str, error: ArtifactError) -> None:
        """List damage."""
        self.builder.damaged.append(error)

    def passed_over(self, entry: PassedOver) -> None:
        """List a file that is not read."""
        self.builder.passed_over.append(entry)

    def account(self, file: str, verdict: Verdict) -> None:
        """Record the outcome of a file."""
        self._on_file(file, verdict)


def _conflict(path: ImagePath, first: ArchivedImage, second: ArchivedImage) -> ArtifactError:
    return ArtifactError(
        f"two different images would be {path} in the registry: {first.description} and "
        f"{second.description}; the second is not pushed",
        "leave one of them out of the archive, or save it under another name (docker tag)",
    )
