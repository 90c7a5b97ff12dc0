"""A real registry that takes tokens from a server of them."""

import logging
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import RegistryError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.network import https
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import ImagePusher, PushResult
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.pushes import IMAGES, archive, path_in_registry
from tests.functional.tokens import ACCOUNT, TokenRegistry, TokenServer, tags, token_registry

PULL = frozenset({"pull"})


@pytest.fixture
def server() -> TokenServer:
    return TokenServer(ACCOUNT)


@pytest.fixture
def registry(
    authority: Authority, tmp_path: Path, server: TokenServer
) -> Generator[TokenRegistry]:
    with token_registry(authority, tmp_path, server) as registry:
        yield registry


def client_of(
    registry: TokenRegistry, credentials: Credentials | None = ACCOUNT
) -> RegistryClient:
    return RegistryClient(registry.host, ca=registry.ca.read_text(), credentials=credentials)


def push(
    registry: TokenRegistry, folder: Path, credentials: Credentials | None = ACCOUNT
) -> PushResult:
    location = RegistryLocation(registry.host, "ckf")
    pusher = ImagePusher(client_of(registry, credentials), location, folder / "pushed")
    return pusher.push(FileSource(archive(folder).path))


def test_a_whole_push(registry: TokenRegistry, server: TokenServer, tmp_path: Path) -> None:
    result = push(registry, tmp_path)
    assert len(result.pushed) == len(IMAGES)
    assert tags(registry) == {":".join(path_in_registry(image)) for image in IMAGES}
    # A token serves all requests of its kind.
    assert len(server.scopes) == len(set(server.scopes))
    # Blobs are mounted from where they are: a token that is good for both repositories.
    assert any(len(scopes) > 1 for scopes in server.scopes)


@pytest.mark.parametrize("credentials", [None, Credentials("pusher", "another-word")])
def test_an_account_that_is_not_known(
    credentials: Credentials | None,
    registry: TokenRegistry,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RegistryError, match="refused the credentials") as raised:
        push(registry, tmp_path, credentials)
    assert "registry-credentials" in raised.value.cure
    assert "another-word" not in f"{raised.value} {caplog.text}"


def test_no_password_is_told_or_kept(
    registry: TokenRegistry, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    push(registry, tmp_path)
    assert ACCOUNT.password not in caplog.text + (tmp_path / "pushed").read_text()


def test_an_account_that_may_only_pull(
    registry: TokenRegistry, server: TokenServer, tmp_path: Path
) -> None:
    server.actions = PULL
    with pytest.raises(RegistryError) as raised:
        push(registry, tmp_path)
    assert "an account that may push" in raised.value.cure
    assert tags(registry) == set()


def test_tokens_that_expire_in_the_middle(
    registry: TokenRegistry,
    server: TokenServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckf_airgap.push.progress._REPORT_SECONDS", 0)
    client = client_of(registry)
    tokens = client._connection._authentication._tokens  # pyright: ignore[reportPrivateUsage]

    def spoil(_: Progress) -> None:
        # What the registry refuses is the same to it as what has expired, without the waiting.
        for scopes, token in list(tokens.items()):
            tokens[scopes] = replace(token, text="spoilt")

    location = RegistryLocation(registry.host, "ckf")
    pusher = ImagePusher(client, location, tmp_path / "pushed", spoil)
    result = pusher.push(FileSource(archive(tmp_path).path))
    assert len(result.pushed) == len(IMAGES)
    # The same was asked for again.
    assert len(server.scopes) > len(set(server.scopes))


@pytest.mark.usefixtures("no_pauses")
def test_a_server_of_tokens_that_fails_for_a_while(
    registry: TokenRegistry, server: TokenServer, tmp_path: Path
) -> None:
    server.failures = [503, 429, 500]
    assert len(push(registry, tmp_path).pushed) == len(IMAGES)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("failures", "body"),
    [
        ([503] * https.ATTEMPTS, None),
        ([], b"<html>"),
        ([], b"[]"),
        ([], b'{"token": 1}'),
        ([], b'{"token": "two\\nlines"}'),
        ([], b'{"token": "word", "expires_in": "soon"}'),
    ],
)
def test_a_server_of_tokens_that_gives_none(
    failures: list[int], body: bytes | None, registry: TokenRegistry, server: TokenServer
) -> None:
    server.failures, server.body = failures, body
    with pytest.raises(RegistryError, match="without a token") as raised:
        client_of(registry).check()
    assert "run it again" in raised.value.cure


def test_a_server_of_tokens_without_tls(
    authority: Authority, tmp_path: Path, server: TokenServer
) -> None:
    with (
        token_registry(authority, tmp_path, server, scheme="http") as registry,
        pytest.raises(RegistryError, match="without HTTPS") as raised,
    ):
        client_of(registry).check()
    assert ACCOUNT.password not in str(raised.value)


@pytest.mark.parametrize(("anonymous", "allowed"), [(PULL, True), (None, False)])
def test_whether_anybody_may_pull(
    anonymous: frozenset[str] | None,
    allowed: bool,
    registry: TokenRegistry,
    server: TokenServer,
    tmp_path: Path,
) -> None:
    push(registry, tmp_path)
    server.anonymous = anonymous
    repository, tag = path_in_registry(IMAGES[0])
    client = client_of(registry)
    assert client.allows_anonymous_pull(f"ckf/{repository}", tag) is allowed
