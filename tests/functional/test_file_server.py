"""Archives from an HTTPS file server: a real one, and one that does everything wrong."""

import io
import itertools
import os
import random
import tarfile
from pathlib import Path

import pytest

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.sources import UrlSource
from ckf_airgap.archives.tar_stream import read_members
from ckf_airgap.errors import ArtifactError, ConfigurationError
from ckf_airgap.push.pusher import ImagePusher
from testbed.file_server import FileServer
from testbed.pki import Authority
from testbed.processes import Processes
from testbed.registry import free_port
from tests.functional.file_servers import Faults, Served, serving
from tests.functional.pushes import IMAGES, archive, check_all
from tests.functional.running_registry import RunningRegistry


def source(served: Served, authority: Authority) -> UrlSource:
    return UrlSource(served.url(), "images-url", authority.certificate.read_text())


def read_all(source: UrlSource) -> bytes:
    with source.open() as stream:
        pieces: list[bytes] = []
        while data := stream.read(1_000_000):
            pieces.append(data)
        return b"".join(pieces)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(cuts=[100_000, 1, 0, 500_000]),
        Faults(cuts=[random.Random(5).randrange(400_000) for _ in range(6)]),
        Faults(cuts=[100_000, 300_000], has_ranges=False),
        Faults(has_head=False),
        Faults(statuses=[503, 429, 502]),
    ],
    ids=["none", "cuts", "many cuts", "no ranges", "no HEAD", "bad moments"],
)
def test_what_can_be_mended_is(faults: Faults, authority: Authority) -> None:
    content = os.urandom(3_000_000)
    breaks = faults.has_ranges and bool(faults.cuts)
    with serving(authority, content, faults) as served:
        assert read_all(source(served, authority)) == content
    if breaks:
        # What has arrived is not asked for again.
        assert all(served.starts[1:])
        assert served.sent < len(content) * 1.5


def test_a_part_that_nobody_wants_is_not_read(authority: Authority, tmp_path: Path) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as made:
        for name in ("a", "b", "c"):
            entry = tarfile.TarInfo(name)
            entry.size = 30_000_000
            made.addfile(entry, io.BytesIO(bytes(entry.size)))
    for has_ranges, parts in ((True, 4), (False, 1)):
        faults = Faults(has_ranges=has_ranges)
        with serving(authority, output.getvalue(), faults) as served:
            with open_archive(source(served, authority)) as stream:
                assert [member.name for member in read_members(stream, "x")] == ["a", "b", "c"]
            assert len(served.starts) == parts


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("faults", "problem", "cure"),
    [
        (Faults(statuses=[404]), "answered 404", "check that the file exists"),
        (Faults(statuses=[401]), "answered 401", "without an account"),
        (Faults(location="https://other.corp/x"), "answered 302", "https://other.corp/x"),
        (Faults(has_length=False), "does not give the size", "Content-Length"),
        (Faults(statuses=[503] * 20), "answered 503", "check that the file exists"),
        (Faults(cuts=[0] * 20), "cannot be reached", "run it again"),
    ],
    ids=["404", "401", "redirect", "no length", "503 for good", "cuts for good"],
)
def test_what_cannot_be_mended_is_told(
    faults: Faults, problem: str, cure: str, authority: Authority
) -> None:
    with (
        serving(authority, bytes(1000), faults) as served,
        pytest.raises(ArtifactError, match=problem) as raised,
    ):
        read_all(source(served, authority))
    assert "images-url" in raised.value.problem
    assert cure in raised.value.cure


@pytest.mark.usefixtures("no_pauses")
def test_a_file_that_is_replaced_while_it_is_read(authority: Authority) -> None:
    with serving(authority, os.urandom(2_000_000), Faults(cuts=[700_000])) as served:

        def replace() -> None:
            if served.starts:
                served.content = os.urandom(2_000_000)

        served.faults.on_request = replace
        with pytest.raises(ArtifactError, match="was replaced on its server") as raised:
            read_all(source(served, authority))
    assert "run it again" in raised.value.cure


def test_another_file_has_another_version(authority: Authority) -> None:
    with serving(authority, b"one", Faults()) as served:
        version = source(served, authority).version
        assert source(served, authority).version == version
        served.content = b"two"
        assert source(served, authority).version != version


@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_is_not_to_be_trusted_or_reached(authority: Authority) -> None:
    with serving(authority, b"content", Faults()) as served:
        with pytest.raises(ArtifactError, match="certificate that is not trusted") as raised:
            _ = UrlSource(served.url(), "images-url").size
        assert "registry-ca" in raised.value.cure
    for url, problem in (
        (f"https://127.0.0.1:{free_port()}/x.tar.gz", "cannot be reached"),
        ("https://files.invalid/x.tar.gz", "cannot be resolved"),
    ):
        with pytest.raises(ArtifactError, match=problem):
            _ = UrlSource(url, "images-url").size


@pytest.mark.parametrize(
    "url",
    [
        "http://files.corp/x.tar.gz",
        "files.corp/x.tar.gz",
        "https://files.corp/",
        "https:///x.tar.gz",
        "https://[::1/x.tar.gz",
        "https://files.corp:port/x.tar.gz",
        "https://files corp/x.tar.gz",
        "",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="charms-url is not the HTTPS address"):
        UrlSource(url, "charms-url")


def test_an_account_in_an_address_is_refused_and_not_told() -> None:
    with pytest.raises(ConfigurationError) as raised:
        UrlSource("https://ann:the-secret-word@files.corp/x.tar.gz", "images-url")
    assert "the-secret-word" not in str(raised.value)


@pytest.mark.usefixtures("no_pauses")
def test_a_push_from_a_server_that_cuts(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    content = images.path.read_bytes()
    cut = len(content) // 5
    with serving(authority, content, Faults(cuts=[cut] * 4)) as served:
        for pushed in (len(IMAGES), 0):
            pusher = ImagePusher(registry.client(), registry.location, tmp_path / "pushed")
            result = pusher.push(source(served, authority))
            assert len(result.pushed) == pushed
    # The record, the look ahead for the first name, and the push: each goes on where it was cut.
    begun = [number for number, start in enumerate(served.starts) if start == 0]
    for first, last in itertools.pairwise([*begun, len(served.starts)]):
        assert served.starts[first:last] == [number * cut for number in range(last - first)]
    assert served.starts.count(cut) > 1
    check_all(registry, images, tmp_path)


def test_a_push_from_nginx(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    server = FileServer(
        address=f"127.0.0.1:{free_port()}",
        root=tmp_path,
        state=tmp_path / "nginx",
        certificate=authority.issue("registry", "127.0.0.1", "localhost"),
        processes=Processes(tmp_path / "run", tmp_path / "log"),
        wrap=lambda args: [str(arg) for arg in args],
    )
    server.start()
    try:
        url = server.url(images.path.name)
        made = UrlSource(url, "images-url", authority.certificate.read_text())
        pusher = ImagePusher(registry.client(), registry.location, tmp_path / "pushed")
        assert len(pusher.push(made).pushed) == len(IMAGES)
        with made.open() as stream:
            stream.read(1000)
            stream.skip(5_000)
            position = stream.position
        assert position == 6_000
    finally:
        server.stop()
    check_all(registry, images, tmp_path)
