"""One archive on its way through the reader: the files that have come by, and what is known."""

import posixpath
from dataclasses import dataclass
from typing import Generic

from ckf_airgap.archives.allowance import Allowance
from ckf_airgap.archives.image_sink import Layer, ReadImage, Role, Verdict
from ckf_airgap.errors import ArtifactError

# podman's archives link each layer once, docker's too; a chain of them nobody writes.
_MOST_LINKS = 16


@dataclass(eq=False, slots=True)
class File(Generic[Layer]):
    """A file of an archive.

    Attributes:
        path: Its path in the archive.
        place: Tells it from every other file of the whole archive.
        size: Its size, in bytes.
        role: As what it was read.
        is_tar: Whether it is a tar archive, perhaps compressed.
        is_plain: Whether it is not compressed.
        what: In words what it is where that is nothing that is read here.
        layer: What became of it where it was read as a layer.
        error: What is wrong with it.
        verdict: What has become of it, once that is known.
        reason: Why it is passed over, where that is known.
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
        """Set its outcome, unless it has one: part of an image stays part of it."""
        if self.verdict is None or (
            self.verdict is Verdict.DAMAGED and verdict is not Verdict.PASSED_OVER
        ):
            self.verdict = verdict


@dataclass(frozen=True)
class Position:
    """Where in the whole archive an archive stands.

    Attributes:
        label: What to call it in messages.
        holder: Its path in the whole archive; empty where it is that itself.
        place: Tells it from every other file of the whole archive.
        depth: How many archives it stands in.
    """

    label: str
    holder: str = ""
    place: str = ""
    depth: int = 0

    def inside(self, path: str, place: str) -> "Position":
        """Return the position of an archive in this one."""
        holder = self.named(path)
        return Position(holder, holder, f"{place}/", self.depth + 1)

    def named(self, path: str) -> str:
        """Name a file of it in the whole archive."""
        return f"{self.holder}/{path}" if self.holder else path


class Scope(Generic[Layer]):
    """The files of one archive, by their paths, and the documents among them.

    Attributes:
        at: Where the archive stands.
        files: The files by their paths.
        documents: The content of the JSON documents, by their paths.
        blobs: The files that are blobs of a layout, by the digest that their path claims.
        contents: The content of the documents that are blobs, by the same.
        links: Where the links lead, by their paths.
        replaced: Files of which a later one has the path.
    """

    def __init__(self, at: Position, kept: Allowance) -> None:
        """Begin one.

        Args:
            at: Where it stands.
            kept: Counts what is kept of it.
        """
        self.at = at
        self.files: dict[str, File[Layer]] = {}
        self.documents: dict[str, bytes] = {}
        self.blobs: dict[str, File[Layer]] = {}
        self.contents: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.replaced: list[File[Layer]] = []
        self._resolved: dict[str, str] = {}
        self._allowance = kept
        self._kept = 0

    def keep(self, *texts: str | bytes) -> None:
        """Count what is kept until the end of this archive.

        Raises:
            ArtifactError: It is too much.
        """
        self._kept += self._allowance.keep(sum(map(len, texts)), self.at.label)

    def close(self) -> None:
        """Forget the archive: its memory is free for the next one."""
        self._allowance.give_back(self._kept)
        self._kept = 0

    def add_link(self, path: str, target: str, *, is_hard: bool) -> None:
        """Add a link; a symbolic one is relative to its directory."""
        folder = "" if is_hard else posixpath.dirname(path)
        self.keep(path, target)
        self.links[path] = posixpath.normpath(posixpath.join(folder, target))

    def resolve(self, path: str) -> str:
        """Follow links to a path, each of them once however many files lead over it.

        Raises:
            ArtifactError: They lead in a circle, or are a chain that nobody writes.
        """
        path = posixpath.normpath(path)
        passed: list[str] = []
        target = path
        while target in self.links and target not in self._resolved:
            passed.append(target)
            if len(passed) > _MOST_LINKS:
                raise ArtifactError(
                    f"{self.at.label} has a chain of more than {_MOST_LINKS} links at {path}",
                    "make the archive again with the files that the links lead to (tar -h)",
                )
            target = self.links[target]
        target = self._resolved.get(target, target)
        for each in passed:
            self._resolved[each] = target
        return target

    def file(self, path: str) -> File[Layer] | None:
        """Return the file at a path, over links; None where there is none."""
        return self.files.get(self.resolve(path))


@dataclass(frozen=True)
class Found(Generic[Layer]):
    """An image or an artifact of an archive, with the files that it is made of.

    Attributes:
        image: What it is; its layers are added when it is given to the sink.
        layers: The files of its layers, base layer first.
        documents: The files of its config and its manifest.
    """

    image: ReadImage[Layer]
    layers: tuple[File[Layer], ...]
    documents: tuple[File[Layer], ...]

    def decide(self, verdict: Verdict) -> None:
        """Describe what has become of its files."""
        for file in (*self.layers, *self.documents):
            file.decide(verdict)
