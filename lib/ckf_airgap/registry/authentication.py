"""Authenticates requests to a registry: basic authentication, or tokens.

Tokens follow the distribution project's "Token Authentication Specification".
"""

import json
import math
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, unquote, urlencode, urlsplit

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import OWN_APPLICATION, RegistryError
from ckf_airgap.network.addresses import without_query
from ckf_airgap.registry.challenges import Challenge

# The specification's default lifetime of a token.
_DEFAULT_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0
_SPARE_SECONDS = 10.0
# The characters that servers accept in headers.
_LONGEST_TOKEN = 64 * 1024
_LONGEST_SHOWN = 2000
_LOGIN = (
    f"(juju add-secret, grant-secret, juju config {OWN_APPLICATION} "
    "registry-credentials=secret:...; on a workstation skopeo login)"
)
CREDENTIALS_CURE = f"give an account that may push {_LOGIN}"
READING_CURE = f"give an account that may read it {_LOGIN}"
# Servers repeat requests in part: so many characters of a secret count as one.
_SECRET_PIECE = 8


class CredentialsError(RegistryError):
    """The registry does not accept an account, or wants one."""


# Sends a GET with headers to a token server; returns the status and the body of the response.
Fetch = Callable[[str, dict[str, str]], tuple[int, bytes]]


@dataclass(frozen=True)
class _Token:
    text: str
    deadline: float


class Authentication:
    """Answers the challenges of one registry. Safe to use from several threads.

    A registry that sends no challenge gets no credentials.
    """

    def __init__(self, host: str, credentials: Credentials | None, fetch: Fetch) -> None:
        """Prepare.

        Args:
            host: The registry, for messages.
            credentials: The account; None to send requests anonymously.
            fetch: Sends a request to the token server that the registry names.
        """
        self._host = host
        self._credentials = credentials
        self._fetch = fetch
        # Held while a token is requested.
        self._lock = threading.RLock()
        self._basic = _basic(credentials) if credentials else None
        self._is_basic = False
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """Return the value of ``Authorization`` for a request; None for none.

        Args:
            scopes: The scopes of the request, for example ``repository:<name>:pull,push``.
        """
        with self._lock:
            if self._is_basic:
                return self._basic
            if self._challenge is None:
                return None
            token = self._tokens.get(scopes)
            if token is None or time.monotonic() >= token.deadline:
                token = self._tokens[scopes] = self._fetch_token(self._challenge, scopes)
            return f"Bearer {token.text}"

    def answer(
        self, challenges: Sequence[Challenge], scopes: tuple[str, ...], refused: str | None
    ) -> bool:
        """Learn from challenges: use tokens if they are offered, otherwise the password.

        Args:
            challenges: The challenges of a response with status 401.
            scopes: The scopes of the request.
            refused: The ``Authorization`` of the request.

        Returns:
            Whether another attempt may succeed.
        """
        bearer = next((each for each in challenges if _names_server(each)), None)
        with self._lock:
            if bearer is None:
                if not any(each.scheme == "basic" for each in challenges):
                    return False
                # The same credentials are sent once more: the service may have been restarted.
                self._is_basic = self._basic is not None
                return self._is_basic
            self._is_basic = False
            known = self._tokens.get(scopes)
            if refused and known and refused == f"Bearer {known.text}":
                # An old token may have expired, or its rights may have changed; a new one is
                # refused for another reason.
                del self._tokens[scopes]
            self._challenge = bearer
            return True

    def tells_secret(self, text: str) -> bool:
        """Return whether a text contains a part of the credentials that were sent.

        Args:
            text: The text of a server; some repeat the request.
        """
        texts = {text.casefold(), unquote(text).casefold()}
        with self._lock:
            secrets = [secret.casefold() for secret in self._secrets()]
        return any(_is_in(secret, each) for secret in secrets for each in texts)

    def shown(self, text: str) -> str:
        """Return a server's text for a message, or nothing if it contains a secret."""
        # Messages keep no more of it, and some servers send 64 kB.
        text = text[:_LONGEST_SHOWN]
        return "(repeats the credentials)" if self.tells_secret(text) else text

    def _secrets(self) -> Iterator[str]:
        if self._credentials and self._basic:
            password = self._credentials.password
            yield self._basic.removeprefix("Basic ").rstrip("=")
            yield from (password, " ".join(password.split()))
            yield from (quote(password, safe=""), repr(password)[1:-1])
        for token in self._tokens.values():
            yield token.text

    def _fetch_token(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        realm = challenge.parameters["realm"]
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "https":
            raise RegistryError(
                f"registry {self._host} names a token server without HTTPS: "
                f"{self.shown(without_query(realm))!r}",
                "configure the address of its token service (realm) with https",
            )
        parameters = [("scope", scope) for scope in scopes]
        if service := challenge.parameters.get("service"):
            parameters.insert(0, ("service", service))
        separator = "&" if parts.query else "?"
        url = f"{realm}{separator}{urlencode(parameters)}" if parameters else realm
        asked_at = time.monotonic()
        status, body = self._fetch(url, {"Authorization": self._basic} if self._basic else {})
        if status in (400, 401, 403):
            raise CredentialsError(
                f"registry {self._host} refused the credentials, or wants some (its token server "
                f"answered {status})",
                CREDENTIALS_CURE,
            )
        token = _read_token(body) if status == 200 else None
        if token is None:
            raise RegistryError(
                f"the token server of registry {self._host} answered {status} without a token",
                "look into its log, then run it again",
            )
        text, seconds = token
        return _Token(text, asked_at + max(seconds - _SPARE_SECONDS, seconds / 2))


def _names_server(challenge: Challenge) -> bool:
    return challenge.scheme == "bearer" and bool(challenge.parameters.get("realm"))


def _is_in(secret: str, text: str) -> bool:
    """Return whether a secret, or a part of it, is in a text."""
    if len(secret) <= _SECRET_PIECE:
        return bool(secret) and secret in text
    pieces = range(len(text) - _SECRET_PIECE + 1)
    return any(text[at : at + _SECRET_PIECE] in secret for at in pieces)


def _read_token(body: bytes) -> tuple[str, float] | None:
    """Read a token and its lifetime in seconds."""
    try:
        document = cast(dict[str, Any], json.loads(body))
        text: object = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _DEFAULT_SECONDS)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if not isinstance(text, str) or not math.isfinite(seconds):
        return None
    # The token becomes a header.
    if len(text) > _LONGEST_TOKEN or not (text.isascii() and text.isprintable()):
        return None
    return text, min(max(seconds, 0), _LONGEST_SECONDS)


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {b64encode(pair).decode()}"
