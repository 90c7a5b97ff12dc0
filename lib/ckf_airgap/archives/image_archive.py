"""images.tar.gz: which of its two forms it has, and its members."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from ckf_airgap.archives.byte_stream import ByteStream, open_archive
from ckf_airgap.archives.image_layout import belongs_to_layout
from ckf_airgap.archives.pack_manifest import PACK_MANIFEST, PackManifest, decode_member
from ckf_airgap.archives.sources import Source
from ckf_airgap.archives.tar_stream import MemberKind, TarMember, read_end, read_members
from ckf_airgap.errors import ArtifactError


@dataclass(frozen=True)
class OpenedImages:
    """An images.tar.gz at its start.

    Attributes:
        is_layout: Whether it is an OCI image layout; otherwise it holds ``docker save`` archives.
        manifest: What it says of itself, or None.
        members: The members of the layout, or those that should be ``docker save`` archives. What
            is left of one is skipped when the next is asked for. At the end the archive has been
            read to its end, checksum included.
    """

    is_layout: bool
    manifest: PackManifest | None
    members: Iterator[TarMember]


def open_images(archive: ByteStream, name: str, size: int) -> OpenedImages:
    """Look at the start of images.tar.gz.

    Args:
        archive: The decompressed archive.
        name: Its name, for messages.
        size: Its size as it is stored, in bytes: an archive that says how long it was made, and
            is not, is refused before the rest of it is read.

    Raises:
        ArtifactError: It is damaged or ends in the middle; iterating over its members raises it
            too.
    """
    members = read_members(archive, name)
    manifest: PackManifest | None = None
    for member in members:
        if member.name == PACK_MANIFEST:
            manifest = decode_member(member, name)
            if manifest:
                manifest.require_size(size, name)
        elif member.kind is MemberKind.FILE:
            is_layout = belongs_to_layout(member)
            everything = chain([member], members)
            images = everything if is_layout else _saved(everything, name)
            return OpenedImages(is_layout, manifest, _whole(images, archive, name))
    read_end(archive, name)
    if manifest is None:
        raise _no_images(name)
    return OpenedImages(is_layout=False, manifest=manifest, members=iter(()))


def _saved(members: Iterable[TarMember], archive: str) -> Iterator[TarMember]:
    """Give those that should be ``docker save`` archives."""
    is_empty = True
    for member in members:
        if member.kind is MemberKind.FILE and member.name.endswith(".tar"):
            is_empty = False
            yield member
    if is_empty:
        raise _no_images(archive)


def _whole(members: Iterator[TarMember], archive: ByteStream, name: str) -> Iterator[TarMember]:
    yield from members
    read_end(archive, name)


def _no_images(archive: str) -> ArtifactError:
    return ArtifactError(
        f"{archive} holds no images: neither docker save archives (*.tar) nor an OCI image layout",
        "make it with ckf-airgap pack, or with tar -czf from the archives of docker save",
    )


def image_form(archive: Source) -> str:
    """Tell which of the two forms an images.tar.gz has, by how it begins.

    Args:
        archive: The archive.

    Returns:
        ``docker`` or ``oci``.

    Raises:
        ArtifactError: It is damaged at its start, or not as long as it was made.
    """
    with open_archive(archive) as stream:
        is_layout = open_images(stream, archive.name, archive.size).is_layout
    return "oci" if is_layout else "docker"
