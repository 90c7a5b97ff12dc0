"""Files from outside by way of a real proxy, which sees names but no content and no account."""

import base64
import http.server
import select
import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from ckf_airgap.archives.sources import UrlSource
from ckf_airgap.errors import ArtifactError, DownloadError, RegistryError
from ckf_airgap.network import https
from ckf_airgap.network import small_downloads as small_files
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.servers import QuietHandler, serve

CONTENT = b"quay.io/team/notebook:1\n"
# Not a name of this machine: only the proxy knows where it is.
NAME = "files.corp.invalid"


class Files(QuietHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:  # noqa: N802
        assert "Proxy-Authorization" not in self.headers
        self.do_HEAD()
        self.wfile.write(CONTENT)


class Registry(QuietHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802
        assert "Proxy-Authorization" not in self.headers
        self.send_response(200)
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def proxy(account: str, requests: list[str]) -> Generator[str]:
    """Run a proxy that wants an account and finds every host on this machine; gives its host."""
    expected = f"Basic {base64.b64encode(account.encode()).decode()}"

    class Tunnel(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            requests.append(self.path)
            if self.headers.get("Proxy-Authorization") != expected:
                self.send_error(407)
                return
            port = int(self.path.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as other:
                self.send_response(200)
                self.end_headers()
                pairs = {self.connection: other, other: self.connection}
                while True:
                    for ready in select.select(list(pairs), [], [])[0]:
                        if not (data := ready.recv(65536)):
                            return
                        pairs[ready].sendall(data)

    with serve(Tunnel, None) as host:
        yield host


@contextmanager
def behind_a_proxy(
    handler: type[http.server.BaseHTTPRequestHandler],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[str]:
    """Run a server of a name that the proxy alone knows; gives its place.

    In the end, the proxy must have been asked for it and for nothing else.
    """
    requests: list[str] = []
    with serve(handler, authority, NAME) as server, proxy("ann:secret", requests) as host:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:secret@{host}")
        place = f"{NAME}:{server.rpartition(':')[2]}"
        yield place
    assert set(requests) == {place}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(attempt: int, asked: str | None = None) -> None:
        pass

    monkeypatch.setattr(https, "pause", pause)
    settings = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
    for name in (*settings, "JUJU_CHARM_HTTPS_PROXY", "JUJU_CHARM_NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_outside_is_fetched_through_the_proxy(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = authority.certificate.read_text()
    with behind_a_proxy(Files, authority, monkeypatch) as place:
        assert small_files.fetch(f"https://{place}/list.txt", ca, largest=100) == CONTENT
        source = UrlSource(f"https://{place}/images.tar.gz", "images-url", ca)
        assert source.size == len(CONTENT)
        with source.open() as stream:
            assert stream.read(100) == CONTENT


def test_a_proxy_that_refuses_is_named_without_its_account(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    with proxy("ann:secret", requests) as host:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:wrong-pw@{host}")
        with pytest.raises(DownloadError, match=rf"through the proxy http://{host}") as fetched:
            small_files.fetch(f"https://{NAME}/list.txt", None, largest=100)
        with pytest.raises(ArtifactError, match=rf"through the proxy http://{host}") as read:
            _ = UrlSource(f"https://{NAME}/images.tar.gz", "images-url").size
    assert requests
    assert "wrong-pw" not in f"{fetched.value}{read.value}"


def test_a_registry_is_reached_through_the_proxy_as_skopeo_does(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_a_proxy(Registry, authority, monkeypatch) as place:
        RegistryClient(place, ca=authority.certificate.read_text()).check()


def test_a_registry_that_a_proxy_does_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is named, without its account, and what makes it the wrong way."""
    with proxy("ann:secret", []) as host:
        monkeypatch.setenv("JUJU_CHARM_HTTPS_PROXY", f"http://ann:wrong-pw@{host}")
        with pytest.raises(RegistryError) as failed:
            RegistryClient(NAME, ca=None).check()
    assert f"registry {NAME} cannot be reached through the proxy http://{host}" in str(
        failed.value
    )
    assert "add its host to NO_PROXY" in failed.value.cure
    assert "wrong-pw" not in str(failed.value)


def test_an_exception_is_not_asked_for_at_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []
    with proxy("", requests) as host:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}")
        monkeypatch.setenv("NO_PROXY", ".corp.invalid")
        with pytest.raises(DownloadError, match=r"cannot be fetched \("):
            small_files.fetch(f"https://{NAME}/list.txt", None, largest=100)
    assert requests == []
