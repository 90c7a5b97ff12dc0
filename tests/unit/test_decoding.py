"""Decoders: what they take for the end, for padding and for garbage, and what memory they need."""

import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.archives import decoding
from ckf_airgap.archives.byte_stream import decoded, open_archive
from ckf_airgap.archives.decoding import (
    MOST_DECODED,
    WINDOWS,
    Compression,
    Decoder,
    DecodingError,
    GzipDecoder,
    ZstdDecoder,
    compression_of,
    make_decoder,
    window_of,
)
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError
from tests.support.compressed import gzipped, pzstd_frames, skippable_frame, zstandard_frame
from tests.support.measured import run_measured

MIB = 1024 * 1024
MEMBERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzipped,
    Compression.ZSTD: zstandard_frame,
}
BOTH = pytest.mark.parametrize("compression", MEMBERS)


@pytest.fixture(autouse=True)
def all_windows_are_given_back() -> Iterator[None]:
    yield
    assert WINDOWS.reserved == 0


def windowed(content: bytes, window_log: int) -> bytes:
    """Compress without telling the size, which would make a small window do."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: window_log}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(content) + compressor.flush()


def frame_header(descriptor: int, rest: bytes) -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + rest


def decode(decoder: Decoder, pieces: Sequence[bytes]) -> bytes:
    return b"".join(each for piece in pieces for each in decoder.decode(piece))


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes([each]) for each in data]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize(
    ("head", "compression"),
    [
        (b"", Compression.NONE),
        (b"\x1f", Compression.NONE),
        (b"\x1f\x8b", Compression.GZIP),
        (b"\x28\xb5\x2f", Compression.NONE),
        (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
        (b"\x4f\x2a\x4d\x18", Compression.NONE),
        (b"\x50\x2a\x4d\x18", Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18 and more", Compression.ZSTD),
        (b"\x60\x2a\x4d\x18", Compression.NONE),
        (b"\x5f\x2a\x4d", Compression.NONE),
        (b"\x1f\x9d\x90", Compression.NONE),
    ],
)
def test_a_compression_is_told_by_the_first_bytes(head: bytes, compression: Compression) -> None:
    assert compression_of(head) is compression


def test_what_is_not_compressed_stays_as_it_is() -> None:
    decoder = make_decoder(Compression.NONE)
    pieces = list(decoder.decode(bytes(3 * MOST_DECODED + 1)))
    assert [len(piece) for piece in pieces] == [MOST_DECODED] * 3 + [1]
    assert decoder.is_complete
    assert not decoder.has_trailing_data


BEHIND = {b"": False, bytes(1): False, bytes(5000): False, b"\n": True, bytes(3) + b"x": True}


@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    skippable=st.integers(0, 2),
    padding=st.integers(0, 20),
    behind=st.sampled_from(sorted(BEHIND)),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
    most=st.integers(1, 400),
)
@BOTH
def test_members_are_read_however_they_are_cut(
    compression: Compression,
    contents: list[bytes],
    skippable: int,
    padding: int,
    behind: bytes,
    cuts: list[int],
    most: int,
) -> None:
    members = [MEMBERS[compression](content) for content in contents]
    if compression is Compression.ZSTD:
        members = [skippable_frame(bytes(skippable), 3) * skippable + each for each in members]
    data = bytes(padding).join(members) + behind
    with pytest.MonkeyPatch.context() as patch, closing(make_decoder(compression)) as decoder:
        # Whatever a library keeps back has to come, too.
        patch.setattr(decoding, "MOST_DECODED", most)
        pieces = [each for piece in cut(data, cuts) for each in decoder.decode(piece)]
        assert all(0 < len(piece) <= most for piece in pieces)
        assert b"".join(pieces) == b"".join(contents)
        assert decoder.is_complete
        assert decoder.has_trailing_data == BEHIND[behind]


@given(st.lists(st.integers(0, 10_000), max_size=12), st.binary(max_size=3000))
def test_garbage_ends_the_decoding(cuts: list[int], behind: bytes) -> None:
    decoder = GzipDecoder()
    data = gzipped(b"content") + b"garbage" + behind + gzipped(b"more")
    assert decode(decoder, cut(data, cuts)) == b"content"
    assert decoder.has_trailing_data
    assert decoder.is_complete


@BOTH
def test_members_end_only_where_they_end(compression: Compression) -> None:
    member = MEMBERS[compression](b"some content, some content")
    data = member + MEMBERS[compression](b"") + bytes(3)
    complete = {len(member), *range(len(data) - 3, len(data) + 1)}
    for size in range(len(data) + 1):
        with closing(make_decoder(compression)) as decoder:
            decode(decoder, [data[:size]])
            assert decoder.is_complete == (size in complete), size
            assert not decoder.has_trailing_data


def test_zstd_frames_that_hold_no_data_are_passed_over() -> None:
    data = (
        skippable_frame(b"size") + pzstd_frames(b"content", 3) + skippable_frame(bytes(9999), 15)
    )
    for pieces in ([data], one_by_one(data)):
        decoder = ZstdDecoder()
        assert decode(decoder, pieces) == b"content"
        assert decoder.is_complete
    assert decode(decoder, [skippable_frame(bytes(100))[:-1]]) == b""
    assert not decoder.is_complete


@BOTH
@pytest.mark.parametrize("data", [b"something else", b"\0", bytes(100), b"PK\3\4"])
def test_what_begins_otherwise_is_refused(compression: Compression, data: bytes) -> None:
    for pieces in ([data], one_by_one(data)):
        with pytest.raises(DecodingError, match="does not begin like"):
            decode(make_decoder(compression), pieces)


def with_checksum(content: bytes) -> bytes:
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


@given(place=st.integers(0, 10_000), change=st.integers(1, 255))
@pytest.mark.parametrize("make", [gzipped, with_checksum])
def test_damage_changes_no_content(
    make: Callable[[bytes], bytes], place: int, change: int
) -> None:
    content = bytes(range(256)) * 3
    data = bytearray(make(content))
    data[place % len(data)] ^= change
    with closing(make_decoder(compression_of(make(b"")))) as decoder:
        try:
            read = decode(decoder, [bytes(data)])
        except DecodingError as error:
            assert error.reason
            assert WINDOWS.reserved == 0
        else:
            assert read == content or not decoder.is_complete


def test_what_comes_before_the_damage_is_given() -> None:
    data = gzipped(b"sound") + gzipped(b"content")[:-1] + b"!"
    pieces = GzipDecoder().decode(data)
    assert next(pieces).startswith(b"sound")
    with pytest.raises(DecodingError):
        next(pieces)


def zeros(compression: Compression, size: int) -> bytes:
    if compression is Compression.ZSTD:
        compressor = zstd.ZstdCompressor()
        pieces = [compressor.compress(bytes(MIB)) for _ in range(size // MIB)]
        return b"".join((*pieces, compressor.flush()))
    return gzip.compress(bytes(size), 1)


@BOTH
def test_a_bomb_comes_out_in_pieces(compression: Compression) -> None:
    with closing(make_decoder(compression)) as decoder:
        sizes = [len(piece) for piece in decoder.decode(zeros(compression, 64 * MIB))]
    assert sum(sizes) == 64 * MIB
    assert max(sizes) <= MOST_DECODED


@BOTH
def test_what_many_members_hold_comes_in_few_pieces(compression: Compression) -> None:
    with closing(make_decoder(compression)) as decoder:
        pieces = list(decoder.decode(MEMBERS[compression](b"x") * 5000))
    assert pieces == [b"x" * 5000]


@pytest.mark.parametrize(
    ("head", "window"),
    [
        (frame_header(0x00, b"\x00"), 1024),
        (frame_header(0x00, b"\x57"), MIB + 7 * MIB // 8),
        (frame_header(0x80, b"\x88"), 128 * MIB),
        (frame_header(0x00, b"\xf8"), 2**41),
        (frame_header(0x20, b"\x07"), 7),
        (frame_header(0x60, b"\x01\x02"), 0x201 + 256),
        (frame_header(0xA0, b"\x01\x00\x00\x10"), 0x10000001),
        (frame_header(0xE0, bytes(7) + b"\x01"), 2**56),
        (frame_header(0x23, b"name" + b"\x09"), 9),
        (frame_header(0x61, b"n" + b"\x00\x00"), 256),
    ],
)
def test_a_window_is_read_from_the_header_alone(head: bytes, window: int) -> None:
    assert window_of(head) == window
    assert window_of(head + b"more") == window
    assert all(window_of(head[:size]) is None for size in range(len(head)))


@pytest.mark.parametrize("window_log", [10, 17, 23, 27])
def test_a_window_is_taken_while_its_frame_is_open(window_log: int) -> None:
    frame = windowed(b"content", window_log)
    assert window_of(frame) == 2**window_log
    decoder = ZstdDecoder()
    taken: list[int] = []
    for piece in one_by_one(frame * 2):
        decode(decoder, [piece])
        taken.append(WINDOWS.reserved)
    header_size = 6
    frame_taken = [0] * (header_size - 1) + [2**window_log] * (len(frame) - header_size) + [0]
    assert taken == frame_taken * 2


def test_a_window_is_given_back_when_a_decoder_is_closed() -> None:
    decoder = ZstdDecoder()
    decode(decoder, [windowed(b"content", 20)[:-1]])
    assert WINDOWS.reserved == MIB
    decoder.close()
    decoder.close()
    assert WINDOWS.reserved == 0


@pytest.mark.parametrize(("window_log", "size"), [(28, 256), (31, 2048)])
def test_a_larger_window_is_refused_with_its_cure(window_log: int, size: int) -> None:
    with pytest.raises(DecodingError, match=f"window of {size} MiB") as raised:
        decode(ZstdDecoder(), [windowed(b"content", window_log)])
    error = raised.value.as_artifact_error("images.tar.zst", "copy it again")
    assert error.problem == (
        f"images.tar.zst is not damaged, but it was made with a window of {size} MiB "
        f"(zstd --long={window_log} or --ultra)"
    )
    assert "--long=27" in error.cure


def test_a_frame_in_one_segment_has_a_window_of_its_size() -> None:
    header = frame_header(0xA0, (128 * MIB + 1).to_bytes(4, "little"))
    with pytest.raises(DecodingError, match="window of 129 MiB"):
        decode(ZstdDecoder(), one_by_one(header))


def test_archive_and_layer_share_the_windows() -> None:
    large, usual = windowed(b"x", 27)[:-1], windowed(b"y", 23)
    with closing(ZstdDecoder()) as archive, closing(ZstdDecoder()) as layer:
        decode(archive, [large])
        # Level 19 has one of 8 MiB, which is always left.
        assert decode(layer, [usual]) == b"y"
        with pytest.raises(DecodingError, match="of the archive and of the layer") as raised:
            decode(layer, [windowed(b"z", 24)])
        assert "19" in (raised.value.cure or "")
        assert WINDOWS.reserved == 128 * MIB
        archive.close()
        assert decode(ZstdDecoder(), [windowed(b"z", 24)]) == b"z"


def opened(path: Path, data: bytes) -> tuple[bytes, bool]:
    """Read an archive to its end; give its content, and whether garbage follows it."""
    path.write_bytes(data)
    with open_archive(FileSource(path)) as stream:
        content = b""
        while piece := stream.read(1000):
            content += piece
        return content, stream.has_trailing_data


@pytest.mark.parametrize("make", [bytes, gzipped, zstandard_frame, pzstd_frames])
def test_archives_are_decoded_by_what_they_begin_with(
    make: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = bytes(range(256)) * 5000
    assert opened(tmp_path / "a", make(content)) == (content, False)


@BOTH
def test_garbage_behind_an_archive_is_told(compression: Compression, tmp_path: Path) -> None:
    data = MEMBERS[compression](b"content")
    assert opened(tmp_path / "a", data + b"\n") == (b"content", True)
    assert opened(tmp_path / "a", data + bytes(512) + b"x") == (b"content", True)
    assert opened(tmp_path / "a", data + bytes(MIB)) == (b"content", False)


@BOTH
@pytest.mark.parametrize("kept", [5, -1])
def test_an_archive_that_breaks_off_is_told(
    compression: Compression, kept: int, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="a ends in the middle"):
        opened(tmp_path / "a", MEMBERS[compression](b"content")[:kept])


class Trickle(io.BytesIO):
    """A stream that gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 7))


