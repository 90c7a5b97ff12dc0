"""The two formats of images.tar.gz: the exact bytes of each, as a sequence of parts.

Both are gzip files of many members (RFC 1952, section 2.2), which readers decode as one stream.
Tar headers and documents are in stored (uncompressed) members. Layers are not compressed again:

- in the ``docker save`` format the gzip blob of a layer, as its registry has it, **is** a member:
  decoded, it is the layer that such an archive contains;
- in an OCI image layout each layer appears once, in a stored member of its own.

So the offset of every part is known before any layer is fetched: several layers can be fetched at
a time, written to their offsets, and found again after an interruption. Only the uncompressed
sizes of layers, which tar headers need, are unknown; these headers have fixed offsets and are
written at the end.
"""

import json
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckf_airgap.archives.gzip_codec import least_padded_size, stored_size
from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.oci_layout import ORIGINAL_MANIFEST, REFERENCE_NAME
from ckf_airgap.archives.pack_manifest import PACK_MANIFEST, SIGNATURE, PackManifest
from ckf_airgap.images import oci
from ckf_airgap.packing.part_files import with_archive_size
from ckf_airgap.packing.remote_images import RemoteImage, RemoteLayer

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_OCI_TYPES = {
    oci.DOCKER_MANIFEST: oci.OCI_MANIFEST,
    oci.DOCKER_CONFIG: oci.OCI_CONFIG,
    oci.DOCKER_LAYER: oci.OCI_LAYER,
    oci.DOCKER_GZIP_LAYER: f"{oci.OCI_LAYER}+gzip",
    f"{oci.DOCKER_LAYER}.zstd": f"{oci.OCI_LAYER}+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
}
LAYOUTS = ("docker", "oci")


@dataclass(frozen=True)
class PlainPart:
    """A part that is not a layer: tar headers, padding and small files.

    Attributes:
        content: The bytes, uncompressed.
        length: Their length in the file, as a gzip member.
    """

    content: bytes
    length: int


@dataclass(frozen=True)
class LayerPart:
    """A part that is one layer.

    Attributes:
        layer: The layer.
        pull: An image that has it, with a digest.
        is_stored: Whether it is the content of a stored gzip member; otherwise its blob is a
            member itself.
    """

    layer: RemoteLayer
    pull: str
    is_stored: bool

    @property
    def length(self) -> int:
        """Its length in the file, in bytes."""
        size = self.layer.blob.size
        return stored_size(size) if self.is_stored else size


Part = PlainPart | LayerPart


def assemble(
    layout: str,
    images: Sequence[RemoteImage],
    manifest: PackManifest,
    sizes: Mapping[str, int],
    part_size: int = 0,
    key: SecretKey | None = None,
) -> list[Part]:
    """Compute the parts of images.tar.gz.

    Args:
        layout: ``docker`` or ``oci``.
        images: The images, in order.
        manifest: The record of the content, which says what is left out; its size is filled in.
        sizes: The uncompressed size of each layer, by the digest of its blob. While some are
            unknown, the parts have their final lengths, but not their final content.
        part_size: The size of the files that the archive is split into, in bytes; 0 for one file.
        key: Signs the record; None for no signature.

    Returns:
        The parts, in order; the first one is the record of the archive.

    Raises:
        ConfigurationError: The archive would be split into too many files.
    """
    build = _docker_parts if layout == "docker" else _oci_parts
    parts = list(build(images, sizes, manifest.left_out))
    length = sum(part.length for part in parts)

    def size_of(record: PackManifest) -> int:
        return record_part(record, key).length + length

    return [record_part(with_archive_size(manifest, part_size, size_of), key), *parts]


def record_part(manifest: PackManifest, key: SecretKey | None) -> PlainPart:
    """Make the start of an archive: its record, and the signature of it.

    Args:
        manifest: The record.
        key: Signs the record; None for no signature.
    """
    text = PlainPartWriter()
    content = manifest.encode()
    text.add_file(PACK_MANIFEST, content)
    if key:
        text.add_file(SIGNATURE, key.sign(content, PACK_MANIFEST))
    return text.take()


