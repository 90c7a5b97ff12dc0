"""Chooses the repository of each layer, always one of the archive's own images.

A layer may be read before its image is known. It is then uploaded to the repository of another
image, and mounted into its own later.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.image_sink import LayerFile, ReadImage
from ckf_airgap.archives.inventory import ListingSink, read_into
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.naming import MemberNames, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference


@dataclass
class Destinations:
    """The known repositories of the archive's images.

    Attributes:
        look_ahead: Finds the repository of the first image in the archive whose repository is
            not among the given ones; returns None if there is none.
        known: The repositories, the latest last.
        refused: Those that the registry refuses pushes to.
        is_exhausted: Whether looking ahead finds no more.
    """

    look_ahead: Callable[[Collection[str]], str | None]
    known: dict[str, None] = field(default_factory=dict[str, None])
    refused: set[str] = field(default_factory=set[str])
    is_exhausted: bool = False

    def add(self, repository: str) -> None:
        """Remember the repository of an image of the archive."""
        # Move it to the end: it is the latest now.
        self.known.pop(repository, None)
        self.known[repository] = None

    def any(self) -> str | None:
        """Return a repository for a layer that may belong to any image; None if none is known."""
        # Copied in one step: another thread may add some.
        known = tuple(self.known)[::-1]
        for repository in known:
            if repository not in self.refused:
                return repository
        # Refused repositories only increase: a search that found none finds none later.
        found = None if self.is_exhausted else self.look_ahead(self.refused)
        self.is_exhausted = found is None
        if found:
            self.add(found)
        # If all refuse, one of them may report it.
        return found or next(iter(known), None)


class _FoundError(Exception):
    """Stops the search: the images were found."""

    def __init__(self, paths: Sequence[ImagePath]) -> None:
        super().__init__(paths)
        self.paths = paths


class _FirstImage(ListingSink):
    """A sink that stops at the first image that has a path not among the given ones."""

    def __init__(
        self,
        names: MemberNames,
        is_meant: Callable[[ImagePath], bool],
        on_step: Callable[[], None],
    ) -> None:
        super().__init__(names)
        self._names = names
        self._is_meant = is_meant
        self._on_step = on_step

    def pack_manifest(self, manifest: PackManifest) -> None:
        references = (ImageReference.parse(image.name) for image in manifest.images)
        self._look_at([image_path(reference) for reference in references if reference])

    def needs_layers(self, image: ReadImage[Any]) -> bool:
        self.image(image)
        return True

    def layer(self, layer: LayerFile, image: ReadImage[int] | None) -> int:
        self._on_step()
        # The push sends it there too, so nothing after it needs to be read.
        if image is None and (guess := self._names.find(layer.holder)):
            self._look_at([image_path(guess)])
        return super().layer(layer, image)

    def image(self, image: ReadImage[Any]) -> None:
        self._look_at(self.builder.describe(image).paths)

    def _look_at(self, paths: Iterable[ImagePath]) -> None:
        meant = tuple(filter(self._is_meant, paths))
        if meant:
            raise _FoundError(meant)


def first_paths(
    source: Source,
    names: MemberNames,
    is_meant: Callable[[ImagePath], bool],
    *,
    architecture: str,
    on_step: Callable[[], None],
) -> Sequence[ImagePath]:
    """Look ahead in an archive for the paths of the first image that has any.

    Archives packed by this project, and most layouts, begin with the names of their images; in
    others, a file may be named after a wanted image. Otherwise the first image is read to its end.

    Args:
        source: The archive.
        names: Names the images by the files that contain them.
        is_meant: Returns whether a path counts.
        architecture: The CPU architecture to choose if there are several; empty for any.
        on_step: Called regularly.

    Returns:
        The paths of the first image, or of all images if the archive begins with their names;
        none if no image has any, or the archive is damaged before it.
    """
    sink = _FirstImage(names, is_meant, on_step)
    try:
        with open_archive(source) as archive:
            read_into(sink, sink.builder, source, archive, Readings(source.name), architecture)
    except _FoundError as found:
        return found.paths
    except ArtifactError:
        # The push reports it.
        return ()
    return ()
