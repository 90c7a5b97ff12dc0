"""What has been pushed: kept in a file, so that a push continues where the last one stopped."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from ckf_airgap.artifacts.inventory import ArchivedImage, Inventory
from ckf_airgap.names import ImagePath, ImageReference
from ckf_airgap.registry.client import Blob

_FORMAT = 2


@dataclass(frozen=True)
class StoredLayer:
    """A layer that the registry holds.

    Attributes:
        diff_id: The digest of its uncompressed content.
        blob: The blob as it is stored.
        repository: One repository that holds it.
        is_zstd: Whether it is compressed with Zstandard; otherwise it is with gzip.
    """

    diff_id: str
    blob: Blob
    repository: str
    is_zstd: bool = False


@dataclass(frozen=True)
class PushedMember:
    """A member of images.tar.gz whose images are all in the registry.

    Attributes:
        size: The member's size in bytes, to tell it from another of the same name.
        images: What it holds.
        manifests: The digest of the manifest behind each path (``repository:tag``).
    """

    size: int
    images: tuple[ArchivedImage, ...]
    manifests: dict[str, str]


@dataclass
class PushState:
    """The state of the push of one archive into one registry.

    Attributes:
        identity: Tells the archive and the registry from others.
        complete: Whether the archive has been read to its end without damage.
        layers: The stored layers by their diff_id.
        layer_names: For layers that stand in the archive under an identifier: that and their
            size -> diff_id.
        members: The members that are done, by name.
    """

    identity: str
    complete: bool = False
    layers: dict[str, StoredLayer] = field(default_factory=dict[str, StoredLayer])
    layer_names: dict[str, str] = field(default_factory=dict[str, str])
    members: dict[str, PushedMember] = field(default_factory=dict[str, PushedMember])

    @property
    def inventory(self) -> Inventory:
        """What the archive holds, as far as it has been read."""
        return Inventory(tuple(i for member in self.members.values() for i in member.images))

    @classmethod
    def load(cls, path: Path, identity: str) -> "PushState":
        """Read the state of an earlier push.

        Args:
            path: The file. It need not exist.
            identity: Of the archive and the registry at hand.

        Returns:
            That state, or an empty one where it is of another archive or registry, or unreadable:
            a push without it sends more, and nothing wrong.
        """
        try:
            document = json.loads(path.read_bytes())
            if document["format"] == _FORMAT and document["identity"] == identity:
                return _from_document(document)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(identity)

    def save(self, path: Path) -> None:
        """Write the state; a crash leaves either the old file or the new one."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps({"format": _FORMAT, **asdict(self)}))
        os.replace(temporary, path)


def _from_document(document: dict[str, Any]) -> PushState:
    return PushState(
        identity=document["identity"],
        complete=document["complete"],
        layers={
            diff_id: StoredLayer(
                diff_id, Blob(**layer["blob"]), layer["repository"], layer["is_zstd"]
            )
            for diff_id, layer in document["layers"].items()
        },
        layer_names=cast(dict[str, str], document["layer_names"]),
        members={
            name: PushedMember(
                member["size"],
                tuple(_image(image) for image in member["images"]),
                member["manifests"],
            )
            for name, member in document["members"].items()
        },
    )


def _image(document: dict[str, Any]) -> ArchivedImage:
    names = tuple(ImageReference(**name) for name in document["names"])
    return ArchivedImage(document["member"], names, document["image_id"], document["architecture"])


def path_of(text: str) -> ImagePath:
    """Read an image path back from its text form ``repository:tag``."""
    repository, _, tag = text.rpartition(":")
    return ImagePath(repository, tag)
