"""Servers that repeat what was sent to them: nothing secret of it is told or kept."""

import base64
import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.errors import AirgapError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.pusher import ImagePusher
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.fake_registry import (
    BEARER,
    TOKEN,
    FakeRegistry,
    Fault,
    Pusher,
    fake_registry,
    require_one_error,
)

ACCOUNT = Credentials("pusher", 'S3cret/w"rd & more+')
_PAIR = base64.b64encode(f"{ACCOUNT.username}:{ACCOUNT.password}".encode()).decode()
_BASIC = 'Basic realm="x"'
_IDENTITY = "identity-token-of-the-tests"
_SECRETS = (
    ACCOUNT.password,
    ACCOUNT.password[:8],
    _PAIR.rstrip("="),
    _PAIR[5:25],
    TOKEN,
    _IDENTITY,
)
_WHERE = ("GET /v2/", "POST uploads", "PUT uploads", "PUT manifests", "GET token")
_STATUSES = (400, 401, 403, 404, 500)


def _json_in_json(text: str) -> str:
    return json.dumps({"request": text})


# How a server repeats the value of Authorization; it has decoded the account by itself.
_FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda sent: f"Authorization: {sent}",
    "json": _json_in_json,
    "quoted": lambda sent: quote(sent, safe=""),
    "quoted-plus": lambda sent: quote_plus(_account(sent)),
    "upper": str.upper,
    "lower": str.lower,
    "decoded": lambda sent: _account(sent),
    "password": lambda sent: _account(sent).partition(":")[2],
    "decoded-json": lambda sent: _json_in_json(_account(sent)),
    "decoded-quoted": lambda sent: quote(_account(sent), safe=""),
    "reversed": lambda sent: ":".join(reversed(_account(sent).split(":", 1))),
    "cut": lambda sent: "x" * 280 + sent.partition(" ")[2],
    "a-part": lambda sent: sent.partition(" ")[2][5:25],
}


def _account(sent: str) -> str:
    """Decode what tells an account; a token is left as it is."""
    kind, _, value = sent.partition(" ")
    return base64.b64decode(value).decode() if kind == "Basic" else value


def _as_error(handler: FakeRegistry, status: int, text: str) -> None:
    errors = [{"code": "DENIED", "message": text, "detail": {"path": handler.path, "of": text}}]
    handler.answer(status, json.dumps({"errors": errors}).encode())


def _as_text(handler: FakeRegistry, status: int, text: str) -> None:
    handler.answer(status, text.encode(), {"Content-Type": "text/plain"})


def _as_line(handler: FakeRegistry, status: int, text: str) -> None:
    handler.raw(f"{text}\r\n\r\n".encode())


def _as_reason(handler: FakeRegistry, status: int, text: str) -> None:
    handler.raw(f"HTTP/1.1 {status} {text}\r\nContent-Length: 0\r\n\r\n".encode())


def _as_no_header(handler: FakeRegistry, status: int, text: str) -> None:
    handler.raw(f"HTTP/1.1 {status} x\r\n{text.replace(':', ' ')}\r\n\r\n".encode())


def _as_chunk(handler: FakeRegistry, status: int, text: str) -> None:
    head = f"HTTP/1.1 {status} x\r\nTransfer-Encoding: chunked\r\n\r\n"
    handler.raw(f"{head}{text}\r\n\r\n".encode())


def _as_location(handler: FakeRegistry, status: int, text: str) -> None:
    place = f"http://elsewhere.invalid/{quote(text)}"
    handler.answer(202 if handler.command == "POST" else 307, b"", {"Location": place})


def _as_host(handler: FakeRegistry, status: int, text: str) -> None:
    place = f"https://{re.sub('[^A-Za-z0-9]', '-', text)}.invalid/"
    handler.answer(202 if handler.command == "POST" else 307, b"", {"Location": place})


def _as_realm(handler: FakeRegistry, status: int, text: str) -> None:
    handler.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://x/{quote(text)}"'})


_WAYS = (
    _as_text,
    _as_line,
    _as_reason,
    _as_no_header,
    _as_chunk,
    _as_location,
    _as_host,
    _as_realm,
)
_Way = Callable[[FakeRegistry, int, str], None]


