"""The sink of the reader that sends what it is given into the registry."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ckf_airgap.archives.file_content import without_ending
from ckf_airgap.archives.inventory import ArchivedImage, Inventory, InventoryBuilder
from ckf_airgap.archives.oci_layout import sha256_of
from ckf_airgap.archives.read_images import (
    LayerFile,
    NestedArchive,
    PassedOver,
    ReadImage,
    Verdict,
)
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import ImagePath, MemberNames, RegistryLocation, image_path
from ckf_airgap.registry.client import Blob, RegistryClient, UploadLostError
from ckf_airgap.registry.layer_uploads import LayerUpload, LayerUploads
from ckf_airgap.registry.manifest import Manifest, make_manifest
from ckf_airgap.registry.progress import Meter
from ckf_airgap.registry.push_state import PushedImage, PushState, StoredLayer
from ckf_airgap.registry.uploads import Finisher, Uploads

STAGING = ImagePath("ckf-airgap-layers", "")
"""Where a layer goes of which it is not known yet to which image it belongs."""


@dataclass(frozen=True)
class Target:
    """Where a push goes.

    Attributes:
        client: The registry.
        location: The prefix under which the images are to stand.
        state: What was pushed there before.
        member_names: Names the images that the archive has no names for.
        layers: Finds and sends layers.
    """

    client: RegistryClient
    location: RegistryLocation
    state: PushState
    member_names: MemberNames
    layers: LayerUploads

    def is_there(self, pushed: PushedImage) -> bool:
        """Tell whether the registry has an image under all of its paths."""
        return all(
            self.client.manifest_digest(self.location.repository(path), path.tag) == digest
            for path, digest in pushed.manifests.items()
        )

    def is_named_otherwise(self, image: ArchivedImage) -> bool:
        """Tell whether an image that had no name is wanted under one now."""
        member = without_ending(image.member)
        return not image.names and self.member_names.find(member) is not None


@dataclass
class Outcomes:
    """What has become of the images by now, however often the archive is read.

    Attributes:
        references: The references that were made.
        present: How many images the registry had already.
        done: The images that are in the registry, by what tells them from others.
        damaged: An error for each image that turned out to be damaged when it was sent.
        lost: Why an image has to be read again.
    """

    references: list[str] = field(default_factory=list[str])
    present: int = 0
    done: set[str] = field(default_factory=set[str])
    damaged: dict[str, ArtifactError] = field(default_factory=dict[str, ArtifactError])
    lost: UploadLostError | None = None

    def __len__(self) -> int:
        return len(self.done) + len(self.damaged)


@dataclass(frozen=True)
class Pipeline:
    """What works beside the reading of the archive."""

    uploads: Uploads
    compressors: ThreadPoolExecutor
    finisher: Finisher
    meter: Meter


@dataclass(frozen=True)
class Taken:
    """A layer that was given to the sink.

    Attributes:
        upload: The layer in the registry, or on its way there.
        is_own: Whether it is known from this very file, and not from another of the same name.
    """

    upload: LayerUpload
    is_own: bool

    def arrived(self) -> StoredLayer:
        """Wait until it is there.

        Raises:
            ArtifactError: It is damaged.
            UploadLostError: It has to be read again.
        """
        if not self.is_own and self.upload.is_sent:
            error = self.upload.arrival.exception()
            if isinstance(error, ArtifactError) or not self.upload.is_confirmed:
                raise UploadLostError(
                    f"layer {self.upload.path} came with a damaged image first",
                    "save the damaged image again",
                )
        return self.upload.arrival.result()


class PushSink:
    """Sends layers as they come by, and tags the images whose layers are there and sound."""

    sends = True

    def __init__(self, target: Target, outcomes: Outcomes, pipeline: Pipeline) -> None:
        """Prepare for one reading of the archive.

        Args:
            target: Where to.
            outcomes: What has become of the images in earlier readings; is added to.
            pipeline: What sends, compresses and tags.
        """
        self._target = target
        self._outcomes = outcomes
        self._pipeline = pipeline
        self._given: list[str] = []
        self._listed: dict[str, ArchivedImage] = {}
        self._begun: dict[str, int] = {}
        self.builder = InventoryBuilder(target.member_names)

    def has(self, archive: NestedArchive) -> bool:
        """Tell whether the registry has all images of a nested archive."""
        self._begun[archive.place] = len(self._given)
        known = self._target.state.images
        keys = self._target.state.images_of(archive)
        if keys is None or any(key not in known for key in keys):
            return False
        if any(self._target.is_named_otherwise(known[key].image) for key in keys):
            return False
        if not all(self._is_present(key, known[key]) for key in keys):
            return False
        for key in keys:
            self.builder.add(known[key].image)
        self._given += keys
        self._pipeline.meter.tick()
        return True

    def read(self, archive: NestedArchive) -> None:
        """Remember a nested archive once all of its images are in the registry."""
        keys = self._given[self._begun.get(archive.place, 0) :]

        def remember() -> None:
            if all(key in self._outcomes.done for key in keys):
                self._target.state.add_nested(archive, keys)

        self._pipeline.finisher.add(remember)
        self._pipeline.meter.tick()

    def needs(self, image: ReadImage[Taken]) -> bool:
        """Tell whether the layers of an image are to be sent."""
        listed = self.builder.describe(image)
        if listed.names and not self._is_pushed(image.key, listed):
            return True
        self.builder.add(listed)
        self._given.append(image.key)
        if not listed.names and image.key not in self._target.state.images:
            self._done(image.key, PushedImage(listed, {}))
        return False

    def layer(self, layer: LayerFile, image: ReadImage[Taken] | None) -> Taken:
        """Send a layer, unless the registry has it or it is on its way there."""
        self._pipeline.finisher.raise_failure()
        repository = self._repository(layer, image)
        found = self._target.layers.find(layer, repository)
        if found:
            return Taken(found, is_own=found.place == layer.place)
        uploads, compressors = self._pipeline.uploads, self._pipeline.compressors
        upload = self._target.layers.send(layer, repository, uploads, compressors)
        return Taken(upload, is_own=True)

    def image(self, image: ReadImage[Taken]) -> None:
        """Tag an image, once its layers are there and sound."""
        listed = self.builder.describe(image)
        own = self.builder.add(listed)
        self._listed[image.key] = listed
        self._given.append(image.key)
        if image.key in self._outcomes.done or image.key in self._outcomes.damaged:
            return
        if self._is_pushed(image.key, listed):
            return
        self._pipeline.finisher.raise_failure()
        self._pipeline.finisher.add(lambda: self._finish(image, listed, own))
        self._pipeline.meter.tick()

    def damaged(self, file: str, error: ArtifactError) -> None:
        """List damage."""
        self.builder.damaged.append(error)

    def passed_over(self, entry: PassedOver) -> None:
        """List a file that is not pushed."""
        self.builder.passed_over.append(entry)

    def account(self, file: str, verdict: Verdict) -> None:
        """Leave the accounts to what is listed."""

    def inventory(self) -> Inventory:
        """Give what was found, less the images that turned out to be damaged."""
        found = self.builder.build()
        errors = self._outcomes.damaged
        gone = {id(listed) for key, listed in self._listed.items() if key in errors}
        return replace(
            found,
            images=tuple(image for image in found.images if id(image) not in gone),
            artifacts=tuple(image for image in found.artifacts if id(image) not in gone),
            damaged=(*found.damaged, *errors.values()),
        )

    def _is_pushed(self, key: str, image: ArchivedImage) -> bool:
        """Tell whether an image was pushed before under the names that it has now."""
        known = self._target.state.images.get(key)
        return bool(known and known.image == image and self._is_present(key, known))

    def _is_present(self, key: str, pushed: PushedImage) -> bool:
        """Tell whether an image that was pushed before is there still; then it is done."""
        if key in self._outcomes.done:
            return True
        if not self._target.is_there(pushed):
            return False
        self._outcomes.done.add(key)
        if pushed.manifests:
            self._outcomes.present += 1
            self._pipeline.meter.present(1)
        return True

    def _repository(self, layer: LayerFile, image: ReadImage[Taken] | None) -> str:
        """Say where a layer goes, as far as it is known to which image it belongs."""
        paths = self.builder.describe(image).paths if image else ()
        if not paths and (guess := self._target.member_names.find(layer.holder)):
            paths = (image_path(guess),)
        return self._target.location.repository(paths[0] if paths else STAGING)

    def _finish(
        self, image: ReadImage[Taken], listed: ArchivedImage, own: Sequence[ImagePath]
    ) -> None:
        """Publish an image; runs in the thread that finishes one after the other."""
        try:
            stored = [taken.arrived() for taken in image.layers]
            if not image.keeps_manifest:
                for taken, diff_id in zip(image.layers, image.diff_ids, strict=True):
                    self._target.layers.confirm(taken.upload, diff_id, is_own=taken.is_own)
            manifest = _manifest(image, stored)
            manifests = {path: self._publish(manifest, image, stored, path) for path in own}
        except ArtifactError as error:
            is_told = image.member in error.problem
            problem = error.problem if is_told else f"{image.member}: {error.problem}"
            self._outcomes.damaged[image.key] = ArtifactError(problem, error.cure)
        except UploadLostError as error:
            # It is read again when the rest is done.
            self._outcomes.lost = error
        else:
            self._done(image.key, PushedImage(listed, manifests))
        finally:
            for taken in image.layers:
                if taken.is_own:
                    self._target.layers.forget(taken.upload)

    def _done(self, key: str, pushed: PushedImage) -> None:
        references = [self._target.location.reference(path) for path in pushed.manifests]
        # What is not under a path of its own is looked at again: the path may be free by then.
        if self.builder.is_undisputed(pushed.image):
            self._target.state.add_image(key, pushed)
            self._outcomes.done.add(key)
        self._outcomes.references += references
        self._pipeline.meter.finished(references)

    def _publish(
        self,
        manifest: Manifest,
        image: ReadImage[Taken],
        layers: Sequence[StoredLayer],
        path: ImagePath,
    ) -> str:
        """Bring an image's blobs together in its repository, then give it its tag."""
        client, repository = self._target.client, self._target.location.repository(path)
        # An image may have the same layer twice.
        blobs: Mapping[str, StoredLayer] = {layer.blob.digest: layer for layer in layers}
        for layer in blobs.values():
            client.copy_blob(layer.blob, layer.repository, repository)
        if image.config and not client.has_blob(repository, sha256_of(image.config)):
            client.upload_blob(repository, [image.config])
        return client.put_manifest(repository, path.tag, manifest.content, manifest.media_type)


def _manifest(image: ReadImage[Taken], layers: Sequence[StoredLayer]) -> Manifest:
    """Keep the manifest that an image has where its blobs are stored as they are."""
    own = image.manifest
    if own:
        stored = {layer.blob.digest for layer in layers}
        if image.keeps_manifest or stored == {blob.digest for blob in own.layers}:
            return Manifest(own.media_type, own.content)
    return make_manifest(Blob(image.image_id, len(image.config)), layers)
