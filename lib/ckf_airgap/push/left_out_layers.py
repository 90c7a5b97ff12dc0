"""Finds in the registry the layers that a difference leaves out, before anything is sent.

A difference is an archive of ``pack --since``. For each of the layers that it leaves out, its
record lists an image of an earlier release that has the layer. Layers of an OCI image layout are
found by the digests of their blobs. The blobs of layers of ``docker save`` archives have digests
that depend on their compression, so these layers are found by their diff IDs, through the manifest
and the config of an image in the registry.
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

# The maximum number of images in which to search for a layer.
_MOST_IMAGES = 8

FoundLayer = tuple[StoredLayer, str]
"""A layer in the registry, and a repository that has it."""


def find_left_out(
    client: RegistryClient,
    location: RegistryLocation,
    manifest: PackManifest,
    archive: str,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, FoundLayer]:
    """Find the layers that an archive leaves out.

    Args:
        client: The registry.
        location: The registry prefix of the images.
        manifest: The record of the archive.
        archive: The name of the archive, for messages.
        on_step: Called once for each layer.

    Returns:
        The layers, by diff ID (docker) or blob digest (oci): the digest that would name the
        layer's file in the archive.

    Raises:
        RegistryError: The registry fails, or lacks some of the layers. In the latter case, the
            message lists these, and what to push first.
    """
    left_out = manifest.left_out
    images: dict[str, dict[str, None]] = {digest: {} for digest in left_out}
    # Look at the new image first: an earlier push of this archive may have replaced the image of
    # the earlier release, if both have the same tag. Usually the latter still has the layer.
    for image in manifest.images:
        for layer in image.layers:
            if layer.found_in:
                images[manifest.file_digest(layer)] |= {image.name: None, layer.found_in: None}
    search = _Search(client, location, by_diff_id=manifest.layout == "docker")
    found: dict[str, FoundLayer] = {}
    with concurrent_requests() as map_requests:
        results = map_requests(search.find, left_out.values(), images.values())
        for digest, result in zip(left_out, results, strict=True):
            on_step()
            if result:
                found[digest] = result
    missing = [digest for digest in left_out if digest not in found]
    if missing:
        first, *earlier = manifest.stands_on
        before = f" (and before it {listed(earlier, separator=', ')})" if earlier else ""
        layers = listed([f"{digest} of {next(iter(images[digest]))}" for digest in missing])
        raise RegistryError(
            f"{archive} leaves out {len(left_out)} layers, and the registry lacks "
            f"{len(missing)} of them below {location}: {layers}",
            f"first push the archive that it is based on, whose id is {first}{before}; ckf-airgap "
            "inspect shows the id of an archive",
        )
    return found


class _Search:
    """Searches for layers in a registry; several threads may use it."""

    def __init__(
        self, client: RegistryClient, location: RegistryLocation, *, by_diff_id: bool
    ) -> None:
        self._client = client
        self._location = location
        self._by_diff_id = by_diff_id
        self._images: dict[tuple[str, str], RegistryImage | None] = {}

    def find(self, layer: PackedLayer, names: Iterable[str]) -> FoundLayer | None:
        """Find a layer in the first of the named images that has it; None if none has it.

        Raises:
            RegistryError: The registry fails, or it denies access to one of the images and no
                other has the layer.
        """
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
        if self._by_diff_id:
            image = self._image(repository, tag)
            layers = image.layers if image else ()
        else:
            compression = compression_named(layer.media_type)
            layers = (StoredLayer.unread(Blob(layer.digest, layer.size), compression),)
        for stored in layers:
            is_same = not self._by_diff_id or stored.diff_id == layer.diff_id
            if is_same and self._client.has_blob(repository, stored.blob.digest):
                return stored
        return None

    def _image(self, repository: str, tag: str) -> RegistryImage | None:
        """Return an image; None if it does not exist or is damaged.

        Images are kept once read, but several threads may each read the same one.
        """
        key = repository, tag
        if key not in self._images:
            try:
                self._images[key] = registry_image(self._client, repository, tag)
            except ArtifactError:
                self._images[key] = None
        return self._images[key]
