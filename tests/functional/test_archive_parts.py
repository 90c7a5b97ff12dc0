"""Releases in parts: packed, carried in any order, and read as one archive."""

import random
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from ckf_airgap.archives.parts import ServedArchive
from ckf_airgap.archives.sources import UrlSource, read_at
from ckf_airgap.commands.main import main
from ckf_airgap.errors import ArtifactError, ConfigurationError
from testbed.file_server import FileServer
from testbed.pki import Authority
from testbed.processes import Processes
from testbed.registry import free_port
from tests.functional.packs import Captured, document, push, words
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Gate, proxy, running
from tests.sample_release import Release
from tests.support.outside import Outside

PART = 150_000
SIZE = ("--part-size", "150kB")


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Generator[FileServer]:
    """A file server of the directory that is packed into."""
    server = FileServer(
        address=f"127.0.0.1:{free_port()}",
        root=tmp_path / "packed",
        state=tmp_path / "nginx",
        certificate=authority.issue("files", "127.0.0.1", "localhost"),
        processes=Processes(tmp_path / "run", tmp_path / "log"),
        wrap=lambda args: [str(arg) for arg in args],
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def parts_of(folder: Path, archive: str = "images.tar.gz") -> list[Path]:
    return sorted(folder.joinpath("packed").glob(f"{archive}.*"))


def check_sums(folder: Path, count: int) -> None:
    """Check the checksums with the program itself."""
    words = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.count(": OK\n") == count


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_parts_are_packed_and_pushed(
    layout: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, "--format", layout, *SIZE)) == 0
    packed = document(capsys)
    parts = parts_of(tmp_path)
    sizes = [part.stat().st_size for part in parts]
    assert [part.name[-4:] for part in parts] == [f".{n:03}" for n in range(1, len(parts) + 1)]
    assert len(parts) > 3
    assert set(sizes[:-1]) == {PART}
    assert 0 < sizes[-1] <= PART
    assert sum(sizes) == packed["images_bytes"]
    # What fits into one part is one file.
    assert (tmp_path / "packed" / "charms.tar.gz").stat().st_size <= PART
    assert len(list((tmp_path / "packed").iterdir())) == len(parts) + 2
    check_sums(tmp_path / "packed", len(parts) + 1)

    # As a manual way has it: joined, it is the archive.
    joined = tmp_path / "joined.tar.gz"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    subprocess.run(["gzip", "--test", joined], check=True)
    listed = subprocess.run(
        ["tar", "-tzf", joined], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert listed[0] == "ckf-airgap.json"

    assert push(registry, tmp_path) == 0
    assert len(document(capsys)["pushed"]) == len(release.images)
    # The journal is beside the parts, and the next push goes by it.
    assert (tmp_path / "packed" / "images.tar.gz.pushed").exists()
    assert push(registry, tmp_path) == 0
    assert document(capsys)["pushed"] == []
    charms = str(tmp_path / "packed" / "charms.tar.gz")
    for name in ("images.tar.gz", "images.tar.gz.001"):
        arguments = ["--images", str(tmp_path / "packed" / name), "--charms", charms]
        assert main(["inspect", *arguments, "--format", "yaml"]) == 0
        assert len(document(capsys)["images"]) == len(release.images)
        assert main(["plan", *arguments, "--registry", str(registry.location)]) == 0
        assert document(capsys)["missing"] == []
    # A joined one is one file.
    assert main(["inspect", "--images", str(joined), "--format", "yaml"]) == 0


@pytest.mark.usefixtures("release")
def test_charms_in_parts(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    (minio,) = tmp_path.joinpath("charms").glob("minio_*.charm")
    with zipfile.ZipFile(minio, "a") as charm:
        charm.writestr("data", random.Random(1).randbytes(400_000))
    assert main(words(outside, tmp_path, *SIZE)) == 0
    parts = parts_of(tmp_path, "charms.tar.gz")
    assert len(parts) > 1
    capsys.readouterr()
    charms = str(tmp_path / "packed" / "charms.tar.gz")
    assert main(["inspect", "--charms", charms, "--format", "yaml"]) == 0
    found = document(capsys)["charms"]
    assert len(found) == len(list((tmp_path / "charms").iterdir()))
    parts[1].unlink()
    assert main(["inspect", "--charms", charms]) == 2
    assert "charms.tar.gz.002 is missing" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["images.tar.gz", "images.tar.gz.001"])
def test_parts_on_a_file_server(
    named: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    authority: Authority,
    files: FileServer,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, "--format", "oci", *SIZE)) == 0
    parts = parts_of(tmp_path)
    content = b"".join(part.read_bytes() for part in parts)
    source = ServedArchive(files.url(named), "images-url", authority.certificate.read_text())
    assert (source.name, source.size) == ("images.tar.gz", len(content))
    for place in (0, PART - 1, PART, 2 * PART + 5, len(content) - 10, len(content)):
        assert read_at(source, place, 2 * PART) == content[place : place + 2 * PART]
    capsys.readouterr()
    arguments = ["push", "--images", files.url(named), "--registry", str(registry.location)]
    ca = tmp_path / "ca.crt"
    ca.write_text(registry.process.ca.read_text() + authority.certificate.read_text())
    arguments += ["--registry-ca", str(ca), "--state", str(tmp_path / "state")]
    assert main(arguments) == 0
    assert len(document(capsys)["pushed"]) == len(release.images)
    # A part that goes is named, and so is one that is swapped.
    parts[1].rename(tmp_path / "elsewhere")
    assert main(arguments) == 2
    assert "images.tar.gz.002 is missing" in capsys.readouterr().err
    shutil.copy(parts[2], parts[1])
    assert main(arguments) == 2
    assert "images.tar.gz.002 is not part 2: it is part 3" in capsys.readouterr().err


