"""Recompresses with gzip the layers that a ``docker save`` archive cannot contain unchanged."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.decoding import (
    Compression,
    Decoder,
    DecodingError,
    compression_named,
    make_decoder,
)
from ckf_airgap.archives.gzip_codec import GzipMember, compress_block
from ckf_airgap.errors import disk_error, read_error
from ckf_airgap.files.digests import file_sha256
from ckf_airgap.files.new_files import new_file
from ckf_airgap.images.oci import Blob
from ckf_airgap.packing.remote_images import RemoteImage, RemoteLayer
from ckf_airgap.packing.skopeo import BlobReader, Skopeo, digest_mismatch, retried


def convert_layers(
    images: Iterable[RemoteImage],
    skopeo: Skopeo,
    folder: Path,
    say: Callable[[str], None],
    left_out: Collection[str] = (),
) -> list[RemoteImage]:
    """Fetch the layers that are not compressed with gzip, and compress them with it.

    Args:
        images: The images.
        skopeo: Reaches their registries.
        folder: Where to keep converted layers; the next run finds them there.
        say: Called with a line about each layer to compress.
        left_out: The diff IDs of the layers that the archive leaves out, which stay as they are.

    Returns:
        The images, with those layers replaced.

    Raises:
        AirgapError: A layer cannot be fetched, decoded or written, or differs from its digest or
            diff ID.
    """
    converted: dict[str, RemoteLayer] = {}
    result: list[RemoteImage] = []
    for image in images:
        layers: list[RemoteLayer] = []
        for layer in image.layers:
            is_gzip = compression_named(layer.media_type) is Compression.GZIP
            if is_gzip or layer.diff_id in left_out:
                layers.append(layer)
                continue
            digest = layer.blob.digest
            if digest not in converted:
                say(f"compressing layer {digest} of {image.name} with gzip")
                with skopeo.blobs() as blobs:
                    converted[digest] = _convert(layer, image.pull, blobs, folder)
            layers.append(converted[digest])
        result.append(dataclasses.replace(image, layers=tuple(layers)))
    return result


def _convert(layer: RemoteLayer, pull: str, blobs: BlobReader, folder: Path) -> RemoteLayer:
    path = folder / f"{layer.blob.digest.rpartition(':')[2]}.gz"
    if not path.exists():
        try:
            retried(lambda: _write(layer, pull, blobs, path))
        except OSError as error:
            raise disk_error(folder, error) from error
    try:
        with path.open("rb") as file:
            digest = file_sha256(file)
            size = file.tell()
    except OSError as error:
        raise read_error(path, error) from error
    return dataclasses.replace(layer, blob=Blob(f"sha256:{digest}", size), path=path)


def _write(layer: RemoteLayer, pull: str, blobs: BlobReader, path: Path) -> None:
    source, content = hashlib.sha256(), hashlib.sha256()
    member = GzipMember()

    def pieces() -> Iterator[bytes]:
        for piece in blobs.read(pull, layer.blob):
            source.update(piece)
            yield piece

    stored = pieces()
    with new_file(path) as file:
        damage: DecodingError | None = None
        try:
            with closing(_decoder(layer)) as decoder:
                file.write(member.header)
                for block in _blocks(data for piece in stored for data in decoder.decode(piece)):
                    content.update(block)
                    member.add(block)
                    file.write(compress_block([block]))
                file.write(member.trailer)
                if not decoder.is_complete:
                    raise DecodingError("it ends in the middle")
        except DecodingError as error:
            damage = error
            # Read the rest: if the layer was damaged on the way, its digest differs.
            for _ in stored:
                pass
        name = f"layer {layer.blob.digest} of {pull}"
        if f"sha256:{source.hexdigest()}" != layer.blob.digest:
            raise digest_mismatch(name)
        if damage is None and f"sha256:{content.hexdigest()}" != layer.diff_id:
            damage = DecodingError("its content is not what the image's config says")
        if damage is not None:
            raise damage.as_artifact_error(
                name,
                "leave the image out, or pack with --format oci, which keeps layers unchanged",
            )


def _decoder(layer: RemoteLayer) -> Decoder:
    return make_decoder(compression_named(layer.media_type))


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut at fixed offsets, so that equal layers become equal files."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= READ_SIZE:
            yield bytes(buffer[:READ_SIZE])
            del buffer[:READ_SIZE]
    if buffer:
        yield bytes(buffer)
