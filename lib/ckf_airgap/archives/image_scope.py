"""One archive of images while it is read: the roles of its files, and its images."""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

from ckf_airgap.archives.allowance import Allowance
from ckf_airgap.archives.byte_stream import FileStream
from ckf_airgap.archives.docker_images import DockerImages
from ckf_airgap.archives.docker_manifest import LAYER_FILE, MANIFEST, RESAVE
from ckf_airgap.archives.file_content import FileContent, Shape, without_ending
from ckf_airgap.archives.file_outcomes import FileOutcomes
from ckf_airgap.archives.image_sink import (
    ImageSink,
    Layer,
    LayerFile,
    PassedOver,
    ReadImage,
    Role,
    Verdict,
)
from ckf_airgap.archives.layout_images import Candidate, LayoutEntry, LayoutImages
from ckf_airgap.archives.oci_layout import INDEX, MARKER, blob_digest
from ckf_airgap.archives.scope import File, FoundImage, Position, Scope
from ckf_airgap.errors import ArtifactError, without_traceback

# The paths of layers in archives of docker, podman, buildah, crane and jib.
_LAYER_PATH = re.compile(r"(?:.*/)?(?:layer\.tar|(?:sha256:)?[0-9a-f]{64}\.tar(?:\.gz)?)")
# A JSON document without any of these keys is kept only if it is ``manifest.json``, ``index.json``
# or a small blob. Such documents may be large or many: SBOMs, provenance, web applications.
_DOCUMENT_KEYS = (b'"rootfs"', b'"manifests"', b'"layers"', b'"architecture"')
_SMALL_BLOB = 64 * 1024
# The limit for the layers of all images in ``_awaited``.
_MOST_AWAITED = 200_000
_DOCKER_HUB = re.compile(r"^(?:docker\.io/)?(?:library/)?")


@dataclass(frozen=True)
class Reading(Generic[Layer]):
    """What all nested archives share in one reading of the whole archive.

    Attributes:
        sink: Receives the images.
        architecture: The CPU architecture to prefer if there are several; empty for any.
        roles: The roles that earlier readings found for some files, by place.
        allowance: Limits the memory.
        left_out: The layers that a difference (``pack --since``) leaves out, by the digests that
            would name their files. The reader adds them from the archive's record.
    """

    sink: ImageSink[Layer]
    architecture: str
    roles: Mapping[str, Role]
    allowance: Allowance
    left_out: dict[str, File[Layer]] = field(default_factory=dict[str, File[Layer]])


@dataclass(eq=False)
class _AwaitedImage(Generic[Layer]):
    """An image of an OCI layout whose manifest and config came before its layers.

    Attributes:
        entry: Its entry in the index.
        candidate: Its manifest and config.
        image: The image, without layers.
        is_needed: Whether the sink needs its layers.
        left: The digests of the layers that are still to be read.
    """

    entry: LayoutEntry
    candidate: Candidate
    image: ReadImage[Layer]
    is_needed: bool
    left: set[str]


