"""Registries that are broken or hostile: each ends in one error, in bounded memory and time.

Run it with ``-s`` for the memory that each takes.
"""

import gzip
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from ckf_airgap.errors import RegistryError
from ckf_airgap.images.oci import blob_of
from ckf_airgap.network import https
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.fake_registry import (
    BEARER,
    FakeRegistry,
    Fault,
    Pusher,
    answering,
    fake_registry,
)
from tests.functional.servers import QuietHandler, serve

_MIB = 1024 * 1024


@pytest.fixture
def pusher(authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pusher:
    return Pusher(authority, tmp_path, capsys)


# How answers go on after their status, and the headers that they have to have.
Going = Callable[[FakeRegistry], None]


def endless(handler: FakeRegistry) -> None:
    handler.raw(b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.raw(b"100000\r\n", b"a" * _MIB, b"\r\n")


def of_many_digits(handler: FakeRegistry) -> None:
    handler.raw(b"Content-Length: ", b"9" * 5000, b"\r\n\r\n")
    while True:
        handler.raw(b"a" * _MIB)


def gibibyte(handler: FakeRegistry) -> None:
    handler.raw(b"Content-Length: %d\r\n\r\n" % 2**30)
    for _ in range(1024):
        handler.raw(bytes(_MIB))


def bomb(handler: FakeRegistry) -> None:
    handler.raw(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BOMB), _BOMB)


def deep(handler: FakeRegistry) -> None:
    handler.raw(b"Content-Length: 100010\r\n\r\n", b'{"errors":', b"[" * 100_000)


def wide(handler: FakeRegistry) -> None:
    """A document that takes thirty times its size in memory."""
    many = b",".join([b"{}"] * (4 * _MIB // 3 - 100))
    body = b'{"errors":[%s],"tags":[%s]}' % (b"", many)
    handler.raw(b"Content-Length: %d\r\n\r\n" % len(body), body)


_BOMB = gzip.compress(bytes(256 * _MIB), 9)


def _number(_: object) -> str:
    """Name a case by nothing but its place."""
    return ""


_BODIES = [
    endless,
    *(
        pytest.param(going, marks=pytest.mark.hostile, id=going.__name__)
        for going in (of_many_digits, gibibyte, bomb, deep, wide)
    ),
]
# What is asked for, and the answer that lets the push go on.
_GOOD = {
    "GET /v2/": "200 OK",
    "GET tags": "200 OK",
    "POST uploads": "202 Accepted\r\nLocation: /v2/x/blobs/uploads/1",
    "PUT uploads": "201 Created",
    "PUT manifests": "201 Created",
}
_REFUSED = ("GET /v2/", "POST uploads", "PUT uploads", "PUT manifests", "HEAD manifests")


def _at(kind: str, head: str, going: Going) -> Fault:
    """Answer one kind of request with a body of any length."""

    def fault(handler: FakeRegistry) -> bool:
        if handler.kind != kind:
            return False
        if handler.command == "PUT":
            # What it says it has done, it has done.
            handler.store.blobs.add(handler.path.partition("digest=")[2])
            handler.store.manifests[handler.path] = handler.body
        handler.raw(f"HTTP/1.1 {head}\r\n".encode())
        going(handler)
        return True

    return fault


@pytest.mark.parametrize("going", _BODIES)
@pytest.mark.parametrize("kind", _GOOD)
def test_an_answer_with_a_body_of_any_length(kind: str, going: Going, pusher: Pusher) -> None:
    pusher.measured(_at(kind, _GOOD[kind], going), status=0)


@pytest.mark.parametrize("going", _BODIES)
@pytest.mark.parametrize("kind", _REFUSED)
def test_a_refusal_of_any_length(kind: str, going: Going, pusher: Pusher) -> None:
    pusher.measured(_at(kind, "403 Forbidden", going), status=2)


@pytest.mark.parametrize("going", _BODIES)
@pytest.mark.parametrize("status", [200, 500])
def test_a_token_server_whose_answer_is_of_any_length(
    status: int, going: Going, pusher: Pusher
) -> None:
    fault = _at("GET token", f"{status} x", going)
    assert "without a token" in pusher.measured(fault, challenge=BEARER, status=2)


_DEEP = b"[" * 100_000
# Where a reader of documents gives up, or what writes them does.
_DEPTHS = (900, 960, 970, 980, 985, 990, 995)
_NUMBERS = (b"Infinity", b"-Infinity", b"NaN", b"1e999", b"1" + b"0" * 400, b"9" * 5000)


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":' + _DEEP,
        *(b'{"errors":[{"code":"x","detail":%s' % (b"[" * n + b"]" * n + b"}]}") for n in _DEPTHS),
        *(b'{"errors":[{"code":%s,"message":%s}]}' % (each, each) for each in _NUMBERS),
        *(b'{"errors":%s}' % each for each in _NUMBERS),
        b'{"errors":[{"message":"\\ud800\\u001b]0;owned\\u0007"}]}',
        b"\xff\xfe\x00\x00",
        b"",
    ],
    ids=_number,
)
def test_an_error_that_is_nonsense(body: bytes, pusher: Pusher) -> None:
    pusher.error(answering("GET /v2/", 403, body))


@pytest.mark.parametrize("number", [*_NUMBERS, _DEEP], ids=_number)
def test_tags_that_are_nonsense(number: bytes, authority: Authority) -> None:
    body = b'{"tags":[%s,1,null,"../x"]}' % number
    with fake_registry(authority, answering("GET tags", 200, body)) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        # A list that is one has none of these; what is no list at all is refused.
        try:
            assert client.tags("x") == ()
        except RegistryError as error:
            assert "has no tags" in error.problem


@pytest.mark.parametrize(
    "body",
    [
        _DEEP,
        *(b'{"token":%s}' % each for each in _NUMBERS),
        *(b'{"token":"x","expires_in":%s}' % each for each in _NUMBERS),
        b'{"token":"x\\r\\nX-Other: y"}',
        b'{"token":"\\u00e9"}',
        b'{"token":"%s"}' % (b"x" * 100_000),
    ],
    ids=_number,
)
def test_a_token_that_is_nonsense(body: bytes, pusher: Pusher) -> None:
    error = pusher.error(answering("GET token", 200, body), challenge=BEARER)
    assert "without a token" in error


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/token",
        "file:///etc/passwd",
        "https://user:word@127.0.0.1/",
        "https://[::1",
    ],
)
def test_a_token_server_that_refers_to_nonsense(location: str, pusher: Pusher) -> None:
    fault = answering("GET token", 307, b"", {"Location": location})
    error = pusher.error(fault, challenge=BEARER)
    assert "redirects to an address that is not HTTPS" in error