def test_a_far_place_costs_one_request(
    authority: Authority, files: FileServer, tmp_path: Path
) -> None:
    folder = tmp_path / "packed"
    folder.mkdir(exist_ok=True)
    for number in range(1, 4):
        with (folder / f"x.tar.{number:03}").open("wb") as part:
            part.truncate(40_000_000)
    ca = authority.certificate.read_text()
    source = ServedArchive(files.url("x.tar"), "images-url", ca)
    assert source.size == 120_000_000
    before = len(files.requests)
    with source.open() as stream:
        assert stream.skip(115_000_000) == 115_000_000
        assert stream.read(10)
        assert stream.position == 115_000_010
    # It logs a request when it is over.
    while not files.requests[before:]:
        time.sleep(0.05)
    (request,) = files.requests[before:]
    assert "GET /x.tar.003" in request
    assert " 206 " in request


def test_an_address_of_nothing(authority: Authority, files: FileServer) -> None:
    ca = authority.certificate.read_text()
    for name in ("images.tar.gz", "images.tar.gz.001"):
        with pytest.raises(ArtifactError, match="answered 404") as raised:
            _ = ServedArchive(files.url(name), "images-url", ca).size
        assert "check that the file exists" in raised.value.cure
    with pytest.raises(ConfigurationError, match=r"a single part of images\.tar\.gz"):
        ServedArchive(files.url("images.tar.gz.007"), "images-url", ca)


def remove(number: int) -> Callable[[list[Path]], object]:
    return lambda parts: parts[number].unlink()


def shorten(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:-100])


def swap(parts: list[Path]) -> None:
    first, second = parts[1].read_bytes(), parts[2].read_bytes()
    parts[1].write_bytes(second)
    parts[2].write_bytes(first)


def replace_with_noise(parts: list[Path]) -> None:
    parts[2].write_bytes(bytes(range(250)) * (PART // 250))


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (remove(0), "images.tar.gz.001 is missing"),
        (remove(1), "images.tar.gz.002 is missing"),
        (remove(-1), r"images.tar.gz.[0-9]{3} is missing"),
        (shorten, "images.tar.gz.002 has 149,900 bytes, not 150,000"),
        (swap, "images.tar.gz.002 is not part 2: it is part 3; images.tar.gz.003 is not"),
        (
            replace_with_noise,
            "images.tar.gz.003 is not part 3: it is damaged or from another archive",
        ),
    ],
    ids=["first missing", "second missing", "last missing", "cut", "swapped", "of another"],
)
def test_what_is_wrong_with_parts_shows_before_anything_is_pushed(
    damage: Callable[[list[Path]], object],
    problem: str,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, *SIZE)) == 0
    damage(parts_of(tmp_path))
    capsys.readouterr()
    assert push(registry, tmp_path) == 2
    error = capsys.readouterr().err
    assert re.search(problem, error)
    assert "copy these parts again" in error
    assert registry.repositories() == []


@pytest.mark.usefixtures("release")
def test_a_pack_of_parts_that_is_killed_goes_on(
    outside: Outside, authority: Authority, tmp_path: Path, capsys: Captured
) -> None:
    arguments = words(outside, tmp_path, "--format", "oci", *SIZE)
    partial = tmp_path / "packed" / "partial"
    upstream = RunningRegistry(outside.registry)

    def is_layer(path: str) -> bool:
        return "/blobs/" in path and (partial / "images.tar.gz.001").exists()

    gate = Gate(lambda request: is_layer(request.path), passing=6, then="cut")
    with proxy(upstream, authority, gate) as host:
        outside.configure(host)
        with running(arguments) as process:
            gate.wait(process)
            process.kill()
        gate.open()
    assert process.returncode == -signal.SIGKILL
    assert parts_of(tmp_path) == []
    outside.configure()
    assert main(arguments) == 0
    assert "continuing an earlier run" in capsys.readouterr().err
    killed = [part.read_bytes() for part in parts_of(tmp_path)]
    shutil.rmtree(tmp_path / "packed")
    assert main(arguments) == 0
    assert [part.read_bytes() for part in parts_of(tmp_path)] == killed


