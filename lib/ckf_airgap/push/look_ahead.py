"""Reads ahead in the archive for the first image name, if a push needs one before it begins."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
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
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.progress import Meter
from ckf_airgap.push.push_target import Target
from ckf_airgap.push.recall import has_images, recall


@dataclass(frozen=True)
class LookAhead:
    """Reads ahead in the archive for the names of its images.

    Attributes:
        archive: The archive.
        names: Finds the name of an image that has none in the archive.
        location: The registry prefix.
        architecture: The CPU architecture to choose if there are several; empty for any.
        meter: Reports the progress, so that the push does not seem to hang.
    """

    archive: Source
    names: MemberNames
    location: RegistryLocation
    architecture: str
    meter: Meter

    def repository(self, refused: Collection[str]) -> str | None:
        """Find the repository of the first image whose repository is not among the given ones."""
        return next(iter(self._tags(refused)), None)

    def _tags(self, refused: Collection[str]) -> dict[str, set[str]]:
        """Find the first repositories of the archive and their tags, without the refused ones."""
        paths = first_paths(
            self.archive,
            self.names,
            lambda path: (
                self.location.repository(path) not in refused
                and not self.location.length_problem(path)
            ),
            architecture=self.architecture,
            on_step=self.meter.tick,
        )
        tags: dict[str, set[str]] = {}
        for path in paths:
            tags.setdefault(self.location.repository(path), set()).add(path.tag)
        return tags

    def recall(self, target: Target) -> None:
        """If the registry seems to have pushed images, look up which layers it has.

        Only the repositories of the first names of the archive are looked up: all of them if it
        begins with its ``ckf-airgap.json``, otherwise those of one image. If the registry does not
        have that image, the push sends all layers.
        """
        known = self._tags(())
        # If the archive has no usable names, do not look for them again.
        target.destinations.is_exhausted = not known
        for repository in list(known)[:1]:
            target.destinations.add(repository)
        if any(has_images(target.client, *each) for each in known.items()):
            recall(target, self.archive, architecture=self.architecture, on_step=self.meter.tick)


class _FoundError(Exception):
    """Stops the search: paths were found."""

    def __init__(self, paths: Sequence[ImagePath]) -> None:
        super().__init__(paths)
        self.paths = paths


class _FirstImage(ListingSink):
    """A sink that stops at the first image that has a usable path."""

    def __init__(
        self,
        names: MemberNames,
        is_usable: Callable[[ImagePath], bool],
        on_step: Callable[[], None],
    ) -> None:
        super().__init__(names)
        self._names = names
        self._is_usable = is_usable
        self._on_step = on_step

    def pack_manifest(self, manifest: PackManifest) -> None:
        references = (ImageReference.parse(image.name) for image in manifest.images)
        self._stop_at([image_path(reference) for reference in references if reference])

    def needs_layers(self, image: ReadImage[Any]) -> bool:
        self.image(image)
        return True

    def layer(self, layer: LayerFile, image: ReadImage[int] | None) -> int:
        self._on_step()
        # The push would choose the same repository from this name, so stop here.
        if image is None and (guess := self._names.find(layer.archive_name)):
            self._stop_at([image_path(guess)])
        return super().layer(layer, image)

    def image(self, image: ReadImage[Any]) -> None:
        self._stop_at(self.builder.describe(image).paths)

    def _stop_at(self, paths: Iterable[ImagePath]) -> None:
        found = tuple(filter(self._is_usable, paths))
        if found:
            raise _FoundError(found)


def first_paths(
    source: Source,
    names: MemberNames,
    is_usable: Callable[[ImagePath], bool],
    *,
    architecture: str,
    on_step: Callable[[], None],
) -> Sequence[ImagePath]:
    """Look ahead in an archive for the paths of the first image that has a usable one.

    Archives packed by this project begin with the names of their images. In other archives, the
    name of an image may come before its layers, or its file may be named after a wanted image.
    Otherwise the archive is read to the end of the first image that has a usable path.

    Args:
        source: The archive.
        names: Finds the name of an image that has none in the archive.
        is_usable: Returns whether a path is usable; the others are ignored.
        architecture: The CPU architecture to choose if there are several; empty for any.
        on_step: Called regularly.

    Returns:
        The usable paths of the first image that has any; of all images if a ``ckf-airgap.json``
        names them. Empty if no image has any, or the archive is damaged before the first.
    """
    sink = _FirstImage(names, is_usable, on_step)
    try:
        with open_archive(source) as archive:
            read_into(sink, sink.builder, source, archive, Readings(source.name), architecture)
    except _FoundError as found:
        return found.paths
    except ArtifactError:
        # The push reports it.
        return ()
    return ()
