"""A layer's content on its way into the registry: hashed, and compressed where it is not yet."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from ckf_airgap.archives.byte_stream import READ_SIZE, FileStream
from ckf_airgap.archives.decoding import (
    Compression,
    Decoder,
    DecodingError,
    compression_of,
    make_decoder,
)
from ckf_airgap.archives.docker_manifest import RESAVE
from ckf_airgap.archives.gzip_codec import GzipMember, compress_block
from ckf_airgap.archives.segments import Segment
from ckf_airgap.errors import ArtifactError
from ckf_airgap.push.layer_parts import Content, LayerParts

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
        stored_as: How it is compressed in the registry: as in the archive, where it is.
        is_compressed_here: Whether it is not compressed in the archive.
        diff_id: The digest of the uncompressed content, once it has been read to its end.
    """

    def __init__(self, path: str, content: FileStream) -> None:
        """Prepare; nothing is read yet.

        Args:
            path: Where the layer stands, for messages.
            content: The layer as it stands in the archive.
        """
        self._path = path
        self._content = content
        self._kept_as = compression_of(content.head)
        self.is_compressed_here = self._kept_as is Compression.NONE
        self.stored_as = Compression.GZIP if self.is_compressed_here else self._kept_as
        self.diff_id = ""

    def stored_pieces(self, compressors: Executor) -> Iterator[Piece]:
        """Return the layer as it is to be stored, in pieces of a few megabytes at the most.

        Args:
            compressors: Where to compress what is not compressed yet.

        Raises:
            ArtifactError: It is damaged.
        """
        if self.is_compressed_here:
            return self._compress(compressors)
        return self._keep(make_decoder(self._kept_as))

    def _compress(self, compressors: Executor) -> Iterator[Piece]:
        digest = hashlib.sha256()
        member = GzipMember()
        parts = LayerParts(self._content.tape_position)
        yield member.header
        while data := self._content.read(READ_SIZE):
            digest.update(data)
            member.add(data)
            for part in parts.add(data):
                yield from _pieces(part, compressors)
        for part in parts.finish():
            yield from _pieces(part, compressors)
        yield member.trailer
        self.diff_id = f"sha256:{digest.hexdigest()}"

    def _keep(self, decoder: Decoder) -> Iterator[Piece]:
        """Keep the bytes, and decode them for the digest of what they hold."""
        digest = hashlib.sha256()
        try:
            while data := self._content.read(READ_SIZE):
                yield data
                for piece in decoder.decode(data):
                    digest.update(piece)
            if not decoder.is_complete:
                raise ArtifactError(
                    f"layer {self._path} is damaged (it ends in the middle)", RESAVE
                )
        except DecodingError as error:
            raise error.as_artifact_error(f"layer {self._path}", RESAVE) from error
        finally:
            decoder.close()
        self.diff_id = f"sha256:{digest.hexdigest()}"


def _pieces(part: Content | Segment, compressors: Executor) -> Iterator[Piece]:
    if not isinstance(part, Segment):
        yield compressors.submit(compress_block, part)
        return
    blocks = part.blocks
    for start in range(0, len(blocks), READ_SIZE):
        yield blocks[start : start + READ_SIZE]