class ImageScope(Scope[Layer]):
    """An archive: collects its files as they are read, and passes its images to the sink.

    Attributes:
        corrected_roles: The correct role, by place, of each file that was read in the wrong role.
        found: The number of its images and artifacts, damaged ones included.
        found_inside: The same for its nested archives. A nested archive that is skipped or damaged
            counts as one image.
        is_sound: Whether nothing is damaged or has to be read again.
        hints: The files that are skipped.
    """

    def __init__(self, at: Position, reading: Reading[Layer]) -> None:
        """Start before the first file.

        Args:
            at: The position of the archive.
            reading: The state of the whole archive.
        """
        super().__init__(at, reading.allowance, reading.left_out)
        self._sink = reading.sink
        self._roles = reading.roles
        self._layouts = LayoutImages(at.label, self.contents, reading.architecture)
        self._docker = DockerImages(self, reading.architecture)
        self._problems: list[ArtifactError] = []
        self._awaited: dict[str, list[_AwaitedImage[Layer]]] = {}
        self._awaited_count = 0
        self.corrected_roles: dict[str, Role] = {}
        self.found = 0
        self.found_inside = 0
        self.is_sound = True
        self.hints: list[PassedOver] = []

    def role(self, path: str, place: str, content: FileContent) -> Role:
        """Decide how to read a file, from its content, its path and the files before it."""
        if place in self._roles:
            return self._roles[place]
        if content.shape is Shape.DOCUMENT:
            return Role.DOCUMENT
        is_tar = content.shape is Shape.TAR
        digest = blob_digest(path)
        if digest:
            return Role.LAYER if is_tar and digest not in self._awaited else Role.BLOB
        if path in self._docker.layer_paths or posixpath.basename(path) == LAYER_FILE:
            return Role.LAYER
        if not is_tar:
            return Role.NOTHING
        is_layer_path = bool(_LAYER_PATH.fullmatch(path))
        if content.begins_like_images:
            # It may be a layer whose first file is an archive; ``finish`` finds out.
            return Role.NOTHING if is_layer_path else Role.ARCHIVE
        is_among_images = is_layer_path or self._docker or self._layouts.entries
        return Role.LAYER if is_among_images else Role.ARCHIVE

    def add(self, file: File[Layer]) -> None:
        """Record a file; it replaces an earlier file with the same path.

        Raises:
            ArchiveLimitError: The memory limit is exceeded.
        """
        self.reserve(file.path, file.what)
        earlier = self.files.get(file.path)
        if earlier:
            earlier.reason = "a later file has the same path"
            self.replaced.append(earlier)
        self.files[file.path] = file
        digest = blob_digest(file.path)
        if digest:
            self.blobs.setdefault(digest, file)

    def add_document(self, file: File[Layer], content: bytes) -> None:
        """Keep and evaluate a JSON document that may describe images.

        A document that describes none is passed on as a layer if it is a blob, and skipped
        otherwise.

        Raises:
            ArchiveLimitError: The memory limit is exceeded, or the images list too many layers.
        """
        name, directory = posixpath.basename(file.path), posixpath.dirname(file.path)
        digest = blob_digest(file.path)
        is_root = name in (MANIFEST, INDEX)
        is_small_blob = digest and len(content) <= _SMALL_BLOB
        if not (is_root or is_small_blob or any(key in content for key in _DOCUMENT_KEYS)):
            self._pass_document(file, content, digest)
            return
        self.reserve(content)
        self.documents[file.path] = content
        if digest:
            self.contents.setdefault(digest, content)
            self._expect(self._layouts.awaiting(digest))
            return
        try:
            if name == MANIFEST:
                self._problems += self._docker.add_manifest(content, directory)
            elif name == INDEX:
                self._expect(self._layouts.add_index(content, directory) or [])
        except ArtifactError as error:
            self._problems.append(without_traceback(error))

    def layer_file(self, file: File[Layer], content: FileStream) -> LayerFile:
        """Describe a file as a layer."""
        archive_name = without_ending(self.at.archive_path or posixpath.dirname(file.path))
        digest = blob_digest(file.path)
        return LayerFile(
            file.path, archive_name, file.place, file.size, digest, file.role, content
        )

    def add_layer(self, file: File[Layer], layer: LayerFile) -> None:
        """Pass on a layer that an image may need, and the images that are complete with it."""
        awaited = self._awaited.get(layer.digest or "", [])
        owner = next((image for image in awaited if image.is_needed), None)
        may_be_needed = not awaited and not (layer.digest and self._layouts.is_known)
        if owner or may_be_needed or file.place in self._roles:
            self._give_layer(file, layer, owner.image if owner else None)
        for image in awaited:
            image.left.discard(layer.digest or "")
            if not image.left:
                self._give_awaited(image)

    def finish(self) -> None:
        """Pass the remaining images to the sink, and set the outcome of every file.

        If files were read in the wrong role, ``corrected_roles`` is set, and no image or outcome
        is passed on: the archive is read again.

        Raises:
            ArtifactError: The archive has no images. If it has exactly one problem, that is
                raised; if it has none, only an archive with layers or ``oci-layout`` is refused.
        """
        found = {item.image.key: item for item in self._docker.found(self._problems)}
        found.update((item.image.key, item) for item in self._of_layouts(found))
        for item in found.values():
            self._check_roles(item)
        has_images = bool(self.found or found)
        outcomes = FileOutcomes(self, self._sink, found.values(), has_images=has_images)
        self.corrected_roles.update(
            (place, Role.ARCHIVE) for place in outcomes.misread(self._roles)
        )
        if self.corrected_roles:
            return
        for item in found.values():
            self._give(item)
        if not self.found:
            self._require_description()
        for error in self._problems:
            self.found += 1
            self.is_sound = False
            self._sink.damaged(self.at.archive_path or self.at.label, error)
        self.hints = outcomes.settle()
        self.found += outcomes.damaged
        self.is_sound = self.is_sound and not outcomes.damaged

    def _pass_document(self, file: File[Layer], content: bytes, digest: str | None) -> None:
        """Skip a document that describes no image, unless it may be a blob of an artifact."""
        file.role, file.what = Role.NOTHING, "a JSON document that describes no image"
        if digest:
            file.role = Role.BLOB
            self.add_layer(file, self._from_memory(file, content))

    def _from_memory(self, file: File[Layer], content: bytes) -> LayerFile:
        return self.layer_file(replace(file, role=Role.BLOB), FileStream(content, None))

    def _give_layer(
        self, file: File[Layer], layer: LayerFile, image: ReadImage[Layer] | None
    ) -> None:
        try:
            file.layer = self._sink.layer(layer, image)
        except ArtifactError as error:
            file.error = without_traceback(error)

    def _expect(self, entries: Sequence[LayoutEntry]) -> None:
        """Await the layers of images whose documents are complete before the first layer."""
        for entry, candidate in self._layouts.known(entries):
            digests = {layer.digest for layer in candidate.manifest.layers}
            digests -= self._left_out.keys()
            is_early = digests and not any(digest in self.blobs for digest in digests)
            self._awaited_count += len(digests)
            if not is_early or self._awaited_count > _MOST_AWAITED:
                continue
            image = self._layout_image(entry, candidate)
            is_needed = self._sink.needs_layers(image)
            awaited = _AwaitedImage(entry, candidate, image, is_needed, digests)
            for digest in digests:
                self._awaited.setdefault(digest, []).append(awaited)

    def _give_awaited(self, awaited: _AwaitedImage[Layer]) -> None:
        """Pass on an image whose last layer has been read."""
        found = self._layout_found(awaited.entry, awaited.candidate)
        if self._lacks(awaited.candidate) or any(file.error for file in found.layers):
            # ``finish`` reports it.
            return
        if not awaited.is_needed:
            awaited.entry.is_done = True
            self.found += 1
            found.decide(Verdict.IMAGE)
        elif all(file.layer is not None for file in found.layers):
            awaited.entry.is_done = True
            self._give(found)

    def _of_layouts(self, docker: dict[str, FoundImage[Layer]]) -> list[FoundImage[Layer]]:
        """List the images of layouts that the sink lacks and ``manifest.json`` does not list.

        An image in both gets the manifest from the layout.
        """
        keys = {item.image.image_id: key for key, item in docker.items()}
        names = {_familiar(name) for item in docker.values() for name in item.image.names}
        failed = set(map(_familiar, self._docker.failed))
        result: list[FoundImage[Layer]] = []
        for entry in self._layouts.entries:
            name = _familiar(entry.descriptors[0].name)
            if (
                entry.is_done
                or name in failed
                or entry.directory in self._docker.failed_directories
            ):
                continue
            try:
                candidate, unused = self._layouts.choose(entry, self._lacks)
            except ArtifactError as error:
                if name not in names:
                    self._problems.append(without_traceback(error))
                continue
            self._pass_over(unused)
            found = self._layout_found(entry, candidate)
            key = keys.get(candidate.manifest.config.digest)
            if key:
                docker[key] = _merged(docker[key], found)
            elif found.image.artifact_type and not found.image.names:
                self._pass_over([candidate])
            else:
                result.append(found)
        return result

    def _layout_found(self, entry: LayoutEntry, candidate: Candidate) -> FoundImage[Layer]:
        manifest = candidate.manifest
        layers = [file for layer in manifest.layers if (file := self.blob(layer.digest))]
        config = self.blobs.get(manifest.config.digest)
        if config and config.role is not Role.DOCUMENT:
            # The config of an artifact may be any file; it is sent like a layer.
            layers.append(config)
        documents = [self.blobs.get(manifest.digest), config]
        image = self._layout_image(entry, candidate)
        return FoundImage(image, tuple(layers), tuple(filter(None, documents)))

    def _layout_image(self, entry: LayoutEntry, candidate: Candidate) -> ReadImage[Layer]:
        manifest, details = candidate.manifest, candidate.details
        member = self.at.archive_path or entry.directory or self.at.label
        is_single = self._layouts.counts[entry.directory] == 1
        name = candidate.descriptor.name or entry.descriptors[0].name
        return ReadImage[Layer](
            key=f"{self.at.place}#{manifest.digest}#{name}",
            member=member,
            file_name=without_ending(member) if is_single else "",
            names=(name,) if name else (),
            config=self.contents.get(manifest.config.digest, b""),
            image_id=manifest.config.digest,
            platform=candidate.platform,
            architecture=details.architecture if details else "",
            diff_ids=details.diff_ids if details else (),
            manifest=manifest,
            keeps_manifest=True,
            artifact_type=manifest.artifact_type,
            layers=(),
        )

    def _lacks(self, candidate: Candidate) -> str:
        """Describe the first missing or incomplete blob of a manifest; empty if there is none."""
        blobs = list(candidate.manifest.layers)
        if not candidate.details:
            blobs.append(candidate.manifest.config)
        for blob in blobs:
            file = self.blob(blob.digest)
            if file is None:
                return f"lacks the blob {blob.digest}"
            if file.size != blob.size:
                return f"has the blob {blob.digest} with {file.size:,} bytes, not {blob.size:,}"
        return ""

    def _pass_over(self, candidates: Iterable[Candidate]) -> None:
        """Record why the files of unused manifests are skipped."""
        for candidate in candidates:
            manifest = candidate.manifest
            if candidate.descriptor.is_attestation:
                reason = "an attestation of an image (provenance or SBOM)"
            elif manifest.artifact_type:
                reason = f"an OCI artifact without a name ({manifest.artifact_type[:100]})"
            else:
                reason = f"an image for another platform ({candidate.platform[:100]})"
            digests = [manifest.digest, manifest.config.digest]
            for digest in [*digests, *(layer.digest for layer in manifest.layers)]:
                if digest in self.blobs:
                    self.blobs[digest].reason = reason

    def _check_roles(self, found: FoundImage[Layer]) -> None:
        """Note the layers that were read in the wrong role; pass on those kept as documents."""
        keeps = found.image.keeps_manifest
        for file in found.layers:
            if file.role is Role.DOCUMENT and file.layer is None:
                content = self.documents[file.path]
                self._give_layer(file, self._from_memory(file, content), found.image)
            elif file.role is Role.ARCHIVE or (file.role is Role.NOTHING and file.is_tar):
                self.corrected_roles[file.place] = Role.BLOB if keeps else Role.LAYER
            elif file.error or not self._sink.sends:
                continue
            elif file.layer is None or (keeps and file.role is Role.LAYER and file.is_plain):
                self.corrected_roles[file.place] = Role.BLOB if keeps else Role.LAYER
            elif not keeps and file.role is Role.BLOB and not file.is_plain:
                self.corrected_roles[file.place] = Role.LAYER

    def _give(self, found: FoundImage[Layer]) -> None:
        error = next((file.error for file in found.layers if file.error), None)
        if error:
            found.decide(Verdict.DAMAGED)
            text = f"{found.image.label}: {error.problem}"
            self._problems.append(ArtifactError(text, error.cure))
            return
        layers = tuple(file.layer for file in found.layers if file.layer is not None)
        self.found += 1
        found.decide(Verdict.ARTIFACT if found.image.artifact_type else Verdict.IMAGE)
        self._sink.image(replace(found.image, layers=layers))

    def _require_description(self) -> None:
        """Raise an error that says why an archive that should have images has none."""
        if len(self._problems) == 1:
            raise self._problems[0]
        has_layers = self.blobs or any(file.role is Role.LAYER for file in self.files.values())
        if not self._problems and (has_layers or MARKER in self.files):
            raise ArtifactError(
                f"{self.at.label} has no image that {MANIFEST} or {INDEX} lists: it is not "
                "a complete archive of images",
                RESAVE,
            )


def _merged(docker: FoundImage[Layer], layout: FoundImage[Layer]) -> FoundImage[Layer]:
    """Add the manifest of the layout to the same image of ``manifest.json``.

    The names of the layout are used if ``manifest.json`` has none.
    """
    names = docker.image.names or layout.image.names
    image = replace(docker.image, names=names, manifest=layout.image.manifest)
    return FoundImage(image, docker.layers, (*docker.documents, *layout.documents))


def _familiar(name: str) -> str:
    """Shorten a name of Docker Hub as docker does, so that both spellings compare equal."""
    return _DOCKER_HUB.sub("", name)
