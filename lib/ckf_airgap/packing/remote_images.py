"""Looks up images in their registries: manifests and configs, before any layer is fetched."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ckf_airgap.archives.image_config import read_config
from ckf_airgap.archives.pack_manifest import PackedImage, PackedLayer
from ckf_airgap.concurrency import map_concurrently
from ckf_airgap.errors import ArtifactError, DownloadError, disk_error
from ckf_airgap.files.temporary_files import removed_on_exit
from ckf_airgap.images.oci import OCI_MANIFEST, Blob, is_digest, sha256_of
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.packing.skopeo import Skopeo, digest_mismatch, retried

_AT_ONCE = 8
_DEEPEST_INDEX = 3
_LARGEST_CONFIG = 8 * 1024 * 1024
_CURE = "inspect the image with skopeo inspect --raw; leave it out, or name another"


@dataclass(frozen=True)
class RemoteLayer:
    """A layer as its registry stores it.

    Attributes:
        blob: Its blob.
        media_type: Its media type in the manifest.
        diff_id: The digest of its uncompressed content.
        path: A local file with the blob; None if only the registry has it.
    """

    blob: Blob
    media_type: str
    diff_id: str
    path: Path | None = None


@dataclass(frozen=True)
class RemoteImage:
    """An image for one CPU architecture, as its registry has it.

    Attributes:
        reference: The requested reference.
        pull: The reference of exactly this image: name and digest.
        manifest: Its manifest, byte for byte.
        media_type: The manifest's media type.
        config: Its config, byte for byte.
        layers: Its layers, base layer first.
    """

    reference: ImageReference
    pull: str
    manifest: bytes
    media_type: str
    config: bytes
    layers: tuple[RemoteLayer, ...]

    @property
    def name(self) -> str:
        """Its name in an archive: always with a tag, never with a digest."""
        return f"{self.reference.name}:{self.reference.version}"

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return sha256_of(self.manifest)

    @property
    def image_id(self) -> str:
        """The digest of its config."""
        return sha256_of(self.config)

    @property
    def size(self) -> int:
        """The size of its stored layers, in bytes."""
        return sum(layer.blob.size for layer in self.layers)

    @property
    def packed(self) -> PackedImage:
        """Its entry in the record of an archive that has all of it."""
        layers = tuple(
            PackedLayer(layer.blob.digest, layer.diff_id, layer.blob.size, layer.media_type)
            for layer in self.layers
        )
        return PackedImage(self.name, self.digest, self.image_id, self.size, layers)


class RemoteImages:
    """Looks up images, and keeps their manifests and configs in a directory."""

    def __init__(self, skopeo: Skopeo, architecture: str, folder: Path) -> None:
        """Store the arguments; nothing is looked up yet.

        Args:
            skopeo: Reaches the registries.
            architecture: The CPU architecture to choose if there are several.
            folder: The directory for manifests and configs, in files named after their digests.
                It must exist.
        """
        self._skopeo = skopeo
        self._architecture = architecture
        self._folder = folder

    def find(
        self,
        references: Iterable[ImageReference],
        known: dict[str, str],
        on_found: Callable[[RemoteImage], None] = lambda _: None,
    ) -> list[RemoteImage]:
        """Look up images.

        Args:
            references: The images.
            known: The digests of images that earlier runs looked up, by reference. They take
                precedence over tags, which may have moved since.
            on_found: Called with each image, in another thread.

        Returns:
            The images, in the same order.

        Raises:
            AirgapError: Some cannot be looked up; the message names all of these.
        """

        def find(reference: ImageReference) -> RemoteImage:
            image = self._find(reference, known.get(str(reference)))
            on_found(image)
            return image

        return map_concurrently(
            references, find, at_once=_AT_ONCE, failed="images cannot be looked up"
        )

    def _find(self, reference: ImageReference, known: str | None) -> RemoteImage:
        name = reference.name
        digest = known or reference.digest
        # skopeo does not accept a reference with both a tag and a digest.
        requested = f"{name}@{digest}" if digest else f"{name}:{reference.version}"
        manifest, document = self._manifest(requested, digest)
        for _ in range(_DEEPEST_INDEX):
            if "manifests" not in document:
                break
            digest = self._choose(document, requested)
            manifest, document = self._manifest(f"{name}@{digest}", digest)
        pull = f"{name}@{sha256_of(manifest)}"
        try:
            config = _blob(document["config"])
            if config.size > _LARGEST_CONFIG:
                raise ValueError(config.size)
            layers = [(_blob(layer), str(layer["mediaType"])) for layer in document["layers"]]
        except (KeyError, TypeError, ValueError):
            raise ArtifactError(
                f"the manifest of {requested} is not an image manifest (Docker schema 2 or OCI)",
                _CURE,
            ) from None
        content = self._config(pull, config)
        details = read_config(content, requested, _CURE)
        count = len(details.diff_ids)
        if count != len(layers):
            raise ArtifactError(
                f"{requested} has {len(layers)} layers, but its config lists {count}",
                _CURE,
            )
        if details.architecture and details.architecture != self._architecture:
            raise self._wrong_architecture(requested, [details.architecture])
        return RemoteImage(
            reference,
            pull,
            manifest,
            str(document.get("mediaType") or OCI_MANIFEST),
            content,
            tuple(
                RemoteLayer(blob, media_type, diff_id)
                for (blob, media_type), diff_id in zip(layers, details.diff_ids, strict=True)
            ),
        )

    def _manifest(self, requested: str, digest: str | None) -> tuple[bytes, dict[str, Any]]:
        kept = self._kept(digest) if digest else None
        content = kept or self._skopeo.manifest(requested)
        if digest and sha256_of(content) != digest:
            raise digest_mismatch(requested)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ArtifactError(f"the manifest of {requested} is not JSON", _CURE)
        if not kept:
            self._keep(content)
        return content, cast(dict[str, Any], document)

    def _config(self, pull: str, blob: Blob) -> bytes:
        if kept := self._kept(blob.digest):
            return kept
        content = retried(lambda: self._read(pull, blob))
        if sha256_of(content) != blob.digest:
            raise digest_mismatch(pull)
        self._keep(content)
        return content

    def _read(self, pull: str, blob: Blob) -> bytes:
        content = bytearray()
        with self._skopeo.blobs() as blobs:
            for piece in blobs.read(pull, blob):
                content += piece
                if len(content) > blob.size:
                    raise digest_mismatch(pull)
        return bytes(content)

    def _choose(self, index: dict[str, Any], requested: str) -> str:
        """Choose the image of an index for the architecture (OCI Image Specification, "Index")."""
        available: list[str] = []
        try:
            for entry in cast(list[dict[str, Any]], index["manifests"]):
                platform: dict[str, Any] = entry.get("platform") or {}
                if platform.get("os") not in ("linux", None):
                    continue
                available.append(str(platform.get("architecture") or "an unnamed architecture"))
                if available[-1] == self._architecture:
                    return _digest(entry["digest"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ArtifactError(f"the index of {requested} is damaged", _CURE) from None
        raise self._wrong_architecture(requested, available)

    def _wrong_architecture(self, requested: str, available: list[str]) -> DownloadError:
        return DownloadError(
            requested,
            f"does not exist for {self._architecture}, only for "
            f"{', '.join(dict.fromkeys(available)) or 'no architecture'}",
            "choose another architecture with --architecture, or name an image for this one",
        )

    def _kept(self, digest: str) -> bytes | None:
        try:
            content = (self._folder / digest.rpartition(":")[2]).read_bytes()
        except OSError:
            return None
        return content if sha256_of(content) == digest else None

    def _keep(self, content: bytes) -> None:
        path = self._folder / sha256_of(content).rpartition(":")[2]
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                incoming = Path(file.name)
                with removed_on_exit(incoming):
                    file.write(content)
                    file.flush()
                    os.replace(incoming, path)
        except OSError as error:
            raise disk_error(self._folder, error) from error


def _blob(descriptor: dict[str, Any]) -> Blob:
    size = descriptor["size"]
    if not isinstance(size, int) or size < 0:
        raise ValueError(size)
    return Blob(_digest(descriptor["digest"]), size)


def _digest(value: object) -> str:
    """Check that a text is a digest, because it becomes the name of a file."""
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(value)
    return value
