"""A stand-in for the API of a Juju controller: its wire, on the loopback address.

TLS, a websocket with one JSON document for each request and answer, and uploads over HTTP, as in
Juju 3.6 (``rpc/jsoncodec``, ``api/apiclient.go``, ``api/client/charms`` and ``resources``).
What is answered, ``juju_model`` says. The client is the real one; its half is what is tested.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import generate_accept_token

from ckf_airgap.juju.juju_controller import Controller
from testbed.pki import Authority
from tests.functional.servers import QuietHandler, serve

SERVER_NAME = "juju-apiserver"
CONTROLLER_UUID = "5b0f4f6c-0f0b-4f43-8a55-7c3f0a9d1c11"
Json = dict[str, Any]


class RefusalError(Exception):
    """What a controller answers in place of a result: an error with its code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def document(self) -> Json:
        """Give it as it stands in a result."""
        return {"message": self.message, "code": self.code}


@dataclass(frozen=True)
class Upload:
    """A file that the client has sent.

    Attributes:
        path: Where to.
        query: The parameters of its address.
        headers: Its headers.
        body: Its content.
    """

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


# Answer a call of a facade, a login at an address, and an upload; each raises RefusalError.
Answerer = Callable[[Json], Json]
Login = Callable[[Json, str], Json]
Uploader = Callable[[Upload], dict[str, str]]


@dataclass
class JujuApi:
    """What a controller answers, and what it was asked.

    Attributes:
        answers: For each call, for example ``Application.Deploy``, what answers it.
        on_login: Answers a login, given the path that it came to.
        on_upload: Takes a file; gives the headers to answer with.
        calls: Each call with its parameters, in the order in which they came.
        uploads: Each file that was sent.
    """

    answers: dict[str, Answerer]
    on_login: Login
    on_upload: Uploader
    calls: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    uploads: list[Upload] = field(default_factory=list[Upload])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def made(self, call: str) -> list[Json]:
        """Give the parameters of each call of a kind."""
        return [parameters for name, parameters in self.calls if name == call]

    @property
    def names(self) -> list[str]:
        """The calls without their parameters, the login and what only keeps it up left out."""
        return [name for name, _ in self.calls if name not in ("Admin.Login", "Pinger.Ping")]

    def refuse(self, call: str, message: str, code: str = "") -> None:
        """Answer every call of a kind with an error from now on."""

        def answer(_: Json) -> Json:
            raise RefusalError(message, code)

        self.answers[call] = answer

    def forget(self) -> None:
        """Forget what it was asked, for the test to ask for something else."""
        self.calls.clear()
        self.uploads.clear()

    def answer(self, request: Json, path: str) -> Json:
        """Answer one request that came to a path."""
        call = f"{request['type']}.{request['request']}"
        parameters: Json = request.get("params") or {}
        answer: Json = {"request-id": request["request-id"]}
        with self._lock:
            self.calls.append((call, parameters))
            try:
                if call == "Admin.Login":
                    return answer | {"response": self.on_login(parameters, path)}
                if call not in self.answers:
                    raise RefusalError(f"{call} not implemented", "not implemented")
                return answer | {"response": self.answers[call](parameters)}
            except RefusalError as refusal:
                return answer | {"error": refusal.message, "error-code": refusal.code}
            except Exception as error:
                # It would show as a connection that is gone.
                return answer | {"error": f"the stand-in fails at {call}: {error!r}"}

    def take(self, upload: Upload) -> dict[str, str]:
        """Take a file; gives the headers to answer with."""
        with self._lock:
            self.uploads.append(upload)
            return self.on_upload(upload)


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    api: JujuApi

    def _open(self) -> None:
        self.send_response_only(HTTPStatus.SWITCHING_PROTOCOLS)
        token = generate_accept_token(self.headers["Sec-WebSocket-Key"].encode())
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", token.decode())
        self.end_headers()
        self.close_connection = True
        # The client may leave without a word.
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        connection = Connection(ConnectionType.SERVER)
        for event in self._events(connection):
            if isinstance(event, Ping):
                self.wfile.write(connection.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.wfile.write(connection.send(event.response()))
                return
            elif isinstance(event, TextMessage):
                answer = self.api.answer(json.loads(event.data), self.path)
                self.wfile.write(connection.send(TextMessage(json.dumps(answer))))

    def _events(self, connection: Connection) -> Iterator[Event]:
        """Give what the client sends, messages of several parts as one."""
        parts: list[str] = []
        while data := self.connection.recv(65536):
            connection.receive_data(data)
            for event in connection.events():
                if not isinstance(event, TextMessage):
                    yield event
                    continue
                parts.append(event.data)
                if event.message_finished:
                    yield TextMessage("".join(parts))
                    parts.clear()

    def _put(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        upload = Upload(address.path, query, dict(self.headers.items()), body)
        try:
            headers, status, document = self.api.take(upload), HTTPStatus.OK, {}
        except RefusalError as refusal:
            headers, status, document = {}, HTTPStatus.BAD_REQUEST, {"error": refusal.document()}
        content = json.dumps(document).encode()
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = _open  # noqa: N815
    do_PUT = _put  # noqa: N815

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


@contextlib.contextmanager
def serving(api: JujuApi, authority: Authority) -> Generator[Controller]:
    """Run it; gives where it is, as a unit's agent knows it."""

    class Handler(_Handler):
        pass

    Handler.api = api
    with serve(Handler, authority, SERVER_NAME) as address:
        yield Controller(CONTROLLER_UUID, (address,), authority.certificate.read_text())
