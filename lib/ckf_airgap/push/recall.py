"""Finds the layers of earlier pushes through the images in the registry, without a journal.

A new pod or another workstation has no journal of earlier pushes. But the registry has their
images: a manifest lists the blobs of the layers, and its config, whose digest is checked, lists
their diff IDs. For layers that are uncompressed in the archive, only manifests as a push writes
them are used. An archive often has the diff IDs of its layers only at its end, so it is read once
more for them, and only if the registry has any of its images.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.decoding import Compression, compression_of
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.image_sink import LayerFile, ReadImage
from ckf_airgap.archives.inventory import ListingSink, read_into
from ckf_airgap.archives.pack_manifest import PackedLayer
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

# The number of other tags of a repository to look up, the last listed ones: usually, the previous
# release is among them.
_MOST_OTHER_TAGS = 4


@dataclass(frozen=True)
class _ArchivedLayer:
    """A layer in the archive.

    Attributes:
        place: Identifies its file in the archive; see ``LayerFile``.
        digest: The digest in its path, or None.
        size: Its size in the archive, in bytes.
        compression: Its compression in the archive.
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
        layers: Its layers, by diff ID.
    """

    config: str
    paths: tuple[ImagePath, ...]
    layers: Mapping[str, _ArchivedLayer]


class _Survey(ListingSink):
    """A sink that records the layers of each image.

    Attributes:
        images: The images that are not in OCI layouts.
        blobs: The layers of images in OCI layouts, each with a path of such an image, by digest.
    """

    def __init__(self, names: MemberNames, on_step: Callable[[], None]) -> None:
        super().__init__(names)
        self._on_step = on_step
        self.images: list[_Image] = []
        self.blobs: dict[str, tuple[_ArchivedLayer, ImagePath]] = {}

    def layer(self, layer: LayerFile, image: ReadImage[Any] | None) -> Any:
        self._on_step()
        return _ArchivedLayer(
            layer.place, layer.digest, layer.size, compression_of(layer.content.head)
        )

    def left_out(self, digest: str, layer: PackedLayer) -> Any:
        # ``find_left_out`` has found it.
        return False

    def image(self, image: ReadImage[Any]) -> None:
        paths = self.builder.describe(image).paths
        if not image.keeps_manifest and len(image.layers) != len(image.diff_ids):
            # Some files were not read as layers: the push sends them.
            return
        if not image.keeps_manifest:
            layers = zip(image.diff_ids, image.layers, strict=True)
            found = {diff_id: layer for diff_id, layer in layers if layer}
            self.images.append(_Image(image.image_id, paths, found))
        elif paths:
            blobs = (layer for layer in image.layers if layer and layer.digest)
            self.blobs |= {layer.digest: (layer, paths[0]) for layer in blobs}


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
        # The push reports the damage. What was read before it is used.
        pass
    with concurrent_requests() as map_requests:
        lookup = _Lookup(target, map_requests, on_step)
        lookup.recall_layers(survey.images)
        lookup.recall_blobs(survey.blobs)


@dataclass(frozen=True)
class _Lookup:
    """Looks up layers in the repositories of the archive's images, several at a time."""

    target: Target
    map_requests: RequestMap
    on_step: Callable[[], None]

    def recall_layers(self, images: Sequence[_Image]) -> None:
        """Record the layers of images that are not in OCI layouts, if the registry has them."""
        tags: dict[str, set[str]] = {}
        for path in dict.fromkeys(path for image in images for path in image.paths):
            for repository in self.target.repositories([path]):
                tags.setdefault(repository, set()).add(path.tag)
        # By (digest of the config of an image with the layer, diff ID, digest in the archive).
        # Each layer also has a key with an empty config digest, for all other images.
        stored: dict[tuple[str, str, str], StoredLayer] = {}
        holders: dict[str, dict[str, None]] = {}
        wanted = {diff_id for image in images for diff_id in image.layers}
        found = self.map_requests(self._layers_in, tags, tags.values())
        for repository, layers in zip(tags, found, strict=True):
            self.on_step()
            for config, layer in layers:
                # Only images in OCI layouts can use an uncompressed blob.
                is_uncompressed = layer.compression is Compression.NONE
                if layer.diff_id in wanted and not is_uncompressed:
                    for image_config in (config, ""):
                        stored.setdefault((image_config, layer.diff_id, layer.source), layer)
                    holders.setdefault(layer.blob.digest, {})[repository] = None
        added: set[str] = set()
        for image in images:
            for diff_id, archived in image.layers.items():
                is_uncompressed = archived.compression is Compression.NONE
                digest = diff_id if is_uncompressed else archived.digest or ""
                layer = stored.get((image.config, diff_id, digest)) or stored.get(
                    ("", diff_id, digest)
                )
                # A manifest may state another compression than the blob has.
                is_same = layer and (is_uncompressed or layer.compression is archived.compression)
                if layer and is_same and archived.place not in added:
                    added.add(archived.place)
                    self.target.state.add_layer(layer, archived.place, holders[layer.blob.digest])

    def recall_blobs(self, blobs: Mapping[str, tuple[_ArchivedLayer, ImagePath]]) -> None:
        """Record the layers of images in OCI layouts, if the registry has them."""
        state = self.target.state
        paths = [path for _, path in blobs.values()]
        holders = self.map_requests(self._holder, blobs, paths)
        for digest, repository in zip(blobs, holders, strict=True):
            self.on_step()
            if repository and state.blob(digest):
                state.add_repository(digest, repository)
            elif repository:
                archived = blobs[digest][0]
                blob = StoredLayer.unread(Blob(digest, archived.size), archived.compression)
                state.add_layer(blob, archived.place, [repository])

    def _holder(self, digest: str, path: ImagePath) -> str | None:
        """Return the repository of a path if it has a blob; None if not, or after an error."""
        try:
            for repository in self.target.repositories([path]):
                if self.target.client.has_blob(repository, digest):
                    return repository
        except RegistryError:
            pass
        return None

    def _layers_in(self, repository: str, tags: set[str]) -> list["_Found"]:
        """List the layers of images in a repository: those of the given tags and a few others."""
        found: list[_Found] = []
        try:
            listed = _tags(self.target.client, repository, tags)
            others = [tag for tag in listed if tag not in tags]
            last_others = others[: -_MOST_OTHER_TAGS - 1 : -1]
            for tag in [*(tag for tag in listed if tag in tags), *last_others]:
                found += _layers_of(self.target.client, repository, tag)
        except (RegistryError, ArtifactError):
            # The push sends layers that cannot be looked up, and reports the cause.
            pass
        return found


