"""A layer's content on its way into the registry: hashed, and compressed where it is not yet."""

import hashlib
from collections.abc import Iterable, Iterator

import zstandard

from ckf_airgap.artifacts.byte_stream import (
    READ_SIZE,
    ZSTD_MAGIC,
    ZstdDecoder,
)
from ckf_airgap.artifacts.gzip_codec import GZIP_ERRORS, GZIP_MAGIC, compressor, decompressor
from ckf_airgap.artifacts.saved_images import LayerContent
from ckf_airgap.errors import ArtifactError
from ckf_airgap.registry.client import CHUNK_SIZE


class HashedLayer:
    """A layer's content, hashed on the way: what is stored, and what it holds uncompressed.

    Attributes:
        is_zstd: Whether it is stored compressed with Zstandard, as it stands in the archive.
        diff_id: The digest of the uncompressed content, once it has been read to its end.
        source_digest: The digest of the content as it stands in the archive, likewise.
    """

    def __init__(self, layer: LayerContent) -> None:
        self._layer = layer
        self.is_zstd = layer.head.startswith(ZSTD_MAGIC)
        self.diff_id = ""
        self.source_digest = ""

    def compressed_chunks(self) -> Iterator[bytes]:
        """Give the layer compressed, in pieces of CHUNK_SIZE or a little more and a last one."""
        if self.is_zstd:
            return _in_chunks(self._keep_zstd())
        is_gzip = self._layer.head.startswith(GZIP_MAGIC)
        return _in_chunks(self._keep_gzip() if is_gzip else self._compress())

    def _compress(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        member = compressor()
        while data := self._layer.read(READ_SIZE):
            digest.update(data)
            yield member.compress(data)
        yield member.flush()
        self.diff_id = self.source_digest = f"sha256:{digest.hexdigest()}"

    def _keep_gzip(self) -> Iterator[bytes]:
        source, content = hashlib.sha256(), hashlib.sha256()
        member = decompressor()
        while data := self._layer.read(READ_SIZE):
            yield data
            source.update(data)
            while data:
                if member.eof:
                    # Several gzip members may follow each other (RFC 1952, section 2.2).
                    member = decompressor()
                try:
                    content.update(member.decompress(data, READ_SIZE))
                except GZIP_ERRORS as error:
                    raise self._damaged(str(error)) from error
                data = member.unconsumed_tail or member.unused_data
        if not member.eof:
            raise self._damaged("it ends in the middle")
        self._set(source.hexdigest(), content.hexdigest())

    def _keep_zstd(self) -> Iterator[bytes]:
        source, content = hashlib.sha256(), hashlib.sha256()
        decoder = ZstdDecoder()
        while data := self._layer.read(READ_SIZE):
            yield data
            source.update(data)
            try:
                for piece in decoder.decode(data):
                    content.update(piece)
            except zstandard.ZstdError as error:
                raise self._damaged(str(error)) from error
        if not decoder.is_at_end:
            raise self._damaged("it ends in the middle")
        self._set(source.hexdigest(), content.hexdigest())

    def _set(self, source: str, content: str) -> None:
        self.source_digest = f"sha256:{source}"
        self.diff_id = f"sha256:{content}"

    def _damaged(self, why: str) -> ArtifactError:
        return ArtifactError(
            f"layer {self._layer.path} is damaged ({why})",
            "save this image again (docker save) and make the archive again",
        )


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to chunks of CHUNK_SIZE or a little more, and a last one."""
    buffer: list[bytes] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            yield b"".join(buffer)
            buffer.clear()
            size = 0
    if size:
        yield b"".join(buffer)