@pytest.mark.usefixtures("no_pauses")
def test_a_token_server_that_refers_to_itself(pusher: Pusher) -> None:
    fault = answering("GET token", 307, b"", {"Location": "?again"})
    error = pusher.error(fault, challenge=BEARER)
    assert "redirects without end" in error


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer " + "a" * 60_000,
        "Bearer realm=" + '"\\' * 30_000,
        "Basic realm=x, " * 4_000,
        "=" * 60_000,
        'Bearer realm="https://[::1"',
        'Bearer realm="https://127.0.0.1:99999/x"',
        'Bearer realm="http://127.0.0.1/x"',
        'Bearer realm="https://user:password@127.0.0.1/x"',
        'Bearer realm="https://127.0.0.1\x01/x"',
        'Bearer realm="https://%s/x"' % ("a" * 60_000),
        'Bearer realm="/token"',
    ],
    ids=_number,
)
def test_a_challenge_that_is_nonsense(challenge: str, pusher: Pusher) -> None:
    fault = answering("GET /v2/", 401, b"", {"WWW-Authenticate": challenge})
    assert "password@" not in pusher.error(fault)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer %s\r\n" % (b"a" * 1_000_000),
        b"HTTP/1.1 401 x\r\n" + b"WWW-Authenticate: Bearer realm=x\r\n" * 1_000,
        b"HTTP/1.1 401 x\r\n" + b"WWW-Authenticate: %s\r\n" % (b"a" * 65_000) * 90,
        b"HTTP/1.1 200 x\r\n" + b"X: %s\r\n" % (b"a" * 65_000) * 200,
        b"HTTP/1.1 200 x\r\nno header\r\n\x1b[31m\r\nX: y\r\n",
        b"HTTP/1.1 " + b"2" * 1_000_000,
        b"HTTP/1.1 \x1b[31m\x07\r\n",
        b"HTTP/1.1 99999 x\r\n",
        b"\0" * 1_000,
        b"HTTP/1.1 503 x\r\nRetry-After: %s\r\n" % (b"9" * 5_000),
        b"HTTP/1.1 429 x\r\nRetry-After: -1\r\nRetry-After: x\r\n",
    ],
    ids=_number,
)
def test_a_head_that_is_nonsense(head: bytes, pusher: Pusher) -> None:
    def fault(handler: FakeRegistry) -> bool:
        if handler.kind == "POST uploads":
            handler.raw(head, b"Content-Length: 0\r\n\r\n")
            return True
        return False

    pusher.error(fault)


@pytest.mark.parametrize(
    ("asked", "longest"),
    [("9" * 5_000, 121), ("1e9", 1), ("inf", 1), ("-5", 1), ("\u00b2", 1), ("", 1)],
)
def test_a_pause_that_is_nonsense(
    asked: str, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    https.pause(0, asked)
    assert len(slept) == 1 and 0 <= slept[0] <= longest


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "gopher://x/",
        "https:///x",
        "https://[::1",
        "https://127.0.0.1:99999/x",
        "https://127.0.0.1:x/x",
        "https://user:password@127.0.0.1:1/x",
        "https://127.0.0.1\x01/x",
        "https://127.0.0.1/\x1b[31m",
        "https://127.0.0.1/a b",
        f"https://{'a' * 70}.invalid/x",
        f"https://{'a.' * 10_000}invalid/x",
        "https://127.0.0.1:1/" + "x" * 60_000,
        "https://127.0.0.1:1/" + "x" * 1_000_000,
        "",
    ],
    ids=_number,
)
def test_a_location_that_is_nonsense(location: str, pusher: Pusher) -> None:
    error = pusher.error(answering("POST uploads", 202, b"", {"Location": location}))
    assert "password@" not in error


