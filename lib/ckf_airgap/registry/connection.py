"""Requests to one registry: with patience, with authentication, and with words for what fails."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from ckf_airgap import https
from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.registry.authentication import CREDENTIALS_CURE, Authentication

# A few threads send at a time.
_CONNECTIONS = 12
_REPOSITORY = re.compile(r"/v2/(?P<name>.+)/(?:blobs|manifests|tags)/")
_ALL_SCOPES = "pull,push"
# As words, or as the distribution project's registry writes them: errno(3) 28 and 122.
_FULL_DISK = re.compile(rb'no space left|disk quota exceeded|"err":\s*(?:28|122)\b')


class RegistryConnection:
    """One registry, over HTTPS always. Every method raises RegistryError where it fails."""

    def __init__(self, host: str, *, ca: str | None, credentials: Credentials | None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            host: ``host[:port]``.
            ca: PEM certificates of the authorities to trust beside those of the system.
            credentials: Of the account to use, or None.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self.host = host
        self._pool = https.connections(ca, count=_CONNECTIONS)
        self._authentication = Authentication(host, credentials, self._fetch)
        self._anonymous = Authentication(host, None, self._fetch)

    def url(self, path: str) -> str:
        """Give the address of a path, or of what a ``Location`` names."""
        try:
            url = urlsplit(urljoin(f"https://{self.host}", path))
        except ValueError:
            raise RegistryError(
                f"registry {self.host} refers to {path!r}, which is no address",
                "look into the configuration of the registry, or of the proxy in front of it",
            ) from None
        if url.netloc == self.host:
            # A proxy that ends TLS in front of the registry makes it name itself with http.
            url = url._replace(scheme="https")
        return url.geturl()

    def request(
        self,
        method: str,
        path: str,
        *,
        expected: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
        anonymous: bool = False,
        attempts: int = https.ATTEMPTS,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, again after transient failures, until an expected answer comes."""
        for attempt in range(attempts):
            asked = None
            try:
                response = self.send(
                    method, path, headers=headers, body=body, stream=stream, anonymous=anonymous
                )
            except HTTPError as error:
                self.give_up(error, attempt, attempts)
            else:
                if response.status in expected:
                    return response
                if stream:
                    _read(response)
                if not self.may_pass(response) or attempt == attempts - 1:
                    raise self.refused(method, response)
                asked = response.headers.get("Retry-After")
            https.pause(attempt, asked)
        raise AssertionError

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
        anonymous: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request once, or twice where the registry asks who it is from.

        Raises:
            HTTPError: No answer came.
        """
        url = self.url(path)
        # Storage that the registry refers to elsewhere is not shown the credentials.
        own = urlsplit(url).netloc == self.host
        authentication = self._anonymous if anonymous else self._authentication
        scopes = _scopes(url)
        # A body that comes by once cannot be sent a second time.
        tries = 2 if own and (body is None or isinstance(body, bytes)) else 1
        while True:
            tries -= 1
            authorization = authentication.header(scopes) if own else None
            own_headers = {"User-Agent": https.USER_AGENT}
            if authorization:
                own_headers["Authorization"] = authorization
            response = self._pool.request(
                method,
                url,
                headers={**own_headers, **(headers or {})},
                body=body,
                chunked=not (body is None or isinstance(body, bytes)),
                preload_content=not stream,
                redirect=False,
            )
            challenge = response.headers.get("WWW-Authenticate", "")
            if (
                response.status != 401
                or not tries
                or not authentication.answer(challenge, scopes, authorization)
            ):
                return response
            response.close()

    def give_up(self, error: HTTPError, attempt: int, attempts: int = https.ATTEMPTS) -> None:
        """Raise RegistryError where it is of no use, or was tried often enough, to try again."""
        failure = https.Failure.of(error)
        if not failure.is_final and attempt < attempts - 1:
            return
        problem, cure = _FAILURES[failure.cause]
        raise RegistryError(
            f"registry {self.host} {problem} ({failure.detail})",
            cure,
        ) from error

    @staticmethod
    def is_out_of_space(response: urllib3.BaseHTTPResponse) -> bool:
        """Tell whether a refusal is for want of space, whatever its status."""
        return _words_of(response) is not None

    @staticmethod
    def may_pass(response: urllib3.BaseHTTPResponse) -> bool:
        """Tell whether the same request may succeed later."""
        return https.is_transient(response.status) and not _words_of(response)

    def refused(self, method: str, response: urllib3.BaseHTTPResponse) -> RegistryError:
        """Say what an answer means that was not expected."""
        known = _words_of(response) or _REFUSALS.get(response.status)
        if b"BLOB_UNKNOWN" in response.data:
            known = _LOST_BLOB
        detail = error_detail(response.data)
        if known:
            problem, cure = known
            return RegistryError(f"registry {self.host} {problem}{detail}", cure)
        return RegistryError(
            f"registry {self.host} answered {response.status} to {method}{detail}",
            "look into the registry's log, then run it again",
        )

    def _fetch(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask the server of tokens that the registry names."""
        for attempt in range(https.ATTEMPTS):
            asked = None
            try:
                response = self._pool.request(
                    "GET",
                    url,
                    headers={"User-Agent": https.USER_AGENT, **headers},
                    redirect=False,
                )
            except HTTPError as error:
                self.give_up(error, attempt)
            else:
                if not https.is_transient(response.status) or attempt == https.ATTEMPTS - 1:
                    return response
                asked = response.headers.get("Retry-After")
            https.pause(attempt, asked)
        raise AssertionError


