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

STORED = (200, 201, 202)
"""The statuses of a response to a stored manifest or blob."""
LARGEST_BODY = 4 * 1024 * 1024
"""How much of a response is read, in bytes: no manifest is larger."""
LARGEST_DOCUMENT = 1024 * 1024
"""The maximum size of other JSON documents, in bytes: parsed, they take some 30 times the memory.
"""
# More connections than there are threads that send at the same time.
_CONNECTIONS = 12
_REPOSITORY = re.compile(
    r"/v2/(?P<name>.+)/(?:blobs|manifests|tags)/(?P<reference>[^/]*)(?:/.*)?", re.DOTALL
)
_READING_METHODS = ("GET", "HEAD")
# The actions of token scopes, and their names in messages.
_PUSH_ACTIONS = "pull,push"
_DELETE_ACTIONS = "pull,delete"
_TASK_OF_ACTIONS = {_PUSH_ACTIONS: "pushing to", _DELETE_ACTIONS: "deleting in"}
_TAG_LIST = "/tags/list"
_CATALOG_SCOPE = "registry:catalog:*"


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
            self.status, self.body, self.address.url
        )

    @property
    def retry_after(self) -> str | None:
        """The header ``Retry-After`` of the response, seconds or a date; None if it has none."""
        return self.headers.get("Retry-After")


class _RedirectTargetError(HTTPError):
    """No response came from the target of a redirect."""

    def __init__(self, address: Address, error: HTTPError) -> None:
        super().__init__(str(error))
        self.address = address
        self.error = error


