"""Charms, bundles and overlays that are small and ask for much, or that are odd.

Whatever they hold, reading them takes less than 256 MiB, ends, and is told in one message. Run it
with ``-s`` for the table of what each takes.
"""

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.hostile_charms import LAUGHS, MERGES, with_bytes
from tests.support.hostile_parts import member, saved, write_gzip
from tests.support.measured_command import check, measure
from tests.support.tar_files import END, Entry

pytestmark = pytest.mark.hostile

METADATA = "name: some\n"
SOUND = "applications: {some: {charm: some}}\n"


def charm(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Make a charm."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", method) as archive:
        for name, content in {"metadata.yaml": METADATA, **files}.items():
            archive.writestr(name, content)
    return output.getvalue()


def lying(method: int) -> bytes:
    """Make a zip whose directory says that 512 MiB are 1,000 bytes."""
    output = io.BytesIO()
    with (
        zipfile.ZipFile(output, "w", method, compresslevel=1) as archive,
        archive.open("metadata.yaml", "w") as file,
    ):
        for _ in range(512):
            file.write(b"#" * 2**20)
    return with_bytes(output.getvalue(), b"PK\x01\x02", 24, (1000).to_bytes(4, "little"))


def of_many_entries(count: int) -> bytes:
    """Make a zip whose directory has very many entries (APPNOTE.TXT, 4.3.12 and 4.3.14)."""
    content = charm({})
    end = content.rfind(b"PK\x05\x06")
    (start,) = struct.unpack("<I", content[end + 16 : end + 20])
    entry = content[start:end]
    name = b"f0000000"
    one = entry[:28] + struct.pack("<H", len(name)) + entry[30:46] + name
    directory = entry + one * count
    first = b"PK\x06\x06" + struct.pack("<QHHII", 44, 45, 45, 0, 0)
    wide = first + struct.pack("<QQQQ", count + 1, count + 1, len(directory), start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, start + len(directory), 1)
    last = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    return content[:start] + directory + wide + locator + last


def of_default_files(count: int) -> bytes:
    """Make a charm of many options, each with a large file of default images."""
    options = "".join(f"  image-{number}: {{default: x}}\n" for number in range(count))
    default = f"x: [{'a,' * 260_000}]"
    files = {f"src/default-image-{number}.yaml": default for number in range(count)}
    return charm({"config.yaml": f"options:\n{options}", **files})


def of_endpoints(role: str, count: int, name: str = "some") -> bytes:
    """Make a charm of many endpoints of one interface."""
    lines = "".join(f"  e{number}: {{interface: same}}\n" for number in range(count))
    return charm({"metadata.yaml": f"name: {name}\n{role}:\n{lines}"})


def of_options(count: int, image: str = "a/b{}:1") -> bytes:
    """Make a charm of many options that name an image each."""
    lines = "".join(f"  image-{n}: {{default: '{image.format(n)}'}}\n" for n in range(count))
    return charm({"config.yaml": f"options:\n{lines}"})


def of_resources(count: int) -> bytes:
    """Make a charm of many resources that name no image."""
    lines = "".join(f"  r{n}: {{type: oci-image}}\n" for n in range(count))
    return charm({"metadata.yaml": f"{METADATA}resources:\n{lines}"})


def of_images(count: int) -> bytes:
    """Make a charm of one option that names many images."""
    lines = "".join(f"      k{n}: q{n}/x:2\n" for n in range(count))
    return charm({"config.yaml": f"options:\n  some-images:\n    default: |\n{lines}"})


Charms = Callable[[], Iterable[tuple[str, bytes]]]


def one(make: Callable[[], bytes]) -> Charms:
    """Put one charm into charms.tar.gz."""
    return lambda: [("bad.charm", make())]


