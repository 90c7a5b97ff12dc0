"""The interface between the reader of images.tar.gz and what uses its images."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from ckf_airgap.archives.byte_stream import FileStream
from ckf_airgap.archives.oci_layout import OciManifest
from ckf_airgap.archives.pack_manifest import PackedLayer, PackManifest
from ckf_airgap.errors import ArtifactError

Layer = TypeVar("Layer")
"""The sink's result for a layer."""


class Role(Enum):
    """How a file is read."""

    ARCHIVE = "an archive of images"
    LAYER = "a layer, checked against the config of its image"
    BLOB = "a blob, sent unchanged under the digest in its name"
    DOCUMENT = "a JSON document"
    NOTHING = "a file that is not read"


class Verdict(Enum):
    """The outcome of a file of the archive."""

    IMAGE = "part of an image"
    ARTIFACT = "part of an artifact"
    ARCHIVE = "an archive, whose files have their own outcomes"
    PASSED_OVER = "passed over"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class PassedOver:
    """A file that is not pushed.

    Attributes:
        file: Its path, which begins with the path of the nested archive that contains it, if any.
        reason: Why.
        cure: What to do if it is an image; empty if it cannot be one.
        is_warning: Whether the operator should know about it although it is no image.
    """

    file: str
    reason: str
    cure: str = ""
    is_warning: bool = False

    @property
    def problem(self) -> str:
        """The problem, for messages."""
        return f"{self.file} is not pushed: {self.reason}"

    @property
    def may_be_image(self) -> bool:
        """Whether the file may be an image."""
        return bool(self.cure)


@dataclass(frozen=True)
class LayerFile:
    """A layer that the reader has reached.

    Attributes:
        path: Its path in the archive that contains it.
        archive_name: The base name, without extension, of the nested archive or else of the
            directory that contains it: tools name these after the image.
        place: Identifies it in the whole archive, by member numbers from 0: ``12`` is a member of
            the whole archive, and ``3/12`` is member 12 of the nested archive ``3``.
        size: Its size in the archive, in bytes.
        digest: The digest in its path, or None.
        role: ``LAYER`` or ``BLOB``.
        content: Its bytes, which can be read only until ``ImageSink.layer`` returns.
    """

    path: str
    archive_name: str
    place: str
    size: int
    digest: str | None
    role: Role
    content: FileStream


@dataclass(frozen=True)
class ReadImage(Generic[Layer]):
    """A complete image or artifact of the archive.

    Attributes:
        key: Identifies it in the archive; the same in each reading.
        member: The nested archive or directory that contains it, or else the whole archive, for
            messages.
        file_name: The base name of ``member`` without extension, because tools name it after the
            image; empty if ``member`` contains several images.
        names: Its names in the archive, if any.
        config: The bytes of its config.
        image_id: The digest of its config.
        platform: Operating system and CPU architecture, for example ``linux/amd64``.
        architecture: The CPU architecture, for example ``amd64``; empty for artifacts.
        diff_ids: The digests of the uncompressed layers according to the config, base layer first.
        manifest: Its manifest in the archive, or None.
        keeps_manifest: Whether it must be pushed with that manifest and unchanged blobs. If not,
            it gets a new manifest unless its layers are stored as that manifest lists them.
        artifact_type: The media type of an artifact; empty for an image.
        layers: The sink's results for its layers, base layer first; empty before they are read.
    """

    key: str
    member: str
    file_name: str
    names: tuple[str, ...]
    config: bytes
    image_id: str
    platform: str
    architecture: str
    diff_ids: tuple[str, ...]
    manifest: OciManifest | None
    keeps_manifest: bool
    artifact_type: str
    layers: tuple[Layer, ...]

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.names[0] if self.names else self.member


@dataclass(frozen=True)
class NestedArchive:
    """An archive inside the archive.

    Attributes:
        place: Identifies it in the whole archive; see ``LayerFile``.
        member: Its path.
        size: Its size, in bytes.
    """

    place: str
    member: str
    size: int


class ImageSink(Protocol[Layer]):
    """Receives what the reader finds: the push sends it, the inventory lists it."""

    @property
    def sends(self) -> bool:
        """Whether layers are sent, so that each must be read in the right role."""
        ...

    def pack_manifest(self, manifest: PackManifest) -> None:
        """Receive the archive's own record, before anything else.

        Raises:
            ArtifactError: The sink refuses the archive.
        """
        ...

    def has_nested(self, archive: NestedArchive) -> bool:
        """Return whether everything in a nested archive is known already, so it can be skipped."""
        ...

    def finished_nested(self, archive: NestedArchive) -> None:
        """Receive a nested archive that was read to its end without damage."""
        ...

    def needs_layers(self, image: ReadImage[Layer]) -> bool:
        """Return whether the layers of an image are needed, before any of them is read.

        Raises:
            ArtifactError: The sink refuses the image.
        """
        ...

    def layer(self, layer: LayerFile, image: ReadImage[Layer] | None) -> Layer:
        """Receive a layer.

        Args:
            layer: The layer.
            image: An image that has it, if one is known already.

        Raises:
            ArtifactError: Its content is damaged.
        """
        ...

    def left_out(self, digest: str, layer: PackedLayer) -> Layer:
        """Receive a layer that a difference (``pack --since``) leaves out.

        Called after ``pack_manifest``.

        Args:
            digest: The digest that would name its file in the archive.
            layer: Its entry in the record of the archive.

        Raises:
            ArtifactError: It is not known where the layer is.
        """
        ...

    def image(self, image: ReadImage[Layer]) -> None:
        """Receive an image, after all of its layers.

        Raises:
            ArtifactError: The sink refuses the image.
        """
        ...

    def damaged(self, file: str, error: ArtifactError) -> None:
        """Receive an error about a file, or an image in it."""
        ...

    def passed_over(self, entry: PassedOver) -> None:
        """Receive a file that is not pushed."""
        ...

    def outcome(self, file: str, verdict: Verdict) -> None:
        """Receive the outcome of a file; called once per file in each reading."""
        ...
