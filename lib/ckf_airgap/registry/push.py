"""The push: images.tar.gz into the registry, as a stream, nothing unpacked to disk.

A layer passes once: read, hashed, compressed and uploaded in pieces. Which image it belongs to is
known only when ``manifest.json`` comes by, at the end in the layout before Docker 25; so layers
go to the repository that the member's file name suggests, or to a staging repository, and are
mounted into the right one afterwards. An image gets its manifest and its tag only when each of its
layers has been found to have the digest that its config says.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.artifacts.byte_stream import open_archive
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
from ckf_airgap.registry.client import Blob, RegistryClient, UploadLostError
from ckf_airgap.registry.layer_content import HashedLayer
from ckf_airgap.registry.push_state import PushedMember, PushState, StoredLayer, path_of
from ckf_airgap.registry.uploads import Finisher, Uploads

# How often the archive is read again for a layer whose upload was lost.
_PASSES = 5
STAGING = ImagePath("ckf-airgap-layers", "")
"""Where a layer goes of which it is not known yet to which image it belongs."""
_IDENTIFIER = re.compile(r"[0-9a-f]{32,64}")
_DIGEST_PATH = re.compile(r"(?:.*/)?blobs/sha256/([0-9a-f]{64})")


@dataclass(frozen=True)
class _MediaTypes:
    manifest: str
    config: str
    gzip_layer: str
    zstd_layer: str


_DOCKER = _MediaTypes(
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "",
)
_OCI = _MediaTypes(
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
)


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
        outcomes: dict[int, ArtifactError | None] = {}
        for remaining in reversed(range(_PASSES)):
            try:
                self._push_members(archive, wanted, state, outcomes)
                break
            except UploadLostError:
                if not remaining:
                    raise
        return [error for _, error in sorted(outcomes.items()) if error]

    def _push_members(
        self,
        archive: Path,
        wanted: tuple[ImageReference, ...],
        state: PushState,
        outcomes: dict[int, ArtifactError | None],
    ) -> None:
        """Push the members that have no outcome yet, and give them one.

        Four things go on at once: the archive is decoded; a layer is hashed and compressed; what
        was compressed before is sent; and the images whose layers are there get their tags.
        """
        total = archive.stat().st_size
        position = 0
        in_flight: set[str] = set()

        def advance(read: int) -> None:
            nonlocal position
            position = read

        with (
            open_archive(archive, advance) as stream,
            Uploads(self._client) as uploads,
            Finisher(outcomes) as finisher,
        ):
            for number, member in enumerate(image_members(stream, archive.name)):
                if number in outcomes:
                    continue
                finisher.raise_failure()
                upload = _MemberUpload(self._client, state, uploads, finisher, in_flight)
                finisher.add(number, self._read_member(member, wanted, state, upload))
                done = len(self._pushed) + self._present
                self._on_progress(Progress(done, position / total))
        self._on_progress(Progress(len(self._pushed) + self._present, position / total))

    def _read_member(
        self,
        member: TarMember,
        wanted: tuple[ImageReference, ...],
        state: PushState,
        upload: "_MemberUpload",
    ) -> Callable[[], None]:
        """Read a member and begin to send its layers; gives what is left to do for it."""
        name, size = member.name, member.size
        known = state.members.get(name)
        if known and known.size == size and self._is_done(name, known, wanted):
            self._present += len(known.images)
            return lambda: None
        guess = wanted_by_member_name(name, wanted)
        upload.repository = self._location.repository(image_path(guess) if guess else STAGING)
        try:
            saved = read_saved_images(member, name, upload.take)
        except ArtifactError as error:
            damage = damaged_member(name, error)
            return lambda: upload.give_up(damage)

        def finish() -> None:
            try:
                layers = upload.wait()
                images = archived_images(name, saved, wanted)
                for content in saved:
                    _check_diff_ids(content, layers, name)
            except ArtifactError as error:
                raise damaged_member(name, error) from error
            upload.remember()
            self._uploaded += upload.uploaded_bytes
            manifests: dict[str, str] = {}
            for content, image in zip(saved, images, strict=True):
                for path in image.paths:
                    manifests[str(path)] = self._publish(content, layers, path)
                    self._pushed.append(self._location.reference(path))
            state.members[name] = PushedMember(size, tuple(images), manifests)
            state.save(self._state_file)

        return finish

    def _publish(
        self, image: SavedImage[int], stored: Sequence[StoredLayer], path: ImagePath
    ) -> str:
        """Bring an image's blobs together in its repository, then give it its tag."""
        repository = self._location.repository(path)
        layers = [stored[number] for number in image.layers]
        for layer in layers:
            self._client.copy_blob(layer.blob, layer.repository, repository)
        config = Blob(image.image_id, len(image.config))
        if not self._client.has_blob(repository, config.digest):
            self._client.upload_blob(repository, [image.config])
        return self._client.put_manifest(repository, path.tag, _manifest(config, layers))

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


