"""Reads images.tar.gz in any of its formats.

The reader walks the archive once and passes what it finds to a sink: the push, or the inventory.
The content of a file decides how it is read: a nested archive is walked, a layer goes to the sink
immediately, a JSON document is kept until the end of its archive. Often only the end of an archive
shows which image a layer belongs to. If it shows that a file was read in the wrong role, the whole
archive has to be read again.
"""

import posixpath
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Generic

from ckf_airgap.archives.allowance import Allowance, ArchiveLimitError
from ckf_airgap.archives.byte_stream import (
    COPY_AGAIN,
    READ_SIZE,
    ByteStream,
    FileStream,
    decoded,
)
from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.docker_manifest import RESAVE
from ckf_airgap.archives.file_content import (
    FileContent,
    Shape,
    classify_content,
    read_head,
)
from ckf_airgap.archives.file_outcomes import NO_IMAGES, is_chart
from ckf_airgap.archives.image_scope import ImageScope, Reading
from ckf_airgap.archives.image_sink import (
    ImageSink,
    Layer,
    NestedArchive,
    PassedOver,
    Role,
    Verdict,
)
from ckf_airgap.archives.pack_manifest import (
    PACK_MANIFEST,
    SIGNATURE,
    PackManifest,
    decode_member,
)
from ckf_airgap.archives.scope import File, Position
from ckf_airgap.archives.tar_stream import (
    MAKE_AGAIN,
    MemberKind,
    TarMember,
    read_end,
    read_members,
)
from ckf_airgap.errors import ArtifactError, listed

# The limit for the levels of archives, the outermost one included. Real archives have at most two.
_DEEPEST = 4
# Each reading may find one more level of nesting.
_MOST_READINGS = _DEEPEST + 1
_MOST_HINTS = 9


class Readings:
    """The readings of one archive, which is read again if files were read in the wrong role.

    Attributes:
        roles: The roles in which to read some files, by their places (see ``LayerFile``).
    """

    def __init__(self, archive: str) -> None:
        """Start before the first reading; ``archive`` is the name for messages."""
        self._archive = archive
        self._count = 0
        self.roles: Mapping[str, Role] = {}

    def settle(self, roles: Mapping[str, Role]) -> bool:
        """Return whether a reading was the last one; if not, keep its roles for the next one.

        Args:
            roles: The result of the reading, from ``ImageReader.read``.

        Raises:
            ArtifactError: There were too many readings.
        """
        if not roles:
            return True
        self.roles = roles
        self._count += 1
        if self._count >= _MOST_READINGS:
            raise ArtifactError(
                f"{self._archive} does not show which of its files are layers and which are "
                "archives",
                "make an archive that contains only archives made by docker save",
            )
        return False


