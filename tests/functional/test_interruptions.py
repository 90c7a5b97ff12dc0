"""A push whose connection or registry breaks off: what goes on, what is sent again."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import RegistryError
from ckf_airgap.push.pusher import ImagePusher
from ckf_airgap.registry.client import Published
from testbed.pki import Authority
from tests.functional.access_log import blobs_put, log_of, manifests_put
from tests.functional.pushes import (
    IMAGES,
    archive,
    check_all,
    large_layers,
    path_in_registry,
    push,
    push_to,
)
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Fault, Request, proxy


class Half:
    """Passes half of a body on to the registry, then cuts both connections: once."""

    def __init__(self, method: str, number: int, *, in_later_chunk: bool = False) -> None:
        self._method = method
        self.number = number
        self._in_later_chunk = in_later_chunk
        self.count = 0
        # Requests come in several threads.
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> int | Literal["cut"] | None:
        is_first_chunk = request.headers.get("Content-Range", "0-").startswith("0-")
        if request.method != self._method or (self._in_later_chunk and is_first_chunk):
            return None
        with self._lock:
            self.count += 1
            is_meant = self.count == self.number
        if not is_meant:
            return None
        self.take(request)
        return "cut"

    def take(self, request: Request) -> None:
        self.send_half(request)
        # Wait until the registry has given it up: it would mix up what is sent again with this.
        connection = request.upstream.sock
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    @staticmethod
    def send_half(request: Request) -> None:
        upstream = request.upstream
        upstream.putrequest(
            request.method, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            upstream.putheader(name, value)
        if "Content-Length" not in request.headers:
            upstream.putheader("Content-Length", str(len(request.body)))
        upstream.endheaders(request.body[: len(request.body) // 2])


class LostAnswer(Half):
    """Passes a whole request on to the registry, and cuts the connection before its answer."""

    def take(self, request: Request) -> None:
        request.upstream.request(request.method, request.path, request.body, request.headers)
        request.upstream.getresponse().read()


class Cut(Half):
    """Cuts the connection while the client still sends."""

    def take(self, request: Request) -> None:
        pass


class Kill(Half):
    """Kills the registry in the middle of a body."""

    def __init__(self, method: str, number: int, registry: RunningRegistry) -> None:
        super().__init__(method, number)
        self._registry = registry

    def take(self, request: Request) -> None:
        self.send_half(request)
        kill(self._registry)


def chunks_only(fault: Half) -> Fault:
    """Refuse blobs that are streamed, as some proxies do in front of a registry."""
    return lambda request: 411 if request.is_stream else fault(request)


def kill(registry: RunningRegistry) -> None:
    processes = registry.process.processes
    pid = processes.pid(registry.process.data.name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    # Waits for its end.
    registry.process.stop()


@pytest.mark.usefixtures("no_pauses", "small_chunks")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: Half("PATCH", 3), id="half of a stream arrives"),
        pytest.param(lambda: Cut("PATCH", 3), id="a stream is cut"),
        pytest.param(lambda: LostAnswer("PATCH", 3), id="the answer to a stream is lost"),
        pytest.param(lambda: LostAnswer("POST", 3), id="the answer to a POST is lost"),
        pytest.param(lambda: Half("PUT", 1), id="half of a small layer arrives"),
        pytest.param(lambda: LostAnswer("PUT", 1), id="the answer to a small layer is lost"),
        pytest.param(lambda: LostAnswer("PUT", 5), id="the answer to a later PUT is lost"),
    ],
)
def test_a_connection_that_breaks_once(
    fault: Callable[[], Half], registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    taken = fault()
    with proxy(registry, authority, taken) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    assert taken.count >= taken.number
    check_all(registry, images, tmp_path)
    # What was done before the fault is not done again.
    assert len(set(manifests_put(log_of(registry)))) == len(IMAGES)


@pytest.mark.usefixtures("no_pauses", "small_chunks")
@pytest.mark.parametrize("fault", [Half, LostAnswer])
def test_a_connection_that_breaks_in_a_later_chunk(
    fault: type[Half], registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    taken = fault("PATCH", 9, in_later_chunk=True)
    with proxy(registry, authority, chunks_only(taken)) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    assert taken.count > taken.number
    check_all(registry, images, tmp_path)
    assert len(manifests_put(log_of(registry))) == len(IMAGES)


@pytest.mark.usefixtures("no_pauses", "small_chunks")
def test_a_stream_that_never_arrives_is_sent_in_chunks(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    streams: list[str] = []

    def cut(request: Request) -> Literal["cut"] | None:
        if request.is_stream:
            streams.append(request.path)
        return "cut" if request.is_stream else None

    with proxy(registry, authority, cut) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    assert streams
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses", "small_chunks")
def test_a_registry_that_takes_no_chunks(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    cut = Cut("PATCH", 1)

    def fault(request: Request) -> int | Literal["cut"] | None:
        # The first stream breaks; what would be sent in chunks after it is refused.
        return cut(request) if request.is_stream or request.method != "PATCH" else 416

    with proxy(registry, authority, fault) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses", "resets")
def test_a_registry_that_is_killed_between_two_images(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = archive(tmp_path)
    client = registry.client()
    publish = client.publish
    count = 0

    def kill_before_the_second(*words: Any, **more: Any) -> Published:
        nonlocal count
        count += 1
        if count == 2:
            kill(registry)
        return publish(*words, **more)

    # Images get their manifests one after the other.
    monkeypatch.setattr(client, "publish", kill_before_the_second)
    state = tmp_path / "push.json"
    pusher = ImagePusher(client, registry.location, state)
    with pytest.raises(RegistryError, match="cannot be reached") as raised:
        pusher.push(FileSource(images.path))
    assert "run it again" in raised.value.cure
    before = log_of(registry)
    done = len(manifests_put(before))
    assert done == 1
    registry.process.start()
    result = push(registry, images)
    assert (len(result.pushed), result.present) == (len(IMAGES) - done, done)
    # The access log is that of the registry: nothing of what was done is sent again.
    after = log_of(registry)[len(before) :]
    assert manifests_put(after) == [path_in_registry(image)[0] for image in IMAGES[done:]]
    assert blobs_put(before)
    assert not set(blobs_put(before)) & set(blobs_put(after))
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses", "resets")
def test_a_registry_that_is_killed_in_the_middle_of_a_layer(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    fault = Kill("PUT", 9, registry)
    with proxy(registry, authority, fault) as host:
        with pytest.raises(RegistryError, match="cannot be reached"):
            push_to(host, authority, images)
        before = log_of(registry)
        done = len(manifests_put(before))
        assert done < len(IMAGES)
        registry.process.start()
        pushed = len(push_to(host, authority, images).pushed)
    # Of the last that was stored the push may not have heard any more.
    assert len(IMAGES) - done <= pushed <= len(IMAGES) - max(done - 1, 0)
    assert len(manifests_put(log_of(registry)[len(before) :])) == pushed
    check_all(registry, images, tmp_path)
