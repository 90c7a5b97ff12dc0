"""Signed archives: verifies the record's signature, and checks images against the record.

The record lists the digest of each charm, and of each image's manifest and config. A manifest
lists the digests of the stored layers, and a config their diff IDs. The push checks each layer
against these before it tags an image. So the signature covers every byte.
"""

from typing import Generic

from ckf_airgap.archives.image_sink import (
    ImageSink,
    Layer,
    LayerFile,
    NestedArchive,
    PassedOver,
    ReadImage,
    Verdict,
)
from ckf_airgap.archives.minisign import NOT_AS_PACKED_CURE, PublicKey
from ckf_airgap.archives.pack_manifest import (
    PACK_MANIFEST,
    PackedLayer,
    PackManifest,
    read_record,
)
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.reference import ImageReference


def require_signed(archive: Source, key: PublicKey) -> PackManifest:
    """Check the signature of an archive's record.

    Args:
        archive: images.tar.gz or charms.tar.gz.
        key: The public key that the signature must verify with.

    Returns:
        The record. The images or charms are not checked here.

    Raises:
        ArtifactError: The record or its signature is missing or damaged, the signature does not
            verify with this key, the archive has another size, or a later version packed it.
    """
    record = read_record(archive)
    if record is None or not record.signature:
        raise ArtifactError(
            f"{archive.name} is not signed", "give an archive made with ckf-airgap pack --sign"
        )
    key.require(record.content, record.signature, f"{PACK_MANIFEST} in {archive.name}")
    manifest = record.decode(archive.name)
    if manifest is None:
        raise ArtifactError(
            f"{archive.name} was packed by a later version of ckf-airgap", "use that version"
        )
    manifest.require_size(archive.size, archive.name)
    return manifest


class SignedImages(Generic[Layer]):
    """Passes images on to a sink; raises ArtifactError for one that does not match the record."""

    def __init__(self, sink: ImageSink[Layer], manifest: PackManifest, archive: str) -> None:
        """Store the arguments, for one reading of the archive.

        Args:
            sink: Receives the images.
            manifest: The record.
            archive: The name of the archive, for messages.
        """
        self._sink = sink
        self._manifest = manifest
        self._archive = archive
        self._images = {str(ImageReference.parse(image.name)): image for image in manifest.images}

    @property
    def sends(self) -> bool:
        """Whether layers are sent."""
        return self._sink.sends

    def pack_manifest(self, manifest: PackManifest) -> None:
        """Pass on the record; raise ArtifactError if it is not the verified one."""
        if manifest != self._manifest:
            raise ArtifactError(f"{self._archive} was replaced while it was read", "run it again")
        self._sink.pack_manifest(manifest)

    def has_nested(self, archive: NestedArchive) -> bool:
        """Ask the sink."""
        return self._sink.has_nested(archive)

    def finished_nested(self, archive: NestedArchive) -> None:
        """Tell the sink."""
        self._sink.finished_nested(archive)

    def needs_layers(self, image: ReadImage[Layer]) -> bool:
        """Ask the sink; raise ArtifactError if the image does not match the record."""
        self._require(image)
        return self._sink.needs_layers(image)

    def layer(self, layer: LayerFile, image: ReadImage[Layer] | None) -> Layer:
        """Pass on a layer."""
        return self._sink.layer(layer, image)

    def left_out(self, digest: str, layer: PackedLayer) -> Layer:
        """Pass on a layer that is left out."""
        return self._sink.left_out(digest, layer)

    def image(self, image: ReadImage[Layer]) -> None:
        """Pass on an image; raise ArtifactError if it does not match the record."""
        self._require(image)
        self._sink.image(image)

    def damaged(self, file: str, error: ArtifactError) -> None:
        """Tell the sink."""
        self._sink.damaged(file, error)

    def passed_over(self, entry: PassedOver) -> None:
        """Tell the sink."""
        self._sink.passed_over(entry)

    def outcome(self, file: str, verdict: Verdict) -> None:
        """Tell the sink."""
        self._sink.outcome(file, verdict)

    def _require(self, image: ReadImage[Layer]) -> None:
        for name in image.names or ("",):
            signed = self._images.get(str(ImageReference.parse(name)))
            digest = image.manifest.digest if image.manifest else None
            is_same = signed and image.image_id == signed.image_id
            if not signed or not is_same or digest not in (None, signed.digest):
                raise ArtifactError(
                    f"{image.label} in {self._archive} does not match the signed record",
                    NOT_AS_PACKED_CURE,
                )