@dataclass(frozen=True)
class _Flight:
    """A layer that is being sent."""

    path: str
    repository: str
    content: HashedLayer
    blob: Future[Blob]

    def land(self) -> StoredLayer:
        """Wait until it is there, and see that it is what its name in the archive says."""
        blob = self.blob.result()
        digest = _DIGEST_PATH.fullmatch(self.path)
        if digest and digest[1] not in (self.content.diff_id[7:], self.content.source_digest[7:]):
            raise ArtifactError(
                f"layer {self.path} is damaged: its content is not that of its name",
                "save this image again (docker save) and make the archive again",
            )
        return StoredLayer(self.content.diff_id, blob, self.repository, self.content.is_zstd)


class _MemberUpload:
    """Takes the layers of one member as they come by, each of which a number stands for.

    Attributes:
        repository: Where to send what is not known yet.
        uploaded_bytes: The size of the blobs that were sent, once they are there.
    """

    def __init__(
        self,
        client: RegistryClient,
        state: PushState,
        uploads: Uploads,
        finisher: Finisher,
        in_flight: set[str],
    ) -> None:
        self._client = client
        self._state = state
        self._uploads = uploads
        self._finisher = finisher
        self._in_flight = in_flight
        self._layers: list[StoredLayer | _Flight] = []
        self._names: dict[int, str] = {}
        self.repository = ""
        self.uploaded_bytes = 0

    def take(self, layer: LayerContent) -> int:
        """Begin to send a layer, or find that the registry has it; gives its number."""
        number = len(self._layers)
        name = _layer_key(layer)
        if name and name in self._in_flight:
            # Whether it is sound is known when the image that it came with is finished.
            self._finisher.wait()
        known = self._known(layer)
        if known and self._client.has_blob(known.repository, known.blob.digest):
            self._layers.append(known)
            return number
        content = HashedLayer(layer)
        if name:
            self._names[number] = name
            self._in_flight.add(name)
        blob = self._uploads.send(self.repository, content.compressed_chunks())
        self._layers.append(_Flight(layer.path, self.repository, content, blob))
        return number

    def wait(self) -> list[StoredLayer]:
        """Wait until all layers are there; gives them by their numbers.

        Raises:
            ArtifactError: One is damaged.
        """
        try:
            layers = [
                layer.land() if isinstance(layer, _Flight) else layer for layer in self._layers
            ]
        finally:
            self._in_flight.difference_update(self._names.values())
        for flight, layer in zip(self._layers, layers, strict=True):
            if isinstance(flight, _Flight):
                self.uploaded_bytes += layer.blob.size
                self._state.layers[layer.diff_id] = layer
        self._layers = list(layers)
        return layers

    def remember(self) -> None:
        """Trust the names of the layers, now that the image's config has confirmed them."""
        for number, name in self._names.items():
            layer = self._layers[number]
            if isinstance(layer, StoredLayer):
                self._state.layer_names[name] = layer.diff_id

    def give_up(self, damage: ArtifactError) -> None:
        """Let what was sent of a damaged member be, and say so."""
        self._in_flight.difference_update(self._names.values())
        raise damage

    def _known(self, layer: LayerContent) -> StoredLayer | None:
        """Recognise a layer by its name alone, before anything of it is read."""
        digest = _DIGEST_PATH.fullmatch(layer.path)
        if digest and f"sha256:{digest[1]}" in self._state.layers:
            return self._state.layers[f"sha256:{digest[1]}"]
        return self._state.layers.get(self._state.layer_names.get(_layer_key(layer) or "", ""))


def _layer_key(layer: LayerContent) -> str | None:
    """Name a layer that stands under an identifier: equal names then mean equal layers."""
    identifier = _IDENTIFIER.search(layer.path)
    return f"{identifier[0]}:{layer.size}" if identifier else None


def _check_diff_ids(image: SavedImage[int], layers: Sequence[StoredLayer], member: str) -> None:
    for number, diff_id in zip(image.layers, image.diff_ids, strict=True):
        if layers[number].diff_id != diff_id:
            raise ArtifactError(
                f"{member} is damaged: it has the layer {layers[number].diff_id} where its image "
                f"has {diff_id}",
                "save this image again (docker save) and make the archive again",
            )


def _manifest(config: Blob, layers: Sequence[StoredLayer]) -> dict[str, Any]:
    """Make a manifest.

    That of Docker (Image Manifest Version 2, Schema 2) is taken by every registry; it has no name
    for layers compressed with Zstandard, which that of OCI has (Image Specification, "Image
    Manifest").
    """
    types = _OCI if any(layer.is_zstd for layer in layers) else _DOCKER
    return {
        "schemaVersion": 2,
        "mediaType": types.manifest,
        "config": {"mediaType": types.config, "size": config.size, "digest": config.digest},
        "layers": [
            {
                "mediaType": types.zstd_layer if layer.is_zstd else types.gzip_layer,
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
            for layer in layers
        ],
    }
