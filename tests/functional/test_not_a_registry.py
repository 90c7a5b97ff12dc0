"""Addresses at which something else answers, and that nothing tells a password."""

import base64
import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import RegistryError
from ckf_airgap.push.pusher import ImagePusher
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.pushes import archive
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import QuietHandler, serve

_PAGE = b"<!doctype html><title>Welcome</title>"


class _Page(QuietHandler):
    """Answers like a web site: with one page, or with a status."""

    status = 200
    location = ""

    def do_GET(self) -> None:  # noqa: N802
        is_referred_to = self.path == self.location
        self.send_response_only(200 if is_referred_to else self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(_PAGE)))
        if self.location and not is_referred_to:
            self.send_header("Location", self.location)
        self.end_headers()
        self.wfile.write(_PAGE)


@contextmanager
def web_server(
    authority: Authority | None,
    *,
    status: int = 200,
    location: str = "",
    name: str = "127.0.0.1",
    until: datetime | None = None,
) -> Generator[str]:
    """Run a web server, over TLS where there is an authority; gives its host and port."""
    handler = type("Handler", (_Page,), {"status": status, "location": location})
    with serve(handler, authority, name, until) as host:
        yield host


def check(host: str, authority: Authority) -> RegistryError:
    with pytest.raises(RegistryError) as raised:
        RegistryClient(host, ca=authority.certificate.read_text()).check()
    assert raised.value.problem.startswith(f"registry {host} ")
    return raised.value


def test_a_web_server_without_such_a_page(authority: Authority) -> None:
    with web_server(authority, status=404) as host:
        error = check(host, authority)
    assert "is not a registry" in error.problem
    assert "check the host and the path" in error.cure


def test_a_web_server_that_answers_everything_with_its_page(authority: Authority) -> None:
    with web_server(authority) as host:
        assert "not a registry" in check(host, authority).problem


def test_a_web_server_that_sends_to_its_login(authority: Authority) -> None:
    with web_server(authority, status=302, location="/login") as host:
        assert "is not a registry" in check(host, authority).problem


def test_a_web_server_that_sends_round_in_circles(authority: Authority) -> None:
    with web_server(authority, status=302, location="?again") as host:
        assert "redirects without end" in check(host, authority).problem


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_without_tls(authority: Authority) -> None:
    with web_server(None) as host:
        error = check(host, authority)
    assert "does not speak TLS" in error.problem
    assert "HTTPS (plain HTTP does not work): juju config ckf-airgap registry=" in error.cure
    assert "on a workstation --registry" in error.cure
    assert "not trusted" not in error.problem


def test_a_certificate_for_another_name(authority: Authority) -> None:
    with web_server(authority, name="other.test") as host:
        error = check(host, authority)
    assert "has a certificate for another name" in error.problem
    assert "127.0.0.1" in error.problem
    assert "use the name in its certificate" in error.cure


def test_a_certificate_that_has_expired(authority: Authority) -> None:
    with web_server(authority, until=datetime(2020, 1, 1, tzinfo=UTC)) as host:
        error = check(host, authority)
    assert "not valid now" in error.problem
    assert "renew that certificate" in error.cure


@contextmanager
def balancer(registry: RunningRegistry, dropped: int) -> Generator[str]:
    """Run a TCP proxy that drops the first connections, as one whose backend restarts."""
    left = [dropped]
    host, _, port = registry.process.host.partition(":")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if left[0]:
                left[0] -= 1
                return
            with socket.create_connection((host, int(port))) as upstream:
                back = threading.Thread(target=pump, args=(upstream, self.request))
                back.start()
                pump(self.request, upstream)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        # The client keeps its connections open, so that closing does not wait for them.
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.usefixtures("no_pauses")
def test_a_balancer_that_drops_the_first_connections(registry: RunningRegistry) -> None:
    ca = registry.process.ca.read_text()
    with balancer(registry, 2) as host:
        RegistryClient(host, ca=ca).check()


@pytest.mark.usefixtures("no_pauses")
def test_a_balancer_that_drops_every_connection(
    registry: RunningRegistry, authority: Authority
) -> None:
    with balancer(registry, 1000) as host:
        error = check(host, authority)
    assert "cannot be reached" in error.problem
    assert "not trusted" not in error.problem


@pytest.mark.usefixtures("no_pauses")
def test_no_failure_tells_the_password(
    closed_registry: RunningRegistry,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    process = closed_registry.process
    assert process.username and process.password
    passwords = ("Wr0ng-password", process.password)
    ca = authority.certificate.read_text()
    state = tmp_path / "push.json"
    images = archive(tmp_path)
    errors: list[BaseException] = []

    def fail(host: str, password: str, trusted: str | None = ca) -> None:
        credentials = Credentials(process.username or "", password)
        client = RegistryClient(host, ca=trusted, credentials=credentials)
        with pytest.raises(RegistryError) as raised:
            ImagePusher(client, closed_registry.location, state).push(FileSource(images.path))
        errors.append(raised.value)

    fail(process.host, passwords[0])
    fail(process.host, passwords[1], trusted=None)
    for status in (403, 404, 500):
        with web_server(authority, status=status) as host:
            fail(host, passwords[1])
    credentials = Credentials(process.username, process.password)
    client = closed_registry.client(credentials=credentials)
    ImagePusher(client, closed_registry.location, state).push(FileSource(images.path))
    process.stop()
    fail(process.host, passwords[1])

    told = [caplog.text, *(path.read_text() for path in state.parent.glob("push*"))]
    for error in errors:
        cause: BaseException | None = error
        while cause:
            told.append(f"{cause!s} {cause!r}")
            cause = cause.__cause__ or cause.__context__
    for password in passwords:
        pair = base64.b64encode(f"{process.username}:{password}".encode()).decode()
        assert not [text for text in told if password in text or pair in text]