class ImageReader(Generic[Layer]):
    """Reads images.tar.gz once, from start to end.

    Attributes:
        manifest: The archive's own record (``ckf-airgap.json``), once it was read; None without.
        corrected_roles: The correct role, by place, of each file that was read in the wrong role.
    """

    def __init__(
        self,
        name: str,
        size: int,
        sink: ImageSink[Layer],
        *,
        architecture: str = "",
        roles: Mapping[str, Role] | None = None,
    ) -> None:
        """Prepare one reading.

        Args:
            name: The name of the archive, for messages.
            size: Its stored size, in bytes. An archive whose own record gives another size is
                refused as soon as the record is read.
            sink: Receives the images.
            architecture: The CPU architecture to choose among several; empty for any.
            roles: The roles in which to read some files, from earlier readings.
        """
        self._name = name
        self._size = size
        self._sink = sink
        self._reading = Reading(sink, architecture, dict(roles or {}), Allowance())
        self._hints: list[PassedOver] = []
        self.manifest: PackManifest | None = None
        self.corrected_roles: dict[str, Role] = {}

    def read(self, archive: ByteStream) -> Mapping[str, Role]:
        """Read the archive.

        Args:
            archive: The decompressed archive.

        Returns:
            Empty if everything was read. Otherwise the archive has to be read again, with these
            roles.

        Raises:
            ArtifactError: The archive itself is damaged or truncated, exceeds a limit, contains no
                images, or is refused by the sink.
        """
        scope = ImageScope(Position(self._name), self._reading)
        self._walk(scope, archive)
        read_end(archive, self._name)
        has_any = scope.found or scope.found_inside or self.manifest
        if not has_any and not self.corrected_roles:
            hints = listed([f"{skipped.file}: {skipped.reason}" for skipped in self._hints])
            raise ArtifactError(
                f"{self._name} contains no images: neither docker save archives nor an OCI image "
                f"layout{'; ' if hints else ''}{hints}",
                "make it with ckf-airgap pack, or with tar -czf from docker save archives",
            )
        return {**self._reading.roles, **self.corrected_roles} if self.corrected_roles else {}

    def _walk(self, scope: ImageScope[Layer], stream: ByteStream) -> None:
        """Read one archive to its end.

        Raises:
            ArtifactError: It is damaged, or exceeds a limit.
        """
        try:
            for number, member in enumerate(read_members(stream, scope.at.label)):
                self._add(scope, member, f"{scope.at.place}{number}")
            scope.finish()
        except ArchiveLimitError as error:
            raise ArtifactError(error.problem, error.cure) from error
        finally:
            scope.close()
        self._hints += scope.hints[: _MOST_HINTS - len(self._hints)]
        self.corrected_roles.update(scope.corrected_roles)

    def _add(self, scope: ImageScope[Layer], member: TarMember, place: str) -> None:
        path = posixpath.normpath(member.name)
        if member.kind is MemberKind.DIRECTORY:
            return
        if member.kind is MemberKind.LINK:
            scope.add_link(path, member.link_target, is_hard=member.is_hard_link)
            return
        if scope.at.depth == 0 and path == PACK_MANIFEST and self.manifest is None:
            self._read_pack_manifest(member)
            return
        if scope.at.depth == 0 and path == SIGNATURE and self.manifest:
            self._sink.outcome(SIGNATURE, Verdict.IMAGE)
            return
        file = File[Layer](path, place, member.size, Role.NOTHING)
        if member.kind is MemberKind.OTHER:
            file.what = "a device or a pipe"
            scope.add(file)
            return
        head = read_head(member, member.size)
        content = classify_content(head, member.size)
        file.is_tar = content.shape is Shape.TAR
        file.is_plain = content.compression is Compression.NONE
        file.what = content.what
        file.role = scope.role(path, place, content)
        scope.add(file)
        self._read(scope, file, content, FileStream(head, member))

    def _read(
        self, scope: ImageScope[Layer], file: File[Layer], content: FileContent, stream: FileStream
    ) -> None:
        if file.role is Role.DOCUMENT:
            pieces = list(iter(lambda: stream.read(READ_SIZE), b""))
            scope.add_document(file, b"".join(pieces))
        elif file.role is Role.ARCHIVE:
            self._descend(scope, file, content, stream)
        elif file.role in (Role.LAYER, Role.BLOB):
            scope.add_layer(file, scope.layer_file(file, stream))

    def _descend(
        self, scope: ImageScope[Layer], file: File[Layer], content: FileContent, stream: FileStream
    ) -> None:
        """Read a nested archive."""
        label = scope.at.named(file.path)
        file.decide(Verdict.ARCHIVE)
        nested = NestedArchive(file.place, label, file.size)
        if self._sink.has_nested(nested):
            scope.found_inside += 1
            return
        if scope.at.depth + 1 >= _DEEPEST:
            file.verdict = None
            file.what = f"an archive nested {_DEEPEST} levels deep"
            return
        inner = ImageScope(scope.at.inside(file.path, file.place), self._reading)
        try:
            opened = _decompressed(
                stream, content.compression, label, with_segments=self._sink.sends
            )
            with opened as unpacked:
                self._walk(inner, unpacked)
                read_end(unpacked, label)
            if not inner.files and not inner.links:
                raise ArtifactError(f"{label} is empty: it contains no file", RESAVE)
        except ArtifactError as error:
            file.error = _damaged(label, error)
            file.verdict = Verdict.DAMAGED
            scope.found_inside += 1
            scope.is_sound = False
            self._sink.damaged(label, file.error)
            return
        scope.found_inside += inner.found + inner.found_inside
        inner.is_sound = inner.is_sound and not inner.corrected_roles
        scope.is_sound = scope.is_sound and inner.is_sound
        if not inner.found and not inner.found_inside and not inner.corrected_roles:
            file.verdict = None
            if is_chart(inner):
                file.reason = "a Helm chart"
            else:
                file.what = NO_IMAGES
        elif inner.is_sound:
            self._sink.finished_nested(nested)

    def _read_pack_manifest(self, member: TarMember) -> None:
        self.manifest = decode_member(member, self._name)
        if self.manifest:
            self.manifest.require_size(self._size, self._name)
            self._sink.pack_manifest(self.manifest)
            self._add_left_out(self.manifest)
        self._sink.outcome(PACK_MANIFEST, Verdict.IMAGE)

    def _add_left_out(self, manifest: PackManifest) -> None:
        """Add a file for each layer that a difference (``pack --since``) leaves out."""
        role = Role.LAYER if manifest.layout == "docker" else Role.BLOB
        for digest, layer in manifest.left_out.items():
            self._reading.allowance.reserve(len(digest), self._name)
            file = File[Layer](digest, "", layer.size, role, is_tar=True, is_plain=False)
            file.layer = self._sink.left_out(digest, layer)
            self._reading.left_out[digest] = file


def _decompressed(
    stream: FileStream, compression: Compression, label: str, *, with_segments: bool
) -> AbstractContextManager[ByteStream]:
    if compression is Compression.NONE:
        # No decoder: this stream can skip bytes without reading them.
        return nullcontext(stream)
    return closing(decoded(stream, compression, label, with_segments=with_segments))


def _damaged(member: str, error: ArtifactError) -> ArtifactError:
    """Add the name of a nested archive to an error about its content."""
    problem = error.problem if member in error.problem else f"{member}: {error.problem}"
    # Copying again would not help: the checksum of the outer archive shows damage by copying.
    return ArtifactError(problem, RESAVE if error.cure in (COPY_AGAIN, MAKE_AGAIN) else error.cure)
