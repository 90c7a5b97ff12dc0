"""What the reader of images.tar.gz gives, and to whom."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from ckf_airgap.archives.byte_stream import FileStream
from ckf_airgap.archives.oci_layout import OciManifest
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.errors import ArtifactError

Layer = TypeVar("Layer")
"""What becomes of a layer: whatever the sink makes of it."""


class Role(Enum):
    """What a file is read as."""

    ARCHIVE = "an archive of images"
    LAYER = "a layer, checked against the config of its image"
    BLOB = "a blob, kept as it is under the digest that is its name"
    DOCUMENT = "a JSON document"
    NOTHING = "a file that is not read"


class Verdict(Enum):
    """What has become of a file of the archive."""

    IMAGE = "part of an image"
    ARTIFACT = "part of an artifact"
    ARCHIVE = "an archive, whose files are accounted for themselves"
    PASSED_OVER = "passed over"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class PassedOver:
    """A file that is not pushed.

    Attributes:
        file: Its path in the archive; inside a nested archive, behind the path of that one.
        reason: Why.
        cure: What to do if it is an image; empty where it cannot be one.
        is_warning: Whether an operator should know of it although it is no image.
    """

    file: str
    reason: str
    cure: str = ""
    is_warning: bool = False

    @property
    def problem(self) -> str:
        """What happened, and to what, for messages."""
        return f"{self.file} is not pushed: {self.reason}"

    @property
    def may_be_image(self) -> bool:
        """Whether an image may have been lost with it."""
        return bool(self.cure)


@dataclass(frozen=True)
class LayerFile:
    """A layer as it comes by.

    Attributes:
        path: Its path in the archive that holds it.
        holder: The base name of that archive without its ending: tools name it after the image.
        place: Tells it from every other file of the whole archive.
        size: Its size there, in bytes.
        digest: The digest that its path claims, or None.
        role: ``LAYER`` or ``BLOB``.
        content: Its bytes, to be read before the reader goes on.
    """

    path: str
    holder: str
    place: str
    size: int
    digest: str | None
    role: Role
    content: FileStream


@dataclass(frozen=True)
class ReadImage(Generic[Layer]):
    """An image, or an artifact, that the archive holds completely.

    Attributes:
        key: Tells it from the archive's others, the same each time that the archive is read.
        member: The file that holds it, for messages.
        file_name: The base name of that file or directory without what tells its kind: tools name
            it after the image.
        names: What the archive calls it; empty where it does not.
        config: Its config, byte for byte.
        image_id: The digest of its config.
        platform: Operating system and CPU architecture, for example ``linux/amd64``.
        architecture: The CPU architecture, for example ``amd64``; empty for artifacts.
        diff_ids: The digests of the uncompressed layers according to the config, base layer first.
        manifest: The manifest that it has in the archive, or None.
        keeps_manifest: Whether it is pushed with that manifest and with its blobs as they are;
            otherwise with it where its layers are stored as it lists them, else with a new one.
        artifact_type: What it is where it is no image; else empty.
        layers: What became of its layers, base layer first.
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
        place: Tells it from every other file of the whole archive.
        member: Its path.
        size: Its size, in bytes.
    """

    place: str
    member: str
    size: int


class ImageSink(Protocol[Layer]):
    """Whoever wants the images: the push sends them, the inventory lists them."""

    @property
    def sends(self) -> bool:
        """Whether layers are sent, so that it matters as what they are read."""
        ...

    def packed(self, manifest: PackManifest) -> None:
        """Take notice of what the archive says of itself; before anything else of it comes."""
        ...

    def has(self, archive: NestedArchive) -> bool:
        """Return whether all of a nested archive is known already; then it is passed over."""
        ...

    def read(self, archive: NestedArchive) -> None:
        """Take notice that a nested archive was read to its end, without damage."""
        ...

    def needs(self, image: ReadImage[Layer]) -> bool:
        """Tell of an image, before any of its layers has come by, whether they are needed."""
        ...

    def layer(self, layer: LayerFile, image: ReadImage[Layer] | None) -> Layer:
        """Take a layer.

        Args:
            layer: The layer.
            image: An image that has it; None where that is not known yet.

        Raises:
            ArtifactError: Its content is damaged.
        """
        ...

    def image(self, image: ReadImage[Layer]) -> None:
        """Take an image whose layers have all come by."""
        ...

    def damaged(self, file: str, error: ArtifactError) -> None:
        """Take notice of damage, in a file or in an image of it."""
        ...

    def passed_over(self, entry: PassedOver) -> None:
        """Take notice of a file that is not read."""
        ...

    def account(self, file: str, verdict: Verdict) -> None:
        """Take notice of what has become of a file; called once for each, when that is known."""
        ...
