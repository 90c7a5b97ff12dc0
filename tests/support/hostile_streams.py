"""Archives of which a few bytes stand for gigabytes: headers, compression, nesting, holes."""

import gzip
import random
import tarfile
import zlib
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path

from backports import zstd

from tests.support.hostile_parts import (
    GIB,
    MIB,
    SOUND,
    extended,
    joined,
    member,
    pax_record,
    saved,
    write_gzip,
    write_zstandard,
    zeros,
    zstandard_pieces,
)
from tests.support.sample_images import digest_of
from tests.support.tar_files import END, Entry, header, padded

# Headers that add up.


def pax_headers(path: Path, kind: bytes = tarfile.XHDTYPE) -> None:
    """Repeat extended headers of a megabyte each, all for one member."""
    headers = (
        extended(kind, pax_record(b"key%07d" % number, b"a" * 1_000_000)) for number in range(2000)
    )
    write_gzip(path, chain(headers, [SOUND, END]))


def small_pax_headers(path: Path) -> None:
    """Repeat extended headers of few bytes, each with a key of its own."""
    headers = (
        extended(tarfile.XHDTYPE, pax_record(b"key%07d" % number, b"a" * 400))
        for number in range(400_000)
    )
    write_gzip(path, chain(headers, [SOUND, END]))


def long_names_for_one(path: Path) -> None:
    headers = (extended(tarfile.GNUTYPE_LONGNAME, b"n" * 1_000_000) for _ in range(2000))
    write_gzip(path, chain(headers, [SOUND, END]))


