"""Finds the layers that a difference leaves out in the registry, before anything is sent.

For each of these layers, the record of the difference lists an image of an earlier release that
has it. Layers of an OCI image layout are found by the digests of their blobs. Layers of
``docker save`` archives may have another digest in the registry, depending on their compression:
they are found by their diff IDs, through the manifest and the config of an image in the registry.
"""

from collections.abc import Callable, Iterable

from ckf_airgap.archives.decoding import compression_named
from ckf_airgap.archives.pack_manifest import PackedLayer, PackManifest
from ckf_airgap.errors import ArtifactError, RegistryError, listed
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.image_manifests import RegistryImage, registry_image
from ckf_airgap.push.push_records import StoredLayer
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests
from ckf_airgap.registry.registry_errors import RefusedError

# The maximum number of images in which a layer is searched.
_MOST_IMAGES = 8

Place = tuple[StoredLayer, str]
"""A layer, and a repository that has it."""


def find_left_out(
    client: RegistryClient,
    location: RegistryLocation,
    manifest: PackManifest,
    archive: str,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Place]:
    """Find the layers that an archive leaves out.

    Args:
        client: The registry.
        location: The registry prefix of the images.
        manifest: The record of the archive.
        archive: The name of the archive, for messages.
        on_step: Called regularly.

    Returns:
        The layers, by the digests that their files would have in the archive.

    Raises:
        RegistryError: The registry fails, or lacks some layers. The message then lists these, and
            what to push first.
    """
    wanted = manifest.left_out
    images: dict[str, dict[str, None]] = {digest: {} for digest in wanted}
    # The image of the earlier release usually still has the layer. If its tag has moved, the new
    # image may have it from an interrupted push.
    for image in manifest.images:
        for layer in image.layers:
            if layer.found_in:
                images[manifest.file_digest(layer)] |= {image.name: None, layer.found_in: None}
    search = _Search(client, location, by_content=manifest.layout == "docker")
    found: dict[str, Place] = {}
    with concurrent_requests() as map_requests:
        places = map_requests(search.find, wanted.values(), images.values())
        for digest, place in zip(wanted, places, strict=True):
            on_step()
            if place:
                found[digest] = place
    lacking = [digest for digest in wanted if digest not in found]
    if lacking:
        first, *others = manifest.stands_on
        before = f" (and before it {listed(others, separator=', ')})" if others else ""
        layers = listed([f"{digest} of {next(iter(images[digest]))}" for digest in lacking])
        raise RegistryError(
            f"{archive} leaves out {len(wanted)} layers, and the registry lacks {len(lacking)} of "
            f"them below {location}: {layers}",
            f"first push the archive that it is based on, whose id is {first}{before}; ckf-airgap "
            "inspect shows the id of an archive",
        )
    return found


class _Search:
    """Searches layers in a registry; several threads may use it."""

    def __init__(
        self, client: RegistryClient, location: RegistryLocation, *, by_content: bool
    ) -> None:
        self._client = client
        self._location = location
        self._by_content = by_content
        self._images: dict[tuple[str, str], RegistryImage | None] = {}

    def find(self, layer: PackedLayer, names: Iterable[str]) -> Place | None:
        """Return a layer from the first of several images that has it; None if none has it."""
        refusal: RefusedError | None = None
        references = filter(None, map(ImageReference.parse, list(names)[:_MOST_IMAGES]))
        for path in dict.fromkeys(map(image_path, references)):
            if self._location.length_problem(path):
                continue
            repository = self._location.repository(path)
            try:
                if found := self._find_in(repository, path.tag, layer):
                    return found, repository
            except RefusedError as error:
                refusal = error
        if refusal:
            raise refusal
        return None

    def _find_in(self, repository: str, tag: str, layer: PackedLayer) -> StoredLayer | None:
        if self._by_content:
            image = self._image(repository, tag)
            layers = image.layers if image else ()
        else:
            compression = compression_named(layer.media_type)
            layers = (StoredLayer.unread(Blob(layer.digest, layer.size), compression),)
        for stored in layers:
            is_same = not self._by_content or stored.diff_id == layer.diff_id
            if is_same and self._client.has_blob(repository, stored.blob.digest):
                return stored
        return None

    def _image(self, repository: str, tag: str) -> RegistryImage | None:
        key = repository, tag
        if key not in self._images:
            try:
                self._images[key] = registry_image(self._client, repository, tag)
            except ArtifactError:
                self._images[key] = None
        return self._images[key]
