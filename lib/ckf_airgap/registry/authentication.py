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
_DEFAULT_LIFETIME_SECONDS = 60.0
_LONGEST_LIFETIME_SECONDS = 3600.0
_EXPIRY_MARGIN_SECONDS = 10.0
# In characters: servers do not accept longer headers.
_LONGEST_TOKEN = 64 * 1024
# In characters: messages are not longer.
_LONGEST_SHOWN = 2000
_ACCOUNT_COMMANDS = (
    f"(juju add-secret, grant-secret, juju config {OWN_APPLICATION} "
    "registry-credentials=secret:...; on a workstation skopeo login)"
)
CREDENTIALS_CURE = f"give an account that may push {_ACCOUNT_COMMANDS}"
READING_CURE = f"give an account that may read it {_ACCOUNT_COMMANDS}"
# Some servers repeat a part of the request: this many characters of a secret must not be shown.
_REVEALING_LENGTH = 8


class CredentialsError(RegistryError):
    """The registry refuses the account, or requires one."""


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
        """Store the arguments; nothing is sent yet.

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
        self._basic = _basic_header(credentials) if credentials else None
        self._uses_basic = False
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """Return the header ``Authorization`` for a request; None to send it anonymously.

        Args:
            scopes: The scopes of the request, for example ``repository:<name>:pull,push``.

        Raises:
            CredentialsError: The token server refuses the account, or requires one.
            RegistryError: The token server fails, or its address is not HTTPS.
        """
        with self._lock:
            if self._uses_basic:
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
        """Choose how to authenticate: with a token if one is offered, otherwise the password.

        Args:
            challenges: The challenges of a response with status 401.
            scopes: The scopes of the request.
            refused: The header ``Authorization`` of the request; None if it had none.

        Returns:
            Whether another attempt may succeed.
        """
        bearer = next((item for item in challenges if _names_token_server(item)), None)
        with self._lock:
            if bearer is None:
                if not any(challenge.scheme == "basic" for challenge in challenges):
                    return False
                # Even refused credentials are sent once more: the service may have been restarted.
                self._uses_basic = self._basic is not None
                return self._uses_basic
            self._uses_basic = False
            known = self._tokens.get(scopes)
            if refused and known and refused == f"Bearer {known.text}":
                # Request a new token: this one may have expired, or its rights may have changed.
                # If the registry refuses the new one as well, there is another reason.
                del self._tokens[scopes]
            self._challenge = bearer
            return True

    def contains_secret(self, text: str) -> bool:
        """Return whether a text contains a part of the credentials that were sent.

        Args:
            text: The text of a server, which may repeat the request.
        """
        texts = {text.casefold(), unquote(text).casefold()}
        with self._lock:
            secrets = [secret.casefold() for secret in self._secrets()]
        return any(_is_in(secret, candidate) for secret in secrets for candidate in texts)

    def shown(self, text: str) -> str:
        """Return a server's text for a message, shortened; if it has a secret, only a note."""
        # Some servers send 64 kB.
        text = text[:_LONGEST_SHOWN]
        return "(repeats the credentials)" if self.contains_secret(text) else text

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
                f"registry {self._host} refused the credentials, or requires some (its token "
                f"server answered {status})",
                CREDENTIALS_CURE,
            )
        token = _read_token(body) if status == 200 else None
        if token is None:
            raise RegistryError(
                f"the token server of registry {self._host} answered {status} without a token",
                "look into the log of the token server, then run it again",
            )
        text, seconds = token
        return _Token(text, asked_at + max(seconds - _EXPIRY_MARGIN_SECONDS, seconds / 2))


def _names_token_server(challenge: Challenge) -> bool:
    return challenge.scheme == "bearer" and bool(challenge.parameters.get("realm"))


def _is_in(secret: str, text: str) -> bool:
    """Return whether a secret, or a part of it, is in a text."""
    if len(secret) <= _REVEALING_LENGTH:
        return bool(secret) and secret in text
    starts = range(len(text) - _REVEALING_LENGTH + 1)
    return any(text[start : start + _REVEALING_LENGTH] in secret for start in starts)


def _read_token(body: bytes) -> tuple[str, float] | None:
    """Read a token and its lifetime in seconds; None if there is no usable token."""
    try:
        document = cast(dict[str, Any], json.loads(body))
        text: object = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _DEFAULT_LIFETIME_SECONDS)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if not isinstance(text, str) or not math.isfinite(seconds):
        return None
    # The token is sent in a header.
    if len(text) > _LONGEST_TOKEN or not (text.isascii() and text.isprintable()):
        return None
    return text, min(max(seconds, 0), _LONGEST_LIFETIME_SECONDS)


def _basic_header(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {b64encode(pair).decode()}"
