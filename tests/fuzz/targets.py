"""What is fuzzed: each target takes any bytes, and may raise nothing but the package's errors."""

import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

from ckf_airgap.archives import segments
from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.decoding import DecodingError, GzipDecoder
from ckf_airgap.archives.inventory import read_inventory
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import AirgapError
from ckf_airgap.files.untrusted_yaml import DocumentError, load_all_strings, load_values
from ckf_airgap.images.naming import archived_paths, image_path
from ckf_airgap.images.reference import ImageReference, registry_host
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.packing.added_images import images_in
from ckf_airgap.packing.charm_origins import charms_of_bundle, charms_of_channel_map
from ckf_airgap.packing.wanted_images import distinct_images
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from tests.support.member_names import wanted_by_member_name

CORPUS = Path(__file__).parent / "corpus"
# What parts the files of a charm in the input.
_NEXT_FILE = b"\x00\x00"
_CHARM_FILES = ("metadata.yaml", "config.yaml", "manifest.yaml", "src/default-some-image.json")
_LONGEST_CONTENT = 8 * 1024 * 1024
_BUNDLE = "applications: {minio: {charm: minio}, kfp-db: {charm: mysql-k8s}}"


def names(data: bytes) -> None:
    """Image references, registry prefixes, names of members."""
    text = data.decode(errors="surrogateescape")
    reference = ImageReference.parse(text)
    if reference:
        assert ImageReference.parse(str(reference)) == reference
        assert image_path(reference) in archived_paths(reference)
        registry_host(str(reference))
        wanted_by_member_name(text, [reference])
        distinct_images([reference])
    assert str(RegistryLocation.parse(text)) == text


def tar(data: bytes) -> None:
    """images.tar.gz, decompressed: of docker save archives, or an image layout."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        inventory = read_inventory(FileSource(Path(file.name)))
    found = (inventory.images, inventory.artifacts, inventory.damaged)
    assert any(found) or b"ckf-airgap.json" in data


def compressed(data: bytes) -> None:
    """images.tar.gz: gzip, Zstandard, or neither."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with open_archive(FileSource(Path(file.name))) as archive:
            while archive.read(1024 * 1024):
                pass


def member_segments(data: bytes) -> None:
    """Segments of a gzip member: they change nothing, and decode to what they stand for."""
    # So that a few bytes have several.
    with mock.patch.multiple(
        segments, _SHORTEST_SEGMENT=1, _MARKER_DISTANCE=0, _STORED_DISTANCE=0
    ):
        segment_queue = segments.SegmentQueue()
        plain = _decoded(GzipDecoder(), data)
        assert _decoded(GzipDecoder(segment_queue), data) == plain
        pieces = segments.SegmentQueue()
        half = len(data) // 2
        assert _decoded(GzipDecoder(pieces), data[:half], data[half:]) == plain
    found = segment_queue.pop_until(segment_queue.decoded)
    if plain is None:
        return
    assert list(map(_spread, pieces.pop_until(pieces.decoded))) == list(map(_spread, found))
    for segment in found:
        window = plain[max(0, segment.start - segments.WINDOW_SIZE) : segment.start]
        other = zlib.decompressobj(-15, zdict=window)
        # A last block, so that it is known to end between two.
        content = other.decompress(segment.blocks + b"\x03\x00")
        assert content == plain[segment.start : segment.end]
        assert other.eof
        assert not other.unused_data


def _spread(segment: segments.Segment) -> tuple[int, int, bytes]:
    return segment.start, segment.end, segment.blocks


def _decoded(decoder: GzipDecoder, *pieces: bytes) -> bytes | None:
    """Decode, but for bombs; None where it is damaged, or does not end."""
    content = b""
    try:
        for piece in pieces:
            for block in decoder.decode(piece):
                content += block
                if len(content) > _LONGEST_CONTENT:
                    return None
    except DecodingError:
        return None
    return content if decoder.is_complete else None


def charm(data: bytes) -> None:
    """The files of a charm that are read."""
    with tempfile.NamedTemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in zip(_CHARM_FILES, data.split(_NEXT_FILE), strict=False):
                archive.writestr(name, content)
        file.flush()
        found = CharmFile.read(Path(file.name), "some.charm")
    found.assumes.holds("3.6.8")
    str(found.assumes)
    for option in found.image_options:
        option.value(lambda _: ImageReference("registry.corp/ckf/some/image", "1"))
        option.value(lambda _: None)
    for image in found.images:
        ImageReference.parse(image)


def charm_file(data: bytes) -> None:
    """A charm as a file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        CharmFile.read(Path(file.name), "some.charm")


def bundle(data: bytes) -> None:
    """Bundles and overlays."""
    text = data.decode(errors="replace")
    apply_overlay(read_bundle(_BUNDLE), text)
    read_bundle(text)


def request(data: bytes) -> None:
    """What is to be packed: bundles, channel maps, lists of images and manifests."""
    text = data.decode(errors="replace")
    for read in (charms_of_channel_map, charms_of_bundle):
        try:
            read(text)
        except AirgapError:
            continue
    images_in(text, "images.txt")


def documents(data: bytes) -> None:
    """YAML."""
    try:
        load_values(data)
        load_all_strings(data)
    except DocumentError:
        return


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        names,
        tar,
        compressed,
        member_segments,
        charm,
        charm_file,
        bundle,
        request,
        documents,
    )
}


def run(target: str, data: bytes) -> None:
    """Give an input to a target.

    Args:
        target: Its name.
        data: The input.

    Raises:
        Exception: Anything but an error of the package: that is what is looked for.
    """
    try:
        TARGETS[target](data)
    except AirgapError as error:
        # Whatever it is, it has a cure, can be shown, and is not endless.
        assert error.cure
        str(error).encode()
        assert len(str(error)) < 20_000
