"""Segments of gzip members: what is proven, what is not, and what comes of them."""

import gzip
import io
import itertools
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_airgap.archives import segments
from ckf_airgap.archives.byte_stream import decoded
from ckf_airgap.archives.decoding import Compression, DecodingError, GzipDecoder
from ckf_airgap.archives.gzip_codec import GzipMember, compress_block
from ckf_airgap.archives.segments import LONGEST_SEGMENT, WINDOW_SIZE, Segment, SegmentQueue
from ckf_airgap.push.layer_parts import LayerParts
from tests.support.compressed import gzip_members, gzipped
from tests.support.flushed import MARKER, flushed, pigz, stored

KIB = 1024
MIB = 1024 * 1024
# Blocks as they are compressed here, one behind the other, are cut like those of pigz.
OWN = GzipMember()
WAYS: dict[str, Callable[[bytes], bytes]] = {
    **{
        f"pigz -b {size} {flags}": lambda content, size=size, flags=flags: pigz(
            content, "-b", str(size), *flags.split()
        )
        for size in (32, 64, 128)
        for flags in ("-0", "-1", "-6", "-9", "-i", "-R", "-6 -p 1", "-H", "-6 -n")
    },
    "pigz -11": lambda content: pigz(content[: 40 * KIB], "-11", "-b", "32"),
    "pigz -z as gzip": lambda content: pigz(content, "-b", "32", "-k"),
    "gzip": gzipped,
    "members": lambda content: gzip_members(content + b".", 3),
    "members of pigz": lambda content: b"".join(
        pigz(content[start : start + 150 * KIB], "-b", "32")
        for start in range(0, len(content) + 1, 150 * KIB)
    ),
    "Z_SYNC_FLUSH": lambda content: flushed(content, [40_000, 7, 90_000], zlib.Z_SYNC_FLUSH),
    "Z_FULL_FLUSH": lambda content: flushed(content, [33_000, 100_000], zlib.Z_FULL_FLUSH),
    "Z_PARTIAL_FLUSH": lambda content: flushed(content, [20_000], zlib.Z_PARTIAL_FLUSH),
    "Z_SYNC_FLUSH, stored": lambda content: flushed(content, [50_000], zlib.Z_SYNC_FLUSH, 0),
    "stored": stored,
}
_SEED = random.Random(18)
RANDOM = _SEED.randbytes(96 * KIB)
TEXT = b"".join(b"line %d of a file that compresses well\n" % n for n in range(4000))


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take segments of any length, so that little content has many."""
    monkeypatch.setattr(segments, "_SHORTEST_SEGMENT", 1)
    monkeypatch.setattr(segments, "_MARKER_DISTANCE", 0)
    monkeypatch.setattr(segments, "_STORED_DISTANCE", 0)


# Content of many kinds; among them markers, and content that is compressed itself.
KINDS = [
    RANDOM,
    TEXT,
    bytes(70 * KIB),
    MARKER * 5000,
    pigz(TEXT + RANDOM, "-b", "32"),
    b"\xff" * 40_000,
    stored(TEXT),
]
Recipe = list[tuple[int, int]]
RECIPES = st.lists(st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 99)), max_size=7)


def made(recipe: Recipe) -> bytes:
    """Make a few hundred KiB of content: parts of kinds, each without its first hundredths."""
    return b"".join(KINDS[kind][len(KINDS[kind]) * start // 100 :] for kind, start in recipe)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if start < end]


def decode(pieces: Sequence[bytes]) -> tuple[bytes, list[Segment]]:
    """Decode with a segment_queue; give what it holds, and its segments."""
    segment_queue = SegmentQueue()
    decoder = GzipDecoder(segment_queue)
    content: list[bytes] = []
    taken: list[Segment] = []
    for piece in pieces:
        content += decoder.decode(piece)
        taken += segment_queue.pop_until(segment_queue.decoded)
    assert decoder.is_complete
    return b"".join(content), taken


def spread(segment: Segment) -> tuple[int, int, bytes]:
    """Give what makes it the same as another one, however it was read."""
    return segment.start, segment.end, segment.blocks


def content_of(segment: Segment, content: bytes) -> bytes:
    """Decode a segment by another library, with nothing but what it may need."""
    window = content[max(0, segment.start - WINDOW_SIZE) : segment.start]
    decoder = zlib.decompressobj(-15, zdict=window)
    decoded = decoder.decompress(segment.blocks)
    # It ends between two blocks: a last one can follow.
    assert decoder.decompress(b"\x03\x00") == b""
    assert decoder.eof
    assert decoder.unused_data == b""
    return decoded


def blob_of(archive: bytes, start: int, end: int, reads: Sequence[int]) -> tuple[bytes, int]:
    """Make the blob of the layer that stands at a place; give the number of its segments too."""
    sizes = itertools.cycle(reads)
    stream = decoded(Pieces(archive, sizes), Compression.GZIP, "an archive", with_segments=True)
    stream.skip(start)
    # As the reader of an archive does before it knows what it has.
    parts = LayerParts(stream.stream_position)
    member = GzipMember()
    output = [member.header]
    count = 0
    left = end - start

    def add(found: Iterator[list[memoryview] | Segment]) -> None:
        nonlocal count
        for part in found:
            count += isinstance(part, Segment)
            output.append(part.blocks if isinstance(part, Segment) else compress_block(part))

    while left and (data := stream.read(min(next(sizes), left))):
        left -= len(data)
        member.add(data)
        add(parts.add(data))
    add(parts.finish())
    stream.close()
    return b"".join((*output, member.trailer)), count


class Pieces:
    """A stream that gives no more than it likes at a time."""

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, next(self._sizes)))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    way=st.sampled_from(sorted(WAYS)),
    recipe=RECIPES,
    places=st.lists(st.integers(0, MIB), max_size=8),
    reads=st.lists(st.integers(9_000, 200_000), min_size=1, max_size=3),
    first=st.integers(0, 100),
    last=st.integers(0, 100),
)
def test_whatever_is_taken_decodes_to_the_layer(
    way: str, recipe: Recipe, places: list[int], reads: list[int], first: int, last: int
) -> None:
    archive = WAYS[way](made(recipe))
    content = gzip.decompress(archive)
    whole, taken = decode([archive])
    assert whole == content
    for segment in taken:
        assert content_of(segment, content) == content[segment.start : segment.end]
    again, same = decode(cut(archive, places))
    assert again == content
    assert [spread(segment) for segment in same] == [spread(segment) for segment in taken]
    start, end = sorted(len(content) * share // 100 for share in (first, last))
    blob, _ = blob_of(archive, start, end, reads)
    # By another library than the one that made it.
    member = zlib.decompressobj(31)
    assert member.decompress(blob) == content[start:end]
    assert member.eof
    assert not member.unused_data
    assert blob_of(archive, start, end, [MIB]) == blob_of(archive, start, end, reads)


def outcome(make: Callable[[], GzipDecoder], pieces: Sequence[bytes]) -> bytes | None:
    """Decode whatever it is; None where it is damaged or not complete."""
    decoder = make()
    try:
        content = b"".join(block for piece in pieces for block in decoder.decode(piece))
    except DecodingError:
        return None
    return content if decoder.is_complete and not decoder.has_trailing_data else None


@settings(deadline=None, max_examples=150)
@given(
    way=st.sampled_from(sorted(WAYS)),
    recipe=RECIPES,
    place=st.integers(0, 10_000),
    change=st.sampled_from(["flip", "marker", "cut", "over", "end"]),
    places=st.lists(st.integers(0, MIB), max_size=4),
)
def test_damage_is_found_as_without_segments(
    way: str, recipe: Recipe, place: int, change: str, places: list[int]
) -> None:
    archive = WAYS[way](made(recipe))
    at = len(archive) * place // 10_001
    archive = {
        "flip": archive[:at] + bytes([archive[at] ^ 1 << place % 8]) + archive[at + 1 :],
        "marker": archive[:at] + MARKER + archive[at:],
        "over": archive[:at] + MARKER + archive[at + 4 :],
        "cut": archive[:at],
        # Around the trailer, and behind it.
        "end": archive[: len(archive) - 12 + place % 13] + bytes(place % 3),
    }[change]
    pieces = cut(archive, places)
    assert outcome(lambda: GzipDecoder(SegmentQueue()), pieces) == outcome(GzipDecoder, pieces)


def test_a_trailer_in_many_pieces_is_read() -> None:
    archive = pigz(TEXT * 2, "-b", "32")
    last = len(archive) - 20
    whole, taken = decode([archive[:last], *(bytes([each]) for each in archive[last:])])
    assert whole == TEXT * 2
    assert taken


def test_a_checksum_that_is_wrong_is_found() -> None:
    archive = pigz(TEXT * 2, "-b", "32")
    for at in (-8, -4, -1):
        bad = bytearray(archive)
        bad[at] ^= 1
        with pytest.raises(DecodingError, match="checksum"):
            decode([bytes(bad)])


def test_most_of_a_layer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    # What cannot be compressed is stored, without markers; more than is kept to decode it again.
    content = TEXT * 30 + _SEED.randbytes(20 * MIB) + TEXT * 700
    archive = pigz(content)
    _, taken = decode([archive])
    size = sum(segment.end - segment.start for segment in taken)
    assert size > 0.9 * len(content)
    blob, count = blob_of(archive, 0, len(content), [MIB])
    assert count == len(taken)
    assert gzip.decompress(blob) == content


def test_a_long_run_of_zeros_does_not_end_the_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    content = TEXT * 30
    with_zeros = content + bytes(60 * MIB) + content
    _, taken = decode([pigz(with_zeros)])
    behind = [segment for segment in taken if segment.start > len(with_zeros) - len(content)]
    assert sum(segment.end - segment.start for segment in behind) > 0.7 * len(content)


def test_markers_in_the_content_are_no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    # What stands behind each of them is what a block could begin with.
    inner = pigz(TEXT * 20, "-b", "32")
    content = inner * 8
    monkeypatch.setattr(segments, "_STORED_DISTANCE", len(content))
    segment_queue = SegmentQueue()
    decoder = GzipDecoder(segment_queue)
    assert b"".join(decoder.decode(stored(content))) == content
    assert not segment_queue.pop_until(segment_queue.decoded)
    assert segment_queue.repeated
    # Other content is not decoded twice much more often than this.
    monkeypatch.setattr(segments, "_REPEATED_ALWAYS", 0)
    segment_queue = SegmentQueue()
    decoder = GzipDecoder(segment_queue)
    assert b"".join(decoder.decode(stored(content))) == content
    assert segment_queue.repeated <= len(content) // 8


def test_segments_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    # Without content: nothing but empty blocks; with too much of it; with too few bytes of it.
    empty = b"\x00" + MARKER
    filled = zlib.compressobj(6, zlib.DEFLATED, -15)
    much = filled.compress(bytes(64 * MIB)) + filled.flush(zlib.Z_SYNC_FLUSH)
    small = zlib.compressobj(6, zlib.DEFLATED, -15)
    little = small.compress(bytes(MIB)) + small.flush(zlib.Z_SYNC_FLUSH)
    member = GzipMember()
    member.add(bytes(66 * MIB))
    blocks = little + empty * (3 * MIB // len(empty)) + little + much
    whole, taken = decode([member.header + blocks + member.trailer])
    assert len(whole) == 66 * MIB
    for segment in taken:
        size = segment.end - segment.start
        assert size <= LONGEST_SEGMENT
        assert len(segment.blocks) <= size * 9 / 8
