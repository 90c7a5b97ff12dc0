"""The push: images.tar.gz into the registry, as a stream, nothing unpacked to disk.

A layer passes once: read, hashed, compressed and uploaded in pieces. Which image it belongs to is
known only when ``manifest.json`` comes by, at the end in the layout before Docker 25; so layers
go to the repository that the member's file name suggests, or to a staging repository, and are
mounted into the right one afterwards. An image gets its manifest and its tag only when each of its
layers has been found to have the digest that its config says.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.artifacts.byte_stream import GZIP_MAGIC, READ_SIZE, ZSTD_MAGIC, open_gzip
from ckf_airgap.artifacts.inventory import Inventory, archived_images, damaged_member
from ckf_airgap.artifacts.saved_images import (
    LayerContent,
    SavedImage,
    image_members,
    read_saved_images,
)
from ckf_airgap.artifacts.tar_stream import TarMember
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import (
    ImagePath,
    ImageReference,
    RegistryLocation,
    image_path,
    wanted_by_member_name,
)
from ckf_airgap.registry.client import CHUNK_SIZE, Blob, RegistryClient, UploadLostError
from ckf_airgap.registry.push_state import PushedMember, PushState, StoredLayer, path_of

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
# Fast, and within a few percent of the higher levels on layers.
_COMPRESSION_LEVEL = 1
_GZIP_WINDOW = 31
# How often the archive is read again for a layer whose upload was lost.
_PASSES = 5
STAGING = ImagePath("ckf-airgap-layers", "")
"""Where a layer goes of which it is not known yet to which image it belongs."""
_IDENTIFIER = re.compile(r"[0-9a-f]{32,64}")
_DIGEST_PATH = re.compile(r"(?:.*/)?blobs/sha256/([0-9a-f]{64})")


@dataclass(frozen=True)
class Progress:
    """How far a push is.

    Attributes:
        images: How many images are in the registry by now.
        fraction: How much of the archive has been read, from 0 to 1.
    """

    images: int
    fraction: float


@dataclass(frozen=True)
class PushResult:
    """What a push has done.

    Attributes:
        inventory: What the archive holds.
        pushed: The references that were made, in order.
        present: How many images the registry had already.
        uploaded_bytes: The size of the blobs that were sent.
    """

    inventory: Inventory
    pushed: tuple[str, ...]
    present: int
    uploaded_bytes: int


class ImagePusher:
    """Pushes one archive into one registry."""

    def __init__(
        self,
        client: RegistryClient,
        location: RegistryLocation,
        state_file: Path,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Prepare a push.

        Args:
            client: The registry.
            location: The prefix under which the images are to stand.
            state_file: Where to remember what is done. Its folder must exist.
            on_progress: Called after each member.
        """
        self._client = client
        self._location = location
        self._state_file = state_file
        self._on_progress = on_progress
        self._pushed: list[str] = []
        self._present = 0
        self._uploaded = 0

    def push(self, archive: Path, wanted: Iterable[ImageReference] = ()) -> PushResult:
        """Push every image of the archive that the registry does not have.

        Args:
            archive: images.tar.gz.
            wanted: The images that the charms take: they name the images without RepoTags.

        Returns:
            What was done. Damaged members are listed in its inventory; the rest is pushed.

        Raises:
            ArtifactError: The archive itself is damaged or ends in the middle.
            RegistryError: The registry fails. What is pushed by then is remembered.
        """
        wanted = tuple(wanted)
        state = self._load_state(archive)
        if state.complete and all(
            self._is_done(name, member, wanted) for name, member in state.members.items()
        ):
            self._present = len(state.inventory.images)
            return PushResult(state.inventory, (), self._present, 0)
        damaged = self._push_in_passes(archive, wanted, state)
        state.complete = not damaged
        state.save(self._state_file)
        inventory = Inventory(state.inventory.images, tuple(damaged))
        return PushResult(inventory, tuple(self._pushed), self._present, self._uploaded)

    def known_inventory(self, archive: Path) -> Inventory | None:
        """Give what an earlier push found in this archive, if it read it to its end."""
        state = self._load_state(archive)
        return state.inventory if state.complete else None

    def _load_state(self, archive: Path) -> PushState:
        try:
            stat = archive.stat()
        except OSError as error:
            raise ArtifactError(
                f"{archive.name} cannot be read ({error.strerror})", "give the file again"
            ) from error
        identity = f"{self._location} {stat.st_size} {stat.st_mtime_ns}"
        return PushState.load(self._state_file, identity)

    def _push_in_passes(
        self, archive: Path, wanted: tuple[ImageReference, ...], state: PushState
    ) -> list[ArtifactError]:
        """Push, from the start of the archive again where the stream cannot go back."""
        outcomes: list[ArtifactError | None] = []
        for remaining in reversed(range(_PASSES)):
            try:
                self._push_members(archive, wanted, state, outcomes)
                break
            except UploadLostError:
                if not remaining:
                    raise
        return [error for error in outcomes if error]

    def _push_members(
        self,
        archive: Path,
        wanted: tuple[ImageReference, ...],
        state: PushState,
        outcomes: list[ArtifactError | None],
    ) -> None:
        """Push what follows the members that have an outcome, and add its outcomes to them."""
        total = archive.stat().st_size
        position = 0

        def advance(read: int) -> None:
            nonlocal position
            position = read

        with open_gzip(archive, advance) as stream:
            for number, member in enumerate(image_members(stream, archive.name)):
                if number < len(outcomes):
                    continue
                try:
                    self._push_member(member, wanted, state)
                    outcomes.append(None)
                except ArtifactError as error:
                    outcomes.append(damaged_member(member.name, error))
                done = len(self._pushed) + self._present
                self._on_progress(Progress(done, position / total))

    def _push_member(
        self, member: TarMember, wanted: tuple[ImageReference, ...], state: PushState
    ) -> None:
        known = state.members.get(member.name)
        if known and known.size == member.size and self._is_done(member.name, known, wanted):
            self._present += len(known.images)
            return
        guess = wanted_by_member_name(member.name, wanted)
        upload = _LayerUpload(self._client, self._location, guess, state)
        saved = read_saved_images(member, member.name, upload.take)
        self._uploaded += upload.uploaded_bytes
        images = archived_images(member.name, saved, wanted)
        manifests: dict[str, str] = {}
        for content in saved:
            _check_diff_ids(content, member.name)
        state.layer_names |= upload.names
        for content, image in zip(saved, images, strict=True):
            for path in image.paths:
                manifests[str(path)] = self._publish(content, path)
                self._pushed.append(self._location.reference(path))
        state.members[member.name] = PushedMember(member.size, tuple(images), manifests)
        state.save(self._state_file)

    def _publish(self, image: SavedImage[StoredLayer], path: ImagePath) -> str:
        """Bring an image's blobs together in its repository, then give it its tag."""
        repository = self._location.repository(path)
        for layer in image.layers:
            self._client.copy_blob(layer.blob, layer.repository, repository)
        config = Blob(image.image_id, len(image.config))
        if not self._client.has_blob(repository, config.digest):
            self._client.upload_blob(repository, [image.config])
        return self._client.put_manifest(
            repository, path.tag, _manifest(config, [layer.blob for layer in image.layers])
        )

    def _is_done(
        self, name: str, member: PushedMember, wanted: tuple[ImageReference, ...]
    ) -> bool:
        """Tell whether the registry still has all of a member, and nobody asks for more of it."""
        is_unnamed = any(not image.names for image in member.images)
        if is_unnamed and wanted_by_member_name(name, wanted):
            return False
        return all(
            self._client.manifest_digest(self._location.repository(path), path.tag) == digest
            for path, digest in ((path_of(p), d) for p, d in member.manifests.items())
        )


