"""Requests to one registry: with retries, authentication and redirects."""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.network import https
from ckf_airgap.network.addresses import Address, Origin, without_query
from ckf_airgap.network.https import Attempts
from ckf_airgap.registry import registry_errors as refusals
from ckf_airgap.registry.authentication import READING_CURE, Authentication, CredentialsError
from ckf_airgap.registry.challenges import read_challenges
from ckf_airgap.registry.registry_errors import RefusedError

LARGEST_BODY = 4 * 1024 * 1024
"""The maximum size of a response that is read, in bytes: no manifest is larger."""
LARGEST_DOCUMENT = 1024 * 1024
"""The maximum size of other JSON documents, in bytes: parsed, they take some 30 times the memory.
"""
# More than the threads that send at a time.
_CONNECTIONS = 12
_REPOSITORY = re.compile(
    r"/v2/(?P<name>.+)/(?:blobs|manifests|tags)/(?P<reference>[^/]*)(?:/.*)?", re.DOTALL
)
_READING = ("GET", "HEAD")
_PUSHING = "pull,push"
_DELETING = "pull,delete"
_TASKS = {_PUSHING: "pushing to", _DELETING: "deleting in"}
_LIST = "/tags/list"
_CATALOG = "registry:catalog:*"


@dataclass(frozen=True)
class Answer:
    """A response of a registry.

    Attributes:
        status: Its status.
        headers: Its headers.
        address: The address that answered, after redirects.
        body: The first ``LARGEST_BODY`` bytes of its body.
    """

    status: int
    headers: urllib3.HTTPHeaderDict = field(repr=False)
    address: Address
    body: bytes = field(default=b"", repr=False)

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return https.is_transient(self.status) and not refusals.is_out_of_space(
            self.status, self.body
        )

    @property
    def asked_pause(self) -> str | None:
        """The ``Retry-After`` of the response: seconds or a date; None without one."""
        return self.headers.get("Retry-After")


class _NoAnswerThereError(HTTPError):
    """No response came from the target of a redirect."""

    def __init__(self, address: Address, error: HTTPError) -> None:
        super().__init__(str(error))
        self.address = address
        self.error = error


