"""Images of a few kilobytes, made from nothing but a word."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.compressed import (
    chunked_zstandard,
    gzip_members,
    gzipped,
    gzipped_harder,
    pzstd_frames,
    zstandard_frame,
)
from tests.support.tar_files import Entry, tar

Document = dict[str, object]


def digest_of(content: bytes) -> str:
    """Give a digest as image documents write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def hex_of(content: bytes) -> str:
    """Give the digest as file names have it."""
    return hashlib.sha256(content).hexdigest()


def json_of(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Identity:
    """What makes two images the same, whatever they are stored as.

    Attributes:
        image_id: The digest of the config.
        diff_ids: The digests of the uncompressed layers, base layer first.
    """

    image_id: str
    diff_ids: tuple[str, ...]


@dataclass(frozen=True)
class SampleImage:
    """An image.

    Attributes:
        layers: Its layers, uncompressed, base layer first.
        config: Its config.
        architecture: The CPU that it is for.
    """

    layers: tuple[bytes, ...]
    config: bytes
    architecture: str = "amd64"

    @property
    def image_id(self) -> str:
        """The digest of its config."""
        return digest_of(self.config)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of its layers."""
        return tuple(digest_of(layer) for layer in self.layers)

    @property
    def identity(self) -> Identity:
        """What makes it itself."""
        return Identity(self.image_id, self.diff_ids)


@dataclass(frozen=True)
class NamedImage:
    """An image and what it is called.

    Attributes:
        image: The image.
        names: Its whole names, host included; none where it was saved by its id.
    """

    image: SampleImage
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerStorage:
    """How the layers of an image are stored.

    Attributes:
        store: Turns an uncompressed layer into what is stored.
        suffix: What the OCI media type ends with.
    """

    store: Callable[[bytes], bytes]
    suffix: str


PLAIN = LayerStorage(lambda layer: layer, "")
GZIP = LayerStorage(gzipped, "+gzip")
GZIP_HARDER = LayerStorage(gzipped_harder, "+gzip")
GZIP_MEMBERS = LayerStorage(gzip_members, "+gzip")
ZSTD = LayerStorage(zstandard_frame, "+zstd")
PZSTD = LayerStorage(pzstd_frames, "+zstd")
CHUNKED_ZSTD = LayerStorage(chunked_zstandard, "+zstd")


def layer_of(word: str, size: int = 3000) -> bytes:
    """Make a layer of one file that does not compress."""
    noise = random.Random(word).randbytes(size)
    return tar([Entry(f"srv/{word}", word.encode() + b"\n" + noise)])


def text_layer_of(word: str, size: int) -> bytes:
    """Make a layer of one file that compresses to about half of its size."""
    noise = random.Random(word).randbytes(size // 2)
    return tar([Entry(f"srv/{word}", word.encode() + b"\n" + noise.hex().encode())])


def image_of(layers: Sequence[bytes], architecture: str = "amd64") -> SampleImage:
    """Make an image of layers."""
    diff_ids = [digest_of(layer) for layer in layers]
    config: Document = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/srv/run"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": "COPY . /srv"} for _ in layers],
    }
    return SampleImage(tuple(layers), json_of(config), architecture)


def sample_image(*words: str, architecture: str = "amd64") -> SampleImage:
    """Make an image with a layer for each word."""
    return image_of([layer_of(word) for word in words], architecture)


def image_without_layers(**rootfs: object) -> SampleImage:
    """Make an image as ``FROM scratch`` with a label does.

    Args:
        rootfs: What the config says of layers beside their type, if anything.
    """
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Labels": {"for": repr(rootfs)}},
        "rootfs": {"type": "layers", **rootfs},
    }
    return SampleImage((), json_of(config))
