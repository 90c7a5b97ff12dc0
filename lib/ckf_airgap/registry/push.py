"""The push: images.tar.gz into the registry, as a stream, nothing unpacked to disk.

A layer passes once: read, hashed, compressed and uploaded in pieces. Which image it belongs to is
known only when ``manifest.json`` comes by, at the end in the layout before Docker 25; so layers
go to the repository that the member's file name suggests, or to a staging repository, and are
mounted into the right one afterwards. An image gets its manifest and its tag only when each of its
layers has been found to have the digest that its config says.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.image_archive import open_images
from ckf_airgap.archives.image_layout import Descriptor, LayoutImage
from ckf_airgap.archives.inventory import (
    ArchivedImage,
    Inventory,
    archived_images,
    damaged_member,
    layout_image,
)
from ckf_airgap.archives.saved_images import LayerContent, SavedImage, read_saved_images
from ckf_airgap.archives.sources import Source
from ckf_airgap.archives.tar_stream import TarMember
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import (
    ImagePath,
    ImageReference,
    RegistryLocation,
    image_path,
    wanted_by_member_name,
)
from ckf_airgap.registry.client import Blob, RegistryClient, UploadLostError
from ckf_airgap.registry.layer_content import make_compressors
from ckf_airgap.registry.layer_uploads import LayerUpload, LayerUploads, shared_name
from ckf_airgap.registry.layout_push import LayoutLayers, LayoutPush
from ckf_airgap.registry.manifest import Manifest, make_manifest
from ckf_airgap.registry.progress import Meter, Progress
from ckf_airgap.registry.push_state import PushedMember, PushState, StoredLayer, path_of
from ckf_airgap.registry.uploads import Finisher, Uploads

# How often the archive is read again without anything more arriving in the registry.
_FRUITLESS_PASSES = 4
_LOOKUPS_AT_ONCE = 8
STAGING = ImagePath("ckf-airgap-layers", "")
"""Where a layer goes of which it is not known yet to which image it belongs."""


@dataclass(frozen=True)
class PushResult:
    """What a push has done.

    Attributes:
        inventory: What the archive holds.
        pushed: The references that were made, in order.
        present: How many images the registry had already.
        uploaded_bytes: The size of the layers that were sent.
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
            on_progress: Called twice a second at the most, in the calling thread.
        """
        self._client = client
        self._location = location
        self._state_file = state_file
        self._on_progress = on_progress

    def push(self, archive: Source, wanted: Iterable[ImageReference] = ()) -> PushResult:
        """Push every image of the archive that the registry does not have.

        Args:
            archive: images.tar.gz.
            wanted: The images that the charms take: they name the images without RepoTags.

        Returns:
            What was done. Damaged members are listed in its inventory; the rest is pushed.

        Raises:
            ArtifactError: The archive itself is damaged or ends in the middle.
            RegistryError: The registry fails. What is pushed by then is remembered.
            StorageError: What is pushed cannot be remembered.
        """
        state = self._load_state(archive)
        run = _Run(self._client, self._location, state, tuple(wanted))
        try:
            if state.is_complete and run.is_all_done():
                return PushResult(state.inventory, (), len(state.inventory.images), 0)
            return run.push(archive, Meter(archive.size, self._on_progress))
        finally:
            state.close()

    def known_inventory(self, archive: Source) -> Inventory | None:
        """Give what an earlier push found in this archive, if it read it to its end."""
        state = self._load_state(archive)
        return state.inventory if state.is_complete else None

    def _load_state(self, archive: Source) -> PushState:
        return PushState(self._state_file, str(self._location), archive.version)


class _Run:
    """One push: what it has to do, and what has become of it."""

    def __init__(
        self,
        client: RegistryClient,
        location: RegistryLocation,
        state: PushState,
        wanted: tuple[ImageReference, ...],
    ) -> None:
        self._client = client
        self._location = location
        self._state = state
        self._wanted = wanted
        self._layers = LayerUploads(client, state)
        self._pushed: list[str] = []
        self._present = 0
        # By the member's number: damage, or None for a member that is done.
        self._outcomes: dict[int, ArtifactError | None] = {}
        self._lost: UploadLostError | None = None

    def is_all_done(self) -> bool:
        """Tell whether the registry still has all that the state says."""
        with ThreadPoolExecutor(_LOOKUPS_AT_ONCE) as executor:
            return all(executor.map(self._is_done, self._state.members.values()))

    def push(self, archive: Source, meter: Meter) -> PushResult:
        """Push, from the start of the archive again where the stream cannot go back."""
        self._push_members(archive, meter, carefully=False)
        fruitless = 0
        while self._lost and fruitless < _FRUITLESS_PASSES:
            before = self._layers.arrived_layers + len(self._outcomes)
            self._lost = None
            self._push_members(archive, meter, carefully=True)
            after = self._layers.arrived_layers + len(self._outcomes)
            fruitless = 0 if after > before else fruitless + 1
        if self._lost:
            raise self._lost
        damaged = tuple(error for _, error in sorted(self._outcomes.items()) if error)
        if not damaged:
            self._state.complete()
        return PushResult(
            Inventory(self._state.inventory.images, damaged),
            tuple(self._pushed),
            self._present,
            self._layers.arrived_bytes,
        )

    def _push_members(self, archive: Source, meter: Meter, *, carefully: bool) -> None:
        """Push the members that have no outcome yet, and give them one.

        Five things go on at once: the archive is decoded; layers are found in it and hashed; they
        are compressed; what was compressed before is sent; and the images whose layers are there
        get their tags.
        """
        with (
            open_archive(archive, meter.read) as stream,
            make_compressors() as compressors,
            Uploads(
                self._client, carefully=carefully, on_sent=meter.sent, on_step=meter.tick
            ) as uploads,
            Finisher(meter.tick) as finisher,
        ):
            opened = open_images(stream, archive.name, archive.size)
            pipeline = _Pipeline(uploads, compressors, finisher, meter)
            push = self._push_layout if opened.is_layout else self._push_saved
            push(archive.name, opened.members, pipeline)
        meter.tick(now=True)

    def _push_saved(self, _: str, members: Iterator[TarMember], pipeline: "_Pipeline") -> None:
        """Push the ``docker save`` archives that have no outcome yet, and give them one."""
        meter = pipeline.meter
        for number, member in enumerate(members):
            if number in self._outcomes:
                continue
            pipeline.finisher.raise_failure()
            if not self._is_present(number, meter):
                push = _MemberPush(number, member, self._layers)
                push.read(self._first_repository(member), pipeline)
                pipeline.finisher.add(lambda push=push: self._finish(push, meter))
            meter.tick()

    def _is_present(self, number: int, meter: Meter) -> bool:
        """Tell whether all of a member is in the registry; then that is its outcome."""
        known = self._state.members.get(number)
        if known is None or not self._is_done(known):
            return False
        self._present += len(known.images)
        self._outcomes[number] = None
        meter.present(len(known.images))
        return True

    def _push_layout(
        self, archive: str, members: Iterator[TarMember], pipeline: "_Pipeline"
    ) -> None:
        """Push the images of an OCI image layout that have no outcome yet, and give them one."""
        meter = pipeline.meter

        def is_done(descriptor: Descriptor) -> bool:
            return descriptor.number in self._outcomes or self._is_present(
                descriptor.number, meter
            )

        def repository(image: LayoutImage) -> str:
            paths = layout_image(image).paths
            return self._location.repository(paths[0] if paths else STAGING)

        def finish(image: LayoutImage, layers: LayoutLayers) -> None:
            pipeline.finisher.raise_failure()
            pipeline.finisher.add(lambda: self._finish_image(image, layers, meter))

        def fail(descriptor: Descriptor, error: ArtifactError) -> None:
            self._outcomes[descriptor.number] = error

        LayoutPush(
            archive,
            self._layers,
            is_done=is_done,
            repository=repository,
            staging=self._location.repository(STAGING),
            finish=finish,
            fail=fail,
        ).run(members, pipeline.uploads, pipeline.compressors)

    def _finish_image(self, image: LayoutImage, layers: LayoutLayers, meter: Meter) -> None:
        """Tag an image of a layout, once its layers are there and sound."""
        listed = layout_image(image)
        try:
            stored = [_arrived(layers[digest]) for digest, _ in image.layers]
            manifests: dict[str, str] = {}
            for path in listed.paths:
                manifests[str(path)] = self._publish(
                    Manifest(image.media_type, image.manifest), image.config, stored, path
                )
        except ArtifactError as error:
            self._outcomes[image.number] = ArtifactError(
                f"{image.label}: {error.problem}", error.cure
            )
            return
        except UploadLostError as error:
            self._lost = error
            return
        self._done(image.number, PushedMember((listed,), manifests), meter)

    def _first_repository(self, member: TarMember) -> str:
        """Guess where the layers of a member belong, before it is known."""
        guess = wanted_by_member_name(member.name, self._wanted)
        return self._location.repository(image_path(guess) if guess else STAGING)

    def _finish(self, push: "_MemberPush", meter: Meter) -> None:
        """Tag the images of a member, once its layers are there and sound."""
        try:
            layers = push.arrived_layers()
            images = archived_images(push.name, push.saved, self._wanted)
            push.check(layers)
            self._publish_member(push, images, layers, meter)
        except ArtifactError as error:
            self._outcomes[push.number] = damaged_member(push.name, error)
        except UploadLostError as error:
            # It is read again when the rest is done.
            self._lost = error
        finally:
            push.forget()

    def _publish_member(
        self,
        push: "_MemberPush",
        images: Sequence[ArchivedImage],
        layers: Sequence[StoredLayer],
        meter: Meter,
    ) -> None:
        manifests: dict[str, str] = {}
        for saved, image in zip(push.saved, images, strict=True):
            for path in image.paths:
                own_layers = [layers[number] for number in saved.layers]
                manifest = make_manifest(Blob(saved.image_id, len(saved.config)), own_layers)
                manifests[str(path)] = self._publish(manifest, saved.config, own_layers, path)
        self._done(push.number, PushedMember(tuple(images), manifests), meter)

    def _done(self, number: int, member: PushedMember, meter: Meter) -> None:
        """Remember that the images of a member are in the registry."""
        references = [self._location.reference(path_of(path)) for path in member.manifests]
        self._state.add_member(number, member)
        self._outcomes[number] = None
        self._pushed += references
        meter.finished(references)

    def _publish(
        self, manifest: Manifest, config: bytes, layers: Sequence[StoredLayer], path: ImagePath
    ) -> str:
        """Bring an image's blobs together in its repository, then give it its tag."""
        repository = self._location.repository(path)
        # An image may have the same layer twice.
        for layer in {layer.blob.digest: layer for layer in layers}.values():
            self._client.copy_blob(layer.blob, layer.repository, repository)
        if not self._client.has_blob(repository, f"sha256:{hashlib.sha256(config).hexdigest()}"):
            self._client.upload_blob(repository, [config])
        return self._client.put_manifest(
            repository, path.tag, manifest.content, manifest.media_type
        )

    def _is_done(self, member: PushedMember) -> bool:
        """Tell whether the registry still has all of a member, and nobody asks for more of it."""
        if any(
            not image.names and wanted_by_member_name(image.member, self._wanted)
            for image in member.images
        ):
            return False
        return all(
            self._client.manifest_digest(self._location.repository(path), path.tag) == digest
            for path, digest in ((path_of(p), d) for p, d in member.manifests.items())
        )


