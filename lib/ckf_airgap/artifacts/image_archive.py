"""images.tar.gz: which of its two forms it has, and its members."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ckf_airgap.artifacts.byte_stream import ByteStream, drain
from ckf_airgap.artifacts.image_layout import belongs_to_layout
from ckf_airgap.artifacts.pack_manifest import PACK_MANIFEST, PackManifest, decode_member
from ckf_airgap.artifacts.tar_stream import MemberKind, TarMember, read_members


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

    @property
    def form(self) -> str:
        """What the form is called, on the command line too."""
        return "oci" if self.is_layout else "docker"


def open_images(archive: ByteStream, name: str) -> OpenedImages:
    """Look at the start of images.tar.gz.

    Args:
        archive: The decompressed archive.
        name: Its name, for messages.

    Raises:
        ArtifactError: It is damaged or ends in the middle; iterating over its members raises it
            too.
    """
    members = read_members(archive, name)
    manifest: PackManifest | None = None
    for member in members:
        if member.name == PACK_MANIFEST:
            manifest = decode_member(member, name)
        elif member.kind is MemberKind.FILE:
            is_layout = belongs_to_layout(member)
            return OpenedImages(
                is_layout,
                manifest,
                _all(chain([member], members), archive, archives_only=not is_layout),
            )
    drain(archive)
    return OpenedImages(is_layout=False, manifest=manifest, members=iter(()))


def _all(
    members: Iterator[TarMember], archive: ByteStream, *, archives_only: bool
) -> Iterator[TarMember]:
    for member in members:
        if not archives_only or (member.kind is MemberKind.FILE and member.name.endswith(".tar")):
            yield member
    drain(archive)
