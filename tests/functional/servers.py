"""Servers on the loopback address that stand between a push and its registry, or in its place."""

import http.client
import http.server
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from tests.functional.conftest import RunningRegistry
from tests.testbed.pki import Authority


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
        upstream = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
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
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
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


@contextmanager
def proxy(registry: RunningRegistry, authority: Authority, fault: Fault) -> Generator[str]:
    """Run a proxy over TLS in front of a registry; gives its host and port."""

    class Handler(_Proxy):
        host = registry.process.host
        context = ssl.create_default_context(cafile=str(registry.process.ca))

    Handler.fault = staticmethod(fault)
    with serve(Handler, authority) as host:
        yield host
