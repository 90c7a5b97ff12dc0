"""The content of a release, from which every file of the report is made."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from ckf_airgap.archives.image_sink import ReadImage
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.pack_manifest import (
    PackedImage,
    PackManifest,
    read_pack_manifest,
)
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm
from ckf_airgap.charms.charm_version import version_of
from ckf_airgap.images.naming import image_path, mirror_path
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_images import is_juju_image
from ckf_airgap.planning.application_images import ApplicationImages

# A placeholder, because the report does not depend on the registry.
_REGISTRY = RegistryLocation("REGISTRY")


@dataclass(frozen=True)
class ImageEntry:
    """An image, or an artifact.

    Attributes:
        names: Its names; empty if it has none.
        member: The member of images.tar.gz that contains it.
        kind: ``image``, or the type of an artifact.
        digest: The digest of its manifest; empty if neither the archive nor its record has it.
        image_id: The digest of its config.
        architecture: Its CPU architecture; empty for an artifact.
        layers: Its distinct layers, with their sizes in the archive.
        source: Where it was pulled from, as HOST/REPOSITORY@DIGEST. Without a record, its original
            name; empty if this is unknown too.
        wanted_by: Its users: ``charm/resource``, ``charm/option``, ``charm`` if it is in the
            charm's code, ``users/purpose``, ``juju``.
    """

    names: tuple[ImageReference, ...]
    member: str
    kind: str
    digest: str
    image_id: str
    architecture: str
    layers: tuple[Blob, ...]
    source: str
    wanted_by: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its names, or the member that contains it."""
        return ", ".join(map(str, self.names)) or f"without a name, in {self.member}"

    @property
    def size(self) -> int:
        """The size of its layers in the archive, in bytes."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class CharmEntry:
    """A charm.

    Attributes:
        name: The charm.
        file: Its name in charms.tar.gz.
        sha256: The SHA-256 of the file, 64 hexadecimal digits.
        revision: Its revision on Charmhub; None if it is not recorded.
        channel: Its channel on Charmhub; empty if it is not recorded.
        bases: Its bases.
        note: Why it is not deployed; empty for a charm that is deployed.
        user: Its name in ``ImageEntry.wanted_by``.
    """

    name: str
    file: str
    sha256: str
    revision: int | None
    channel: str
    bases: tuple[str, ...]
    note: str
    user: str


@dataclass(frozen=True)
class ReleaseContent:
    """The content of both archives of a release.

    Attributes:
        images: The images and artifacts, sorted by name.
        charms: The charms, sorted by name.
        not_pushed: A problem for each item that would not be pushed.
    """

    images: tuple[ImageEntry, ...]
    charms: tuple[CharmEntry, ...]
    not_pushed: tuple[str, ...] = ()

    @cached_property
    def _images_with(self) -> Mapping[str, int]:
        """The number of images with a layer, by its digest."""
        return Counter(layer.digest for image in self.images for layer in image.layers)

    def shared(self, image: ImageEntry) -> tuple[Blob, ...]:
        """Return the layers of an image that at least one other image also has."""
        return tuple(layer for layer in image.layers if self._images_with[layer.digest] > 1)

    @property
    def size(self) -> int:
        """The size of all layers in bytes, each counted once."""
        layers = {layer.digest: layer.size for image in self.images for layer in image.layers}
        return sum(layers.values())


@dataclass
class ArchivedDetails:
    """Collects what the inventory of an archive does not have: manifest digests, and layers."""

    digests: dict[ArchivedImage, str] = field(default_factory=dict[ArchivedImage, str])
    layers: dict[ArchivedImage, tuple[Blob, ...]] = field(
        default_factory=dict[ArchivedImage, tuple[Blob, ...]]
    )

    def add(self, entry: ArchivedImage, image: ReadImage[int]) -> None:
        """Add the details of an image that ``read_inventory`` has found.

        Args:
            entry: The image in the inventory.
            image: The image as read from the archive.
        """
        if image.manifest:
            self.digests[entry] = image.manifest.digest
            found = [Blob(layer.digest, layer.size) for layer in image.manifest.layers]
        else:
            found = list(map(Blob, image.diff_ids, image.layers))
        # An image may have the same layer twice, for example an empty one.
        self.layers[entry] = tuple({layer.digest: layer for layer in found}.values())


def release_content(
    charms: UnpackedCharms,
    inventory: Inventory,
    details: ArchivedDetails,
    charms_archive: Source,
    images_archive: Source,
) -> ReleaseContent:
    """Describe a release.

    Args:
        charms: The content of charms.tar.gz.
        inventory: The content of images.tar.gz.
        details: The details that were collected while images.tar.gz was read.
        charms_archive: charms.tar.gz; its record has the revisions and channels.
        images_archive: images.tar.gz; its record has the sources of the images.

    Returns:
        The content.

    Raises:
        ArtifactError: A record is damaged.
    """
    charms_record, images_record = map(read_pack_manifest, (charms_archive, images_archive))
    users = _users(charms, inventory)
    recorded = {image.name: image for image in images_record.images} if images_record else {}
    entries = (
        _image_entry(image, details, recorded, users)
        for image in (*inventory.images, *inventory.artifacts)
    )
    return ReleaseContent(
        tuple(sorted(entries, key=lambda each: (each.label, each.image_id, each.digest))),
        tuple(
            sorted(
                _charm_entries(charms, charms_record),
                key=lambda each: (each.name, bool(each.note), each.file),
            )
        ),
        tuple(_not_pushed(charms, inventory)),
    )


def _users(charms: UnpackedCharms, inventory: Inventory) -> dict[str, set[str]]:
    """List the users of each image of the archive, by its reference in the registry."""
    finder = ApplicationImages(inventory, _REGISTRY)
    users = [(charm.name, charm) for charm in charms.charms]
    users += [(_versioned(charm), charm) for charm in charms.intermediate]
    for user, charm in users:
        finder.resources(user, charm, {})
        finder.options(user, charm, {})
        finder.report_fixed(user, charm, {})
    found = {reference: set(users) for reference, users in finder.users.items()}
    for purpose, names in inventory.user_images.items():
        for name in filter(None, map(ImageReference.parse, names)):
            reference = _REGISTRY.reference(image_path(name))
            found.setdefault(reference, set()).add(f"users/{purpose}")
    return found


def _image_entry(
    image: ArchivedImage,
    details: ArchivedDetails,
    recorded: Mapping[str, PackedImage],
    users: Mapping[str, set[str]],
) -> ImageEntry:
    records = (recorded.get(str(name)) for name in image.names)
    record = next((each for each in records if each and each.image_id == image.image_id), None)
    digest = details.digests.get(image) or (record.digest if record else "")
    references = map(_REGISTRY.reference, image.paths)
    wanted_by = chain.from_iterable(users.get(reference, ()) for reference in references)
    by_juju = ("juju",) if any(map(is_juju_image, image.names)) else ()
    return ImageEntry(
        image.names,
        image.member,
        image.artifact_type or "image",
        digest,
        image.image_id,
        image.architecture,
        details.layers.get(image, ()),
        _source(image.names, record),
        tuple(sorted({*wanted_by, *by_juju})),
    )


def _source(names: Iterable[ImageReference], record: PackedImage | None) -> str:
    for name in names:
        if record:
            host, path = name.upstream
            return f"{host}/{path.repository}@{record.digest}"
        # The original registry of an image that was retagged for another is unknown.
        if original := mirror_path(name):
            return str(original)
    return ""


def _charm_entries(charms: UnpackedCharms, record: PackManifest | None) -> Iterator[CharmEntry]:
    packed = {(charm.file, charm.sha256): charm for charm in record.charms} if record else {}

    def entry(charm: CharmFile | UnreadableCharm, user: str, note: str) -> CharmEntry:
        sha256 = charms.digests[charm.label]
        known = packed.get((charm.label, sha256))
        return CharmEntry(
            charm.name,
            charm.label,
            sha256,
            known.revision if known else None,
            (known.channel if known else None) or "",
            charm.bases if isinstance(charm, CharmFile) else (),
            note,
            user,
        )

    for charm in charms.charms:
        yield entry(charm, charm.name, "")
    for charm in charms.intermediate:
        yield entry(charm, _versioned(charm), "only for an upgrade")
    for charm in charms.unreadable:
        yield entry(charm, "", "cannot be read")


def _versioned(charm: CharmFile) -> str:
    """Return the name of a charm with its version, for the users of images."""
    return f"{charm.name} {version_of(charm)}"


def _not_pushed(charms: UnpackedCharms, inventory: Inventory) -> Iterator[str]:
    for charm in charms.unreadable:
        yield charm.error.problem
    for error in (*inventory.damaged, *inventory.conflicts):
        yield error.problem
    for image in inventory.unnamed:
        yield f"{image.description} has no name"
    for entry in inventory.possible_images:
        yield entry.problem
