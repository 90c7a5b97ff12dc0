"""Archives made by ``docker save``, read as streams.

The format is described in the Docker Image Specification v1.2.0, "Combined Image JSON + Filesystem
Changeset Format": ``manifest.json`` names, for each image, its tags, its config and its layers.
Before Docker 25 it is the last member and a layer is ``<id>/layer.tar`` (or a link to one); since
then it is an OCI image layout beside which ``manifest.json`` still stands, with the layers at
``blobs/sha256/<digest>``. Nothing here depends on which of the two it is.
"""

import hashlib
import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from ckf_airgap.archives.byte_stream import READ_SIZE, ByteStream
from ckf_airgap.archives.tar_stream import MemberKind, TarMember, read_members
from ckf_airgap.errors import ArtifactError

Layer = TypeVar("Layer")
AnyLayer = TypeVar("AnyLayer", covariant=True)

# A config or an index has some kilobytes; layers are told from them by what they start with.
_LARGEST_DOCUMENT = 8 * 1024 * 1024
_LARGEST_DOCUMENTS = 64 * 1024 * 1024
_DOCUMENT_STARTS = (b"{", b"[")
_NOT_LAYERS = frozenset({"VERSION", "repositories", "oci-layout"})
_CURE = "save this image again (docker save) and make the archive again"


class LayerContent:
    """The content of a layer as it comes by.

    Attributes:
        path: Its path inside the ``docker save`` archive.
        size: Its size there, in bytes.
        head: Its first bytes, enough to tell how it is compressed.
    """

    def __init__(self, path: str, size: int, head: bytes, rest: ByteStream | None) -> None:
        self.path = path
        self.size = size
        self.head = head
        self._unread_head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """Give up to ``size`` bytes; none at the end."""
        if self._unread_head:
            data, self._unread_head = self._unread_head[:size], self._unread_head[size:]
            return data
        return self._rest.read(size) if self._rest else b""


