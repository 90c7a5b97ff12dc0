"""The record of a packed archive's content: its first member, ``ckf-airgap.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.sources import Source
from ckf_airgap.archives.tar_stream import TarMember, read_members
from ckf_airgap.errors import ArtifactError, printable
from ckf_airgap.images.oci import is_digest, sha256_of

PACK_MANIFEST = "ckf-airgap.json"
"""The name of the member with the record."""

SIGNATURE = f"{PACK_MANIFEST}.minisig"
"""The name of the next member, the signature of the record, if it is signed."""

MOST_PARTS = 999
"""How many parts an archive can have: their numbers have three digits."""

Entry = TypeVar("Entry", "PackedImage", "PackedLayer", "PackedCharm")
Value = TypeVar("Value")

_FORMAT = 1
_LARGEST_MEMBER = 16 * 1024 * 1024
# The record contains the size of the archive, of which the record is a part. So that the length of
# the record does not depend on that size, spaces after the document replace the digits that the
# size has less than this number.
_SIZE_DIGITS = 20


@dataclass(frozen=True)
class PackedLayer:
    """A layer of an image.

    Attributes:
        digest: The digest of its blob in the registry that it came from.
        diff_id: The digest of its uncompressed content.
        size: The size of that blob, in bytes.
        media_type: The media type of that blob.
        found_in: The name of an image of an earlier release that has the layer, if the archive
            leaves it out; empty if it is in the archive.
    """

    digest: str
    diff_id: str
    size: int
    media_type: str
    found_in: str = ""


@dataclass(frozen=True)
class PackedImage:
    """An image of images.tar.gz.

    Attributes:
        name: Its name, with a tag.
        digest: The digest of its manifest in the registry that it came from.
        image_id: The digest of its config.
        size: The size of its layers in that registry, in bytes.
        layers: Its layers, base layer first; none if an earlier version made the record.
    """

    name: str
    digest: str
    image_id: str
    size: int
    layers: tuple[PackedLayer, ...] = ()


@dataclass(frozen=True)
class PackedCharm:
    """A charm of charms.tar.gz.

    Attributes:
        name: The name of the charm.
        file: The name of its member.
        sha256: The SHA-256 of the file, 64 hexadecimal digits.
        size: The size of the file, in bytes.
        revision: Its revision on Charmhub; None if it came from elsewhere.
        channel: Its channel on Charmhub; None if it came from elsewhere.
    """

    name: str
    file: str
    sha256: str
    size: int
    revision: int | None = None
    channel: str | None = None


@dataclass(frozen=True)
class PackManifest:
    """The content of both archives.

    Attributes:
        layout: The format of images.tar.gz: ``docker`` or ``oci``.
        architecture: The CPU architecture of the images.
        images: The images, sorted by name.
        charms: The charms, sorted by name.
        bundle: The bundle that the archives were packed for, if any.
        archive_size: The size of the archive with this record, in bytes.
        upgrade_from: The release or bundle that this release was packed to upgrade, if any.
        user_images: The names of users' images by their purpose: ``jupyter``, ``vscode``,
            ``rstudio``, ``pipelines``, ``runtimes``, ``other``.
        part_size: The size of each part but the last, in bytes; 0 if the archive is one file.
        part_starts: The SHA-256 of the first bytes (``parts.START_BYTES``) of each part from the
            second on.
        stands_on: If the archive is a difference: the identities of the releases that must be in
            the registry before it, the latest first.
    """

    layout: str
    architecture: str
    images: tuple[PackedImage, ...]
    charms: tuple[PackedCharm, ...]
    bundle: str = ""
    archive_size: int = 0
    upgrade_from: str = ""
    user_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    part_size: int = 0
    part_starts: tuple[str, ...] = ()
    stands_on: tuple[str, ...] = ()

    @property
    def content(self) -> "PackManifest":
        """The record without the fields that describe only one of the two archives."""
        return replace(self, archive_size=0, part_size=0, part_starts=())

    @property
    def identity(self) -> str:
        """A digest of the release, the same for the whole archive and for a difference."""
        images = [(image.name, image.digest, image.image_id) for image in self.images]
        charms = [(charm.file, charm.sha256) for charm in self.charms]
        return sha256_of(json.dumps([self.layout, self.architecture, images, charms]).encode())

    @property
    def left_out(self) -> dict[str, PackedLayer]:
        """The layers that are left out, by ``file_digest``."""
        layers = (layer for image in self.images for layer in image.layers)
        return {self.file_digest(layer): layer for layer in layers if layer.found_in}

    @property
    def left_out_bytes(self) -> int:
        """The size of the layers that are left out, in bytes."""
        return sum(layer.size for layer in self.left_out.values())

    def file_digest(self, layer: PackedLayer) -> str:
        """Return the digest that names the file of a layer in the archive."""
        return layer.diff_id if self.layout == "docker" else layer.digest

    def encode(self) -> bytes:
        """Return the JSON document, whose length does not depend on ``archive_size``."""
        document = {"format": _FORMAT, **asdict(self)}
        text = json.dumps(document, indent=1)
        padding = _SIZE_DIGITS - len(str(self.archive_size))
        return f"{text}{' ' * padding}\n".encode()

    def require_size(self, size: int, archive: str) -> None:
        """Require that the archive has the size in its record.

        Args:
            size: The actual size, in bytes.
            archive: Its name, for messages.

        Raises:
            ArtifactError: It has another size.
        """
        if self.archive_size != size:
            raise ArtifactError(
                f"{archive} has {size:,} bytes and was packed with {self.archive_size:,}: it was "
                "not copied completely, or was changed",
                f"copy it again; if you made a new archive of its members, leave {PACK_MANIFEST} "
                "out",
            )

    def _require_sane_parts(self) -> None:
        count = len(self.part_starts) + 1
        before = self.part_size * len(self.part_starts)
        are_parts = count <= MOST_PARTS and before < self.archive_size <= before + self.part_size
        if (self.part_size or self.part_starts) and not are_parts:
            raise ValueError(
                f"{self.archive_size} bytes do not fit {count} parts of {self.part_size} bytes"
            )

    @classmethod
    def decode(cls, content: bytes, archive: str) -> "PackManifest | None":
        """Parse the record.

        Args:
            content: The content of its member.
            archive: The archive's name, for messages.

        Returns:
            The record; None if it has the format of a later version, which cannot be read.

        Raises:
            ArtifactError: The record is damaged, or has a format that no version writes.
        """
        try:
            document: dict[str, Any] = json.loads(content)
            number: object = document["format"]
            if type(number) is not int or number < _FORMAT:
                raise ValueError(f"no version of ckf-airgap writes the format {number!r:.80}")
            if number > _FORMAT:
                return None
            manifest = cls(
                printable(str(document["layout"])),
                printable(str(document["architecture"])),
                tuple(_image(image) for image in document["images"]),
                tuple(_entry(PackedCharm, charm) for charm in document["charms"]),
                str(document["bundle"]),
                int(document["archive_size"]),
                printable(str(document.get("upgrade_from", ""))),
                _user_images(document.get("user_images", {})),
                int(document.get("part_size", 0)),
                tuple(str(start) for start in document.get("part_starts", ())),
                tuple(map(_digest, document.get("stands_on", ()))),
            )
            manifest._require_sane_parts()
            if manifest.left_out and not manifest.stands_on:
                raise ValueError("layers are left out, and it does not say where they are")
            return manifest
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ArtifactError(
                f"{PACK_MANIFEST} in {archive} is damaged ({error})",
                "copy the archive again and compare its checksum with the original",
            ) from error


def read_pack_manifest(archive: Source) -> PackManifest | None:
    """Read the record of an archive, and nothing else of it.

    Returns:
        The record; None if the archive has none, because another tool made it, or if the record
        has the format of a later version.

    Raises:
        ArtifactError: It is not an archive, its record is damaged, or it does not have the size in
            its record.
    """
    manifest = first_record(archive)
    if manifest:
        manifest.require_size(archive.size, archive.name)
    return manifest


def read_user_images(archive: Source) -> Mapping[str, tuple[str, ...]]:
    """Read the names of users' images by their purpose; empty if the archive has no record.

    Args:
        archive: images.tar.gz.

    Raises:
        ArtifactError: As for ``read_pack_manifest``.
    """
    manifest = read_pack_manifest(archive)
    return manifest.user_images if manifest else {}


@dataclass(frozen=True)
class PackRecord:
    """The first members of an archive, not parsed: the record and its signature.

    Attributes:
        content: The record.
        signature: Its signature; empty if it is not signed.
    """

    content: bytes
    signature: bytes

    def decode(self, archive: str) -> PackManifest | None:
        """Parse the record (see ``PackManifest.decode``)."""
        return PackManifest.decode(self.content, archive)


def first_record(archive: Source) -> PackManifest | None:
    """Read the record at the start of an archive. The rest of the archive may be missing.

    Args:
        archive: The archive, or its first part.

    Returns:
        The record; None if the archive begins with something else, or the record has the format
        of a later version.

    Raises:
        ArtifactError: The start of the archive is damaged.
    """
    record = read_record(archive)
    return record.decode(archive.name) if record else None


def read_record(archive: Source) -> PackRecord | None:
    """Read the record and its signature from the start of an archive, without checking them.

    Args:
        archive: The archive, or its first part.

    Returns:
        The record; None if the archive begins with something else.

    Raises:
        ArtifactError: The start of the archive is damaged.
    """
    found: list[bytes] = []
    with open_archive(archive) as stream:
        for member, name in zip(
            read_members(stream, archive.name), (PACK_MANIFEST, SIGNATURE), strict=False
        ):
            if member.name != name:
                break
            found.append(_content(member, archive.name))
            if name == SIGNATURE:
                break
    return PackRecord(found[0], b"".join(found[1:])) if found else None


def decode_member(member: TarMember, archive: str) -> PackManifest | None:
    """Read the record from its member; None if it has the format of a later version.

    Raises:
        ArtifactError: As for ``PackManifest.decode``.
    """
    return PackManifest.decode(_content(member, archive), archive)


def _content(member: TarMember, archive: str) -> bytes:
    if member.size > _LARGEST_MEMBER:
        raise ArtifactError(
            f"{member.name} in {archive} has {member.size:,} bytes, which is too many",
            "make the archive again (ckf-airgap pack)",
        )
    return b"".join(iter(lambda: member.read(_LARGEST_MEMBER), b""))


def _entry(kind: type[Entry], document: dict[str, Any]) -> Entry:
    entry = kind(**document)
    for attribute in fields(entry):
        # ``_image`` reads the layers.
        if attribute.name == "layers":
            continue
        if not isinstance(getattr(entry, attribute.name), cast(type, attribute.type)):
            raise TypeError(f"{attribute.name} of {document} has the wrong type")
    return entry


def _image(document: object) -> PackedImage:
    found = cast(dict[str, Any], _typed(dict, document))
    layers = tuple(_layer(layer) for layer in found.get("layers", ()))
    image = replace(_entry(PackedImage, {**found, "layers": ()}), layers=layers)
    for digest in (image.digest, image.image_id):
        _digest(digest)
    return image


def _layer(document: dict[str, Any]) -> PackedLayer:
    layer = _entry(PackedLayer, document)
    for digest in (layer.digest, layer.diff_id):
        _digest(digest)
    if layer.size < 0:
        raise ValueError(f"a layer of {layer.size} bytes")
    return layer


def _digest(value: object) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(f"{value!r:.80} is not a digest")
    return value


def _user_images(document: object) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for purpose, names in cast(dict[str, Any], _typed(dict, document)).items():
        images = [_typed(str, name) for name in cast(list[object], _typed(list, names))]
        found[printable(purpose)] = tuple(map(printable, images))
    return found


def _typed(kind: type[Value], value: object) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.80} is not a {kind.__name__}")
    return value
