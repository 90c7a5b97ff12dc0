"""Finds the layers of earlier pushes through the images in the registry, without a journal.

A journal does not outlive its pod, and another workstation has none. But the images are there: a
manifest lists the blobs of the layers, and its config, whose digest is checked, lists their diff
IDs. For layers that the push compresses, only manifests that it wrote itself count. An archive has
the diff IDs of its layers only at the end of each image, so it is read once more for them, and
only if the registry has any of its images.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.decoding import Compression, compression_of
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.image_sink import LayerFile, ReadImage
from ckf_airgap.archives.inventory import ListingSink, read_into
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import ArtifactError, RegistryError
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.oci import Blob
from ckf_airgap.images.reference import ImagePath
from ckf_airgap.push.image_manifests import possible_manifests, registry_image
from ckf_airgap.push.push_records import StoredLayer
from ckf_airgap.push.push_target import Target
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.concurrent_requests import RequestMap, concurrent_requests

# The number of latest tags of a repository: the previous release is among them.
_MOST_TAGS = 4


@dataclass(frozen=True)
class _Place:
    """The location of a layer in the archive.

    Attributes:
        place: Identifies the file within the archive.
        digest: The digest that its path claims, or None.
        size: Its size there, in bytes.
        compression: Its compression there.
    """

    place: str
    digest: str | None
    size: int
    compression: Compression


@dataclass(frozen=True)
class _Image:
    """An image of the archive.

    Attributes:
        config: The digest of its config.
        paths: Its paths in the registry.
        places: The locations of its layers, by the digests of their content.
    """

    config: str
    paths: tuple[ImagePath, ...]
    places: Mapping[str, _Place]


class _Survey(ListingSink):
    """A sink that records the location of each layer of each image.

    Attributes:
        images: The images that are not of layouts.
        blobs: The locations of the layers of layouts, each with a path of an image that has it,
            by their digests.
    """

    def __init__(self, names: MemberNames, on_step: Callable[[], None]) -> None:
        super().__init__(names)
        self._on_step = on_step
        self.images: list[_Image] = []
        self.blobs: dict[str, tuple[_Place, ImagePath]] = {}

    def layer(self, layer: LayerFile, image: ReadImage[Any] | None) -> Any:
        self._on_step()
        return _Place(layer.place, layer.digest, layer.size, compression_of(layer.content.head))

    def left_out(self, digest: str) -> Any:
        # It is looked for at another place.
        return False

    def image(self, image: ReadImage[Any]) -> None:
        paths = self.builder.describe(image).paths
        if not image.keeps_manifest and len(image.layers) != len(image.diff_ids):
            # Files that were taken for something else are sent.
            return
        if not image.keeps_manifest:
            layers = zip(image.diff_ids, image.layers, strict=True)
            places = {diff_id: place for diff_id, place in layers if place}
            self.images.append(_Image(image.image_id, paths, places))
        elif paths:
            known = (place for place in image.layers if place and place.digest)
            self.blobs |= {place.digest: (place, paths[0]) for place in known}


def recall(
    target: Target, source: Source, *, architecture: str, on_step: Callable[[], None]
) -> None:
    """Look up which layers of an archive the registry has, and record them in the state.

    Args:
        target: The registry, and the state of the push.
        source: The archive.
        architecture: The CPU architecture to choose if there are several; empty for any.
        on_step: Called regularly.
    """
    survey = _Survey(target.member_names, on_step)
    try:
        with open_archive(source) as archive:
            read_into(survey, survey.builder, source, archive, Readings(source.name), architecture)
    except ArtifactError:
        # The push reports it; everything before the damage is useful.
        pass
    with concurrent_requests() as map_requests:
        places = _Places(target, map_requests, on_step)
        places.recall_layers(survey.images)
        places.recall_blobs(survey.blobs)


@dataclass(frozen=True)
class _Places:
    """The repositories of the archive's images, several of them looked up at a time."""

    target: Target
    map_requests: RequestMap
    on_step: Callable[[], None]

    def recall_layers(self, images: Sequence[_Image]) -> None:
        """Record the layers of images in the registry that this project pushed."""
        tags: dict[str, set[str]] = {}
        for path in dict.fromkeys(path for image in images for path in image.paths):
            for repository in self.target.repositories([path]):
                tags.setdefault(repository, set()).add(path.tag)
        # By the digest of the layer in the archive; of images that are there already (by their
        # config), and of all.
        stored: dict[tuple[str, str, str], StoredLayer] = {}
        holders: dict[str, dict[str, None]] = {}
        wanted = {diff_id for image in images for diff_id in image.places}
        found = self.map_requests(self._layers_in, tags, tags.values())
        for repository, layers in zip(tags, found, strict=True):
            self.on_step()
            for config, layer in layers:
                # Only layouts can use an uncompressed blob.
                is_plain = layer.compression is Compression.NONE
                if layer.diff_id in wanted and not is_plain:
                    for image in (config, ""):
                        stored.setdefault((image, layer.diff_id, layer.source), layer)
                    holders.setdefault(layer.blob.digest, {})[repository] = None
        added: set[str] = set()
        for image in images:
            for diff_id, place in image.places.items():
                is_plain = place.compression is Compression.NONE
                key = diff_id, diff_id if is_plain else place.digest or ""
                layer = stored.get((image.config, *key)) or stored.get(("", *key))
                # A manifest may state another compression than the blob has.
                is_same = layer and (is_plain or layer.compression is place.compression)
                if layer and is_same and place.place not in added:
                    added.add(place.place)
                    self.target.state.add_layer(layer, place.place, holders[layer.blob.digest])

    def recall_blobs(self, blobs: Mapping[str, tuple[_Place, ImagePath]]) -> None:
        """Record the layers that are stored unchanged and exist."""
        state = self.target.state
        paths = [path for _, path in blobs.values()]
        holders = self.map_requests(self._holder, blobs, paths)
        for digest, repository in zip(blobs, holders, strict=True):
            self.on_step()
            if repository and state.blob(digest):
                state.add_repository(digest, repository)
            elif repository:
                place = blobs[digest][0]
                blob = StoredLayer.unread(Blob(digest, place.size), place.compression)
                state.add_layer(blob, place.place, [repository])

    def _holder(self, digest: str, path: ImagePath) -> str | None:
        """Return the repository of an image if it has a blob."""
        try:
            for repository in self.target.repositories([path]):
                if self.target.client.has_blob(repository, digest):
                    return repository
        except RegistryError:
            pass
        return None

    def _layers_in(self, repository: str, tags: set[str]) -> list["_Found"]:
        """List the layers of images in a repository: of the given tags and the latest others."""
        found: list[_Found] = []
        try:
            there = _tags(self.target.client, repository, tags)
            others = [tag for tag in there if tag not in tags]
            for tag in [*(tag for tag in there if tag in tags), *others[: -_MOST_TAGS - 1 : -1]]:
                found += _layers_of(self.target.client, repository, tag)
        except (RegistryError, ArtifactError):
            # Layers that cannot be looked up are sent, which reports the cause.
            pass
        return found


