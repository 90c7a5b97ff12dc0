"""Addresses, patience, and what is kept out of messages; nothing is sent."""

import io
from collections.abc import Callable

import pytest
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError, SSLError, URLSchemeUnknown

from ckf_airgap.errors import DownloadError, RegistryError
from ckf_airgap.network import https
from ckf_airgap.network import small_downloads as small_files
from ckf_airgap.network.addresses import Address, Origin, without_query
from ckf_airgap.network.https import Attempts, Cause, Failure
from ckf_airgap.registry.connection import RegistryConnection
from ckf_airgap.registry.listings import list_repositories
from ckf_airgap.registry.registry_errors import UnreadableError

_PLAIN = Failure(Cause.UNREACHABLE, "x")
_SLOW = Failure(Cause.SLOW, "x")
_BASE = Address.parse("https://registry.corp:5000/v2/x/blobs/uploads/1?_state=y")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """Keep how long would have been waited, and do not wait."""
    kept: list[tuple[int, str | None]] = []

    def pause(attempt: int, asked: str | None = None) -> None:
        kept.append((attempt, asked))

    monkeypatch.setattr(https, "pause", pause)
    return kept


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:1"])
@pytest.mark.parametrize("url", ["http://x:1/", "HTTP://x:1/", "ftp://x/"])
def test_there_are_no_connections_without_tls(
    proxy: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises((KeyError, URLSchemeUnknown)):
        https.Connections(None).request("GET", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://x/",
        "HTTP://x/",
        "//x/",
        "/v2/",
        "file:///etc/passwd",
        "",
        "https://",
        "https:///v2/",
        "https://user:password@x/",
        "https://@x/",
        "https://x:65536/",
        "https://x:-1/",
        "https://x:y/",
        "https://[::1/",
        "https://x/\r\nHost: y",
        "https://x/\x00",
        "https://x\x7f/",
        "https://x/a b",
        "https://ex\u00e4mple/",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.parse(url)


@pytest.mark.parametrize(
    "reference", ["http://registry.corp:5000/x", "https://u:p@y/", "file:///x", "//y:99999/"]
)
def test_references_that_are_refused(reference: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _BASE.resolve(reference)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/v2/2", "https://registry.corp:5000/v2/2"),
        ("2", "https://registry.corp:5000/v2/x/blobs/uploads/2"),
        ("?_state=z", "https://registry.corp:5000/v2/x/blobs/uploads/1?_state=z"),
        ("//other/x", "https://other/x"),
        ("https://other/x?y", "https://other/x?y"),
    ],
)
def test_references(reference: str, url: str) -> None:
    assert _BASE.resolve(reference).url == url


def test_origins() -> None:
    same = ["https://registry.corp/", "HTTPS://Registry.Corp:443/x", "https://registry.corp:/"]
    assert {Address.parse(url).origin for url in same} == {Origin("registry.corp", 443)}
    for other in ("https://registry.corp:5000/", "https://corp/", "https://registry.corp.x/"):
        assert Address.parse(other).origin != Origin("registry.corp", 443)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x/y", "https://x/y"),
        ("https://x/y?signature=secret", "https://x/y"),
        ("https://user:secret@x/y", "https://x/y"),
        ("https://user:secret@x", "https://x"),
        ("https://x/y@z", "https://x/y@z"),
        ("x/y", "x/y"),
        ("https://x/" + "y" * 1_000, "https://x/" + "y" * 290),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert without_query(url) == shown


def _count(attempts: Attempts, failure: Failure) -> int:
    """Count how often something is tried that always fails."""
    count = 1
    while not attempts.must_stop(failure):
        attempts.wait()
        count += 1
    return count


def test_how_often_it_is_tried(pauses: list[tuple[int, str | None]]) -> None:
    assert _count(Attempts(), _PLAIN) == https.ATTEMPTS
    assert pauses == [(past, None) for past in range(https.ATTEMPTS - 1)]
    assert _count(Attempts(2), _PLAIN) == 2
    assert _count(Attempts(1), _PLAIN) == 1
    # What takes its time is not tried as often.
    assert _count(Attempts(), _SLOW) == 3


_PASSING = (Cause.UNREACHABLE, Cause.SLOW)


@pytest.mark.parametrize("cause", [each for each in Cause if each not in _PASSING])
def test_what_no_waiting_mends(cause: Cause) -> None:
    assert _count(Attempts(), Failure(cause, "x")) == 1


def test_a_pause_that_was_asked_for(pauses: list[tuple[int, str | None]]) -> None:
    attempts = Attempts()
    attempts.wait("7")
    assert (attempts.failures, attempts.is_last, pauses) == (1, False, [(0, "7")])


class _Response(urllib3.HTTPResponse):
    @classmethod
    def of(cls, status: int, body: bytes = b"", **headers: str) -> "_Response":
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(io.BytesIO(body), headers=names, status=status, preload_content=False)


Answers = Callable[..., list[str]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Let requests be answered one after the other; gives the list of what is asked for."""

    def answer(*given: _Response | HTTPError) -> list[str]:
        asked: list[str] = []
        left = list(given)

        def request(_: object, method: str, url: str, **__: object) -> _Response:
            asked.append(f"{method} {url}")
            found = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(found, HTTPError):
                raise found
            return found

        monkeypatch.setattr(urllib3.PoolManager, "request", request)
        return asked

    return answer


def test_a_file_is_fetched(answers: Answers, pauses: list[tuple[int, str | None]]) -> None:
    asked = answers(
        _Response.of(503, Retry_After="9"),
        ProtocolError("x"),
        _Response.of(302, Location="/there"),
        _Response.of(200, b"content"),
    )
    assert small_files.fetch("https://x/here", None, largest=7) == b"content"
    assert asked == [*["GET https://x/here"] * 3, "GET https://x/there"]
    assert pauses == [(0, "9"), (1, None)]


@pytest.mark.parametrize(
    ("answer", "count", "message"),
    [
        (_Response.of(200, b"12345678"), 1, "has more than 7 bytes"),
        (_Response.of(404), 1, "answers 404"),
        (_Response.of(503), 5, "answers 503"),
        (_Response.of(302, Location="?x"), 6, "too many redirects"),
        (
            _Response.of(302, Location="http://x/y?z"),
            1,
            "not served over HTTPS, but at http://x/y",
        ),
        (_Response.of(302, Location="https://[::1"), 1, "cannot be fetched"),
        (ProtocolError("gone"), 5, "cannot be fetched"),
        (SSLError("no"), 1, "cannot be fetched"),
    ],
)
def test_a_file_that_cannot_be_had(
    answer: _Response | HTTPError, count: int, message: str, answers: Answers
) -> None:
    asked = answers(answer)
    with pytest.raises(DownloadError, match=message) as raised:
        small_files.fetch("https://x/here", None, largest=7)
    assert len(asked) == count
    assert "z" not in raised.value.reason.partition("/y")[2]


def test_a_file_in_the_clear(answers: Answers) -> None:
    asked = answers(_Response.of(200))
    with pytest.raises(DownloadError, match="not served over HTTPS"):
        small_files.fetch("http://x/here", None, largest=7)
    assert asked == []


@pytest.fixture
def registry() -> RegistryConnection:
    return RegistryConnection("registry.corp:5000", ca=None, credentials=None)


@pytest.mark.parametrize(
    "page",
    [
        "https://[x",
        "/v2/_catalog?last=\u00e4",
        "/v2/_catalog?last=a b",
        "/catalog?last=a",
        "https://registry.corp:5000//other/v2/_catalog",
    ],
)
def test_a_list_whose_next_page_is_none_is_refused(
    page: str, registry: RegistryConnection, answers: Answers
) -> None:
    asked = answers(_Response.of(200, b'{"repositories": ["a"]}', Link=f'<{page}>; rel="next"'))
    message = "the list at /v2/_catalog of registry registry.corp:5000 names no next page"
    with pytest.raises(UnreadableError, match=message):
        list_repositories(registry)
    assert asked == ["GET https://registry.corp:5000/v2/_catalog"]


@pytest.mark.parametrize(
    ("realm", "location", "problem"),
    [
        ("https://user@tokens.corp/", "", "has an address that .* contains an account"),
        ("https://tokens.corp/", "http://tokens.corp/", "redirects to an address that is not H"),
    ],
)
def test_a_token_server_that_is_not_asked(
    realm: str, location: str, problem: str, registry: RegistryConnection, answers: Answers
) -> None:
    asked = answers(
        _Response.of(401, WWW_Authenticate=f'Bearer realm="{realm}"'),
        _Response.of(307, Location=location),
    )
    message = f"the token server of registry registry.corp:5000 {problem}"
    with pytest.raises(RegistryError, match=message):
        registry.request("GET", "/v2/", expected=(200,))
    assert asked[1:] == ([f"GET {realm}"] if location else [])
