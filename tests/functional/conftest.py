"""Real registries on the loopback address, over TLS: mostly Debian's docker-registry."""

import gc
import hashlib
import http.client
import json
import shutil
import ssl
import subprocess
import warnings
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from ckf_airgap.credentials import Credentials
from ckf_airgap.names import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from tests.functional.archive_case import ArchiveCase
from tests.outside import Outside
from tests.testbed import builds
from tests.testbed.pki import Authority
from tests.testbed.registries import KINDS
from tests.testbed.registry import Registry

_GZIP = 31
_PACKAGES = {
    "curl": "curl",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "nginx": "nginx-light",
    "skopeo": "skopeo",
}
_OWN = "the authority of the registry"
_CATALOG = "/v2/_catalog?n=1000"
_NUMBERS = count()
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class PulledImage:
    """An image as another tool pulls it.

    Attributes:
        image_id: The digest of its config.
        diff_ids: The digests of its uncompressed layers, computed from what was pulled.
    """

    image_id: str
    diff_ids: tuple[str, ...]


class RunningRegistry:
    """A registry, and what skopeo sees in it."""

    def __init__(self, registry: Registry, prefix: str = "ckf") -> None:
        """Describe it.

        Args:
            registry: The registry.
            prefix: The path that the images go below.
        """
        self.process = registry
        self.location = RegistryLocation.parse(f"{registry.host}/{prefix}")

    def through(self, host: str) -> "RunningRegistry":
        """Give it as a proxy shows it.

        Args:
            host: Host and port of the proxy, which is of the same authority.
        """
        return RunningRegistry(replace(self.process, host=host), self.location.path)

    def below(self, name: str) -> "RunningRegistry":
        """Give the part of it below a further path."""
        return RunningRegistry(self.process, f"{self.location.path}/{name}")

    def client(
        self, *, ca: str | None = _OWN, credentials: Credentials | None = None
    ) -> RegistryClient:
        """Make a client; it trusts the registry's authority unless told otherwise."""
        ca = self.process.ca.read_text() if ca == _OWN else ca
        return RegistryClient(self.process.host, ca=ca, credentials=credentials)

    def pull(self, reference: str, folder: Path) -> PulledImage:
        """Pull an image with skopeo, and hash what came."""
        target = folder / hashlib.sha256(reference.encode()).hexdigest()
        self._skopeo("copy", "--quiet", f"docker://{reference}", f"dir:{target}")
        manifest = json.loads(target.joinpath("manifest.json").read_bytes())
        diff_ids: list[str] = []
        for layer in manifest["layers"]:
            data = zlib.decompress(target.joinpath(layer["digest"][7:]).read_bytes(), _GZIP)
            diff_ids.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        return PulledImage(manifest["config"]["digest"], tuple(diff_ids))

    def tags(self, repository: str) -> list[str]:
        """List the tags of a repository; none where there is no such repository."""
        try:
            output = self._skopeo("list-tags", f"docker://{self.location}/{repository}")
        except subprocess.CalledProcessError:
            return []
        return list(json.loads(output)["Tags"])

    def repositories(self) -> list[str]:
        """List the repositories below the prefix that it has in its catalog, without the prefix.

        The catalog has those of blobs alone too, in registries that store them so.
        """
        listed: list[str] = []
        path = _CATALOG
        while path:
            response, body = self.get(path)
            assert response.status == 200, body
            listed += json.loads(body)["repositories"] or []
            # As </v2/_catalog?last=x&n=1000>; rel="next"
            path = (response.getheader("Link") or "").partition("<")[2].partition(">")[0]
        prefix = f"{self.location.path}/"
        return sorted(name.removeprefix(prefix) for name in listed if name.startswith(prefix))

    def uploads(self) -> int:
        """Count the blobs and manifests that were uploaded so far, from the access log."""
        log = self.process.access_log.read_text()
        return sum('"PUT /v2/' in line for line in log.splitlines())

    def put_manifest(self, repository: str, tag: str, content: bytes, media_type: str) -> None:
        """Store a manifest as another client does."""
        headers = {"Content-Type": media_type}
        path = f"/v2/{repository}/manifests/{tag}"
        response, body = self.request("PUT", path, content, headers)
        assert response.status == 201, body

    def get(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Ask for something that it has; gives the answer and its body."""
        return self.request("GET", path)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = _NONE
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request past the program; gives the answer and its body."""
        context = ssl.create_default_context(cafile=str(self.process.ca))
        connection = http.client.HTTPSConnection(self.process.host, context=context)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return response, content

    def _skopeo(self, *args: str) -> str:
        environment = {"SSL_CERT_FILE": str(self.process.ca), "PATH": "/usr/bin:/bin"}
        process = subprocess.run(
            ["skopeo", *args], check=True, capture_output=True, text=True, env=environment
        )
        return process.stdout


@pytest.fixture(scope="session", autouse=True)
def debian_packages() -> None:
    """Fail where a package is missing; nothing is installed by a test."""
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if missing:
        pytest.fail(
            f"the Debian packages {', '.join(missing)} are missing: "
            "install them with python3 -m tests.testbed packages",
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

    monkeypatch.setattr("ckf_airgap.https.pause", pause)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers of a few hundred kilobytes be large ones."""
    monkeypatch.setattr("ckf_airgap.registry.blob_upload.CHUNK_SIZE", 65536)
    monkeypatch.setattr("ckf_airgap.registry.layer_content._BLOCK_SIZE", 16384)


@pytest.fixture(scope="session")
def juju_client() -> Path:
    """The real client of Juju 3.6, built where it is not there yet."""
    return builds.juju_3_client()
