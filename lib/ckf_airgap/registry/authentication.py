"""How a registry is told who asks: by basic authentication, or by tokens.

The latter are described by the distribution project ("Token Authentication Specification").
"""

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import urllib3

from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import RegistryError

# The specification's, for servers that do not say how long a token lasts.
_DEFAULT_SECONDS = 60.0
_SPARE_SECONDS = 10.0
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
CREDENTIALS_CURE = (
    "give an account that may push (juju add-secret, grant-secret, "
    "juju config ckf-airgap registry-credentials=secret:...; on a workstation skopeo login)"
)


class CredentialsError(RegistryError):
    """The registry does not accept an account, or wants one."""


# Sends a GET to a server of tokens, with headers, and gives its answer.
Fetch = Callable[[str, dict[str, str]], urllib3.BaseHTTPResponse]


@dataclass(frozen=True)
class _Token:
    text: str
    deadline: float


class Authentication:
    """Answers the challenges of one registry (RFC 9110, section 11.6.1). Several threads may ask.

    Nothing is told to a registry that does not ask for it.
    """

    def __init__(self, host: str, credentials: Credentials | None, fetch: Fetch) -> None:
        """Prepare.

        Args:
            host: The registry, for messages.
            credentials: Who asks; None for nobody in particular.
            fetch: Asks the server of tokens that the registry names.
        """
        self._host = host
        self._fetch = fetch
        self._lock = threading.Lock()
        self._basic = _basic(credentials) if credentials else None
        self._is_basic = False
        self._challenge: dict[str, str] = {}
        self._tokens: dict[tuple[str, ...], _Token] = {}

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """Give the value of ``Authorization`` for a request; None for none.

        Args:
            scopes: What the request does, as tokens name it: ``repository:<name>:pull,push``.
        """
        with self._lock:
            if self._is_basic:
                return self._basic
            if not self._challenge:
                return None
            token = self._tokens.get(scopes)
            if token is None or time.monotonic() >= token.deadline:
                token = self._tokens[scopes] = self._fetch_token(scopes)
            return f"Bearer {token.text}"

    def answer(self, challenge: str, scopes: tuple[str, ...], refused: str | None) -> bool:
        """Learn from a challenge; tells whether another attempt is of use.

        Args:
            challenge: The ``WWW-Authenticate`` of an answer with status 401.
            scopes: Those of the request.
            refused: The ``Authorization`` that the request had.
        """
        scheme, _, rest = challenge.partition(" ")
        with self._lock:
            if scheme.lower() == "basic":
                # What was refused is sent once more: the service behind may have been restarted.
                self._is_basic = self._basic is not None
                return self._is_basic
            if scheme.lower() != "bearer":
                return False
            known = self._tokens.get(scopes)
            if refused and known and refused == f"Bearer {known.text}":
                # It may have expired, or its rights may have changed; but a new one from just
                # now would not be refused for that.
                del self._tokens[scopes]
            self._challenge = dict(_PARAMETER.findall(rest))
            return True

    def _fetch_token(self, scopes: tuple[str, ...]) -> _Token:
        realm = self._challenge.get("realm", "")
        if urlsplit(realm).scheme != "https":
            raise RegistryError(
                f"registry {self._host} names a server of tokens without HTTPS: {realm!r}",
                "configure the address of its token service (realm) with https",
            )
        parameters = [("scope", scope) for scope in scopes]
        if service := self._challenge.get("service"):
            parameters.insert(0, ("service", service))
        separator = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{separator}{urlencode(parameters)}" if parameters else realm
        asked_at = time.monotonic()
        response = self._fetch(url, {"Authorization": self._basic} if self._basic else {})
        if response.status in (400, 401, 403):
            raise CredentialsError(
                f"registry {self._host} refused the credentials, or wants some (its server of "
                f"tokens answered {response.status})",
                CREDENTIALS_CURE,
            )
        token = _read_token(response)
        if token is None:
            raise RegistryError(
                f"the server of tokens of registry {self._host} answered {response.status} "
                "without a token",
                "look into its log, then run it again",
            )
        text, seconds = token
        return _Token(text, asked_at + max(seconds - _SPARE_SECONDS, seconds / 2))


def _read_token(response: urllib3.BaseHTTPResponse) -> tuple[str, float] | None:
    """Read a token and how many seconds it lasts."""
    try:
        document = cast(dict[str, Any], json.loads(response.data))
        text: object = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _DEFAULT_SECONDS)
    except (ValueError, TypeError, AttributeError):
        return None
    if response.status != 200 or not isinstance(text, str):
        return None
    # It becomes a header.
    return (text, seconds) if text.isascii() and text.isprintable() else None


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {b64encode(pair).decode()}"
