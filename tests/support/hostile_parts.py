"""Parts of archives that are written piece by piece: making a large one takes no memory."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from backports import zstd

from tests.support.archive_forms import old_docker_save
from tests.support.sample_images import NamedImage, json_of, sample_image
from tests.support.tar_files import Entry, header, padded, tar

MIB = 1024 * 1024
GIB = 1024 * MIB
LARGEST_DOCUMENT = 8 * MIB
# One piece of zeros is enough for any number of them.
_ZEROS = bytes(MIB)


def write_gzip(path: Path, pieces: Iterable[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


def write_zstandard(path: Path, pieces: Iterable[bytes], window_log: int = 0) -> None:
    """Compress with Zstandard; reading it takes a window of as many bits as are given."""
    with path.open("wb") as file:
        for piece in zstandard_pieces(pieces, window_log):
            file.write(piece)


def zstandard_pieces(pieces: Iterable[bytes], window_log: int = 0) -> Iterator[bytes]:
    options: dict[int, int] = {}
    if window_log:
        options[zstd.CompressionParameter.window_log] = window_log
    compressor = zstd.ZstdCompressor(options=options)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield _ZEROS


def member(name: str, content: bytes) -> bytes:
    return header(Entry(name, content)) + padded(content)


def extended(kind: bytes, content: bytes) -> bytes:
    """Make an extended header: it belongs to the member that follows."""
    return header(Entry("././@LongLink", content, kind)) + padded(content)


def pax_record(key: bytes, value: bytes) -> bytes:
    """Write a record; its length counts the digits of the length too."""
    body = b" " + key + b"=" + value + b"\n"
    size = len(body)
    while len(b"%d" % size) + len(body) != size:
        size = len(b"%d" % size) + len(body)
    return b"%d" % size + body


def saved(manifest: object, *entries: Entry) -> bytes:
    """Make an archive of docker save from whatever is to be its manifest."""
    text = manifest if isinstance(manifest, bytes) else json_of(manifest)
    return tar([Entry("manifest.json", text), *entries])


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to larger ones, which compress quicker."""
    waiting: list[bytes] = []
    for piece in pieces:
        waiting.append(piece)
        if len(waiting) == 512:
            yield b"".join(waiting)
            waiting.clear()
    yield b"".join(waiting)


SOUND_IMAGE = NamedImage(sample_image("base", "sound"), ("docker.io/sound/image:1",))
SOUND = member("sound.tar", tar(old_docker_save([SOUND_IMAGE])))
"""A member that is as it should be."""
