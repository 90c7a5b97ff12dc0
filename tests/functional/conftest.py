"""Real registries on the loopback address, over TLS: mostly Debian's docker-registry."""

import gc
import shutil
import warnings
from collections.abc import Generator
from itertools import count
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from testbed import builds
from testbed.pki import Authority
from testbed.registries import KINDS
from testbed.registry import Registry
from tests.functional.archive_case import ArchiveCase
from tests.functional.opentofu import OpenTofu
from tests.functional.packs import CHARMS, OPTIONS
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import Release
from tests.support.outside import Outside, with_images, write_charms

_PACKAGES = {
    "curl": "curl",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "minisign": "minisign",
    "nginx": "nginx-light",
    "skopeo": "skopeo",
}
_NUMBERS = count()


@pytest.fixture(scope="session", autouse=True)
def debian_packages() -> None:
    """Fail where a package is missing; nothing is installed by a test."""
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if missing:
        pytest.fail(
            f"the Debian packages {', '.join(missing)} are missing: "
            "install them with python3 -m testbed packages",
            pytrace=False,
        )


@pytest.fixture(autouse=True)
def only_tls(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Fail a test in which the product opens a connection without TLS.

    The servers of these tests see to the same where the product is a process of its own.
    """
    opened: list[str] = []

    def connect(connection: HTTPConnection) -> None:
        opened.append(connection.host)
        raise OSError("there is to be no connection without TLS")

    monkeypatch.setattr(HTTPConnection, "connect", connect)
    yield
    assert opened == []


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def registry(authority: Authority, tmp_path: Path) -> Generator[RunningRegistry]:
    """An empty registry that everybody may use."""
    process = Registry.on_loopback(tmp_path, authority)
    process.start()
    yield RunningRegistry(process)
    process.stop()


@pytest.fixture(scope="module")
def shared_registry(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Generator[RunningRegistry]:
    """A registry for many cases, each of which has a path of its own."""
    process = Registry.on_loopback(tmp_path_factory.mktemp("registry"), authority)
    process.start()
    yield RunningRegistry(process)
    process.stop()


@pytest.fixture(scope="module", params=KINDS)
def real_process(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Registry]:
    """A registry of each kind, for the tests of a module."""
    folder = tmp_path_factory.mktemp("registry")
    process = KINDS[request.param].on_loopback(folder, authority)
    try:
        process.start()
        yield process
    finally:
        # Where the second of its processes does not start, the first is there.
        process.stop()


@pytest.fixture
def real_registry(real_process: Registry) -> RunningRegistry:
    """A registry of each kind, with a path of its own for the test."""
    return RunningRegistry(real_process, f"test-{next(_NUMBERS)}")


@pytest.fixture
def case(
    shared_registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> ArchiveCase:
    """An archive with a path of its own in the shared registry."""
    return ArchiveCase(shared_registry, tmp_path, capsys)


@pytest.fixture
def outside_registry(authority: Authority, tmp_path: Path) -> Generator[RunningRegistry]:
    """An empty registry for what stands outside the air gap."""
    process = Registry.on_loopback(tmp_path / "outside", authority)
    process.start()
    yield RunningRegistry(process)
    process.stop()


@pytest.fixture
def outside(
    outside_registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Outside:
    """What stands for the internet; skopeo finds it there."""
    found = Outside(outside_registry.process, tmp_path)
    for key, value in found.environment.items():
        monkeypatch.setenv(key, value)
    return found


@pytest.fixture
def closed_registry(authority: Authority, tmp_path: Path) -> Generator[RunningRegistry]:
    """An empty registry that wants an account."""
    process = Registry.on_loopback(tmp_path, authority, "pusher")
    process.start()
    yield RunningRegistry(process)
    process.stop()


@pytest.fixture
def resets() -> Generator[None]:
    """For connections that are reset as they begin: Python itself leaves their sockets open.

    ``ssl.SSLSocket._create`` does not close what it has made where the other side resets the
    connection between its making and the handshake.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <ssl.SSLSocket", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries follow at once."""

    def pause(attempt: int, asked: str | None = None) -> None:
        pass

    monkeypatch.setattr("ckf_airgap.network.https.pause", pause)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers of a few hundred kilobytes be large ones."""
    monkeypatch.setattr("ckf_airgap.registry.blob_upload.CHUNK_SIZE", 65536)
    monkeypatch.setattr("ckf_airgap.push.layer_parts._BLOCK_SIZE", 16384)


@pytest.fixture(scope="session")
def juju_client() -> Path:
    """The real client of Juju 3.6, built where it is not there yet."""
    return builds.juju_3_client()


@pytest.fixture(scope="session")
def filled(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Path]:
    """A part of a release, and the data of a registry that has its images."""
    folder = tmp_path_factory.mktemp("filled")
    process = Registry.on_loopback(folder, authority)
    process.start()
    try:
        release = Release.builtin(CHARMS)
        replaced = Outside(process, folder).fill(release.images, OPTIONS)
    finally:
        process.stop()
    return with_images(release, replaced), process.data


@pytest.fixture
def release(filled: tuple[Release, Path], outside: Outside, tmp_path: Path) -> Release:
    """A part of a release: its images outside, its charms in the folder ``charms``."""
    release, data = filled
    shutil.copytree(data, outside.registry.data, dirs_exist_ok=True)
    outside.has(release.images)
    write_charms(release, tmp_path / "charms")
    return release


@pytest.fixture(scope="session")
def tofu(tmp_path_factory: pytest.TempPathFactory) -> OpenTofu:
    return OpenTofu(tmp_path_factory.mktemp("tofu"))