@pytest.mark.usefixtures("no_pauses", "small_chunks")
@pytest.mark.parametrize(
    "received", ["0-" + "9" * 5_000, "0-Infinity", "-", "0--5", "9", "\u00b2-\u00b2"]
)
def test_a_range_that_is_nonsense(received: str, authority: Authority) -> None:
    """An upload in chunks is asked how far it has come."""

    def fault(handler: FakeRegistry) -> bool:
        if handler.kind == "PATCH uploads":
            handler.answer(503)
        elif handler.kind == "GET uploads":
            path = handler.path.partition("?")[0]
            handler.answer(
                204, b"", {"Location": path, "Range": received.encode().decode("latin-1")}
            )
        else:
            return False
        return True

    with fake_registry(authority, fault) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        with pytest.raises(RegistryError):
            client.upload_blob("x", [bytes(100_000)], in_chunks=True)


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("start", "then"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 O", b"K"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (_OK + b"Content-Length: 1000000\r\n\r\n", b"x"),
        (_OK + b"Connection: close\r\n\r\n", b"x"),
        (_CHUNKED, b"1\r\nx\r\n"),
        (_CHUNKED + b"1;", b"x"),
        (_CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
    ids=["nothing", "line", "head", "continue", "body", "closed", "chunks", "chunk", "trailer"],
)
@pytest.mark.parametrize("kind", ["GET /v2/", "GET token"])
def test_an_answer_without_end(
    kind: str, start: bytes, then: bytes, pusher: Pusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its bytes comes in time."""
    monkeypatch.setattr(https, "QUICK_ANSWER", urllib3.Timeout(connect=10, read=0.2))
    monkeypatch.setattr(https, "_SECONDS_FOR_A_PIECE", 0.2)

    def fault(handler: FakeRegistry) -> bool:
        if handler.kind != kind:
            return False
        handler.raw(start)
        while then:
            handler.raw(then)
            time.sleep(0.01)
        # The client hangs up.
        return not handler.connection.recv(1)

    error = pusher.error(fault, challenge=BEARER if "token" in kind else "")
    assert "does not answer in time" in error


@pytest.mark.usefixtures("no_pauses")
def test_a_handshake_without_end(pusher: Pusher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "QUICK_ANSWER", urllib3.Timeout(connect=0.2, read=10))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
                while True:
                    self.request.sendall(b"\0")
                    time.sleep(0.01)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            pusher.error_at(f"127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("kind", "status", "header"),
    [
        ("GET /v2/", 401, "WWW-Authenticate"),
        ("GET /v2/", 307, "Location"),
        ("GET token", 302, "Location"),
        ("HEAD manifests", 301, "Location"),
        ("POST uploads", 202, "Location"),
    ],
)
def test_nothing_is_sent_in_the_clear(kind: str, status: int, header: str, pusher: Pusher) -> None:
    heard: list[object] = []

    class Handler(QuietHandler):
        def handle(self) -> None:
            heard.append(self.client_address)

    with serve(Handler, None) as plain:
        realm = f'Bearer realm="http://{plain}/token"'
        value = realm if header == "WWW-Authenticate" else f"http://{plain}/x"
        fault = answering(kind, status, b"", {header: value})
        error = pusher.error(fault, challenge=BEARER if "token" in kind else "")
    assert "HTTPS" in error
    assert heard == []


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("stored", [b"", b"{}", _DEEP, bytes(5 * _MIB)], ids=len)
@pytest.mark.parametrize("tells_digest", [True, False])
def test_another_manifest_than_it_says(tells_digest: bool, stored: bytes, pusher: Pusher) -> None:
    """What it says it has stored is read back."""

    def fault(handler: FakeRegistry) -> bool:
        if "manifests" not in handler.kind or handler.path not in handler.store.manifests:
            handler.store.manifests.setdefault(handler.path, b"")
            return False
        digest = f"sha256:{'0' * 64}"
        handler.answer(200, stored, {"Docker-Content-Digest": digest} if tells_digest else {})
        return True

    assert "confirmed sha256:" in pusher.error(fault)


@pytest.mark.usefixtures("small_chunks")
def test_a_blob_without_end(authority: Authority) -> None:
    """It goes from one repository to another through this machine."""

    def fault(handler: FakeRegistry) -> bool:
        if handler.kind != "GET blobs":
            return False
        handler.raw(b"HTTP/1.1 200 OK\r\n")
        endless(handler)
        return True

    blob = blob_of(bytes(100_000))
    with fake_registry(authority, fault) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        with pytest.raises(RegistryError, match="returned wrong content"):
            client.copy_blob(blob, ["x"], "y")