def long_names(path: Path, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> None:
    """Make many members whose names, or targets, are long and differ."""
    members = (
        extended(kind, f"{number:07}/{'n' * 3900}".encode())
        + header(Entry("n", kind=tarfile.SYMTYPE if kind == b"K" else tarfile.REGTYPE))
        for number in range(60_000)
    )
    write_gzip(path, chain([SOUND], members, [END]))


def many_members(path: Path) -> None:
    members = (header(Entry(f"folder-{n % 999}/file-{n}.txt")) for n in range(900_000))
    write_gzip(path, chain([SOUND], joined(members), [END]))


def many_folders(path: Path) -> None:
    """Make a layout of nothing in each of many folders."""
    members = (
        member(f"{number}/index.json", b'{"manifests":[]}')
        + member(f"{number}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        for number in range(60_000)
    )
    write_gzip(path, chain([SOUND], joined(members), [END]))


# Compression.


def zeros_in_zstandard(path: Path, size: int) -> None:
    """Let 130 kB stand for one layer of gigabytes."""
    heads = header(Entry("image.tar"), 512 + size + 1024) + header(Entry("layer.tar"), size)
    write_zstandard(path, chain([heads], zeros(size), [END, END]))


def zstandard_layer(path: Path, size: int, window_log: int = 0) -> None:
    """Let a layer of an image be zeros in Zstandard."""
    layer = b"".join(zstandard_pieces(zeros(size), window_log))
    config = b'{"architecture":"amd64","rootfs":{"diff_ids":["%s"]}}' % digest_of(b"").encode()
    manifest = [{"Config": "c", "RepoTags": ["docker.io/z/z:1"], "Layers": ["l/layer.tar"]}]
    image = saved(manifest, Entry("c", config), Entry("l/layer.tar", layer))
    write_gzip(path, [member("image.tar", image), SOUND, END])


def windows(path: Path, *, in_member: bool = False, in_layer: bool = False) -> None:
    """Ask for a window of 128 MiB outside, and for another one further inside."""
    noise = random.Random("noise").randbytes(MIB)
    long = [noise] * 160
    layer = b"".join(zstandard_pieces(long, 27)) if in_layer else b"layer"
    config = b'{"architecture":"amd64","rootfs":{"diff_ids":["%s"]}}' % digest_of(b"").encode()
    manifest = [{"Config": "c", "RepoTags": ["docker.io/z/z:1"], "Layers": ["l/layer.tar"]}]
    image = saved(manifest, Entry("c", config), Entry("l/layer.tar", layer))
    padding = [header(Entry("padding"), len(long) * MIB), *long]
    inner = chain(padding, [member("image.tar", image), END])
    if in_member:
        content = member("images.tar.zst", b"".join(zstandard_pieces(inner, 27)))
    else:
        content = member("image.tar", image)
    write_zstandard(path, chain(padding, [content, SOUND, END]), 27)


def empty_gzip_members(path: Path) -> None:
    """Let the archive go on in 16 MiB of gzip members that hold nothing."""
    empty = gzip.compress(b"", mtime=0)
    first = gzip.compress(SOUND + header(Entry("more.tar"), GIB))
    path.write_bytes(first + empty * (16 * MIB // len(empty)))


def small_gzip_members(path: Path) -> None:
    """Compress each byte by itself."""
    content = SOUND + END
    with path.open("wb") as file:
        for number in range(len(content)):
            file.write(gzip.compress(content[number : number + 1], mtime=0))
        file.write(gzip.compress(b"\0", mtime=0) * 400_000)


def empty_frames(path: Path) -> None:
    """Let the archive go on in Zstandard frames that hold nothing, and in ones to skip."""
    empty = zstd.compress(b"")
    skipped = (0x184D2A50).to_bytes(4, "little") + bytes(4)
    first = zstd.compress(SOUND + header(Entry("more.tar"), GIB))
    path.write_bytes(first + (empty + skipped) * (8 * MIB // len(empty + skipped)))


def skippable_of_gigabytes(path: Path) -> None:
    """Put a frame to skip of 4 GiB in front, which is a hole in the file."""
    size = 4 * GIB - 1
    with path.open("wb") as file:
        file.write((0x184D2A50).to_bytes(4, "little") + size.to_bytes(4, "little"))
        file.seek(size, 1)
        file.write(zstd.compress(SOUND + END))


# Nesting.


def nested(path: Path, depth: int, wrap: Callable[[bytes], bytes] = bytes) -> None:
    """Put an archive of images into an archive, and so on."""
    content = SOUND + END
    for number in range(depth):
        content = member(f"level-{number}.tar", wrap(content)) + END
    write_gzip(path, [SOUND, content])


def with_wide_window(content: bytes) -> bytes:
    return b"".join(zstandard_pieces([content, *zeros(130 * MIB)], 27))


def archives_in_archives(path: Path) -> None:
    """Let an archive hold 50 archives, each of which holds 50 images."""
    content = SOUND
    for _ in range(2):
        content = b"".join(member(f"level-{n}.tar", content + END) for n in range(50))
        content = gzip.compress(content + END)
    write_gzip(path, [member("all.tar.gz", content), SOUND, END])


def zeros_in_member(path: Path) -> None:
    """Let a member be gigabytes of zeros, compressed twice."""
    compressor = zlib.compressobj(1, wbits=31)
    inner = b"".join(compressor.compress(piece) for piece in zeros(3 * GIB)) + compressor.flush()
    write_gzip(path, [member("image.tar.gz", inner), SOUND, END])


# Holes.


def gnu_sparse(path: Path, real_size: int, segments: int) -> None:
    """Make a member in GNU's sparse form, of which almost all is holes."""
    places = [(number * (real_size // segments), 512) for number in range(segments)]
    head, rest = places[:4], places[4:]
    block = bytearray(header(Entry("image.tar", kind=tarfile.GNUTYPE_SPARSE), segments * 512))
    for number, (offset, length) in enumerate(head):
        place = 386 + 24 * number
        block[place : place + 24] = _number(offset) + _number(length)
    block[482] = bool(rest)
    block[483:495] = _number(real_size)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    maps: list[bytes] = []
    for start in range(0, len(rest), 21):
        chunk = rest[start : start + 21]
        body = b"".join(_number(offset) + _number(length) for offset, length in chunk)
        maps.append(body.ljust(504, b"\0") + bytes([start + 21 < len(rest)]) + bytes(7))
    data = (b"x" * 512 for _ in range(segments))
    write_gzip(path, chain([bytes(block)], joined(maps), joined(data), [SOUND, END]))


def pax_sparse(path: Path, version: str, real_size: int, segments: int) -> None:
    """Make a member in one of the sparse forms of pax."""
    numbers = [
        b"%d" % number
        for segment in range(segments)
        for number in (segment * (real_size // segments), 512)
    ]
    records = {b"name": b"image.tar", b"realsize": b"%d" % real_size}
    places = b""
    if version == "1.0":
        records |= {b"major": b"1", b"minor": b"0"}
        places = padded(b"\n".join([b"%d" % segments, *numbers, b""]))
    else:
        records |= {b"numblocks": b"%d" % segments, b"map": b",".join(numbers)}
        records[b"size"] = records.pop(b"realsize")
    heads = _pax_header(records, len(places) + segments * 512)
    data = (b"x" * 512 for _ in range(segments))
    write_gzip(path, chain([heads, places], joined(data), [SOUND, END]))


def _pax_header(records: Mapping[bytes, bytes], size: int) -> bytes:
    """Begin a sparse member of pax; GNU tar gives it another name for tools that know no holes."""
    text = b"".join(pax_record(b"GNU.sparse." + key, value) for key, value in records.items())
    stand_in = header(Entry("GNUSparseFile.1/image.tar"), size, for_pax=True)
    extension = Entry("PaxHeaders/image.tar", text, tarfile.XHDTYPE)
    return header(extension, for_pax=True) + padded(text) + stand_in


def _one_hole(name: str, begins: bytes, size: int) -> bytes:
    """Make a member that is a hole behind its first bytes."""
    places = padded(b"2\n0\n%d\n%d\n0\n" % (len(begins), size))
    records = {b"major": b"1", b"minor": b"0"}
    records |= {b"name": name.encode(), b"realsize": b"%d" % size}
    return _pax_header(records, len(places + begins)) + places + begins


def sparse_layer(path: Path, size: int) -> None:
    """Let a layer of an image be a hole."""
    config = b'{"architecture":"amd64","rootfs":{"diff_ids":["%s"]}}' % digest_of(b"").encode()
    manifest = [{"Config": "c", "RepoTags": ["docker.io/z/z:1"], "Layers": ["l/layer.tar"]}]
    layer = _one_hole("l/layer.tar", header(Entry("srv/hole"), size - 2048), size)
    image = layer + saved(manifest, Entry("c", config))
    write_gzip(path, [member("image.tar", image), SOUND, END])


def sparse_archive(path: Path, size: int) -> None:
    """Let a member be an archive of one layer, which is a hole."""
    content = _one_hole("image.tar", header(Entry("l/layer.tar"), size - 2048), size)
    write_gzip(path, [content, SOUND, END])


def _number(value: int) -> bytes:
    """Write a number as GNU tar does: in octal digits, or in 256 where these are too few."""
    if value < 8**11:
        return b"%011o\0" % value
    return b"\x80" + value.to_bytes(11, "big")