def has_images(client: RegistryClient, repository: str, tags: Collection[str]) -> bool:
    """Return whether a repository seems to have any image.

    Args:
        client: The registry.
        repository: The repository.
        tags: Its tags in the archive, which are looked up if the registry lists no tags because
            it fails or refuses.
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
    """List the tags of a repository; if the registry does not list them, the known ones."""
    try:
        return list(client.tags(repository))
    except RegistryError:
        return sorted(known)


# The digest of the config of an image, and one of its layers.
_Found = tuple[str, StoredLayer]


def _layers_of(client: RegistryClient, repository: str, tag: str) -> Sequence[_Found]:
    """List the layers of an image, each under every digest that it may have in an archive."""
    image = registry_image(client, repository, tag)
    if image is None:
        return ()
    manifest, unchanged = image.manifest, image.layers
    config = manifest.config.digest
    config_blob = Blob(config, manifest.config.size)
    pushed = possible_manifests(config_blob, unchanged, None, keeps_own=False)
    if manifest.content not in (each.content for each in pushed):
        # Another tool has pushed it. Other tools compress differently, and the result of a push
        # must not depend on what the registry had before. But a layer that is compressed in the
        # archive is stored unchanged, whatever pushes it.
        return [(config, layer) for layer in unchanged]
    compressed = [
        replace(layer, source=layer.diff_id)
        for layer in unchanged
        if layer.compression is Compression.GZIP
    ]
    return [(config, layer) for layer in (*unchanged, *compressed)]