@BOTH
def test_a_member_is_decoded_as_it_is_read(compression: Compression) -> None:
    content = bytes(range(256)) * 10_000
    stream = decoded(Trickle(MEMBERS[compression](content) + b"!"), compression, "a in b")
    with closing(stream):
        assert stream.skip(300) == 300
        assert stream.read(1) == content[300:301]
        rest = b""
        while piece := stream.read(10 * MIB):
            rest += piece
        assert rest == content[301:]
        assert stream.skip(5) == 0
        assert stream.read(5) == b""
        assert stream.has_trailing_data


@BOTH
def test_a_member_tells_what_is_wrong_with_it_each_time(compression: Compression) -> None:
    data = MEMBERS[compression](bytes(100))
    damaged = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    if compression is Compression.ZSTD:
        damaged = data[:-3] + b"\xff\xff\xff"
    for bad, words in ((damaged, "a in b is damaged"), (data[:-1], "a in b ends in the middle")):
        with closing(decoded(io.BytesIO(bad), compression, "a in b")) as stream:
            for _ in range(2):
                with pytest.raises(ArtifactError, match=words):
                    stream.skip(MIB)


def test_a_member_that_is_not_read_to_its_end_gives_its_window_back() -> None:
    frame = windowed(bytes(3 * MIB), 27)
    stream = decoded(io.BytesIO(frame), Compression.ZSTD, "a")
    assert stream.read(1) == b"\0"
    assert WINDOWS.reserved == 128 * MIB
    stream.close()
    assert WINDOWS.reserved == 0


def test_an_archive_that_is_not_read_to_its_end_gives_its_window_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(windowed(bytes(64 * MIB), 27))
    with open_archive(FileSource(path)) as stream:
        assert stream.read(1) == b"\0"
        assert WINDOWS.reserved == 128 * MIB
    assert WINDOWS.reserved == 0


READ = """
import sys, time
from pathlib import Path
from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.sources import FileSource
with open_archive(FileSource(Path(sys.argv[1]))) as stream:
    while data := stream.read(2**20):
        if len(sys.argv) > 2:
            # Slower than the decoder, so that it gets as far ahead as it may.
            time.sleep(0.002)
"""


@BOTH
def test_a_bomb_takes_little_memory(compression: Compression, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(zeros(compression, 128 * MIB))
    path.with_name("b").write_bytes(MEMBERS[compression](b""))
    least = run_measured(["-c", READ, path.with_name("b")]).peak_mib
    assert run_measured(["-c", READ, path, "slowly"]).peak_mib < least + 40
