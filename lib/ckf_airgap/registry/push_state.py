"""What has been pushed: kept in a journal, so that a push continues where the last one stopped."""

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.journal import Journal
from ckf_airgap.names import ImagePath, ImageReference
from ckf_airgap.registry.client import Blob

_FORMAT = 4


@dataclass(frozen=True)
class StoredLayer:
    """A layer that the registry holds.

    Attributes:
        diff_id: The digest of its uncompressed content.
        source_digest: The digest of its content as it stands in the archive.
        blob: The blob as it is stored.
        repository: One repository that holds it.
        is_zstd: Whether it is compressed with Zstandard; otherwise it is with gzip.
    """

    diff_id: str
    source_digest: str
    blob: Blob
    repository: str
    is_zstd: bool = False


@dataclass(frozen=True)
class PushedMember:
    """A member of images.tar.gz whose images are all in the registry.

    Attributes:
        images: What it holds.
        manifests: The digest of the manifest behind each path (``repository:tag``).
    """

    images: tuple[ArchivedImage, ...]
    manifests: Mapping[str, str]


class PushState:
    """The state of the push of one archive into one registry.

    A line of it is a layer, a name of a layer, or a member, when it is done; or the archive that
    the lines behind it are of. Layers outlive their archive: the next release has most of them.
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
        self._digests: dict[str, StoredLayer] = {}
        self._places: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._members: dict[int, PushedMember] = {}
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
        members = (member for _, member in sorted(self._members.items()))
        return Inventory(tuple(image for member in members for image in member.images))

    @property
    def members(self) -> Mapping[int, PushedMember]:
        """The members that are done, by their number in the archive."""
        return self._members

    def layer_of(self, digest: str) -> StoredLayer | None:
        """Find a layer by the digest of its content, be that compressed or not."""
        return self._digests.get(digest)

    def layer_at(self, place: str) -> StoredLayer | None:
        """Find the layer that stood at a place of this archive."""
        return self._digests.get(self._places.get(place, ""))

    def layer_named(self, name: str) -> StoredLayer | None:
        """Find a layer by the name that it goes by in several members."""
        return self._digests.get(self._names.get(name, ""))

    def add_layer(self, layer: StoredLayer, place: str) -> None:
        """Remember a layer, and where in the archive it stood."""
        self._add({"layer": asdict(layer), "place": place})

    def add_name(self, name: str, diff_id: str) -> None:
        """Remember by what name a layer goes, which an image's config has confirmed."""
        if self._names.get(name) != diff_id:
            self._add({"name": name, "diff_id": diff_id})

    def add_member(self, number: int, member: PushedMember) -> None:
        """Remember that the images of a member are in the registry."""
        self._add({"member": number, **asdict(member)})

    def complete(self) -> None:
        """Remember that there is no more in the archive than this."""
        if not self._is_complete:
            self._add({"complete": True})

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
        self._members.clear()
        self._is_complete = False

    def _take(self, record: Mapping[str, Any]) -> None:
        if "archive" in record:
            self._begin_archive(str(record["archive"]))
        elif "layer" in record:
            layer = _layer(record["layer"])
            self._digests[layer.diff_id] = self._digests[layer.source_digest] = layer
            self._places[str(record["place"])] = layer.diff_id
        elif "name" in record:
            self._names[str(record["name"])] = str(record["diff_id"])
        elif "member" in record:
            images = tuple(_image(image) for image in record["images"])
            self._members[int(record["member"])] = PushedMember(images, dict(record["manifests"]))
        else:
            self._is_complete = bool(record["complete"])


def _layer(document: Mapping[str, Any]) -> StoredLayer:
    return StoredLayer(
        document["diff_id"],
        document["source_digest"],
        Blob(**document["blob"]),
        document["repository"],
        document["is_zstd"],
    )


def _image(document: Mapping[str, Any]) -> ArchivedImage:
    names = tuple(ImageReference(**name) for name in document["names"])
    return ArchivedImage(document["member"], names, document["image_id"], document["architecture"])


def path_of(text: str) -> ImagePath:
    """Read an image path back from its text form ``repository:tag``."""
    repository, _, tag = text.rpartition(":")
    return ImagePath(repository, tag)