def member_names(images: Iterable[RemoteImage]) -> dict[str, str]:
    """Name the ``docker save`` archive of each image, as the public scripts do.

    Args:
        images: The images.

    Returns:
        The unique name of the member, by the name of the image.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        stem = re.sub("[/:@]", "-", image.name)
        number = 2
        name = f"{stem}.tar"
        while name in taken:
            name = f"{stem}_{number}.tar"
            number += 1
        taken.add(name)
        names[image.name] = name
    return names


def _docker_parts(
    images: Sequence[RemoteImage], sizes: Mapping[str, int], left_out: Collection[str]
) -> Iterator[Part]:
    members = member_names(images)
    text = PlainPartWriter()
    for image in images:
        layers = {layer.diff_id: layer for layer in image.layers if layer.diff_id not in left_out}
        document = [
            {
                "Config": _blob_path(image.image_id),
                "RepoTags": [image.name],
                "Layers": [_blob_path(layer.diff_id) for layer in image.layers],
            }
        ]
        inner = PlainPartWriter()
        inner.add_file("manifest.json", _json(document))
        inner.add_file(_blob_path(image.image_id), image.config)
        size = len(inner.content) + len(_END)
        for layer in layers.values():
            padded = _padded(sizes.get(layer.blob.digest, 0))
            size += padded + len(_header(_blob_path(layer.diff_id), padded))
        text.add(_header(members[image.name], size) + inner.content)
        for layer in layers.values():
            layer_size = sizes.get(layer.blob.digest, 0)
            text.add_header(_blob_path(layer.diff_id), layer_size)
            yield text.take()
            yield LayerPart(layer, image.pull, is_stored=False)
            text.add(bytes(-layer_size % _BLOCK), room=_BLOCK - 1)
        text.add_end()
    text.add_end()
    yield text.take()


def _oci_parts(
    images: Sequence[RemoteImage], _: Mapping[str, int], left_out: Collection[str]
) -> Iterator[Part]:
    text = PlainPartWriter()
    text.add_file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    text.add_file("index.json", _json(_index(images)))
    documents = {oci.sha256_of(manifest): manifest for manifest in map(oci_manifest, images)}
    documents |= {image.digest: image.manifest for image in images}
    documents |= {image.image_id: image.config for image in images}
    for name, content in documents.items():
        text.add_file(_blob_path(name), content)
    seen = {*documents, *left_out}
    for image in images:
        for layer in image.layers:
            if layer.blob.digest in seen:
                continue
            seen.add(layer.blob.digest)
            text.add_header(_blob_path(layer.blob.digest), layer.blob.size)
            yield text.take()
            yield LayerPart(layer, image.pull, is_stored=True)
            text.add_padding(layer.blob.size)
    text.add_end()
    yield text.take()


def oci_manifest(image: RemoteImage) -> bytes:
    """Return the manifest of an image as an OCI manifest, for the layout.

    Tools find only OCI manifests in a layout. A Docker manifest (Image Manifest Version 2, Schema
    2) differs only in its media types; config and layers are the same blobs.

    Args:
        image: The image.

    Returns:
        The manifest; byte for byte that of the registry if this is an OCI manifest.
    """
    if image.media_type == oci.OCI_MANIFEST:
        return image.manifest
    document = json.loads(image.manifest)
    for part in (document, document["config"], *document["layers"]):
        media_type = str(part.get("mediaType") or "")
        part["mediaType"] = _OCI_TYPES.get(media_type, media_type)
    return _json(document)


def _index(images: Iterable[RemoteImage]) -> dict[str, Any]:
    """Make the index of a layout (OCI Image Specification, "Image Layout", "index.json")."""
    entries: list[dict[str, Any]] = []
    for image in images:
        manifest = oci_manifest(image)
        annotations = {REFERENCE_NAME: image.name}
        if manifest != image.manifest:
            annotations[ORIGINAL_MANIFEST] = image.digest
        entries.append(
            {
                "mediaType": oci.OCI_MANIFEST,
                "digest": oci.sha256_of(manifest),
                "size": len(manifest),
                "annotations": annotations,
            }
        )
    return {
        "schemaVersion": 2,
        "mediaType": oci.OCI_INDEX,
        "manifests": entries,
    }


class PlainPartWriter:
    """Collects tar headers and small files, and makes parts of them."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._room = 0

    @property
    def content(self) -> bytes:
        """The content that was added since the last part."""
        return b"".join(self._pieces)

    def add(self, content: bytes, *, room: int | None = None) -> None:
        """Add bytes.

        Args:
            content: The bytes.
            room: The number of bytes to reserve, if the final number is unknown; None for the
                length of ``content``.
        """
        self._pieces.append(content)
        self._room += len(content) if room is None else room

    def add_header(self, name: str, size: int) -> None:
        """Add the tar header of a file whose content follows this part."""
        self.add(_header(name, size))

    def add_padding(self, size: int) -> None:
        """Add the padding after the content of a file of this size."""
        self.add(bytes(-size % _BLOCK))

    def add_file(self, name: str, content: bytes) -> None:
        """Add a file."""
        self.add_header(name, len(content))
        self.add(content)
        self.add_padding(len(content))

    def add_end(self) -> None:
        """Add the end of a tar archive."""
        self.add(_END)

    def take(self) -> PlainPart:
        """Return what was added since the last part as a part, and start the next one."""
        part = PlainPart(self.content, least_padded_size(self._room))
        self.__init__()
        return part


def _header(name: str, size: int) -> bytes:
    """Make a tar header with fixed owner, mode and time, so that equal input gives equal bytes."""
    member = tarfile.TarInfo(name)
    member.size = size
    # This format has sizes of 8 GiB and more in the same 512 bytes, and names of any length.
    return member.tobuf(tarfile.GNU_FORMAT)


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def _padded(size: int) -> int:
    return size + -size % _BLOCK


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
