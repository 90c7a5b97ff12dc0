"""What an honest registry may do: be slow, be busy, change its mind about how it is sent to."""

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3.connection

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.network import https
from ckf_airgap.registry.client import RegistryClient
from testbed.pki import Authority
from tests.functional.pushes import (
    IMAGES,
    archive,
    check_all,
    large_layers,
    path_in_registry,
    push_to,
)
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Answer, Request, proxy
from tests.functional.tokens import TokenRegistry, TokenServer, tags, token_registry

ACCOUNT = Credentials("pusher", "a-word-for-tokens")


def test_what_is_sent_has_a_limit_for_each_piece(
    registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: set[float | None] = set()
    sizes: set[int] = set()
    send = urllib3.connection.HTTPSConnection.send

    def watched(connection: Any, data: Any) -> None:
        limits.add(connection.sock.gettimeout())
        sizes.add(len(data))
        send(connection, data)

    monkeypatch.setattr(urllib3.connection.HTTPSConnection, "send", watched)
    monkeypatch.setattr("ckf_airgap.network.https._SECONDS_FOR_A_PIECE", 37.0)
    pieces = [bytes(3_000_000)]
    registry.client().upload_blob("ckf/x", pieces)
    assert limits == {37.0}
    assert 1000 < max(sizes) <= 64 * 1024


def test_a_registry_may_take_its_time_to_close_an_upload(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With no time at all for other answers, this one has what a large blob needs."""
    given: dict[str, float] = {}
    getresponse = https.HTTPSConnection.getresponse

    def watched(connection: Any) -> Any:
        response = getresponse(connection)
        given[methods[-1]] = connection.timeout
        return response

    methods: list[str] = []

    def note(request: Request) -> None:
        methods.append(request.method)

    monkeypatch.setattr(https.HTTPSConnection, "getresponse", watched)
    monkeypatch.setattr("ckf_airgap.registry.blob_upload.CHUNK_SIZE", 1000)
    with proxy(registry, authority, note) as host:
        client = RegistryClient(host, ca=authority.certificate.read_text())
        client.upload_blob("ckf/x", [bytes(5000)])
        client.has_blob("ckf/x", "sha256:" + "0" * 64)
    slow, quick = https.SLOW_ANSWER.read_timeout, https.QUICK_ANSWER.read_timeout
    assert given == {"POST": slow, "PATCH": slow, "PUT": slow, "HEAD": quick}


def test_connections_are_used_again(
    registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    connect = urllib3.connection.HTTPSConnection.connect

    def counted(connection: Any) -> None:
        made.append(connection.host)
        connect(connection)

    monkeypatch.setattr(urllib3.connection.HTTPSConnection, "connect", counted)
    client = registry.client()
    for number in range(4):
        assert not client.has_blob("ckf/x", f"sha256:{number:064}")
        assert client.manifest_digest("ckf/x", str(number)) is None
        client.check_write("ckf/x")
    assert len(made) == 1


@pytest.mark.usefixtures("no_pauses", "small_chunks")
def test_streams_refused_to_several_at_once(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    together = threading.Barrier(2)
    refused = 0

    def no_streams(request: Request) -> int | None:
        nonlocal refused
        if not request.is_stream:
            return None
        refused += 1
        if refused <= together.parties:
            # Nobody has an answer before both have begun.
            together.wait(timeout=600)
        return 411

    with proxy(registry, authority, no_streams) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    assert refused >= together.parties
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses", "small_chunks")
def test_a_registry_that_does_not_tell_the_state_of_an_upload(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = large_layers(tmp_path)
    cut: list[str] = []

    def no_state(request: Request) -> Any:
        if request.method == "PATCH" and len(cut) < 3:
            cut.append(request.path)
            return "cut"
        is_state = request.method == "GET" and "/blobs/uploads/" in request.path
        return Answer(400, b'{"errors": [{"code": "NAME_INVALID"}]}') if is_state else None

    with proxy(registry, authority, no_state) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("status", "words"),
    [(429, "Quota exceeded for quota metric 'Requests per minute'"), (503, "upstream is busy")],
)
def test_limits_of_requests_are_waited_for(
    status: int, words: str, registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    images = archive(tmp_path)
    seen: set[str] = set()

    def limit(request: Request) -> Answer | None:
        place = f"{request.method} {urlsplit(request.path).path}"
        if place in seen or request.method not in ("HEAD", "GET", "POST"):
            return None
        seen.add(place)
        body = f'{{"errors": [{{"code": "TOOMANYREQUESTS", "message": "{words}"}}]}}'
        return Answer(status, body.encode())

    with proxy(registry, authority, limit) as host:
        assert len(push_to(host, authority, images).pushed) == len(IMAGES)
    check_all(registry, images, tmp_path)


@pytest.mark.usefixtures("no_pauses")
def test_a_registry_that_does_not_take_uploads_back(
    registry: RunningRegistry, authority: Authority, tmp_path: Path
) -> None:
    asked: list[str] = []

    def keep(request: Request) -> int | None:
        if request.method != "DELETE":
            return None
        asked.append(request.path)
        return 502

    with proxy(registry, authority, keep) as host:
        RegistryClient(host, ca=authority.certificate.read_text()).check_write("ckf/x")
    assert len(asked) == 1


@pytest.fixture
def with_tokens(
    authority: Authority, tmp_path: Path
) -> Generator[tuple[TokenRegistry, TokenServer]]:
    """A registry that takes tokens, and who gives them."""
    server = TokenServer(ACCOUNT)
    with token_registry(authority, tmp_path, server) as registry:
        yield registry, server


def test_a_token_that_is_refused_for_one_repository(
    with_tokens: tuple[TokenRegistry, TokenServer],
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, server = with_tokens
    refused, _ = path_in_registry(IMAGES[2])
    answer = server.answer

    def without_one(path: str, *more: Any) -> tuple[int, bytes]:
        return (403, b"") if refused.replace("/", "%2F") in path else answer(path, *more)

    monkeypatch.setattr(server, "answer", without_one)
    with pytest.raises(RegistryError, match="its token server answered 403") as raised:
        push_to(registry.host, authority, archive(tmp_path), ACCOUNT)
    assert f"for pushing to ckf/{refused}" in raised.value.problem
    others = [path_in_registry(image) for image in IMAGES]
    assert tags(registry) == {":".join(each) for each in others if each[0] != refused}


@pytest.mark.usefixtures("small_chunks")
def test_uploads_at_an_address_of_another_shape(
    with_tokens: tuple[TokenRegistry, TokenServer], authority: Authority, tmp_path: Path
) -> None:
    """As Artifactory gives them: the path does not show the repository, the token is for it."""
    registry, _ = with_tokens
    places: dict[str, str] = {}

    def rename(request: Request) -> Answer | None:
        path = urlsplit(request.path)
        if path.path in places:
            request.path = f"{places[path.path]}&{path.query}".rstrip("&")
        if "/uploads/" not in request.path:
            return None
        request.upstream.request(request.method, request.path, request.body, request.headers)
        response = request.upstream.getresponse()
        body, headers = response.read(), dict(response.getheaders())
        if response.status == 202:
            place = f"/artifacts/{len(places)}"
            location = urlsplit(headers["Location"])
            places[place] = f"{location.path}?{location.query}"
            headers["Location"] = place
        return Answer(response.status, body, headers)

    images = large_layers(tmp_path)
    running = RunningRegistry(registry)
    with proxy(running, authority, rename) as host:
        assert len(push_to(host, authority, images, ACCOUNT).pushed) == len(IMAGES)
    assert places
