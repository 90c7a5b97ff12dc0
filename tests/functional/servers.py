"""Servers on the loopback address that stand between a push and its registry, or in its place."""

import http.client
import http.server
import itertools
import os
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from testbed.pki import Authority
from tests.functional.running_registry import RunningRegistry


@dataclass
class Request:
    """A request as a proxy has got it, with a connection to the registry behind.

    Attributes:
        method: Its method.
        path: Its path and query; what is set here is passed on.
        headers: Its headers, without those of this connection.
        upstream: A connection to the registry, not used yet.
    """

    method: str
    path: str
    headers: dict[str, str]
    upstream: http.client.HTTPSConnection
    _read: Callable[[], bytes]

    @cached_property
    def body(self) -> bytes:
        """Its body, read when first asked for."""
        return self._read()

    @property
    def is_stream(self) -> bool:
        """Whether it sends a blob of a length that is not told before."""
        return self.method == "PATCH" and "Content-Range" not in self.headers


@dataclass(frozen=True)
class Answer:
    """What a proxy answers in place of the registry.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Its headers.
        never_sent: How many more bytes it announces, which do not come.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    never_sent: int = 0


# What a proxy does with a request: an answer or a bare status to give, "cut" to close the client's
# connection without an answer, or None to pass it on.
Fault = Callable[[Request], Answer | int | Literal["cut"] | None]


HANG_SECONDS = 900.0
"""How long anything is waited for: nothing takes as long that works, however busy the machine."""


def wait_until(
    holds: Callable[[], object], process: "subprocess.Popen[Any] | None" = None
) -> None:
    """Wait for something that is sure to come, as long as it takes.

    Args:
        holds: Whether it has come.
        process: Who brings it about; where that ends before, the test fails at once.
    """
    end = time.monotonic() + HANG_SECONDS
    while not holds():
        assert process is None or process.poll() is None, "the program has ended before"
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


@contextmanager
def running(words: Sequence[str]) -> Generator["subprocess.Popen[str]"]:
    """Run the command ``ckf-airgap``, to be interrupted or killed; what it says is kept.

    Args:
        words: Its arguments.
    """
    with subprocess.Popen(
        # A shell lets what it runs in the background ignore interrupts, these tests too.
        ["env", "--default-signal=INT", sys.executable, "-m", "ckf_airgap", *words],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            # Where a test has failed, it would wait for it.
            process.kill()


class Gate:
    """A fault that holds requests back until the test opens it.

    What a test does meanwhile, it does in the middle of the program's work: the program cannot
    end before, however slow the test is, nor can it be too slow itself.

    Attributes:
        passed: The path of each request of that kind that was passed on.
    """

    def __init__(
        self,
        is_meant: Callable[[Request], bool],
        *,
        passing: int = 0,
        then: Literal["cut"] | None = None,
    ) -> None:
        """Close it.

        Args:
            is_meant: Tells the requests that it is for; others are passed on.
            passing: How many of them are passed on before it holds any.
            then: What becomes of those that were held back, once it is open: "cut", or None to
                pass them on.
        """
        self._is_meant = is_meant
        self._passing = passing
        self._then: Literal["cut"] | None = then
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._opened = threading.Event()
        self.passed: list[str] = []

    def __call__(self, request: Request) -> Literal["cut"] | None:
        if not self._is_meant(request):
            return None
        with self._lock:
            is_held = len(self.passed) >= self._passing and not self._opened.is_set()
            if not is_held:
                self.passed.append(request.path)
                return None
        self.hold()
        if self._then is None:
            self.passed.append(request.path)
        return self._then

    def hold(self) -> None:
        """Hold a request back, whatever it is: for faults that choose themselves."""
        self._reached.set()
        self._opened.wait(HANG_SECONDS)

    def wait(self, process: "subprocess.Popen[Any]") -> None:
        """Wait until it holds a request back.

        Args:
            process: The program that is to come to it.
        """
        wait_until(self._reached.is_set, process)

    def open(self) -> None:
        """Let everything through from now on."""
        self._opened.set()


_OF_A_CONNECTION = ("Connection", "Transfer-Encoding")


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """A handler that writes no log."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Proxy(QuietHandler):
    protocol_version = "HTTP/1.1"
    host: str
    context: ssl.SSLContext
    fault: Fault

    def _pass_on(self) -> None:
        # A header may come several times, which means the same as one with all values.
        headers = {
            name: ", ".join(self.headers.get_all(name, ()))
            for name in self.headers
            if name not in _OF_A_CONNECTION
        }
        upstream = http.client.HTTPSConnection(
            self.host, context=self.context, timeout=HANG_SECONDS
        )
        request = Request(self.command, self.path, headers, upstream, self._body)
        try:
            fault = type(self).fault(request)
            if fault == "cut":
                self.close_connection = True
                return
            body = request.body
            if fault is not None:
                answer = Answer(fault) if isinstance(fault, int) else fault
                headers = list(answer.headers.items())
                self._answer(answer.status, headers, answer.body, answer.never_sent)
                return
            upstream.request(request.method, request.path, body, headers)
            response = upstream.getresponse()
            content = response.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            upstream.close()
        self._answer(response.status, response.getheaders(), content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            length = int(self.headers.get("Content-Length", 0))
            content = self.rfile.read(length)
            if len(content) < length:
                raise ConnectionError("the client is gone")
            return content
        body: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            body.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(body)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, never_sent: int = 0
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if self.command == "HEAD" or name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content) + never_sent))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815