def has_images(client: RegistryClient, repository: str, tags: Collection[str]) -> bool:
    """Return whether a repository seems to have any image.

    Args:
        client: The registry.
        repository: The repository.
        tags: Its tags in the archive, which are looked up if the registry lists none.
    """
    try:
        return bool(client.tags(repository))
    except RegistryError:
        pass
    try:
        return any(client.manifest_digest(repository, tag) for tag in tags)
    except RegistryError:
        return False


def _tags(client: RegistryClient, repository: str, known: Collection[str]) -> list[str]:
    """List the tags of a repository; if the registry refuses that, the given ones."""
    try:
        return list(client.tags(repository))
    except RegistryError:
        return sorted(known)


_Found = tuple[str, StoredLayer]


def _layers_of(client: RegistryClient, repository: str, tag: str) -> Sequence[_Found]:
    """List the layers of an image with their possible blobs and the image's config."""
    image = registry_image(client, repository, tag)
    if image is None:
        return ()
    manifest, as_they_are = image.manifest, image.layers
    identity = manifest.config.digest
    config_blob = Blob(identity, manifest.config.size)
    ours = possible_manifests(config_blob, as_they_are, None, keeps_own=False)
    if manifest.content not in (each.content for each in ours):
        # Other tools compress differently, and the result of a push must not depend on what was
        # there before. A layer that is compressed in the archive is the same blob everywhere.
        return [(identity, layer) for layer in as_they_are]
    compressed = [
        replace(layer, source=layer.diff_id)
        for layer in as_they_are
        if layer.compression is Compression.GZIP
    ]
    return [(identity, layer) for layer in (*as_they_are, *compressed)]