@pytest.mark.usefixtures("release")
def test_what_an_earlier_pack_has_left(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    packed = tmp_path / "packed"

    def names() -> set[str]:
        return {path.name for path in packed.iterdir()}

    assert main(words(outside, tmp_path, *SIZE)) == 0
    small = names()
    assert main(words(outside, tmp_path, "--part-size", "400kB")) == 0
    assert names() < small
    assert len(names()) > 2
    # The same again is there already, and so is what has lost nothing.
    capsys.readouterr()
    assert main(words(outside, tmp_path, "--part-size", "400kB")) == 0
    assert "already" in capsys.readouterr().err
    assert main(words(outside, tmp_path)) == 0
    assert names() == {"images.tar.gz", "charms.tar.gz", "SHA256SUMS"}
    assert main(words(outside, tmp_path, *SIZE)) == 0
    assert names() == small
    # A part that is damaged is made again, and what nobody knows is left.
    part = packed / "images.tar.gz.002"
    part.write_bytes(part.read_bytes()[:-1])
    assert main(words(outside, tmp_path, *SIZE)) == 0
    assert part.stat().st_size == PART
    (packed / "images.tar.gz.700").write_text("precious")
    capsys.readouterr()
    assert main(words(outside, tmp_path, "--part-size", "300kB")) == 2
    assert "images.tar.gz.700, not written by ckf-airgap pack" in capsys.readouterr().err
    assert (packed / "images.tar.gz.700").read_text() == "precious"


@pytest.mark.usefixtures("release")
def test_checksums_that_are_there(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    sums = tmp_path / "packed" / "SHA256SUMS"
    sums.parent.mkdir()
    sums.write_text(f"{'0' * 64}  somebody-elses.iso\n")
    assert main(words(outside, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "somebody-elses.iso, which ckf-airgap pack did not write" in error
    assert "move SHA256SUMS elsewhere" in error
    sums.unlink()
    signature = sums.with_name("SHA256SUMS.minisig")
    signature.touch()
    assert main(words(outside, tmp_path)) == 2
    assert "has SHA256SUMS.minisig without SHA256SUMS" in capsys.readouterr().err
    signature.unlink()
    # As an earlier version has left it, without checksums: they are added.
    assert main(words(outside, tmp_path)) == 0
    written = sums.read_bytes()
    sums.unlink()
    assert main(words(outside, tmp_path)) == 0
    assert "already" in capsys.readouterr().err
    assert sums.read_bytes() == written
    check_sums(sums.parent, 2)
    with (sums.parent / "images.tar.gz").open("r+b") as archive:
        archive.seek(1000)
        archive.write(b"changed")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        check_sums(sums.parent, 2)
    assert "images.tar.gz: FAILED" in raised.value.stdout


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("size", "problem", "cure"),
    [
        ("4.7", "--part-size is not a size: '4.7'", "like 4.7GB or 700MiB"),
        ("100B", "is too small for|the maximum is 999", "give at least [0-9,]+B"),
        ("300B", "is too small for|the maximum is 999", "give at least [0-9,]+B"),
    ],
)
def test_a_size_that_does_not_do(
    size: str, problem: str, cure: str, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    assert main(words(outside, tmp_path, "--part-size", size)) == 2
    error = capsys.readouterr().err
    assert re.search(problem, error)
    assert re.search(cure, error)
    assert parts_of(tmp_path) == []


def test_a_file_of_the_server_and_its_first_part_are_different_things(
    authority: Authority, files: FileServer, tmp_path: Path
) -> None:
    """The whole file comes first; who wants the parts says so."""
    folder = tmp_path / "packed"
    folder.mkdir(exist_ok=True)
    (folder / "images.tar.gz").write_bytes(b"whole")
    (folder / "images.tar.gz.001").write_bytes(b"part")
    ca = authority.certificate.read_text()
    assert read_at(ServedArchive(files.url("images.tar.gz"), "x", ca), 0, 9) == b"whole"
    assert read_at(ServedArchive(files.url("images.tar.gz.001"), "x", ca), 0, 9) == b"part"
    assert read_at(UrlSource(files.url("images.tar.gz.001"), "x", ca), 0, 9) == b"part"