@dataclass(frozen=True)
class _Pipeline:
    """What works beside the reading of the archive."""

    uploads: Uploads
    compressors: ThreadPoolExecutor
    finisher: Finisher
    meter: Meter


def _arrived(layer: LayerUpload | StoredLayer) -> StoredLayer:
    return layer if isinstance(layer, StoredLayer) else layer.arrival.result()


class _MemberPush:
    """One member on its way: its layers, as numbers, and the images that they make up.

    Attributes:
        number: Which member of the archive it is.
        name: The member's path.
        saved: The images in it, once it has been read.
    """

    def __init__(self, number: int, member: TarMember, layers: LayerUploads) -> None:
        self.number = number
        self.name = member.name
        self.saved: list[SavedImage[int]] = []
        self._member = member
        self._uploads = layers
        self._layers: list[LayerUpload | StoredLayer] = []
        self._names: list[str | None] = []
        self._own: list[LayerUpload] = []
        self._damage: ArtifactError | None = None

    def read(self, repository: str, pipeline: _Pipeline) -> None:
        """Read it to its end, and begin to send what the registry does not have of it."""

        def take(layer: LayerContent) -> int:
            place = f"{self.number}/{layer.path}"
            found = self._uploads.find(layer, place)
            if found is None:
                found = self._uploads.send(
                    layer, place, repository, pipeline.uploads, pipeline.compressors
                )
                self._own.append(found)
            self._layers.append(found)
            self._names.append(shared_name(layer))
            return len(self._layers) - 1

        try:
            self.saved = read_saved_images(self._member, self.name, take)
        except ArtifactError as error:
            self._damage = error

    def arrived_layers(self) -> list[StoredLayer]:
        """Wait until all layers are there; gives them by their numbers.

        Raises:
            ArtifactError: The member is damaged.
            UploadLostError: It has to be read again.
        """
        if self._damage:
            raise self._damage
        return [self._arrived(layer) for layer in self._layers]

    def check(self, layers: Sequence[StoredLayer]) -> None:
        """Compare the layers with what the images' configs say of them.

        Args:
            layers: The layers by their numbers.

        Raises:
            ArtifactError: They differ.
        """
        for image in self.saved:
            for number, diff_id in zip(image.layers, image.diff_ids, strict=True):
                if layers[number].diff_id != diff_id:
                    raise ArtifactError(
                        f"{self.name} is damaged: it has the layer {layers[number].diff_id} where "
                        f"its image has {diff_id}",
                        "save this image again (docker save) and make the archive again",
                    )
        for upload in self._own:
            upload.is_confirmed = True
        for name, layer in zip(self._names, layers, strict=True):
            self._uploads.trust(name, layer)

    def forget(self) -> None:
        """Leave its layers to what is known of them by now."""
        for upload in self._own:
            self._uploads.forget(upload)

    def _arrived(self, layer: LayerUpload | StoredLayer) -> StoredLayer:
        if isinstance(layer, StoredLayer):
            return layer
        if layer in self._own:
            return layer.arrival.result()
        # It came with a member before this one, which is finished by now.
        error = layer.arrival.exception()
        if isinstance(error, ArtifactError) or not layer.is_confirmed:
            raise UploadLostError(
                f"layer {layer.path} of {self.name} came with a damaged image first",
                "save the damaged image again",
            )
        return layer.arrival.result()