def error_detail(body: bytes) -> str:
    """Read the registry's own words from its answer ("Error Codes" of the specification)."""
    try:
        first = cast(dict[str, Any], json.loads(body)["errors"][0])
        text = f"{first.get('code', '')} {first.get('message', '')} {first.get('detail') or ''}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return ""
    return f" ({' '.join(text.split())[:300]})"


_NO_SPACE = ("has no space left", "make space in its storage, then run it again")
_NO_QUOTA = (
    "refuses more for this project or account: its quota is used up",
    "raise the quota or delete what is not needed, then run it again: it continues",
)
# Of the OCI distribution specification, "Error codes": also as MANIFEST_BLOB_UNKNOWN.
_LOST_BLOB = (
    "has lost a blob that it had confirmed",
    "look at its disk, which may be full, and at its log; then run it again: it continues",
)
_REFUSALS = {
    401: ("refused the credentials, or wants some", CREDENTIALS_CURE),
    403: ("forbids this account to push there", CREDENTIALS_CURE),
    404: (
        "has no such repository or is not a registry (API v2)",
        "check the host and the path of the option registry; some registries need the project "
        "in the path to be made first",
    ),
    413: ("takes no upload of this size", "raise its limit or quota, then run it again"),
    429: ("limits the rate of requests", "wait, then run it again: it continues"),
    507: _NO_SPACE,
}
_FAILURES = {
    **https.CERTIFICATE_FAILURES,
    https.Cause.NO_TLS: (
        "does not speak TLS as expected",
        "give the port at which it serves HTTPS: juju config ckf-airgap registry=...",
    ),
    https.Cause.UNKNOWN_NAME: (
        "has a name that cannot be resolved",
        "correct it (juju config ckf-airgap registry=...) or add it to the cluster's DNS",
    ),
    https.Cause.UNREACHABLE: (
        "cannot be reached",
        "see that it runs and that the cluster can reach it, then run it again",
    ),
}


def _words_of(response: urllib3.BaseHTTPResponse) -> tuple[str, str] | None:
    """Recognise a full disk or a quota, for which registries have all kinds of statuses."""
    if response.status < 400 or not response.closed:
        return None
    body = response.data.lower()
    if _FULL_DISK.search(body):
        return _NO_SPACE
    return _NO_QUOTA if b"quota" in body else None


def _read(response: urllib3.BaseHTTPResponse) -> None:
    try:
        response.read(cache_content=True)
    except HTTPError:
        response.close()


def _scopes(url: str) -> tuple[str, ...]:
    """Name what a request does, as tokens name it ("Token Scope Documentation")."""
    parts = urlsplit(url)
    match = _REPOSITORY.match(parts.path)
    if match is None:
        return ()
    sources = parse_qs(parts.query).get("from", [])
    return (
        f"repository:{match['name']}:{_ALL_SCOPES}",
        *(f"repository:{source}:pull" for source in sources),
    )