class _Server(http.server.ThreadingHTTPServer):
    """Counts who speaks plain HTTP where TLS is meant.

    Attributes:
        in_the_clear: How many did.
    """

    in_the_clear = 0

    def get_request(self) -> tuple[Any, Any]:
        try:
            return super().get_request()
        except ssl.SSLError as error:
            self.in_the_clear += error.reason == "HTTP_REQUEST"
            raise


@contextmanager
def serve(
    handler: type[http.server.BaseHTTPRequestHandler],
    authority: Authority | None,
    name: str = "127.0.0.1",
    until: datetime | None = None,
) -> Generator[str]:
    """Run a server, over TLS where there is an authority; gives its host and port.

    Args:
        handler: What answers.
        authority: Signs its certificate.
        name: The host that the certificate is for.
        until: When the certificate ends, where that is not in some distant time.
    """
    server = _Server(("127.0.0.1", 0), handler)
    if authority:
        ending = f"-until-{until:%Y}" if until else ""
        pair = authority.issue(f"server-{name}{ending}", name, until=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    # A client that ends the handshake early is what is tested, not an error of the server.
    server.handle_error = lambda request, client_address: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not server.in_the_clear, "something was sent without TLS"


@contextmanager
def proxy(registry: RunningRegistry, authority: Authority, fault: Fault) -> Generator[str]:
    """Run a proxy over TLS in front of a registry; gives its host and port."""

    class Handler(_Proxy):
        host = registry.process.host
        context = ssl.create_default_context(cafile=str(registry.process.ca))

    Handler.fault = staticmethod(fault)
    with serve(Handler, authority) as host:
        yield host


class InTurn:
    """Gives faults in turn, from the first again after the last, and none of them too often.

    Several requests are under way at a time: which of them a fault strikes is chance, and chance
    could strike one each time that it is tried.
    """

    def __init__(self, *faults: Answer | int | Literal["cut"] | None) -> None:
        self._faults = itertools.cycle(faults)
        self._strikes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer | int | Literal["cut"] | None:
        # An upload that is begun again is the same target.
        target = f"{request.method} {request.path.partition('?')[0].partition('/uploads/')[0]}"
        with self._lock:
            fault = next(self._faults)
            if fault is not None and self._strikes[target] == 3:
                return None
            self._strikes[target] += fault is not None
            return fault


def passed_on(request: Request) -> Answer:
    """Pass a request on to the registry, for an answer that is changed."""
    upstream = request.upstream
    upstream.request(request.method, request.path, request.body, request.headers)
    response = upstream.getresponse()
    return Answer(response.status, response.read(), dict(response.getheaders()))
