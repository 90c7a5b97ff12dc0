"""The content of a layer on its way to the registry: hashed, and compressed if it is not yet."""

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
"""Some bytes of a layer as stored, possibly still being compressed."""


def make_compressors() -> ThreadPoolExecutor:
    """Start the threads that compress layers."""
    count = min(os.cpu_count() or 1, _MOST_COMPRESSORS)
    return ThreadPoolExecutor(count, thread_name_prefix="compress")


class HashedLayer:
    """The content of a layer, hashed while it is read.

    Attributes:
        stored_as: Its compression in the registry: as in the archive, or gzip if it is
            uncompressed there.
        is_compressed_here: Whether the push compresses it, because it is uncompressed in the
            archive.
        diff_id: The digest of the uncompressed content; empty until it has been read to its end.
    """

    def __init__(self, path: str, content: FileStream) -> None:
        """Store the arguments; nothing is read yet.

        Args:
            path: The path of the layer, for messages.
            content: The layer in the archive.
        """
        self._path = path
        self._content = content
        self._archived_as = compression_of(content.head)
        self.is_compressed_here = self._archived_as is Compression.NONE
        self.stored_as = Compression.GZIP if self.is_compressed_here else self._archived_as
        self.diff_id = ""

    def stored_pieces(self, compressors: Executor) -> Iterator[Piece]:
        """Return the layer as it will be stored, in pieces of at most a few megabytes.

        Args:
            compressors: The threads that compress it, if it is uncompressed in the archive.

        Raises:
            ArtifactError: The layer is damaged; raised while the pieces are iterated.
        """
        if self.is_compressed_here:
            return self._compress(compressors)
        return self._pass_on(make_decoder(self._archived_as))

    def _compress(self, compressors: Executor) -> Iterator[Piece]:
        digest = hashlib.sha256()
        member = GzipMember()
        parts = LayerParts(self._content.stream_position)
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

    def _pass_on(self, decoder: Decoder) -> Iterator[Piece]:
        """Return the bytes unchanged, and decode them for the diff ID."""
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