class _LayerUpload:
    """Takes the layers of one member as they come by.

    Attributes:
        uploaded_bytes: The size of the blobs that were sent.
        names: The names of the layers that were read, with their diff_ids: to be trusted for other
            images only once the image's config has confirmed them.
    """

    def __init__(
        self,
        client: RegistryClient,
        location: RegistryLocation,
        guess: ImageReference | None,
        state: PushState,
    ) -> None:
        self._client = client
        self._state = state
        self._repository = location.repository(image_path(guess) if guess else STAGING)
        self.uploaded_bytes = 0
        self.names: dict[str, str] = {}

    def take(self, layer: LayerContent) -> StoredLayer:
        """Upload a layer, or find that the registry has it."""
        known = self._known(layer)
        if known and self._client.has_blob(known.repository, known.blob.digest):
            return known
        content = _HashedLayer(layer)
        blob = self._client.upload_blob(self._repository, content.compressed_chunks())
        stored = StoredLayer(content.diff_id, blob, self._repository)
        digest = _DIGEST_PATH.fullmatch(layer.path)
        if digest and digest[1] not in (content.diff_id[7:], content.source_digest[7:]):
            raise ArtifactError(
                f"layer {layer.path} is damaged: its content is not that of its name",
                "save this image again (docker save) and make the archive again",
            )
        self.uploaded_bytes += blob.size
        self._state.layers[stored.diff_id] = stored
        if name := _layer_name(layer):
            self.names[name] = stored.diff_id
        return stored

    def _known(self, layer: LayerContent) -> StoredLayer | None:
        """Recognise a layer by its name alone, before anything of it is read."""
        digest = _DIGEST_PATH.fullmatch(layer.path)
        if digest and f"sha256:{digest[1]}" in self._state.layers:
            return self._state.layers[f"sha256:{digest[1]}"]
        return self._state.layers.get(self._state.layer_names.get(_layer_name(layer) or "", ""))


