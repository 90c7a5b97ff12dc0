"""A push whose connection or registry breaks off: what goes on, what is sent again."""

import http.client
import http.server
import os
import re
import signal
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.errors import RegistryError
from ckf_airgap.names import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.push import ImagePusher, Progress
from tests.functional.conftest import RunningRegistry
from tests.functional.test_push import ALL_LAYOUTS, IMAGES, archive, path_in_registry, push
from tests.sample_release import ImageArchive, ImageOptions, write_image_archive
from tests.testbed.pki import Authority

# Called with each request, its body and a connection to the registry, before anything is passed
# on; true where it dealt with the request and the client's connection is to be cut.
Fault = Callable[[str, str, bytes, http.client.HTTPSConnection, dict[str, str]], bool]


class _Cutter(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a registry, except those that a fault takes."""

    protocol_version = "HTTP/1.1"
    host: str
    context: ssl.SSLContext
    fault: Fault

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        upstream = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
        try:
            if type(self).fault(self.command, self.path, body, upstream, headers):
                self.close_connection = True
                return
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if self.command == "HEAD" or name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def cutter(registry: RunningRegistry, authority: Authority, fault: Fault) -> Generator[str]:
    """Run a proxy over TLS in front of a registry; gives its host and port."""

    class Handler(_Cutter):
        host = registry.process.host
        context = ssl.create_default_context(cafile=str(registry.process.ca))

    Handler.fault = staticmethod(fault)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pair = authority.issue("cutter", "127.0.0.1")
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


class Half:
    """Passes half of a body on to the registry, then cuts both connections: once."""

    def __init__(self, method: str, number: int, *, in_later_chunk: bool = False) -> None:
        self._method = method
        self.number = number
        self._in_later_chunk = in_later_chunk
        self.count = 0

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes,
        upstream: http.client.HTTPSConnection,
        headers: dict[str, str],
    ) -> bool:
        is_first_chunk = headers.get("Content-Range", "0-").startswith("0-")
        if method != self._method or (self._in_later_chunk and is_first_chunk):
            return False
        self.count += 1
        if self.count != self.number:
            return False
        self.take(method, path, body, upstream, headers)
        return True

    def take(
        self,
        method: str,
        path: str,
        body: bytes,
        upstream: http.client.HTTPSConnection,
        headers: dict[str, str],
    ) -> None:
        upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body[: len(body) // 2])


class LostAnswer(Half):
    """Passes a whole request on to the registry, and cuts the connection before its answer."""

    def take(
        self,
        method: str,
        path: str,
        body: bytes,
        upstream: http.client.HTTPSConnection,
        headers: dict[str, str],
    ) -> None:
        upstream.request(method, path, body, headers)
        upstream.getresponse().read()


class Kill(Half):
    """Kills the registry in the middle of a body."""

    def __init__(self, method: str, number: int, registry: RunningRegistry) -> None:
        super().__init__(method, number)
        self._registry = registry

    def take(
        self,
        method: str,
        path: str,
        body: bytes,
        upstream: http.client.HTTPSConnection,
        headers: dict[str, str],
    ) -> None:
        super().take(method, path, body, upstream, headers)
        kill(self._registry)


def kill(registry: RunningRegistry) -> None:
    processes = registry.process.processes
    pid = processes.pid(registry.process.data.name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    # Waits for its end.
    registry.process.stop()


def log_of(registry: RunningRegistry) -> str:
    return registry.process.processes.log(registry.process.data.name).read_text()


def manifests_put(log: str) -> list[str]:
    return re.findall(r'"PUT /v2/ckf/(\S+)/manifests/\S+ ', log)


def push_through(host: str, authority: Authority, images: ImageArchive, state: Path) -> int:
    client = RegistryClient(host, ca=authority.certificate.read_text())
    location = RegistryLocation.parse(f"{host}/ckf")
    return len(ImagePusher(client, location, state).push(images.path).pushed)


def check_all(registry: RunningRegistry, images: ImageArchive, folder: Path) -> None:
    for saved in images.images:
        repository, tag = path_in_registry(saved.image)
        pulled = registry.pull(f"{registry.location}/{repository}:{tag}", folder)
        assert (pulled.image_id, pulled.diff_ids) == (saved.image_id, saved.diff_ids)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: Half("PATCH", 3), id="half of a PATCH arrives"),
        pytest.param(lambda: LostAnswer("PATCH", 3), id="the answer to a PATCH is lost"),
        pytest.param(lambda: LostAnswer("POST", 3), id="the answer to a POST is lost"),
        pytest.param(lambda: LostAnswer("PUT", 1), id="the answer to a layer's PUT is lost"),
        pytest.param(lambda: LostAnswer("PUT", 5), id="the answer to the manifest's PUT is lost"),
    ],
)
def test_a_connection_that_breaks_once(
    fault: Callable[[], Half], registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    taken = fault()
    with cutter(registry, authority, taken) as host:
        assert push_through(host, authority, images, tmp_path / "push.json") == len(IMAGES)
    assert taken.count >= taken.number
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", [Half, LostAnswer])
def test_a_connection_that_breaks_in_a_later_chunk(
    fault: type[Half],
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Chunks small enough for the top layers to have several.
    monkeypatch.setattr("ckf_airgap.registry.push.CHUNK_SIZE", 65536)
    monkeypatch.setattr("ckf_airgap.registry.push.READ_SIZE", 16384)
    options = ImageOptions(layouts=ALL_LAYOUTS, program=b"stub", payload_kib=512)
    images = write_image_archive(IMAGES, tmp_path / "images.tar.gz", options)
    taken = fault("PATCH", 9, in_later_chunk=True)
    with cutter(registry, authority, taken) as host:
        assert push_through(host, authority, images, tmp_path / "push.json") == len(IMAGES)
    assert taken.count > taken.number
    check_all(registry, images, tmp_path)
    # What was done before the fault is not done again.
    assert len(manifests_put(log_of(registry))) == len(IMAGES)


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_is_killed_between_two_images(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    images = archive(tmp_path)

    def on_progress(progress: Progress) -> None:
        if progress.images == 3:
            kill(registry)

    state = tmp_path / "push.json"
    with pytest.raises(RegistryError, match="cannot be reached") as raised:
        ImagePusher(registry.client(), registry.location, state, on_progress).push(images.path)
    assert "run the action again" in raised.value.cure
    before = log_of(registry)
    assert len(manifests_put(before)) == 3
    registry.process.start()
    result = push(registry, images)
    assert (len(result.pushed), result.present) == (len(IMAGES) - 3, 3)
    # The access log is that of the registry: nothing of the first three is sent again.
    after = log_of(registry)[len(before) :]
    assert manifests_put(after) == [path_in_registry(image)[0] for image in IMAGES[3:]]
    for image in IMAGES[:3]:
        assert not re.search(rf'"(?:PATCH|PUT) /v2/ckf/{path_in_registry(image)[0]}/', after)
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_is_killed_in_the_middle_of_a_layer(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    state = tmp_path / "push.json"
    fault = Kill("PATCH", 9, registry)
    with cutter(registry, authority, fault) as host:
        with pytest.raises(RegistryError, match="cannot be reached"):
            push_through(host, authority, images, state)
        before = log_of(registry)
        done = len(manifests_put(before))
        assert 0 < done < len(IMAGES)
        registry.process.start()
        assert push_through(host, authority, images, state) == len(IMAGES) - done
    assert len(manifests_put(log_of(registry)[len(before) :])) == len(IMAGES) - done
    check_all(registry, images, tmp_path)