def _repeating(where: str, form: str, status: int = 403, way: _Way = _as_error) -> Fault:
    """Answer one kind of request with what it had, however often it is sent."""

    def fault(handler: FakeRegistry) -> bool:
        sent = handler.headers.get("Authorization")
        if handler.kind != where or not sent:
            return False
        way(handler, status, _FORMS[form](sent))
        return True

    return fault


@dataclass(frozen=True)
class Listener:
    """Pushes with an account, and hears all that is said and kept."""

    pusher: Pusher
    logs: pytest.LogCaptureFixture

    def require_no_secret(
        self, fault: Fault, challenge: str, *, without_command: bool = False
    ) -> None:
        """Push into such a registry with the command, and without it if asked."""
        folder = self.pusher.folder
        auth_file = folder / "auth.json"
        with fake_registry(self.pusher.authority, fault, challenge) as host:
            auth_file.write_text(json.dumps({"auths": {host: {"auth": _PAIR}}}))
            status = main([*self.pusher.words(host), "--authfile", str(auth_file)])
            output = self.pusher.capsys.readouterr()
            assert status in (0, 2), output.err
            if status:
                require_one_error(output.err)
            require_none_in([output.out, output.err, self.logs.text])
            if without_command:
                self._push_without_command(host)
        require_none_in(_texts_below(folder, auth_file))

    def _push_without_command(self, host: str) -> None:
        ca = self.pusher.authority.certificate.read_text()
        client = RegistryClient(host, ca=ca, credentials=ACCOUNT)
        state = self.pusher.folder / "state"
        pusher = ImagePusher(client, RegistryLocation.parse(f"{host}/ckf"), state)
        images = FileSource(self.pusher.folder / "images.tar.gz")
        try:
            result = pusher.push(images)
        except AirgapError as error:
            require_none_in([str(error), repr(error), error.problem, error.cure])
        else:
            require_none_in([*result.notices, repr(result)])
        require_none_in([self.logs.text])


def require_none_in(texts: Iterable[str]) -> None:
    """See that none of the secrets is in a text, in whatever letters."""
    for text in texts:
        for secret in _SECRETS:
            for form in (secret, quote(secret, safe=""), quote_plus(secret)):
                assert form.casefold() not in text.casefold(), text[:3000]


def _texts_below(folder: Path, auth_file: Path) -> Iterable[str]:
    for path in folder.rglob("*"):
        if path.is_file() and path != auth_file:
            yield path.read_bytes().decode("latin-1")


@pytest.fixture
def listener(
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Listener:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    caplog.set_level(logging.DEBUG)
    return Listener(Pusher(authority, tmp_path, capsys), caplog)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("challenge", [_BASIC, BEARER], ids=["basic", "bearer"])
def test_what_was_sent_in_any_form(challenge: str, form: str, listener: Listener) -> None:
    fault = _repeating("POST uploads", form)
    listener.require_no_secret(fault, challenge, without_command=True)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("where", _WHERE)
@pytest.mark.parametrize("status", _STATUSES)
def test_an_error_of_any_status(status: int, where: str, listener: Listener) -> None:
    challenge = BEARER if where == "GET token" else _BASIC
    listener.require_no_secret(_repeating(where, "plain", status), challenge)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("where", ["GET /v2/", "POST uploads", "PUT manifests", "GET token"])
def test_an_answer_of_any_kind(where: str, way: _Way, listener: Listener) -> None:
    challenge = BEARER if where == "GET token" else _BASIC
    form = "decoded" if where == "PUT manifests" else "plain"
    listener.require_no_secret(_repeating(where, form, way=way), challenge)


def test_a_push_that_goes_well(listener: Listener) -> None:
    for challenge in (_BASIC, BEARER):
        listener.require_no_secret(lambda _: False, challenge, without_command=True)


def test_an_identity_token(listener: Listener) -> None:
    pusher = listener.pusher
    auth_file = pusher.folder / "auth.json"
    with fake_registry(pusher.authority, lambda _: False, BEARER) as host:
        entry = {"auth": base64.b64encode(b"pusher:").decode(), "identitytoken": _IDENTITY}
        auth_file.write_text(json.dumps({"auths": {host: entry}}))
        assert main([*pusher.words(host), "--authfile", str(auth_file)]) == 2
    output = pusher.capsys.readouterr()
    assert "identity token" in require_one_error(output.err)
    require_none_in([output.out, output.err, listener.logs.text])
    require_none_in(_texts_below(pusher.folder, auth_file))
