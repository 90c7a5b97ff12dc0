"""The push of an OCI image layout: blobs and manifests go into the registry as they are.

Where the documents come first, as in archives that ``ckf-airgap pack`` makes, it is known of each
layer where it belongs before anything of it is read, and an image is finished with its last layer.
In any other order layers go to the staging repository and are mounted from there at the end.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor

from ckf_airgap.archives.image_layout import (
    Descriptor,
    ImageLayout,
    LayoutImage,
    blob_digest,
)
from ckf_airgap.archives.inventory import require_layers
from ckf_airgap.archives.saved_images import LayerContent
from ckf_airgap.archives.tar_stream import TarMember
from ckf_airgap.errors import ArtifactError
from ckf_airgap.registry.layer_uploads import LayerUpload, LayerUploads
from ckf_airgap.registry.push_state import StoredLayer
from ckf_airgap.registry.uploads import Uploads

LayoutLayers = Mapping[str, LayerUpload | StoredLayer]
"""The layers of a layout, on their way or there, by digest."""


class LayoutPush:
    """Walks a layout: sends the layers of images that are to be pushed, and has these finished."""

    def __init__(
        self,
        archive: str,
        layers: LayerUploads,
        *,
        is_done: Callable[[Descriptor], bool],
        repository: Callable[[LayoutImage], str],
        staging: str,
        finish: Callable[[LayoutImage, LayoutLayers], None],
        fail: Callable[[Descriptor, ArtifactError], None],
    ) -> None:
        """Prepare.

        Args:
            archive: The archive's name, for messages.
            layers: Finds and sends layers.
            is_done: Tells of an image whether it has an outcome, or is in the registry.
            repository: Tells where an image goes.
            staging: Where layers go of which that is not known yet.
            finish: Called with each image whose layers have all come by, in the calling thread.
            fail: Called with each image that is damaged.
        """
        self._archive = archive
        self._layers = layers
        self._is_done = is_done
        self._repository = repository
        self._staging = staging
        self._finish = finish
        self._fail = fail
        self._layout = ImageLayout(archive)
        self._pending: list[LayoutImage] | None = None
        self._found: dict[str, LayerUpload | StoredLayer] = {}
        self._sizes: dict[str, int] = {}

    def run(self, members: Iterator[TarMember], uploads: Uploads, compressors: Executor) -> None:
        """Walk the layout to its end.

        Args:
            members: Its members.
            uploads: Sends layers.
            compressors: What may have to compress a layer; here it never does.

        Raises:
            ArtifactError: The archive itself is damaged, or has no index.
        """
        for member in members:
            head = self._layout.take(member)
            digest = blob_digest(member.name)
            if head is not None and digest is not None:
                layer = LayerContent(member.name, member.size, head, member)
                self._take_layer(layer, digest, uploads, compressors)
            if self._pending is None and self._layout.is_known:
                self._pending = self._look_up()
            self._finish_ready()
        if self._pending is None:
            self._pending = self._look_up()
        self._add_small_layers(uploads, compressors)
        self._finish_ready()
        for image in self._pending:
            try:
                require_layers(image, self._sizes, self._layout)
            except ArtifactError as error:
                self._fail(_descriptor(image), error)

    def _look_up(self) -> list[LayoutImage]:
        pending: list[LayoutImage] = []
        for descriptor in self._layout.index:
            if self._is_done(descriptor):
                continue
            try:
                pending.append(self._layout.image(descriptor))
            except ArtifactError as error:
                self._fail(descriptor, error)
        return pending

    def _take_layer(
        self, layer: LayerContent, digest: str, uploads: Uploads, compressors: Executor
    ) -> None:
        self._sizes[digest] = layer.size
        repository = self._staging
        if self._pending is not None:
            owner = next(
                (image for image in self._pending if (digest, layer.size) in image.layers), None
            )
            if owner is None:
                return
            repository = self._repository(owner)
        self._found[digest] = self._layers.find_blob(
            layer, digest, repository
        ) or self._layers.send(layer, digest, repository, uploads, compressors, as_it_is=True)

    def _add_small_layers(self, uploads: Uploads, compressors: Executor) -> None:
        """Send the layers that look like documents, which have been kept for those."""
        for image in self._pending or ():
            for digest, size in image.layers:
                content = self._layout.document(digest)
                if content is not None and digest not in self._found:
                    layer = LayerContent(f"blobs/sha256/{digest[7:]}", size, content, None)
                    self._take_layer(layer, digest, uploads, compressors)

    def _finish_ready(self) -> None:
        if not self._pending:
            return
        ready = [
            image
            for image in self._pending
            if all(
                digest in self._found and self._sizes[digest] == size
                for digest, size in image.layers
            )
        ]
        for image in ready:
            self._pending.remove(image)
            self._finish(image, self._found)


def _descriptor(image: LayoutImage) -> Descriptor:
    return Descriptor(image.number, image.name, "", image.media_type)
