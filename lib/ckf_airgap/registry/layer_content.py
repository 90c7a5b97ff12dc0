"""A layer's content on its way into the registry: hashed, and compressed where it is not yet."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import zstandard

from ckf_airgap.archives.byte_stream import (
    READ_SIZE,
    ZSTD_MAGIC,
    ZstdDecoder,
)
from ckf_airgap.archives.gzip_codec import (
    GZIP_ERRORS,
    GZIP_MAGIC,
    GzipMember,
    compress_block,
    decompressor,
)
from ckf_airgap.archives.saved_images import LayerContent
from ckf_airgap.errors import ArtifactError

# Each of these is compressed by itself, so that several cores can work at one layer. Its size
# decides the bytes that come out, and so the digest of the blob.
_BLOCK_SIZE = 1024 * 1024
_MOST_COMPRESSORS = 4

Piece = bytes | Future[bytes]
"""Some bytes of a layer as it is stored, perhaps still being compressed."""


def make_compressors() -> ThreadPoolExecutor:
    """Make the threads in which layers are compressed."""
    count = min(os.cpu_count() or 1, _MOST_COMPRESSORS)
    return ThreadPoolExecutor(count, thread_name_prefix="compress")


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

    def stored_pieces(self, compressors: Executor) -> Iterator[Piece]:
        """Give the layer as it is to be stored, in pieces of a few megabytes at the most.

        Args:
            compressors: Where to compress what is not compressed yet.

        Raises:
            ArtifactError: It is damaged.
        """
        if self.is_zstd:
            return self._keep_zstd()
        if self._layer.head.startswith(GZIP_MAGIC):
            return self._keep_gzip()
        return self._compress(compressors)

    def _compress(self, compressors: Executor) -> Iterator[Piece]:
        digest = hashlib.sha256()
        member = GzipMember()
        yield member.header
        while block := self._read_block():
            for data in block:
                digest.update(data)
                member.add(data)
            yield compressors.submit(compress_block, block)
        yield member.trailer
        self.diff_id = self.source_digest = f"sha256:{digest.hexdigest()}"

    def _read_block(self) -> list[bytes]:
        block: list[bytes] = []
        size = 0
        while size < _BLOCK_SIZE and (data := self._layer.read(_BLOCK_SIZE - size)):
            block.append(data)
            size += len(data)
        return block

    def _keep_gzip(self) -> Iterator[Piece]:
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

    def _keep_zstd(self) -> Iterator[Piece]:
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
