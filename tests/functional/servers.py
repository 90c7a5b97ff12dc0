"""Servers on the loopback address that stand between a push and its registry, or in its place."""

import http.client
import http.server
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from tests.functional.conftest import RunningRegistry
from tests.testbed.pki import Authority


@dataclass(frozen=True)
class Request:
    """A request as a proxy has got it, with a connection to the registry behind."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    upstream: http.client.HTTPSConnection


# What a proxy does with a request: a status to answer with, "cut" to close the client's connection
# without an answer, or None to pass it on.
Fault = Callable[[Request], int | Literal["cut"] | None]


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
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        upstream = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
        request = Request(self.command, self.path, body, headers, upstream)
        try:
            fault = type(self).fault(request)
            if fault == "cut":
                self.close_connection = True
                return
            if fault is not None:
                self._answer(fault, [], b"")
                return
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            upstream.close()
        self._answer(answer.status, answer.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if self.command == "HEAD" or name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815


@contextmanager
def serve(
    handler: type[http.server.BaseHTTPRequestHandler],
    authority: Authority | None,
    name: str = "127.0.0.1",
) -> Generator[str]:
    """Run a server, over TLS where there is an authority; gives its host and port.

    Args:
        handler: What answers.
        authority: Signs its certificate.
        name: The host that the certificate is for.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if authority:
        pair = authority.issue(f"server-{name}", name)
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