CHARMS: Mapping[str, tuple[Charms, str]] = {
    "a name that nearly fits": (
        one(lambda: charm({"metadata.yaml": f"name: a{'-aaaa' * 25}!"})),
        "names no valid charm",
    ),
    "deflate: 512 MiB said to be 1,000 bytes": (
        one(lambda: lying(zipfile.ZIP_DEFLATED)),
        "not a readable charm",
    ),
    "bzip2: 512 MiB said to be 1,000 bytes": (
        one(lambda: lying(zipfile.ZIP_BZIP2)),
        "compressed with a method that charm tools do not use",
    ),
    "lzma, damaged": (
        one(lambda: with_bytes(charm({}, zipfile.ZIP_LZMA), b"PK\x03\x04", 48, b"\xff" * 9)),
        "compressed with a method that charm tools do not use",
    ),
    "a zip of 2,000,000 entries": (
        one(lambda: of_many_entries(2_000_000)),
        "its directory is too large to be right",
    ),
    "metadata that is a list of 520,000": (
        one(lambda: charm({"metadata.yaml": f"{METADATA}x: [{'a,' * 520_000}]"})),
        "too large|has more than 50000 values",
    ),
    "100 default files of 520 kB": (
        one(lambda: of_default_files(100)),
        "has more than 50000 values",
    ),
    "aliases that explode": (
        one(lambda: charm({"metadata.yaml": f"{METADATA}{LAUGHS}"})),
        "expands to more than 200000 values",
    ),
    "merge keys that explode": (
        one(lambda: charm({"metadata.yaml": f"{METADATA}{MERGES}"})),
        "expands to more than 200000 values",
    ),
    "100,000 lists in each other": (
        one(lambda: charm({"metadata.yaml": "name: " + "[" * 100_000})),
        "nested too deeply",
    ),
    "999 charms that are none, and one that is": (
        lambda: [("good.charm", charm({})), *((f"x{n}.charm", b"x") for n in range(999))],
        "",
    ),
    "100,000 charms that are none": (
        lambda: ((f"x{n}.charm", b"x") for n in range(100_000)),
        "contains more than 1000 .charm files",
    ),
    "100 charms of 12,000 endpoints": (
        lambda: ((f"c{n}.charm", of_endpoints("requires", 12_000, f"c{n}x")) for n in range(100)),
        "",
    ),
    "a key of 1 MB given twice": (
        one(lambda: charm({"config.yaml": f"{'a' * 500_000}: 1\n{'a' * 500_000}: 1"})),
        "is not valid YAML",
    ),
}
PLANS: Mapping[str, tuple[Charms, str, str]] = {
    "two charms of 8,000 endpoints, a relation without": (
        lambda: [
            ("a.charm", of_endpoints("requires", 8_000, "left")),
            ("b.charm", of_endpoints("provides", 8_000, "right")),
        ],
        "applications: {left: {}, right: {}}\nrelations: [[left, right]]",
        "could be several: .*more",
    ),
    "two charms of 8,000 endpoints, 8,000 relations": (
        lambda: [
            ("a.charm", of_endpoints("requires", 8_000, "left")),
            ("b.charm", of_endpoints("provides", 8_000, "right")),
        ],
        "applications: {left: {}, right: {}}\nrelations:\n"
        + "".join(f"- [left, 'right:e{n}']\n" for n in range(8_000)),
        "could be several",
    ),
    "12,000 options that name images": (one(lambda: of_options(12_000)), SOUND, ""),
    "12,000 options that name one image": (one(lambda: of_options(12_000, "a/b:2")), SOUND, ""),
    "12,000 resources that name no image": (one(lambda: of_resources(12_000)), SOUND, ""),
    "a bundle of 100,000 applications": (
        one(lambda: charm({})),
        "applications:\n" + "".join(f"  a{n}x:\n" for n in range(90_000)),
        "has 90000 applications, which is too many",
    ),
    "a bundle of 100,000 applications with bodies": (
        one(lambda: charm({})),
        "applications: {" + ", ".join(f"a{n}x: {{}}" for n in range(70_000)) + "}",
        "has more than 200000 values|too many",
    ),
    "a bundle of 50,000 relations": (
        one(lambda: charm({})),
        f"{SOUND}relations: [{'[some, some], ' * 50_000}]",
        "has more than 10000 relations|has more than 200000 values",
    ),
    "a bundle of 40,000 unknown keys": (
        one(lambda: charm({})),
        SOUND + "".join(f"k{n}: 1\n" for n in range(40_000)),
        "",
    ),
    "a bundle of 99 overlays": (
        one(lambda: charm({})),
        SOUND + "---\napplications: {some: {scale: 2}}\n" * 98,
        "",
    ),
    "a bundle of aliases that explode": (
        one(lambda: charm({})),
        f"{SOUND}{LAUGHS}",
        "expands to more than 200000 values",
    ),
    "a scale of 5,000 hexadecimal digits": (
        one(lambda: charm({})),
        f"applications: {{some: {{scale: 0x{'f' * 5000}}}}}",
        "has a number of too many digits",
    ),
    "names that a terminal obeys": (
        one(lambda: charm({})),
        'applications: {"\\e]0;owned\\a": {}}',
        "has an application with the name",
    ),
    "an application given twice": (
        one(lambda: charm({})),
        "applications:\n  some: {}\n  some: {scale: 2}\n",
        r"is not valid YAML \(line 3 repeats the key some\)",
    ),
    "a bundle in UTF-16": (one(lambda: charm({})), SOUND.encode("utf-16").decode("latin-1"), ""),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.tar.gz"
    write_image(path, ["docker.io/a/b:1"])
    return path


def write_image(path: Path, names: list[str]) -> None:
    """Write images.tar.gz with one image."""
    config = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": []}}).encode()
    entry = {"Config": "c", "RepoTags": names, "Layers": []}
    write_gzip(path, [member("image.tar", saved([entry], Entry("c", config))), END])


def write_charms(path: Path, charms: Iterable[tuple[str, bytes]]) -> None:
    with gzip.open(path, "wb", 1) as file:
        for name, content in charms:
            file.write(member(name, content))
        file.write(END)


@pytest.mark.parametrize("name", CHARMS)
def test_inspecting_charms(name: str, tmp_path: Path) -> None:
    make, words = CHARMS[name]
    path = tmp_path / "charms.tar.gz"
    write_charms(path, make())
    measured = measure(["inspect", "--charms", str(path)])
    check(name, path, measured)
    assert measured.status == (2 if words else 1), measured.error
    assert re.search(words, measured.error)


@pytest.mark.parametrize("as_overlay", [False, True], ids=["bundle", "overlay"])
@pytest.mark.parametrize("name", PLANS)
def test_planning(name: str, as_overlay: bool, images: Path, tmp_path: Path) -> None:
    make, text, words = PLANS[name]
    path = tmp_path / "charms.tar.gz"
    write_charms(path, make())
    given = tmp_path / "given.yaml"
    # What is no text of one byte for each character was made of other bytes.
    is_plain = text.isascii()
    given.write_bytes(text.encode("ascii" if is_plain else "latin-1"))
    options = ["--bundle", str(given)]
    if as_overlay:
        base = tmp_path / "base.yaml"
        base.write_text("applications: {some: {}, left: {}, right: {}}")
        options = ["--bundle", str(base), "--overlay", str(given)]
    measured = measure(
        ["plan", "--charms", str(path), "--images", str(images), "--registry", "r:5000", *options]
    )
    check(f"{name}, {'overlay' if as_overlay else 'bundle'}", given, measured)
    fails = bool(words) or not is_plain
    assert measured.status == (2 if fails else 0), measured.error
    assert re.search(words, measured.error)


def test_planning_where_20_000_images_could_be_meant_by_each_of_1_000(tmp_path: Path) -> None:
    charms, images = tmp_path / "charms.tar.gz", tmp_path / "images.tar.gz"
    write_charms(charms, [("some.charm", of_images(1_000))])
    write_image(images, [f"docker.io/r{number}/x:1" for number in range(20_000)])
    bundle = tmp_path / "bundle.yaml"
    bundle.write_text(SOUND)
    words = ["--charms", str(charms), "--images", str(images), "--bundle", str(bundle)]
    measured = measure(["plan", *words, "--registry", "r:5000"])
    # The value of the option is as long as it has to be.
    told = {key: value for key, value in measured.document.items() if key != "applications"}
    check("20,000 candidates for 1,000 images", images, replace(measured, document=told))
    assert measured.status == 0, measured.error
    notes = {item["note"] for item in measured.document["missing"]}
    assert len(measured.document["missing"]) == 1_000
    assert re.fullmatch(r"several images could be meant: r0/x:1, .* and 199\d\d more", notes.pop())
    assert not notes
