"""Archives that somebody made to do harm, or that are something else altogether.

Each is given to the command as an operator would give it, with a real registry behind. What it
says must be one clear error, and the registry must not have an image of it afterwards.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from backports import zstd

from ckf_airgap.commands.main import main
from tests.functional.pushes import archive
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import Layout
from tests.support.measured import run_measured
from tests.support.tar_edits import edited

NAME = "docker.io/minio/minio:1"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound archive of one image, decompressed."""
    folder = tmp_path_factory.mktemp("sound")
    images = archive(folder, (NAME,), layouts=(Layout.LEGACY,))
    return gzip.decompress(images.path.read_bytes())


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def tar(*members: tuple[str, bytes], end: bytes = bytes(1024)) -> bytes:
    output = bytearray()
    for name, content in members:
        output += header(name, len(content)) + content + bytes(-len(content) % 512)
    return bytes(output) + end


def extended(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """Make an extended header; its size may lie."""
    data = content + bytes(-len(content) % 512)
    return header("././@PaxHeader", len(content) if size is None else size, kind) + data


def record(key: bytes, value: bytes) -> bytes:
    """Make a pax record."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def saved(manifest: object, **files: bytes) -> bytes:
    """Make an archive of one ``docker save`` archive."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    members = {"manifest.json": text, **files}
    return tar(("image.tar", tar(*members.items())))


def image(config: object, **entry: Any) -> bytes:
    """Make an archive of one image without layers."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    manifest = {"Config": "config", "RepoTags": [NAME], "Layers": [], **entry}
    return saved([manifest], config=text)


def zipped(content: bytes) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("image.tar", content)
    return output.getvalue()


def flipped(content: bytes, place: float) -> bytes:
    number = int(place * len(content))
    return content[:number] + bytes([content[number] ^ 4]) + content[number + 1 :]


def inner(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the one ``docker save`` archive in an archive."""
    with tarfile.open(fileobj=io.BytesIO(content)) as old:
        (member,) = [each for each in old if each.name.endswith(".tar")]
        file = old.extractfile(member)
        assert file
        return tar((member.name, change(file.read())))


def zstd_window(content: bytes) -> bytes:
    """Compress so that reading it takes a window of 2 GiB."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 31}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(content) + compressor.flush()


def links(content: bytes) -> bytes:
    """Turn each layer into a link that leads to itself, over another one."""

    def change(old: bytes) -> bytes:
        output = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(old)) as source:
            for member in source:
                file = source.extractfile(member)
                data = file.read() if file else b""
                if member.name.endswith("layer.tar"):
                    loop = header("loop", 0, tarfile.SYMTYPE, member.name)
                    output.write(header(member.name, 0, tarfile.SYMTYPE, "../loop") + loop)
                else:
                    output.write(header(member.name, len(data)) + data + bytes(-len(data) % 512))
        return output.getvalue() + bytes(1024)

    return inner(content, change)


def link_outside(content: bytes) -> bytes:
    return inner(
        content,
        lambda old: edited(old, lambda name, data: None if name.endswith("layer.tar") else data),
    )


@dataclass(frozen=True)
class Kind:
    """A kind of archive.

    Attributes:
        make: Makes its bytes from a sound archive, decompressed.
        words: What the error has to say.
        is_whole_at_first: Whether the image in it is sound, and comes before what is wrong.
    """

    make: Callable[[bytes], bytes]
    words: str
    is_whole_at_first: bool = False


def gz(make: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda sound: gzip.compress(make(sound), 1)


DEEP = b"[" * 200_000
SHA = f"sha256:{'0' * 64}"
KINDS: Mapping[str, Kind] = {
    # Not the file that it should be.
    "nothing at all": Kind(lambda _: b"", "is empty"),
    "three bytes": Kind(lambda _: b"\x1f\x8b\x08", "ends in the middle"),
    "a page of a proxy": Kind(lambda _: b"<html>403</html>" * 99, "not a tar archive"),
    "random": Kind(lambda _: os.urandom(9999), "not a tar archive"),
    "zip in place of tar": Kind(zipped, "is a zip file, not a tar archive"),
    "bzip2": Kind(bz2.compress, "compressed with bzip2, not"),
    "xz": Kind(lzma.compress, "compressed with xz, not"),
    "zip in gzip": Kind(gz(zipped), "not a tar archive"),
    "gzip in gzip": Kind(gz(gzip.compress), "not a tar archive"),
    "gzip of nothing": Kind(gz(lambda _: b""), "is empty"),
    "a tar without members": Kind(gz(lambda _: bytes(10240)), "contains no images"),
    "only folders": Kind(
        gz(lambda _: header("a", 0, tarfile.DIRTYPE) + bytes(1024)), "contains no images"
    ),
    # Cut off, at each layer of nesting.
    "gzip cut in its header": Kind(lambda s: gzip.compress(s)[:7], "ends in the middle"),
    "gzip cut in the middle": Kind(
        lambda s: gzip.compress(s)[: len(s) // 9], "ends in the middle"
    ),
    "gzip cut in its checksum": Kind(lambda s: gzip.compress(s)[:-3], "ends in the middle", True),
    "tar cut in a header": Kind(gz(lambda s: s[:300]), "not a tar archive|ends"),
    "tar cut in a member": Kind(gz(lambda s: s[: len(s) // 2]), "ends in the middle of"),
    "tar cut before its end": Kind(
        gz(lambda s: s.rstrip(b"\0") + bytes(-len(s.rstrip(b"\0")) % 512)), "end"
    ),
    "image cut in a layer": Kind(
        gz(lambda s: inner(s, lambda i: i[: len(i) // 2])), "ends in the middle|without its end"
    ),
    "image of no bytes": Kind(gz(lambda s: inner(s, lambda _: b"")), "is empty"),
    # Changed on the way.
    "a bit in the gzip data": Kind(lambda s: flipped(gzip.compress(s), 0.5), "damaged|does not"),
    "a bit in the gzip checksum": Kind(lambda s: flipped(gzip.compress(s), 0.9999), "damaged"),
    "a bit in a tar header": Kind(gz(lambda s: flipped(s, 3 / len(s))), "not a tar archive"),
    "a bit in a header of the image": Kind(
        gz(lambda s: inner(s, lambda i: flipped(i, 3 / len(i)))), "not a tar archive"
    ),
    "a bit in a layer": Kind(gz(lambda s: flipped(s, 0.6)), "digest|damaged|is not"),
    "a window of 2 GiB": Kind(zstd_window, "a window of 2048 MiB"),
    # Tar that lies.
    "two archives joined": Kind(
        lambda s: gzip.compress(s) * 2, "continues after its end marker", True
    ),
    "zeros without end": Kind(
        lambda s: gzip.compress(s, 1) + gzip.compress(bytes(MIB)) * 80,
        "continues after its end marker",
        True,
    ),
    "a member of a terabyte": Kind(
        gz(lambda s: header("image.tar", 2**40) + s), "ends in the middle|not a tar|damaged", True
    ),
    "a member of fewer than none": Kind(
        gz(
            lambda s: (
                extended(tarfile.XHDTYPE, record(b"size", b"-5")) + header("image.tar", 5) + s
            )
        ),
        "damaged extended header",
    ),
    "a size of 5,000 digits": Kind(
        gz(
            lambda s: (
                extended(tarfile.XHDTYPE, record(b"size", b"9" * 5000)) + header("image.tar") + s
            )
        ),
        "damaged extended header",
    ),
    "a name of a gigabyte": Kind(
        gz(lambda s: extended(tarfile.GNUTYPE_LONGNAME, b"a" * 512, 2**30) + s),
        "extended headers of 1073742336 bytes",
    ),
    "a header of a gigabyte": Kind(
        gz(lambda s: extended(tarfile.XHDTYPE, b"a" * 512, 2**30) + s),
        "extended headers of 1073742336 bytes",
    ),
    "a name of 5,000 characters": Kind(
        gz(lambda s: extended(tarfile.GNUTYPE_LONGNAME, b"a" * 5000) + s), "name is too long"
    ),
    "records that are none": Kind(
        gz(lambda s: extended(tarfile.XHDTYPE, b"99 path") + s), "damaged extended header"
    ),
    "members without end": Kind(
        lambda _: gzip.compress(header("a.tar") * 20_000, 1) * 8, "too many members"
    ),
    "a name that a terminal obeys": Kind(
        gz(lambda _: tar(("\x1b[2J\r\udcff.tar", b"no tar" * 99))), "not a tar archive"
    ),
    # Not the files that they seem.
    "a link for an image": Kind(
        gz(lambda _: header("image.tar", 0, tarfile.SYMTYPE, "/etc/passwd") + bytes(1024)),
        "contains no images",
    ),
    "a device for an image": Kind(
        gz(lambda _: header("image.tar", 0, tarfile.BLKTYPE) + bytes(1024)), "contains no images"
    ),
    "zip for an image": Kind(gz(lambda s: inner(s, zipped)), "not a tar archive"),
    "links in a circle for layers": Kind(gz(links), "a chain of more than 16 links"),
    "no layers": Kind(gz(link_outside), "lacks the layer"),
    # Documents.
    "a manifest that is deep": Kind(gz(lambda _: saved(DEEP)), "not valid JSON|not a list"),
    "a manifest that is no list": Kind(gz(lambda _: saved({"a": 1})), "not a list of images"),
    "a manifest of numbers": Kind(gz(lambda _: saved([1, 2])), "not a list of images"),
    "a manifest of one large number": Kind(
        gz(lambda _: saved(b"[" + b"1" * 9999 + b"]")), "not valid JSON"
    ),
    "a manifest that is not UTF-8": Kind(gz(lambda _: saved(b'["\xff\xfe"]')), "not valid JSON"),
    "a manifest without a config": Kind(gz(lambda _: saved(b"[{}]")), "names no config"),
    "a config that is elsewhere": Kind(
        gz(lambda _: image({}, Config="../../../../etc/passwd")), "lacks the config"
    ),
    "layers that are elsewhere": Kind(
        gz(lambda _: image({"rootfs": {"diff_ids": [SHA]}}, Layers=["../../etc/passwd"])),
        "lacks the layer",
    ),
    "layers that are numbers": Kind(
        gz(lambda _: image({}, Layers=[1])), "Layers is not a list of strings"
    ),
    "names that are numbers": Kind(
        gz(lambda _: image({"rootfs": {"diff_ids": []}}, RepoTags=[1])), "RepoTags is not a list"
    ),
    "100,000 layers of one": Kind(
        gz(
            lambda _: saved(
                [{"Config": "config", "RepoTags": [NAME], "Layers": ["l"] * 100_000}],
                config=json.dumps({"rootfs": {"diff_ids": ["sha256:0"]}}).encode(),
                l=b"a layer",
            )
        ),
        "100000 layers are too many",
    ),
    "a config that is deep": Kind(gz(lambda _: image(b"{" + DEEP)), "is not an image config"),
    "a config of nothing": Kind(gz(lambda _: image({})), "is not an image config"),
    "a config of other kinds": Kind(
        gz(lambda _: image({"rootfs": {"diff_ids": 5}})), "diff_ids is not a list"
    ),
    "layers that are not in the config": Kind(
        gz(lambda _: image({"rootfs": {"diff_ids": [SHA]}})), "0 layers of docker.io/minio/minio:1"
    ),
}


def words(registry: RunningRegistry, path: Path, place: str) -> list[str]:
    return [
        *("push", "--images", str(path), "--state", f"{path}.state"),
        *("--registry", f"{registry.process.host}/{place}"),
        *("--registry-ca", str(registry.process.ca)),
    ]


def tags(registry: RunningRegistry, place: str) -> list[Path]:
    folder = registry.process.data / "docker/registry/v2/repositories" / place
    return list(folder.rglob("tags/*"))


def _cases(names: Iterable[str]) -> list[Any]:
    """Make cases; the slow one is measured with many more members by ``tox -e hostile``."""
    slow = "members without end"
    return [
        pytest.param(name, marks=pytest.mark.thorough if name == slow else ()) for name in names
    ]


@pytest.mark.parametrize("name", _cases(KINDS))
def test_it_is_told_in_one_clear_error(
    name: str,
    sound: bytes,
    shared_registry: RunningRegistry,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "images.tar.gz"
    path.write_bytes(KINDS[name].make(sound))
    place = f"kind-{list(KINDS).index(name)}"
    status = main(words(shared_registry, path, place))
    captured = capfd.readouterr()
    if status == 1:
        # The archive could be read, and an image in it is damaged.
        (error,) = yaml.safe_load(captured.out)["damaged"]
    else:
        assert status == 2
        (error,) = captured.err.splitlines()
    assert re.search(KINDS[name].words, error), error
    assert "Traceback" not in captured.err
    assert "\x1b" not in captured.out + captured.err
    assert len(error) < 600
    assert len(tags(shared_registry, place)) == (1 if KINDS[name].is_whole_at_first else 0)
    assert set(tmp_path.iterdir()) <= {path, path.with_name("images.tar.gz.state")}


def zeros_for_a_layer(_: bytes) -> bytes:
    """Make an archive of one layer of a gigabyte of zeros, which is a megabyte."""
    size = 1024 * MIB
    heads = header("image.tar", 512 + size + 1024) + header("layer.tar", size)
    return gzip.compress(heads) + gzip.compress(bytes(MIB), 1) * 1024 + gzip.compress(bytes(2048))


BOMBS: Mapping[str, Callable[[bytes], bytes]] = {
    "a layer of a gigabyte": zeros_for_a_layer,
    **{
        name: KINDS[name].make
        for name in (
            "members without end",
            "a window of 2 GiB",
            "a header of a gigabyte",
            "100,000 layers of one",
        )
    },
}


@pytest.mark.parametrize("name", _cases(BOMBS))
def test_it_takes_no_more_memory_than_any(
    name: str, sound: bytes, shared_registry: RunningRegistry, tmp_path: Path
) -> None:
    path = tmp_path / "images.tar.gz"
    path.write_bytes(BOMBS[name](sound))
    usage = run_measured(
        ["-m", "ckf_airgap", *words(shared_registry, path, f"bomb-{list(BOMBS).index(name)}")],
        {**os.environ, "PYTHONPATH": ":".join(sys.path)},
        fails=True,
    )
    print(name, usage)
    assert usage.peak_mib < 200