class RegistryConnection:
    """One registry, always over HTTPS.

    Every method raises RegistryError if the registry fails, unless it documents HTTPError.
    """

    def __init__(self, host: str, *, ca: str | None, credentials: Credentials | None) -> None:
        """Store the arguments; nothing is sent yet.

        Args:
            host: ``host[:port]``.
            ca: CA certificates (PEM) to trust in addition to the system's.
            credentials: The account; None for anonymous access.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self.host = host
        self._base = Address.parse(f"https://{host}/")
        self._connections = https.Connections(ca, count=_CONNECTIONS)
        self._authentication = Authentication(host, credentials, self._fetch)
        self._anonymous = Authentication(host, None, self._fetch)
        self._reached: set[Origin] = set()

    def address(self, path: str) -> Address:
        """Return the address of a path of the API."""
        return self._base.resolve(path)

    def referred(self, answer: Answer, what: str) -> Address:
        """Read the ``Location`` of a response.

        Args:
            answer: The response.
            what: What the registry did, for the message about a response without an address.

        Raises:
            RegistryError: The response names no address, or one that is not HTTPS.
        """
        location = answer.headers.get("Location")
        if not location:
            raise RegistryError(
                f"registry {self.host} {what} without saying where",
                "check that the address is that of a registry (API v2), not of its web page",
            )
        scheme, _, rest = location.partition("://")
        try:
            if scheme.lower() == "http":
                own = Address.parse(f"https://{rest}")
                # Behind a proxy that terminates TLS, a registry gives its own address with http.
                location = own.url if own.origin == self._base.origin else location
            return answer.address.resolve(location)
        except ValueError:
            place = self.shown(without_query(location))
            raise RegistryError(
                f"registry {self.host} refers to {place!r}, where nothing is sent: it is no "
                "address over HTTPS",
                refusals.ADDRESS_CURE,
            ) from None

    def request(
        self,
        method: str,
        path: str | Address,
        *,
        expected: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        anonymous: bool = False,
        attempts: int = https.ATTEMPTS,
        about: str = "",
    ) -> Answer:
        """Send one request, and retry it after transient failures.

        Args:
            method: The method.
            path: A path of the API, or an address that the registry gave.
            expected: The statuses of responses to return; others raise an error.
            headers: More headers than those of every request.
            body: The body.
            anonymous: Whether to leave the account out.
            attempts: The maximum number of attempts.
            about: The path of the API to which an address belongs, which names the repository.
        """
        patience = Attempts(attempts)
        while True:
            answer = None
            try:
                answer = self.send(
                    method, path, headers=headers, body=body, anonymous=anonymous, about=about
                )
            except HTTPError as error:
                self.give_up(error, patience, path)
            else:
                if answer.status in expected:
                    return answer
                if not answer.is_transient or patience.is_last:
                    raise self.refused(method, answer, about or path)
            patience.wait(answer and answer.asked_pause)

    def send(
        self,
        method: str,
        path: str | Address,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        anonymous: bool = False,
        about: str = "",
    ) -> Answer:
        """Send a request, and again with credentials after a challenge.

        The arguments are those of ``request``; a body in pieces can be sent only once.

        Raises:
            HTTPError: No response came.
        """
        sent = self._sent(method, path, headers, body, anonymous=anonymous, about=about)
        with sent as (address, response):
            # Read the body even after HEAD: that returns the connection to the pool.
            content = https.read_body(response, LARGEST_BODY)
            return Answer(response.status, response.headers, address, content)

    @contextmanager
    def stream(self, path: str) -> Generator[tuple[Answer, Iterator[bytes]]]:
        """Read a large body; return the head of the response and the pieces.

        Raises:
            HTTPError: No response came, or the body ends early, which iterating over the pieces
                raises.
        """
        with self._sent("GET", path) as (address, response):
            answer = Answer(response.status, response.headers, address)
            yield answer, https.pieces(response)

    def give_up(
        self,
        error: HTTPError,
        attempts: Attempts,
        path: str | Address | None = None,
        *,
        server: str = "",
    ) -> None:
        """Raise RegistryError if the failure is permanent or no attempts are left.

        Args:
            error: Why no response came.
            attempts: The attempts so far.
            path: The path of the request.
            server: The address of the token server, if the request went there.
        """
        if isinstance(error, _NoAnswerThereError):
            path, error = error.address, error.error
        failure = https.Failure.of(error)
        failure = replace(failure, detail=self.shown(failure.detail))
        origin = path.origin if isinstance(path, Address) else self._base.origin
        is_elsewhere = origin != self._base.origin
        is_over = attempts.must_stop(failure)
        # An address that has never answered is more often wrong than down.
        is_unknown = is_elsewhere and origin not in self._reached
        if is_over or (is_unknown and attempts.failures):
            elsewhere = self.shown(str(path) if is_elsewhere else without_query(server))
            asked = path.url if isinstance(path, Address) else server or self._base.url
            way = https.proxy_note(asked)
            raise refusals.failed(self.host, failure, elsewhere, way) from error

    def refused(
        self, method: str, answer: Answer, path: str | Address, *, present: str = ""
    ) -> RegistryError:
        """Return the error for an unexpected response.

        Args:
            method: The method of the request.
            answer: The response.
            path: The path of the request.
            present: The digest that the tag of the request has now; empty if there is no such tag.
        """
        asked = unquote(urlsplit(path.url if isinstance(path, Address) else path).path)
        match = _REPOSITORY.fullmatch(asked)
        request = refusals.Request(
            self.host,
            method,
            match["name"] if match else "",
            match["reference"] if match and "/manifests/" in asked else "",
            present,
            "" if answer.address.origin == self._base.origin else self.shown(str(answer.address)),
            is_listing=asked.endswith(_LIST),
        )
        return refusals.refusal(request, answer.status, answer.body, self.words(answer))

    def words(self, answer: Answer) -> str:
        """Return the registry's own message in brackets; empty if it contains a secret."""
        words = refusals.words_in(answer.body)
        if not words or self._authentication.tells_secret(words):
            return ""
        return f" ({words})"

    def shown(self, text: str) -> str:
        """Return a server's text for a message, or nothing if it contains a secret."""
        return self._authentication.shown(text)

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str | Address,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        *,
        anonymous: bool = False,
        about: str = "",
    ) -> Generator[tuple[Address, urllib3.BaseHTTPResponse]]:
        """Send a request, and follow redirects (RFC 9110, section 15.4)."""
        address = path if isinstance(path, Address) else self.address(path)
        authentication = self._anonymous if anonymous else self._authentication
        scopes = _scopes(method, about or address.url, is_anonymous=anonymous)
        for number in range(https.MOST_REDIRECTS + 1):
            # Other addresses, such as storage, get no credentials.
            shown = authentication if address.origin == self._base.origin else None
            try:
                response = self._ask(method, address, headers, body, shown, scopes)
            except HTTPError as error:
                if not number:
                    raise
                raise _NoAnswerThereError(address, error) from error
            try:
                is_redirect = method in _READING and response.status in https.REDIRECTS
                if not is_redirect:
                    yield address, response
                    return
                answer = Answer(response.status, response.headers, address)
                address = self.referred(answer, "refers to another address")
                https.read_body(response, LARGEST_DOCUMENT)
            finally:
                https.release(response)
        raise RegistryError(
            f"registry {self.host} redirects without end",
            "look into the configuration of the registry, or of the proxy in front of it",
        )

    def _ask(
        self,
        method: str,
        address: Address,
        headers: Mapping[str, str] | None,
        body: bytes | Iterable[bytes] | None,
        authentication: Authentication | None,
        scopes: tuple[str, ...],
    ) -> urllib3.BaseHTTPResponse:
        # A body in pieces cannot be sent a second time.
        tries = 2 if body is None or isinstance(body, bytes) else 1
        # The request that closes an upload has no body, but may take the registry a long time.
        is_quick = method in (*_READING, "DELETE")
        while True:
            tries -= 1
            authorization = None
            if authentication:
                is_listing = address.url.endswith(_LIST)
                authorization = _header(authentication, scopes, is_listing=is_listing)
            own_headers = dict(https.HEADERS)
            if authorization:
                own_headers["Authorization"] = authorization
            response = self._connections.request(
                method,
                address.url,
                headers={**own_headers, **(headers or {})},
                body=body,
                chunked=not (body is None or isinstance(body, bytes)),
                preload_content=False,
                decode_content=False,
                redirect=False,
                timeout=https.QUICK_ANSWER if is_quick else https.SLOW_ANSWER,
            )
            self._reached.add(address.origin)
            challenges = read_challenges(response.headers.getlist("WWW-Authenticate"))
            if (
                response.status != 401
                or not tries
                or not authentication
                or not authentication.answer(challenges, scopes, authorization)
            ):
                return response
            https.read_body(response, LARGEST_BODY)

    def _fetch(self, url: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send a request to the token server, and follow redirects."""
        patience = Attempts()
        while True:
            asked = None
            try:
                status, body, asked = self._fetch_once(url, headers)
            except HTTPError as error:
                self.give_up(error, patience, server=url)
            else:
                if not https.is_transient(status) or patience.is_last:
                    return status, body
            patience.wait(asked)

    def _fetch_once(self, url: str, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
        try:
            first = address = Address.parse(url)
            for _ in range(https.MOST_REDIRECTS + 1):
                shown = headers if address.origin == first.origin else {}
                response = self._connections.request(
                    "GET",
                    address.url,
                    headers={**https.HEADERS, **shown},
                    preload_content=False,
                    redirect=False,
                    timeout=https.QUICK_ANSWER,
                )
                body = https.read_body(response, LARGEST_DOCUMENT)
                target = response.headers.get("Location")
                if response.status not in https.REDIRECTS or not target:
                    return response.status, body, response.headers.get("Retry-After")
                address = address.resolve(target)
            problem = "redirects without end"
        except ValueError:
            problem = "redirects to an address that is not HTTPS"
        raise RegistryError(
            f"the token server of registry {self.host} {problem}",
            "look into the configuration of its token service (realm)",
        )


def _header(
    authentication: Authentication, scopes: tuple[str, ...], *, is_listing: bool
) -> str | None:
    """Return the authorization header of a request.

    Raises:
        RefusedError: The token server refuses a token for a repository.
        CredentialsError: It refuses any other token.
        RegistryError: It fails.
    """
    try:
        return authentication.header(scopes)
    except CredentialsError as error:
        _, repository, actions = scopes[0].split(":") if scopes else ("", "", "")
        if actions not in _TASKS:
            raise
        task = "reading" if is_listing else _TASKS[actions]
        cure = READING_CURE if is_listing else error.cure
        raise RefusedError(f"{error.problem}: for {task} {repository}", cure) from error


def _scopes(method: str, url: str, *, is_anonymous: bool) -> tuple[str, ...]:
    """Return the token scopes of a request ("Token Scope Documentation")."""
    parts = urlsplit(url)
    if parts.path == "/v2/_catalog":
        return (_CATALOG,)
    match = _REPOSITORY.fullmatch(parts.path)
    if match is None:
        return ()
    is_deletion = method == "DELETE" and "/manifests/" in parts.path
    actions = "pull" if is_anonymous else _DELETING if is_deletion else _PUSHING
    sources = parse_qs(parts.query).get("from", [])
    return (
        f"repository:{match['name']}:{actions}",
        *(f"repository:{source}:pull" for source in sources),
    )