@dataclass(frozen=True)
class SavedImage(Generic[AnyLayer]):
    """One image of a ``docker save`` archive.

    Attributes:
        names: Its RepoTags; empty where it was saved by digest or by ID.
        config: The image's config, as it stands in the archive.
        layers: What became of its layers, base layer first.
        diff_ids: The digests of the uncompressed layers according to the config, base layer first.
        architecture: The CPU architecture according to the config, for example ``amd64``.
    """

    names: tuple[str, ...]
    config: bytes
    layers: tuple[AnyLayer, ...]
    diff_ids: tuple[str, ...]
    architecture: str

    @property
    def image_id(self) -> str:
        """The digest of the config, which is the image's ID."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"


def read_saved_images(
    archive: ByteStream, name: str, take_layer: Callable[[LayerContent], Layer]
) -> list[SavedImage[Layer]]:
    """Read one ``docker save`` archive from beginning to end.

    Args:
        archive: The archive's bytes.
        name: Its name, for messages.
        take_layer: Called with each layer as it comes by, before it is known which image it
            belongs to; what it returns stands for the layer in the result.

    Returns:
        The images that ``manifest.json`` names.

    Raises:
        ArtifactError: The archive is damaged, incomplete, or not a ``docker save`` archive.
    """
    contents = _Contents[Layer](name, take_layer)
    for member in read_members(archive, name):
        contents.add(member)
    return [_saved_image(entry, contents, name) for entry in _manifest(contents, name)]


class _Contents(Generic[Layer]):
    """What has been seen of one archive: documents in memory, layers as handed on, links."""

    def __init__(self, archive: str, take_layer: Callable[[LayerContent], Layer]) -> None:
        self._archive = archive
        self._take_layer = take_layer
        self._documents: dict[str, bytes] = {}
        self._documents_size = 0
        self._layers: dict[str, Layer] = {}
        self._links: dict[str, str] = {}

    def add(self, member: TarMember) -> None:
        path = posixpath.normpath(member.name)
        if member.kind is MemberKind.LINK:
            folder = "" if member.is_hard_link else posixpath.dirname(path)
            self._links[path] = posixpath.normpath(posixpath.join(folder, member.link_target))
        if member.kind is not MemberKind.FILE or posixpath.basename(path) in _NOT_LAYERS:
            return
        head = member.read(min(READ_SIZE, _LARGEST_DOCUMENT))
        if head.startswith(_DOCUMENT_STARTS) and member.size <= _LARGEST_DOCUMENT:
            self._add_document(path, head, member)
        else:
            self._layers[path] = self._take_layer(LayerContent(path, member.size, head, member))

    def _add_document(self, path: str, head: bytes, member: TarMember) -> None:
        self._documents_size += member.size
        if self._documents_size > _LARGEST_DOCUMENTS:
            raise ArtifactError(f"{self._archive} holds too many JSON files to be an image", _CURE)
        pieces = [head]
        while piece := member.read(READ_SIZE):
            pieces.append(piece)
        self._documents[path] = b"".join(pieces)

    def document(self, path: str) -> bytes | None:
        return self._documents.get(self._resolve(path))

    def layer(self, path: str) -> Layer:
        """Give what became of a layer; KeyError where the archive lacks it."""
        target = self._resolve(path)
        if target not in self._layers and target in self._documents:
            # A layer whose first file name starts with a brace looks like a document.
            content = self._documents[target]
            self._layers[target] = self._take_layer(
                LayerContent(target, len(content), content, None)
            )
        return self._layers[target]

    def _resolve(self, path: str) -> str:
        path = posixpath.normpath(path)
        for _ in range(len(self._links) + 1):
            if path not in self._links:
                break
            path = self._links[path]
        return path


def _manifest(contents: _Contents[Any], archive: str) -> list[dict[str, Any]]:
    document = contents.document("manifest.json")
    if document is None:
        raise ArtifactError(
            f"{archive} holds no manifest.json: it is not a complete docker save archive", _CURE
        )
    entries = _json(document, f"manifest.json in {archive}")
    if not isinstance(entries, list) or not entries:
        raise ArtifactError(f"manifest.json in {archive} is not a list of images", _CURE)
    for entry in cast(list[Any], entries):
        if not isinstance(entry, dict):
            raise ArtifactError(f"manifest.json in {archive} is not a list of images", _CURE)
    return cast(list[dict[str, Any]], entries)


def _saved_image(
    entry: dict[str, Any], contents: _Contents[Layer], archive: str
) -> SavedImage[Layer]:
    config_path = entry.get("Config")
    config = contents.document(config_path) if isinstance(config_path, str) else None
    if config is None:
        raise ArtifactError(f"{archive} lacks the config {config_path!r} of its image", _CURE)
    layers: list[Layer] = []
    for path in _strings(entry.get("Layers"), "Layers", archive):
        try:
            layers.append(contents.layer(path))
        except KeyError:
            raise ArtifactError(f"{archive} lacks the layer {path}", _CURE) from None
    diff_ids, architecture = read_config(config, archive)
    if len(diff_ids) != len(layers):
        raise ArtifactError(
            f"{archive} holds {len(layers)} layers of an image that has {len(diff_ids)}", _CURE
        )
    names = tuple(_strings(entry.get("RepoTags"), "RepoTags", archive))
    return SavedImage(names, config, tuple(layers), diff_ids, architecture)


def read_config(config: bytes, archive: str) -> tuple[tuple[str, ...], str]:
    """Read what matters from an image config (OCI Image Specification, "Image Configuration").

    Args:
        config: The config.
        archive: Where it stands, for messages.

    Returns:
        The digests of the uncompressed layers, and the CPU architecture.

    Raises:
        ArtifactError: It is not a config.
    """
    document = _json(config, f"the image config in {archive}")
    try:
        diff_ids = tuple(str(item) for item in document["rootfs"]["diff_ids"])
        architecture = str(document.get("architecture", ""))
    except (KeyError, TypeError, AttributeError):
        raise ArtifactError(f"the image config in {archive} names no layers", _CURE) from None
    return diff_ids, architecture


def _json(document: bytes, what: str) -> Any:
    try:
        return json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{what} is not valid JSON ({error})", _CURE) from error


def _strings(value: object, key: str, archive: str) -> list[str]:
    """Give a list of strings; null counts as empty, which docker writes for an unnamed image."""
    items = cast(list[object], value if isinstance(value, list) else [])
    if (value is not None and not isinstance(value, list)) or not all(
        isinstance(item, str) for item in items
    ):
        raise ArtifactError(f"manifest.json in {archive} has no proper list of {key}", _CURE)
    return cast(list[str], items)
