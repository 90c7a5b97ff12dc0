"""What has been pushed: kept in a journal, so that a push continues where the last one stopped."""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ckf_airgap.artifacts.inventory import ArchivedImage, Inventory
from ckf_airgap.errors import StorageError
from ckf_airgap.names import ImagePath, ImageReference
from ckf_airgap.registry.client import Blob

_FORMAT = 3
_LONGEST_HEAD = 64 * 1024


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

    It is a file of JSON lines: one that tells the archive and the registry from others, then one
    for each layer and each member when it is done. So a push may be killed at any point, and what
    was done by then is known. A last line that was not written to its end does not count.
    """

    def __init__(self, path: Path, identity: str) -> None:
        """Read what is there.

        Args:
            path: The file. It need not exist; its folder must.
            identity: Tells the archive and the registry from others. What is there of others is
                forgotten: a push without it sends more, and nothing wrong.
        """
        self._path = path
        self._identity = identity
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._digests: dict[str, StoredLayer] = {}
        self._places: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._members: dict[int, PushedMember] = {}
        self._is_complete = False
        self._end = 0
        self._read()

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
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                if json.loads(file.readline(_LONGEST_HEAD)) != self._head:
                    return
                self._end = file.tell()
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._take(json.loads(line))
                    self._end += len(line)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # What could be read so far holds.
            return

    @property
    def _head(self) -> dict[str, object]:
        return {"format": _FORMAT, "identity": self._identity}

    def _take(self, record: Mapping[str, Any]) -> None:
        if "layer" in record:
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

    def _add(self, record: Mapping[str, Any]) -> None:
        # As it will be read, and not as it was made: both must be the same.
        line = json.dumps(record).encode()
        with self._lock:
            self._take(json.loads(line))
            try:
                if self._file is None:
                    self._file = self._open()
                self._file.write(line + b"\n")
                self._file.flush()
                self._end = self._file.tell()
            except OSError as error:
                # What is there in part is cut off when it is opened again.
                if self._file:
                    with suppress(OSError):
                        self._file.close()
                    self._file = None
                raise StorageError(
                    f"what has been pushed cannot be remembered in {self._path} "
                    f"({error.strerror})",
                    "make space there; then run it again: it continues",
                ) from error

    def _open(self) -> IO[bytes]:
        if not self._end:
            file = self._path.open("wb")
            file.write(json.dumps(self._head).encode() + b"\n")
            return file
        file = self._path.open("r+b")
        file.truncate(self._end)
        file.seek(self._end)
        return file


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
