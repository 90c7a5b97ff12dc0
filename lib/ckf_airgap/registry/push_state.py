"""What has been pushed: kept in a journal, so that a push continues where the last one stopped."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.archives.decoding import Compression
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.read_images import NestedArchive, PassedOver
from ckf_airgap.journal import Journal
from ckf_airgap.names import ImagePath, ImageReference
from ckf_airgap.registry.client import Blob

_FORMAT = 5


@dataclass(frozen=True)
class StoredLayer:
    """A layer that the registry holds.

    Attributes:
        blob: The blob as it is stored.
        repository: One repository that holds it.
        source: The digest of its content as it stands in the archive: that of the blob where the
            blob is that content, else that of the content which the push has compressed.
        diff_id: The digest of its uncompressed content; empty where nobody looked into it.
        compression: How it is compressed.
    """

    blob: Blob
    repository: str
    source: str
    diff_id: str
    compression: Compression


@dataclass(frozen=True)
class PushedImage:
    """An image of the archive that is in the registry.

    Attributes:
        image: What it is.
        manifests: The digest of the manifest behind each path that is its own.
    """

    image: ArchivedImage
    manifests: Mapping[ImagePath, str]


class PushState:
    """The state of the push of one archive into one registry.

    A line of it is a layer, a name of a layer, an image, or a nested archive, when it is done; or
    the archive that the lines behind it are of. Layers outlive their archive: the next release
    has most of them.
    """

    def __init__(self, path: Path, registry: str, archive: str) -> None:
        """Read what is there.

        Args:
            path: The file. It need not exist; its folder must.
            registry: Tells the place in the registry from others. What is there of others is
                forgotten: a push without it sends more, and nothing wrong.
            archive: Tells the archive from others. Of others only the layers are known.
        """
        self._archive = ""
        self._compressed: dict[str, StoredLayer] = {}
        self._by_blob: dict[str, StoredLayer] = {}
        self._places: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._images: dict[str, PushedImage] = {}
        self._nested: dict[NestedArchive, tuple[str, ...]] = {}
        self._passed_over: tuple[PassedOver, ...] = ()
        self._is_complete = False
        head = {"format": _FORMAT, "registry": registry}
        self._journal = Journal(path, head, self._take, "what has been pushed")
        self._lock = threading.Lock()
        # Written with the first line of this archive: looking alone changes nothing.
        self._unwritten_archive = archive if archive != self._archive else None
        if self._unwritten_archive is not None:
            self._begin_archive(archive)

    @property
    def is_complete(self) -> bool:
        """Whether the archive has been read to its end without damage."""
        return self._is_complete

    @property
    def inventory(self) -> Inventory:
        """What the archive holds, as far as it has been read."""
        listed = [pushed.image for pushed in self._images.values()]
        return Inventory(
            tuple(image for image in listed if not image.artifact_type),
            artifacts=tuple(image for image in listed if image.artifact_type),
            passed_over=self._passed_over,
        )

    @property
    def images(self) -> Mapping[str, PushedImage]:
        """The images that are done, by what tells them from the archive's others."""
        return self._images

    def images_of(self, nested: NestedArchive) -> Sequence[str] | None:
        """Give the images of a nested archive that is done; None where it is not."""
        return self._nested.get(nested)

    def layer_of(self, digest: str) -> StoredLayer | None:
        """Find a layer of known content by its digest as it stands in the archive.

        What another archive has compressed otherwise does not count: the same archive is to give
        the same registry, whatever was pushed before it.
        """
        found = self._compressed.get(digest) or self._by_blob.get(digest)
        is_known = found and found.diff_id and found.compression is not Compression.NONE
        return found if is_known else None

    def blob(self, digest: str) -> StoredLayer | None:
        """Find a layer by the digest of its blob."""
        return self._by_blob.get(digest)

    def layer_at(self, place: str) -> StoredLayer | None:
        """Find the layer that stood at a place of this archive."""
        return self._by_blob.get(self._places.get(place, ""))

    def layer_named(self, name: str) -> StoredLayer | None:
        """Find a layer by the name that it goes by in several archives."""
        return self._by_blob.get(self._names.get(name, ""))

    def add_layer(self, layer: StoredLayer, place: str) -> None:
        """Remember a layer, and where in the archive it stood."""
        record = {**asdict(layer), "compression": layer.compression.value}
        self._add({"layer": record, "place": place})

    def add_name(self, name: str, layer: StoredLayer) -> None:
        """Remember by what name a layer goes, the first that has it."""
        if name not in self._names:
            self._add({"name": name, "blob": layer.blob.digest})

    def forget_name(self, name: str) -> None:
        """Forget a name that stands for several layers."""
        self._add({"name": name, "blob": ""})

    def add_image(self, key: str, pushed: PushedImage) -> None:
        """Remember that an image is in the registry."""
        manifests = [
            [path.repository, path.tag, digest] for path, digest in pushed.manifests.items()
        ]
        self._add({"image": key, **asdict(pushed.image), "manifests": manifests})

    def add_nested(self, nested: NestedArchive, images: Sequence[str]) -> None:
        """Remember that all images of a nested archive are in the registry."""
        self._add({"nested": asdict(nested), "images": images})

    def complete(self, passed_over: Sequence[PassedOver]) -> None:
        """Remember that there is no more in the archive than this."""
        if not self._is_complete:
            self._add({"complete": [asdict(entry) for entry in passed_over]})

    def close(self) -> None:
        """Close the file. It is opened again when there is something to add."""
        self._journal.close()

    def _add(self, record: Mapping[str, Any]) -> None:
        with self._lock:
            if self._unwritten_archive is not None:
                self._journal.add({"archive": self._unwritten_archive})
                self._unwritten_archive = None
        self._journal.add(record)

    def _begin_archive(self, archive: str) -> None:
        self._archive = archive
        self._places.clear()
        self._images.clear()
        self._nested.clear()
        self._passed_over = ()
        self._is_complete = False

    def _take(self, record: Mapping[str, Any]) -> None:
        if "archive" in record:
            self._begin_archive(str(record["archive"]))
        elif "layer" in record:
            layer = _layer(record["layer"])
            self._by_blob[layer.blob.digest] = layer
            if layer.source != layer.blob.digest:
                self._compressed[layer.source] = layer
            self._places[str(record["place"])] = layer.blob.digest
        elif "name" in record:
            self._names[str(record["name"])] = str(record["blob"])
        elif "image" in record:
            self._images[str(record["image"])] = _image(record)
        elif "nested" in record:
            nested = NestedArchive(**record["nested"])
            self._nested[nested] = tuple(map(str, record["images"]))
        else:
            self._passed_over = tuple(PassedOver(**entry) for entry in record["complete"])
            self._is_complete = True


def _layer(document: Mapping[str, Any]) -> StoredLayer:
    return StoredLayer(
        Blob(**document["blob"]),
        document["repository"],
        document["source"],
        document["diff_id"],
        Compression(document["compression"]),
    )


def _image(record: Mapping[str, Any]) -> PushedImage:
    image = ArchivedImage(
        record["member"],
        tuple(ImageReference(**name) for name in record["names"]),
        record["image_id"],
        record["architecture"],
        record["artifact_type"],
        record["identity"],
    )
    manifests = {ImagePath(name, tag): digest for name, tag, digest in record["manifests"]}
    return PushedImage(image, manifests)