class _HashedLayer:
    """A layer's content, hashed on the way: what is stored, and what it holds uncompressed.

    Attributes:
        diff_id: The digest of the uncompressed content, once it has been read to its end.
        source_digest: The digest of the content as it stands in the archive, likewise.
    """

    def __init__(self, layer: LayerContent) -> None:
        self._layer = layer
        self.diff_id = ""
        self.source_digest = ""

    def compressed_chunks(self) -> Iterator[bytes]:
        """Give the layer compressed with gzip, in pieces of CHUNK_SIZE and a last one."""
        if self._layer.head.startswith(ZSTD_MAGIC):
            raise ArtifactError(
                f"layer {self._layer.path} is compressed with zstd, which is not supported",
                "save this image with docker save",
            )
        is_gzip = self._layer.head.startswith(GZIP_MAGIC)
        return _in_chunks(self._keep_gzip() if is_gzip else self._compress())

    def _compress(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        while data := self._layer.read(READ_SIZE):
            digest.update(data)
            yield compressor.compress(data)
        yield compressor.flush()
        self.diff_id = self.source_digest = f"sha256:{digest.hexdigest()}"

    def _keep_gzip(self) -> Iterator[bytes]:
        source, content = hashlib.sha256(), hashlib.sha256()
        decompressor = zlib.decompressobj(_GZIP_WINDOW)
        while data := self._layer.read(READ_SIZE):
            yield data
            source.update(data)
            while data:
                if decompressor.eof:
                    # Several gzip members may follow each other (RFC 1952, section 2.2).
                    decompressor = zlib.decompressobj(_GZIP_WINDOW)
                try:
                    content.update(decompressor.decompress(data, READ_SIZE))
                except zlib.error as error:
                    raise _damaged_layer(self._layer.path, str(error)) from error
                data = decompressor.unconsumed_tail or decompressor.unused_data
        if not decompressor.eof:
            raise _damaged_layer(self._layer.path, "it ends in the middle")
        self.source_digest = f"sha256:{source.hexdigest()}"
        self.diff_id = f"sha256:{content.hexdigest()}"


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to chunks of CHUNK_SIZE or a little more, and a last one."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        if len(buffer) >= CHUNK_SIZE:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _layer_name(layer: LayerContent) -> str | None:
    """Name a layer that stands under an identifier: equal names then mean equal layers."""
    identifier = _IDENTIFIER.search(layer.path)
    return f"{identifier[0]}:{layer.size}" if identifier else None


def _check_diff_ids(image: SavedImage[StoredLayer], member: str) -> None:
    for layer, diff_id in zip(image.layers, image.diff_ids, strict=True):
        if layer.diff_id != diff_id:
            raise ArtifactError(
                f"{member} is damaged: it has the layer {layer.diff_id} where its image "
                f"has {diff_id}",
                "save this image again (docker save) and make the archive again",
            )


def _manifest(config: Blob, layers: list[Blob]) -> dict[str, Any]:
    """Make a manifest (Docker Image Manifest Version 2, Schema 2), which every registry takes."""
    return {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "size": config.size, "digest": config.digest},
        "layers": [
            {"mediaType": _LAYER, "size": layer.size, "digest": layer.digest} for layer in layers
        ],
    }


def _damaged_layer(path: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"layer {path} is damaged ({why})",
        "save this image again (docker save) and make the archive again",
    )
