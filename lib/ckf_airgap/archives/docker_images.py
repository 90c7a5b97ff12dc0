"""The images that ``manifest.json`` describes, assembled from the files of its archive."""

import posixpath
from collections.abc import Iterator
from typing import Generic

from ckf_airgap.archives.docker_manifest import RESAVE, DockerImage, read_docker_manifest
from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.image_config import ImageConfig, read_config
from ckf_airgap.archives.image_sink import Layer, ReadImage, Verdict
from ckf_airgap.archives.oci_layout import blob_digest
from ckf_airgap.archives.parsed_once import ParsedOnce
from ckf_airgap.archives.scope import File, FoundImage, Scope
from ckf_airgap.errors import ArtifactError, without_traceback
from ckf_airgap.images.oci import sha256_of


class DockerImages(Generic[Layer]):
    """The images in the ``manifest.json`` files of one archive.

    Attributes:
        layer_paths: The paths of all layers.
        failed: The names of incomplete or damaged images.
        failed_directories: The directories of manifests that are damaged or have a damaged entry.
    """

    def __init__(self, scope: Scope[Layer], architecture: str) -> None:
        """Start without a manifest.

        Args:
            scope: The files of the archive.
            architecture: The CPU architecture to choose among several; empty for any.
        """
        self._scope = scope
        self._architecture = architecture
        self._entries: list[tuple[str, list[DockerImage]]] = []
        self._configs = ParsedOnce[ImageConfig]()
        self.layer_paths: set[str] = set()
        self.failed: set[str] = set()
        self.failed_directories: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add_manifest(self, content: bytes, directory: str) -> list[ArtifactError]:
        """Add a manifest; return an error for each damaged entry.

        Raises:
            ArtifactError: The document as a whole is not a valid list of images.
        """
        try:
            found = read_docker_manifest(content, self._scope.at.label, is_at_top=not directory)
        except ArtifactError:
            self.failed_directories.add(directory)
            raise
        if found is None:
            return []
        images, damaged = found
        if damaged:
            self.failed_directories.add(directory)
        self._entries.append((directory, images))
        for image in images:
            paths = (posixpath.join(directory, path) for path in image.layers)
            self.layer_paths.update(map(posixpath.normpath, paths))
        return damaged

    def found(self, problems: list[ArtifactError]) -> Iterator[FoundImage[Layer]]:
        """Return the complete images; call this at the end of the archive.

        Args:
            problems: Receives an error for each incomplete or damaged image.
        """
        found: dict[str, FoundImage[Layer]] = {}
        for directory, entries in self._entries:
            for entry in entries:
                try:
                    image = self._image(entry, directory, is_single=len(entries) == 1)
                except ArtifactError as error:
                    problems.append(without_traceback(error))
                    self.failed.update(entry.names)
                else:
                    found.setdefault(image.image.key, image)
        return self._of_wanted_platforms(list(found.values()))

    def _image(self, entry: DockerImage, directory: str, *, is_single: bool) -> FoundImage[Layer]:
        scope = self._scope
        path = scope.resolve(posixpath.join(directory, entry.config))
        config, document = scope.documents.get(path), scope.files.get(path)
        if document and config is None:
            raise ArtifactError(f"the config of {entry.label} is not an image config", RESAVE)
        if config is None or document is None:
            raise ArtifactError(
                f"{scope.at.label} lacks the config {entry.config!r} of {entry.label}", RESAVE
            )
        digest = sha256_of(config)
        layers: list[File[Layer]] = []
        try:
            if blob_digest(path) not in (None, digest):
                raise ArtifactError(
                    f"the image config of {entry.label} is damaged: its digest is not the one in "
                    "its name",
                    RESAVE,
                )
            details = self._config(path, config, entry.label)
            layers += self._layers(entry, directory, len(details.diff_ids))
        except ArtifactError:
            document.decide(Verdict.DAMAGED)
            raise
        member = scope.at.archive_path or directory or scope.at.label
        image = ReadImage[Layer](
            key=f"{scope.at.place}#{digest}#{' '.join(entry.names)}",
            member=member,
            file_name=without_ending(member) if is_single else "",
            names=entry.names,
            config=config,
            image_id=digest,
            platform=details.platform,
            architecture=details.architecture,
            diff_ids=details.diff_ids,
            manifest=None,
            keeps_manifest=False,
            artifact_type="",
            layers=(),
        )
        return FoundImage(image, tuple(layers), (document,))

    def _config(self, path: str, content: bytes, image: str) -> ImageConfig:
        """Read a config, once for all images that use it."""

        def parse() -> ImageConfig:
            details = read_config(content, image, RESAVE)
            self._scope.reserve(*details.diff_ids)
            return details

        return self._configs.get(path, parse)

    def _layers(self, entry: DockerImage, directory: str, count: int) -> list[File[Layer]]:
        paths = [posixpath.join(directory, path) for path in entry.layers]
        files = [file for file in map(self._scope.file, paths) if file]
        problem = ""
        if len(files) < len(paths):
            lacking = next(path for path in paths if not self._scope.file(path))
            problem = f"{self._scope.at.label} lacks the layer {lacking} of {entry.label}"
        elif len(files) != count:
            problem = (
                f"{self._scope.at.label} contains {len(files)} layers of {entry.label}, whose "
                f"config lists {count}"
            )
        if problem:
            for file in files:
                file.decide(Verdict.DAMAGED)
            raise ArtifactError(problem, RESAVE)
        return files

    def _of_wanted_platforms(self, found: list[FoundImage[Layer]]) -> Iterator[FoundImage[Layer]]:
        """Leave out an image of another CPU architecture if a wanted one has the same names."""
        if not self._architecture:
            yield from found
            return
        available = {
            item.image.names for item in found if item.image.architecture == self._architecture
        }
        for item in found:
            image = item.image
            is_wanted = image.architecture == self._architecture
            if image.names and image.names in available and not is_wanted:
                for file in (*item.layers, *item.documents):
                    file.reason = f"an image for {image.platform}, which is not wanted"
            else:
                yield item
