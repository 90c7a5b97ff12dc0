"""A registry that refuses, fails or is not one: what the operator is told."""

import http.client
import http.server
import logging
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import ConfigurationError, RegistryError
from ckf_airgap.names import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.push import ImagePusher
from tests.functional.conftest import RunningRegistry
from tests.functional.test_push import IMAGES, archive, path_in_registry
from tests.testbed.pki import Authority


def test_an_authority_that_is_not_known(registry: RunningRegistry) -> None:
    for ca in (None, trustme.CA().cert_pem.bytes().decode()):
        with pytest.raises(RegistryError, match="not trusted") as raised:
            registry.client(ca=ca).check()
        assert "registry-ca=@ca.crt" in raised.value.cure


def test_an_authority_that_is_no_certificate(registry: RunningRegistry) -> None:
    with pytest.raises(ConfigurationError, match="registry-ca is not a PEM certificate"):
        registry.client(ca="not a certificate")


def test_an_account(
    closed_registry: RunningRegistry, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    process = closed_registry.process
    assert process.username and process.password
    wrong = Credentials(process.username, "not-the-password")
    for credentials in (None, wrong):
        with pytest.raises(RegistryError, match="refused the credentials") as raised:
            closed_registry.client(credentials=credentials).check()
        assert "registry-credentials=secret:" in raised.value.cure
        assert "not-the-password" not in str(raised.value)
    client = closed_registry.client(credentials=Credentials(process.username, process.password))
    client.check()
    state = tmp_path / "push.json"
    pusher = ImagePusher(client, closed_registry.location, state)
    assert len(pusher.push(archive(tmp_path).path).pushed) == len(IMAGES)
    for text in (caplog.text, state.read_text(), repr(wrong)):
        assert process.password not in text
        assert "not-the-password" not in text


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_is_stopped(registry: RunningRegistry) -> None:
    registry.process.stop()
    with pytest.raises(RegistryError, match="cannot be reached") as raised:
        registry.client().check()
    assert "run the action again" in raised.value.cure


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(RegistryError, match="cannot be resolved"):
        RegistryClient("registry.invalid:5000").check()


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a registry, and fails as it is told."""

    protocol_version = "HTTP/1.1"
    registry: RunningRegistry
    context: ssl.SSLContext
    # For each request: a status to answer with, "cut" to drop the connection half way, or None.
    faults: list[int | str | None]
    count = 0

    def _pass_on(self) -> None:
        type(self).count += 1
        fault = self.faults[type(self).count % len(self.faults)]
        if fault == "cut":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length", 0))))
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = http.client.HTTPSConnection(
            self.registry.process.host, context=self.context, timeout=30
        )
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        headers["Host"] = self.headers["Host"]
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if self.command == "HEAD" or name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def proxy(
    registry: RunningRegistry, authority: Authority, faults: list[int | str | None]
) -> Generator[str]:
    """Run a proxy over TLS in front of a registry; gives its host and port."""

    class Handler(_Proxy):
        pass

    Handler.registry = registry
    Handler.context = ssl.create_default_context(cafile=str(registry.process.ca))
    Handler.faults = faults
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pair = authority.issue("proxy", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "faults",
    [
        [None, None, 503],
        [None, None, None, 429],
        [None, None, "cut"],
        [None, "cut", None, 500, None, None, 502],
    ],
)
def test_a_push_survives_what_passes(
    faults: list[int | str | None],
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
) -> None:
    images = archive(tmp_path)
    with proxy(registry, authority, faults) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        location = RegistryLocation.parse(f"{host}/ckf")
        pusher = ImagePusher(client, location, tmp_path / "push.json")
        assert len(pusher.push(images.path).pushed) == len(IMAGES)
    for saved in images.images:
        repository, tag = path_in_registry(saved.repository_tags[0])
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", tmp_path)
        assert pulled.diff_ids == saved.diff_ids


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (403, "forbids this account to push"),
        (404, "not a registry"),
        (413, "takes no upload of this size"),
        (500, "answered 500"),
        (507, "has no space left"),
    ],
)
def test_what_does_not_pass_is_told(
    status: int,
    problem: str,
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
) -> None:
    with proxy(registry, authority, [status]) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        location = RegistryLocation.parse(f"{host}/ckf")
        with pytest.raises(RegistryError, match=problem):
            ImagePusher(client, location, tmp_path / "push.json").push(archive(tmp_path).path)
