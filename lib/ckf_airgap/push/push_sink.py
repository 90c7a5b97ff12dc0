"""The sink that pushes the images of an archive to the registry."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from ckf_airgap.archives.docker_manifest import RESAVE
from ckf_airgap.archives.image_sink import (
    LayerFile,
    NestedArchive,
    PassedOver,
    ReadImage,
    Verdict,
)
from ckf_airgap.archives.inventory import ArchivedImage, Inventory, InventoryBuilder
from ckf_airgap.archives.pack_manifest import PackedLayer, PackManifest
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.oci import Blob, sha256_of
from ckf_airgap.images.reference import ImagePath
from ckf_airgap.images.registry_location import SHORTER_PATH
from ckf_airgap.push.image_manifests import possible_manifests
from ckf_airgap.push.image_outcomes import Outcomes
from ckf_airgap.push.layer_uploads import LayerUpload
from ckf_airgap.push.progress import Meter
from ckf_airgap.push.push_records import PushedImage, StoredLayer
from ckf_airgap.push.push_target import Target
from ckf_airgap.push.same_image import present_image
from ckf_airgap.push.uploads import Finisher, Uploads
from ckf_airgap.registry.blob_upload import UploadLostError
from ckf_airgap.registry.client import Manifest, Published
from ckf_airgap.registry.registry_errors import MissingBlobError, RefusedError, TagTakenError

# The push stops after so many refused images if none was accepted.
_MOST_REFUSALS = 5


@dataclass(frozen=True)
class Pipeline:
    """What works in parallel with reading the archive."""

    uploads: Uploads
    compressors: ThreadPoolExecutor
    finisher: Finisher
    meter: Meter


@dataclass(frozen=True)
class ReceivedLayer:
    """A layer that the sink received.

    Attributes:
        upload: The layer in the registry, or on its way there.
        is_own: Whether it comes from the file that the sink received, not from another file with
            the same name.
        is_left_out: Whether a difference leaves it out, because the registry has it.
    """

    upload: LayerUpload
    is_own: bool
    is_left_out: bool = False

    def arrived(self, repositories: Collection[str]) -> StoredLayer:
        """Wait until the registry has the layer.

        Args:
            repositories: The repositories of its image.

        Returns:
            The stored layer.

        Raises:
            ArtifactError: It is damaged.
            RefusedError: The registry refuses it in the repositories of its image.
            UploadLostError: The image has to be read again: the layer was lost, was refused in the
                repository of another image, or was sent from a file of a damaged image.
            RegistryError: The registry fails.
            StorageError: The journal cannot be written.
        """
        error = self.upload.arrival.exception() if self.upload.is_sent else None
        is_elsewhere = self.upload.repository not in repositories
        if isinstance(error, RefusedError) and is_elsewhere and not self.upload.is_last_resort:
            raise UploadLostError(error.problem, error.cure)
        is_damaged = isinstance(error, ArtifactError)
        may_be_damaged = is_damaged or (error is None and not self.upload.is_confirmed)
        if may_be_damaged and self.upload.is_sent and not self.is_own:
            raise UploadLostError(
                f"layer {self.upload.path} was first read from a damaged image",
                "save the damaged image again",
            )
        return self.upload.arrival.result()


class PushSink:
    """Sends layers as they are read, and tags the images whose layers are complete and correct."""

    sends = True

    def __init__(self, target: Target, outcomes: Outcomes, pipeline: Pipeline) -> None:
        """Prepare for one reading of the archive.

        Args:
            target: The target of the push.
            outcomes: The outcomes of the images in earlier readings; this reading adds to them.
            pipeline: Sends, compresses and tags.
        """
        self._target = target
        self._outcomes = outcomes
        self._pipeline = pipeline
        # The keys of the images received, in the order of the archive.
        self._keys: list[str] = []
        self._listed: dict[str, ArchivedImage] = {}
        # By place: how many images and skipped files were received before each nested archive.
        self._received_before: dict[str, tuple[int, int]] = {}
        # (repository, image key) of each config that is in its repository, so that it is looked up
        # once: an image may have thousands of tags.
        self._configs: set[tuple[str, str]] = set()
        self.builder = InventoryBuilder(target.member_names)

    def pack_manifest(self, manifest: PackManifest) -> None:
        """Ignore the record of the archive; the inventory compares it."""

    def has_nested(self, archive: NestedArchive) -> bool:
        """Return whether a nested archive is in the journal, and its images in the registry."""
        self._received_before[archive.place] = len(self._keys), len(self.builder.passed_over)
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
        self._keys += keys
        self._pipeline.meter.tick()
        return True

    def finished_nested(self, archive: NestedArchive) -> None:
        """Record a nested archive once all of its images are in the registry."""
        images, files = self._received_before.get(archive.place, (0, 0))
        keys = self._keys[images:]
        if any(
            entry.may_be_image or entry.is_warning for entry in self.builder.passed_over[files:]
        ):
            # These files are reported in every run, so the archive must be read in every run.
            return

        def record() -> None:
            if all(key in self._outcomes.done for key in keys):
                self._target.state.add_nested(archive, keys)

        self._pipeline.finisher.add(record)
        self._pipeline.meter.tick()

    def needs_layers(self, image: ReadImage[ReceivedLayer]) -> bool:
        """Return whether the layers of an image must be sent; if not, list the image."""
        listed = self.builder.describe(image)
        if listed.names and not self._is_pushed(image.key, listed):
            return True
        self.builder.add(listed)
        self._keys.append(image.key)
        if not listed.names and image.key not in self._target.state.images:
            self._done(image.key, PushedImage(listed, {}), [])
        return False

    def layer(self, layer: LayerFile, image: ReadImage[ReceivedLayer] | None) -> ReceivedLayer:
        """Send a layer, unless it is in the registry, being uploaded, or without a repository."""
        self._pipeline.finisher.raise_failure()
        repository = self._repository(layer, image)
        found = self._target.layers.find(layer, repository)
        if found:
            return ReceivedLayer(found, is_own=found.place == layer.place)
        if image is None:
            repository = repository or self._target.destinations.any()
        if repository is None:
            return ReceivedLayer(_without_repository(layer), is_own=True)
        uploads, compressors = self._pipeline.uploads, self._pipeline.compressors
        # Determine this first: while the layer is sent, the repository may refuse another image.
        is_last_resort = repository in self._target.destinations.refused
        upload = self._target.layers.send(layer, repository, uploads, compressors)
        upload.is_last_resort = is_last_resort
        return ReceivedLayer(upload, is_own=True)

    def left_out(self, digest: str, layer: PackedLayer) -> ReceivedLayer:
        """Return a layer that the archive leaves out and the registry has."""
        upload = self._target.layers.left_out(digest)
        return ReceivedLayer(upload, is_own=False, is_left_out=True)

    def image(self, image: ReadImage[ReceivedLayer]) -> None:
        """Tag an image once its layers are complete and correct."""
        listed = self.builder.describe(image)
        owned = self.builder.add(listed)
        self._listed[image.key] = listed
        self._keys.append(image.key)
        if self._outcomes.has(image.key):
            return
        if self._is_pushed(image.key, listed):
            return
        self._pipeline.finisher.raise_failure()
        self._pipeline.finisher.add(lambda: self._finish(image, listed, owned))
        self._pipeline.meter.tick()

    def damaged(self, file: str, error: ArtifactError) -> None:
        """List an error."""
        self.builder.damaged.append(error)

    def passed_over(self, entry: PassedOver) -> None:
        """List a file that is not pushed."""
        self.builder.passed_over.append(entry)

    def outcome(self, file: str, verdict: Verdict) -> None:
        """Ignore the outcome of files: ``read_inventory`` reports it."""

    def inventory(self) -> Inventory:
        """Return the inventory; images that turned out to be damaged are only in ``damaged``."""
        found = self.builder.build()
        errors = self._outcomes.damaged
        damaged = {id(listed) for key, listed in self._listed.items() if key in errors}
        return replace(
            found,
            images=tuple(image for image in found.images if id(image) not in damaged),
            artifacts=tuple(image for image in found.artifacts if id(image) not in damaged),
            damaged=(*found.damaged, *errors.values()),
        )

    def _is_pushed(self, key: str, image: ArchivedImage) -> bool:
        """Return whether the journal has an image with its present names, and the registry too."""
        known = self._target.state.images.get(key)
        return bool(known and known.image == image and self._is_present(key, known))

    def _is_present(self, key: str, pushed: PushedImage) -> bool:
        """Return whether an image that is in the journal is still in the registry."""
        if key in self._outcomes.done:
            return True
        if not self._target.is_there(pushed):
            return False
        self._outcomes.done.add(key)
        if pushed.manifests:
            self._outcomes.present += 1
            self._pipeline.meter.present(1)
        return True

    def _repository(self, layer: LayerFile, image: ReadImage[ReceivedLayer] | None) -> str | None:
        """Choose the repository of a layer by its image, or else by the name of its archive."""
        destinations = self._target.destinations
        guess = None if image else self._target.member_names.find(layer.archive_name)
        paths = self.builder.describe(image).paths if image else ()
        repositories = self._target.repositories([image_path(guess)] if guess else paths)
        accepting = [each for each in repositories if each not in destinations.refused]
        if image:
            for repository in repositories:
                destinations.add(repository)
            # If none of them accepts the layer, the image is refused.
            accepting = accepting or repositories
        return accepting[0] if accepting else None

    def _finish(
        self, image: ReadImage[ReceivedLayer], listed: ArchivedImage, owned: Sequence[ImagePath]
    ) -> None:
        """Publish an image; runs in the thread that finishes images in order."""
        repositories = self._target.repositories(listed.paths)
        try:
            self._require_short(owned)
            stored = [taken.arrived(repositories) for taken in image.layers]
            if not image.keeps_manifest:
                for taken, diff_id in zip(image.layers, image.diff_ids, strict=True):
                    self._target.layers.confirm(taken.upload, diff_id, is_own=taken.is_own)
            manifests = possible_manifests(
                Blob(image.image_id, len(image.config)),
                stored,
                image.manifest,
                keeps_own=image.keeps_manifest,
            )
            published, refusal = self._publish_all(manifests, image, stored, owned)
        except ArtifactError as error:
            names_member = image.member in error.problem
            problem = error.problem if names_member else f"{image.member}: {error.problem}"
            self._outcomes.damaged[image.key] = ArtifactError(problem, error.cure)
        except RefusedError as error:
            self._refuse(image, repositories, error)
        except UploadLostError as error:
            self._lose(image, repositories, error)
        else:
            new = [path for path, each in published.items() if each.is_new]
            if refusal:
                self._report([self._target.location.reference(path) for path in new])
                self._refuse(image, repositories, refusal)
                return
            manifests_by_path = {path: each.digest for path, each in published.items()}
            self._done(image.key, PushedImage(listed, manifests_by_path), new)
        finally:
            for taken in image.layers:
                if taken.is_own:
                    self._target.layers.forget(taken.upload)

    def _require_short(self, paths: Sequence[ImagePath]) -> None:
        for problem in map(self._target.location.length_problem, paths):
            if problem:
                raise RefusedError(problem, SHORTER_PATH)

    def _refuse(
        self, image: ReadImage[ReceivedLayer], repositories: Sequence[str], error: RefusedError
    ) -> None:
        """Continue without a refused image; raise if several were refused and none accepted."""
        self._outcomes.refused[image.key] = RefusedError(
            f"{image.label} is not pushed: {error.problem}", error.cure
        )
        if not isinstance(error, TagTakenError):
            self._target.destinations.refused.update(repositories)
        if len(self._outcomes.refused) >= _MOST_REFUSALS and not self._outcomes.done:
            raise error

    def _lose(
        self, image: ReadImage[ReceivedLayer], repositories: Sequence[str], error: UploadLostError
    ) -> None:
        """Note that an image has to be read again, in another pass over the archive."""
        if not repositories:
            # The image has no name, so it is not pushed.
            self._done(image.key, PushedImage(self._listed[image.key], {}), [])
            return
        self._outcomes.lost = error
        for taken in image.layers:
            upload = taken.upload
            if upload.is_sent and isinstance(upload.arrival.exception(), RefusedError):
                self._target.destinations.refused.add(upload.repository)
        for repository in repositories:
            self._target.destinations.add(repository)

    def _done(self, key: str, pushed: PushedImage, new: Sequence[ImagePath]) -> None:
        """Record and report a finished image; ``new`` are its paths whose tag was set or moved."""
        # If another image owns one of its paths, the next push tries again: the path may be free.
        if self.builder.is_undisputed(pushed.image):
            self._target.state.add_image(key, pushed)
            self._outcomes.done.add(key)
        references = map(self._target.location.reference, pushed.manifests)
        if any(reference in self._outcomes.references for reference in references):
            # Already reported in an earlier pass.
            return
        if pushed.manifests and not new:
            self._outcomes.present += 1
            self._pipeline.meter.present(1)
            return
        self._report([self._target.location.reference(path) for path in new])

    def _report(self, references: Sequence[str]) -> None:
        """Report new tags; each is reported once, even if the archive is read again."""
        fresh = [each for each in references if each not in self._outcomes.references]
        self._outcomes.references.update(dict.fromkeys(fresh))
        self._pipeline.meter.finished(fresh)

    def _publish_all(
        self,
        manifests: Sequence[Manifest],
        image: ReadImage[ReceivedLayer],
        layers: Sequence[StoredLayer],
        paths: Sequence[ImagePath],
    ) -> tuple[dict[ImagePath, Published], RefusedError | None]:
        """Publish an image under each of its paths.

        Returns:
            What was published under each path, and the first refusal; None if there is none.
        """
        published: dict[ImagePath, Published] = {}
        refusal: RefusedError | None = None
        # The tag may point to this image with layers that were compressed differently: leave it.
        may_be_there = all(taken.is_left_out for taken in image.layers)
        for path in paths:
            try:
                present = self._present(image, path) if may_be_there else None
                published[path] = present or self._publish(manifests, image, layers, path)
            except RefusedError as error:
                is_taken = isinstance(error, TagTakenError)
                if is_taken and (present := self._present(image, path)):
                    published[path] = present
                else:
                    refusal = refusal or error
        return published, refusal

    def _present(self, image: ReadImage[ReceivedLayer], path: ImagePath) -> Published | None:
        """Return the manifest of a tag if it is the same image with all its layers, or None."""
        if image.keeps_manifest:
            return None
        repository = self._target.location.repository(path)
        return present_image(
            self._target.client, repository, path.tag, image.image_id, image.diff_ids
        )

    def _publish(
        self,
        manifests: Sequence[Manifest],
        image: ReadImage[ReceivedLayer],
        layers: Sequence[StoredLayer],
        path: ImagePath,
    ) -> Published:
        """Copy an image's blobs into its repository, then tag it."""
        client, repository = self._target.client, self._target.location.repository(path)
        # An image may have the same layer twice.
        blobs: Mapping[str, StoredLayer] = {layer.blob.digest: layer for layer in layers}
        try:
            self._copy_blobs(blobs.values(), image, repository, mounts=True)
            published = client.publish(repository, path.tag, manifests)
        except MissingBlobError:
            # The registry lacks a blob that it had confirmed: look up all of them again, and copy
            # them without mounts.
            self._copy_blobs(blobs.values(), image, repository, mounts=False)
            published = client.publish(repository, path.tag, manifests)
        self._target.destinations.add(repository)
        return published

    def _copy_blobs(
        self,
        layers: Collection[StoredLayer],
        image: ReadImage[ReceivedLayer],
        repository: str,
        *,
        mounts: bool,
    ) -> None:
        for layer in layers:
            self._target.layers.copy(layer, repository, mounts=mounts)
        if not image.config or (mounts and (repository, image.key) in self._configs):
            return
        if not self._target.client.has_blob(repository, sha256_of(image.config)):
            self._target.client.upload_blob(repository, [image.config])
        self._configs.add((repository, image.key))


def _without_repository(layer: LayerFile) -> LayerUpload:
    """Return the failed upload of a layer for which no repository is known yet."""
    arrival: Future[StoredLayer] = Future()
    arrival.set_exception(
        UploadLostError(f"no image with a name was found for the layer {layer.path}", RESAVE)
    )
    return LayerUpload(layer.path, None, arrival, is_confirmed=False, place=layer.place)
