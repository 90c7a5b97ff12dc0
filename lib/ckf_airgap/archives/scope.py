"""The files of one archive that have been read, and their images."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from ckf_airgap.archives.allowance import Allowance
from ckf_airgap.archives.image_sink import Layer, ReadImage, Role, Verdict
from ckf_airgap.archives.oci_layout import blob_digest
from ckf_airgap.errors import ArtifactError

FOLLOW_LINKS = "make the archive again with the files that the links lead to (tar -h)"
# The longest chain of links that is followed. Tools such as docker and podman write chains of one.
_MOST_LINKS = 16


@dataclass(eq=False, slots=True)
class File(Generic[Layer]):
    """A file of an archive.

    Attributes:
        path: Its path in the archive.
        place: Identifies it in the whole archive; see ``LayerFile``.
        size: Its size, in bytes.
        role: How it was read.
        is_tar: Whether it is a tar archive, compressed or not.
        is_plain: Whether it is uncompressed.
        what: Describes a file that cannot be read here, for example ``a zip file``.
        layer: The sink's result, if it was read as a layer.
        error: The damage that was found, if any.
        verdict: Its outcome; None until it is known.
        reason: Why it is passed over; empty if unknown.
    """

    path: str
    place: str
    size: int
    role: Role
    is_tar: bool = False
    is_plain: bool = True
    what: str = ""
    layer: Layer | None = None
    error: ArtifactError | None = None
    verdict: Verdict | None = None
    reason: str = ""

    def decide(self, verdict: Verdict) -> None:
        """Set the outcome, unless the file has one.

        "Damaged" is replaced too, unless the new outcome is "passed over".
        """
        if self.verdict is None or (
            self.verdict is Verdict.DAMAGED and verdict is not Verdict.PASSED_OVER
        ):
            self.verdict = verdict


@dataclass(frozen=True)
class Position:
    """The position of an archive in the whole archive.

    Attributes:
        label: Its name in messages.
        archive_path: Its path in the whole archive; empty for the whole archive.
        place: The prefix of the places of its files; see ``LayerFile``.
        depth: The number of archives around it.
    """

    label: str
    archive_path: str = ""
    place: str = ""
    depth: int = 0

    def inside(self, path: str, place: str) -> "Position":
        """Return the position of a nested archive."""
        archive_path = self.named(path)
        return Position(archive_path, archive_path, f"{place}/", self.depth + 1)

    def named(self, path: str) -> str:
        """Return the path of a file in the whole archive."""
        return f"{self.archive_path}/{path}" if self.archive_path else path


class Scope(Generic[Layer]):
    """The files of one archive, and its documents.

    Attributes:
        at: The position of the archive.
        files: The files by path.
        documents: The content of the JSON documents, by path.
        blobs: The files that are blobs of a layout, by the digest in their path.
        contents: The content of the documents that are blobs, by the digest in their path.
        links: The targets of the links, by path.
        replaced: Files that a later file of the same path replaces.
    """

    def __init__(
        self, at: Position, allowance: Allowance, left_out: Mapping[str, File[Layer]]
    ) -> None:
        """Start without files.

        Args:
            at: The position of the archive.
            allowance: Limits the memory.
            left_out: The layers that a difference leaves out, by the digests that would name
                their files.
        """
        self.at = at
        self.files: dict[str, File[Layer]] = {}
        self.documents: dict[str, bytes] = {}
        self.blobs: dict[str, File[Layer]] = {}
        self.contents: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.replaced: list[File[Layer]] = []
        self._resolved: dict[str, str] = {}
        self._allowance = allowance
        self._left_out = left_out
        self._reserved = 0

    def reserve(self, *texts: str | bytes) -> None:
        """Reserve memory for texts that stay until the end of this archive.

        Raises:
            ArchiveLimitError: The limit is exceeded.
        """
        self._reserved += self._allowance.reserve(sum(map(len, texts)), self.at.label)

    def close(self) -> None:
        """Release the reserved memory."""
        self._allowance.release(self._reserved)
        self._reserved = 0

    def add_link(self, path: str, target: str, *, is_hard: bool) -> None:
        """Add a link; a symbolic link is relative to its directory."""
        directory = "" if is_hard else posixpath.dirname(path)
        self.reserve(path, target)
        self.links[path] = posixpath.normpath(posixpath.join(directory, target))

    def resolve(self, path: str) -> str:
        """Return the path to which links lead from a path, or the path itself if it is not a link.

        Raises:
            ArtifactError: The chain of links is too long, or a cycle.
        """
        path = posixpath.normpath(path)
        followed: list[str] = []
        target = path
        while target in self.links and target not in self._resolved:
            followed.append(target)
            if len(followed) > _MOST_LINKS:
                raise ArtifactError(
                    f"{self.at.label} has a chain of more than {_MOST_LINKS} links at {path}",
                    FOLLOW_LINKS,
                )
            target = self.links[target]
        target = self._resolved.get(target, target)
        for link in followed:
            self._resolved[link] = target
        return target

    def file(self, path: str) -> File[Layer] | None:
        """Return the file (or the layer left out) at a path, following links; None without one."""
        target = self.resolve(path)
        return self.files.get(target) or self._left_out.get(blob_digest(target) or "")

    def blob(self, digest: str) -> File[Layer] | None:
        """Return the file of a blob (or the layer left out); None if there is none."""
        return self.blobs.get(digest) or self._left_out.get(digest)


@dataclass(frozen=True)
class FoundImage(Generic[Layer]):
    """An image or an artifact of an archive, with its files.

    Attributes:
        image: The image; its ``layers`` are set when it is passed to the sink.
        layers: The files of its layers, base layer first.
        documents: The files of its config and its manifest.
    """

    image: ReadImage[Layer]
    layers: tuple[File[Layer], ...]
    documents: tuple[File[Layer], ...]

    def decide(self, verdict: Verdict) -> None:
        """Set the outcome of its files."""
        for file in (*self.layers, *self.documents):
            file.decide(verdict)