class RegistryConnection:
    """One registry, always over HTTPS.

    Every method that sends a request raises RegistryError if the registry fails. ``send`` and
    ``stream`` raise HTTPError if no response comes; ``give_up`` turns it into a RegistryError.
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

    def location_in(self, answer: Answer, what: str) -> Address:
        """Read the ``Location`` of a response.

        Args:
            answer: The response.
            what: What the registry did, for example ``opened an upload``; for the message about a
                response without an address.

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
                f"registry {self.host} refers to {place!r}, where nothing is sent because it is "
                "not an HTTPS address",
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
            expected: The statuses of responses to return; any other raises an error.
            headers: Headers in addition to those of every request.
            body: The body.
            anonymous: Whether to leave the account out.
            attempts: The maximum number of attempts.
            about: If ``path`` is an address, the path of the API that it was given for: it names
                the repository.
        """
        attempts_made = Attempts(attempts)
        while True:
            answer = None
            try:
                answer = self.send(
                    method, path, headers=headers, body=body, anonymous=anonymous, about=about
                )
            except HTTPError as error:
                self.give_up(error, attempts_made, path)
            else:
                if answer.status in expected:
                    return answer
                if not answer.is_transient or attempts_made.is_last:
                    raise self.refused(method, answer, about or path)
            attempts_made.wait(answer and answer.retry_after)

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
        """Send a request; after a challenge, send it again with credentials.

        The arguments are those of ``request``; a body in pieces can be sent only once.

        Raises:
            HTTPError: No response came.
            RegistryError: No token was given, or a redirect cannot be followed.
        """
        sent = self._sent(method, path, headers, body, anonymous=anonymous, about=about)
        with sent as (address, response):
            # Read the body even after HEAD: that returns the connection to the pool.
            content = https.read_body(response, LARGEST_BODY)
            return Answer(response.status, response.headers, address, content)

    @contextmanager
    def stream(self, path: str) -> Generator[tuple[Answer, Iterator[bytes]]]:
        """Send a GET for a large body; yield the response without its body, and the body's pieces.

        Raises:
            HTTPError: No response came. Iterating over the pieces raises it if the body is cut
                off.
            RegistryError: As for ``send``.
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
        if isinstance(error, _RedirectTargetError):
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
            url = path.url if isinstance(path, Address) else server or self._base.url
            proxy = https.proxy_note(url)
            raise refusals.failed(self.host, failure, elsewhere, proxy) from error

    def refused(
        self, method: str, answer: Answer, path: str | Address, *, present: str = ""
    ) -> RegistryError:
        """Return the error for an unexpected response.

        Args:
            method: The method of the request.
            answer: The response.
            path: The path of the request.
            present: The digest that the tag of the request points to now; empty if unknown or if
                there is no such tag.
        """
        api_path = unquote(urlsplit(path.url if isinstance(path, Address) else path).path)
        match = _REPOSITORY.fullmatch(api_path)
        request = refusals.Request(
            self.host,
            method,
            match["name"] if match else "",
            match["reference"] if match and "/manifests/" in api_path else "",
            present,
            "" if answer.address.origin == self._base.origin else self.shown(str(answer.address)),
            is_listing=api_path.endswith(_TAG_LIST),
        )
        return refusals.refusal(request, answer.status, answer.body, self.words(answer))

    def words(self, answer: Answer) -> str:
        """Return the registry's own message in parentheses; empty if it contains a secret."""
        words = refusals.message_in(answer.body)
        if not words or self._authentication.contains_secret(words):
            return ""
        return f" ({words})"

    def shown(self, text: str) -> str:
        """Return a server's text for a message, shortened; if it has a secret, only a note."""
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
        """Send a request, and follow the redirects of GET and HEAD (RFC 9110, section 15.4)."""
        address = path if isinstance(path, Address) else self.address(path)
        authentication = self._anonymous if anonymous else self._authentication
        scopes = _scopes(method, about or address.url, is_anonymous=anonymous)
        for redirects in range(https.MOST_REDIRECTS + 1):
            # Other addresses, such as storage, get no credentials.
            allowed = authentication if address.origin == self._base.origin else None
            try:
                response = self._ask(method, address, headers, body, allowed, scopes)
            except HTTPError as error:
                if not redirects:
                    raise
                raise _RedirectTargetError(address, error) from error
            try:
                is_redirect = method in _READING_METHODS and response.status in https.REDIRECTS
                if not is_redirect:
                    yield address, response
                    return
                answer = Answer(response.status, response.headers, address)
                address = self.location_in(answer, "refers to another address")
                https.read_body(response, LARGEST_DOCUMENT)
            finally:
                https.release(response)
        raise RegistryError(
            f"registry {self.host} redirects without end",
            "check the configuration of the registry, or of the proxy in front of it",
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
        is_quick = method in (*_READING_METHODS, "DELETE")
        while True:
            tries -= 1
            authorization = None
            if authentication:
                is_listing = address.url.endswith(_TAG_LIST)
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
        """Send a request to the token server; retry it, and follow redirects."""
        attempts = Attempts()
        while True:
            retry_after = None
            try:
                status, body, retry_after = self._fetch_once(url, headers)
            except HTTPError as error:
                self.give_up(error, attempts, server=url)
            else:
                if not https.is_transient(status) or attempts.is_last:
                    return status, body
            attempts.wait(retry_after)

    def _fetch_once(self, url: str, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
        address: Address | None = None
        try:
            first = address = Address.parse(url)
            for _ in range(https.MOST_REDIRECTS + 1):
                allowed = headers if address.origin == first.origin else {}
                response = self._connections.request(
                    "GET",
                    address.url,
                    headers={**https.HEADERS, **allowed},
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
            verb = "redirects to" if address else "has"
            problem = f"{verb} an address that is not HTTPS, or contains an account"
        raise RegistryError(
            f"the token server of registry {self.host} {problem}",
            "check the configuration of its token service (realm)",
        )


def _header(
    authentication: Authentication, scopes: tuple[str, ...], *, is_listing: bool
) -> str | None:
    """Return the authorization header of a request.

    Raises:
        RefusedError: The token server refuses a token for pushing to, deleting in or listing a
            repository.
        CredentialsError: The token server refuses any other token.
        RegistryError: The token server fails.
    """
    try:
        return authentication.header(scopes)
    except CredentialsError as error:
        _, repository, actions = scopes[0].split(":") if scopes else ("", "", "")
        if actions not in _TASK_OF_ACTIONS:
            raise
        task = "reading" if is_listing else _TASK_OF_ACTIONS[actions]
        cure = READING_CURE if is_listing else error.cure
        raise RefusedError(f"{error.problem}: for {task} {repository}", cure) from error


def _scopes(method: str, url: str, *, is_anonymous: bool) -> tuple[str, ...]:
    """Return the token scopes of a request ("Token Scope Documentation")."""
    parts = urlsplit(url)
    if parts.path == "/v2/_catalog":
        return (_CATALOG_SCOPE,)
    match = _REPOSITORY.fullmatch(parts.path)
    if match is None:
        return ()
    is_deletion = method == "DELETE" and "/manifests/" in parts.path
    actions = "pull" if is_anonymous else _DELETE_ACTIONS if is_deletion else _PUSH_ACTIONS
    sources = parse_qs(parts.query).get("from", [])
    return (
        f"repository:{match['name']}:{actions}",
        *(f"repository:{source}:pull" for source in sources),
    )
