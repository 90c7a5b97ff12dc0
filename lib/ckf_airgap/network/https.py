"""HTTPS to the registry and the file server: trust, timeouts, retries, causes of failures."""

import logging
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakKeyDictionary

import urllib3
from urllib3.connection import HTTPSConnection as _HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    ProtocolError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as ServerTimeoutError,
)
from urllib3.response import HTTPResponse

from ckf_airgap.errors import OWN_APPLICATION, ConfigurationError
from ckf_airgap.network.proxies import Proxy, proxy_for

ATTEMPTS = 8
"""How often a request is tried before it has failed: for a minute and a half, about."""
HEADERS = {"User-Agent": "ckf-airgap", "Accept-Encoding": "identity"}
"""What every request says: who asks, and that answers are to come as they are."""
CA_CURE = (
    f"give its authority's certificate (juju config {OWN_APPLICATION} registry-ca=@ca.crt; on a "
    "workstation --registry-ca ca.crt)"
)
"""What to do about a certificate that is not trusted."""
_LONGEST_PAUSE = 20.0
# What a server asks for may be longer than what is waited without being asked; but not an hour.
_LONGEST_ASKED_PAUSE = 120.0
MOST_REDIRECTS = 6
"""How often a request is referred to another address (RFC 9110, section 15.4)."""
REDIRECTS = (301, 302, 303, 307, 308)
"""The statuses that refer to another address."""
QUICK_ANSWER = urllib3.Timeout(connect=10, read=60)
"""How long a server may take for an answer, in seconds: for its whole head, not only a byte."""
# A registry that has got a large blob may be busy with it before it answers.
SLOW_ANSWER = urllib3.Timeout(connect=10, read=300)
"""The same for a request that brings data."""
# How little may come of a body in the time of an answer.
_LEAST_PROGRESS = 16 * 1024
_SECONDS_FOR_A_PIECE = 60.0
_SLOW_ATTEMPTS = 3
_ENDLESS = "the answer does not end"
_PIECE = 256 * 1024
_SENT_AT_ONCE = 64 * 1024
# It writes whole addresses, and what a server sends in place of headers, with a traceback.
logging.getLogger("urllib3").setLevel(logging.ERROR)
# Of answers, for what is not done by their own methods.
_sockets: "WeakKeyDictionary[urllib3.BaseHTTPResponse, socket.socket]" = WeakKeyDictionary()


class Cause(Enum):
    """Why a request got no answer."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    OTHER_NAME = "other name"
    NO_TLS = "no TLS"
    UNKNOWN_NAME = "unknown name"
    UNREACHABLE = "unreachable"
    SLOW = "slow"


# X509_V_ERR_... of OpenSSL (x509_vfy.h).
_VERIFICATIONS = {
    9: Cause.EXPIRED,
    10: Cause.EXPIRED,
    62: Cause.OTHER_NAME,
    64: Cause.OTHER_NAME,
}
CERTIFICATE_FAILURES = {
    Cause.UNTRUSTED: ("has a certificate that is not trusted", CA_CURE),
    Cause.EXPIRED: (
        "has a certificate, or one of its authority, that is not valid now",
        "renew it where it is used, or set the clock that is wrong",
    ),
    Cause.OTHER_NAME: (
        "has a certificate for another name",
        "use the name that its certificate is for, or give it one for this name",
    ),
}
"""What is wrong with a certificate, and what to do about it."""


@dataclass(frozen=True)
class Failure:
    """A request that got no answer.

    Attributes:
        cause: Of what kind the failure is.
        detail: What the network said.
    """

    cause: Cause
    detail: str

    @classmethod
    def of(cls, error: HTTPError) -> "Failure":
        """Return why a request failed."""
        reason: object = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(reason, SSLError):
            for cause in reason.args:
                if isinstance(cause, ssl.SSLCertVerificationError):
                    kind = _VERIFICATIONS.get(cause.verify_code, Cause.UNTRUSTED)
                    return cls(kind, str(reason))
            # The other side hung up, as a proxy does while the server behind it restarts.
            if not any(isinstance(cause, ssl.SSLEOFError) for cause in reason.args):
                return cls(Cause.NO_TLS, str(reason))
        if isinstance(reason, NameResolutionError):
            return cls(Cause.UNKNOWN_NAME, str(reason))
        is_sending = isinstance(reason, ProtocolError) and any(
            isinstance(cause, TimeoutError) for cause in reason.args
        )
        is_waiting = isinstance(reason, ServerTimeoutError)
        if is_sending or (is_waiting and not isinstance(reason, ConnectTimeoutError)):
            return cls(Cause.SLOW, str(reason))
        return cls(Cause.UNREACHABLE, str(reason))

    @property
    def is_final(self) -> bool:
        """Whether retrying cannot help."""
        return self.cause not in (Cause.UNREACHABLE, Cause.SLOW)


class Attempts:
    """Counts the attempts of a request, and waits between them.

    Args:
        count: How often at the most.
    """

    def __init__(self, count: int = ATTEMPTS) -> None:
        self._count = count
        self._past = 0
        self._slow = 0

    @property
    def past(self) -> int:
        """How many attempts have failed."""
        return self._past

    @property
    def are_over(self) -> bool:
        """Whether the present attempt is the last."""
        return self._past + 1 >= self._count

    def end(self, failure: Failure) -> bool:
        """Return whether a failure is the last one; timeouts are retried less often."""
        self._slow += failure.cause is Cause.SLOW
        return failure.is_final or self.are_over or self._slow >= _SLOW_ATTEMPTS

    def wait(self, asked: str | None = None) -> None:
        """Wait before the next attempt.

        Args:
            asked: The answer's ``Retry-After`` (RFC 9110, section 10.2.3), of which seconds are
                understood.
        """
        pause(self._past, asked)
        self._past += 1


@contextmanager
def _ended_after(connected: socket.socket, seconds: float) -> Generator[threading.Event]:
    """Close a connection if something takes too long; yield an event that is set then."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        # Not the method of a TLS socket: that one must not be pulled from under its reader.
        with suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


# Of this name: messages of the library have it.
class HTTPSConnection(_HTTPSConnection):
    """A connection whose time limit is for the whole answer, not for each byte."""

    def request(self, *args: Any, **more: Any) -> None:
        """Send a request."""
        # The limit for connecting is not one for sending; that for the answer is set afterwards.
        self.timeout = _SECONDS_FOR_A_PIECE
        super().request(*args, **more)

    def send(self, data: Any) -> None:
        """Send a part of a request."""
        if not isinstance(data, bytes):
            super().send(data)
            return
        # A TLS socket has one limit for all that it is given at a time.
        view = memoryview(data)
        for start in range(0, len(view), _SENT_AT_ONCE):
            super().send(view[start : start + _SENT_AT_ONCE])

    def getresponse(self) -> HTTPResponse:
        """Wait for the head of the answer."""
        # The socket's own limit begins anew with every byte.
        connected = self.sock
        seconds = self.timeout
        if not isinstance(connected, socket.socket) or not isinstance(seconds, (int, float)):
            return super().getresponse()
        with _ended_after(connected, seconds) as expired:
            try:
                response = super().getresponse()
            except Exception as error:
                if expired.is_set():
                    raise TimeoutError(_ENDLESS) from error
                raise
        if expired.is_set():
            # What came of it was taken for a whole one.
            response.close()
            raise TimeoutError(_ENDLESS)
        _sockets[response] = connected
        return response


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HTTPSConnection  # pyright: ignore[reportAssignmentType]


class Connections:
    """Keeps connections, through the proxy that the environment names for an address, or none."""

    def __init__(self, ca: str | None, *, count: int = 1) -> None:
        """Prepare; certificates are verified always.

        Args:
            ca: PEM certificates of the authorities to trust beside those of the system.
            count: How many connections to a host are kept open.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self._context = ssl.create_default_context()
        self._count = count
        self._managers: dict[Proxy | None, urllib3.PoolManager] = {}
        if ca:
            try:
                self._context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError) as error:
                raise ConfigurationError(
                    f"registry-ca is not a PEM certificate ({error})",
                    CA_CURE,
                ) from error

    def request(self, method: str, url: str, **more: Any) -> urllib3.BaseHTTPResponse:
        """Send a request.

        Args:
            method: Its method.
            url: Its address.
            more: As urllib3's managers take it.

        Raises:
            ConfigurationError: ``HTTPS_PROXY`` is no proxy.
            HTTPError: No answer comes.
        """
        proxy = proxy_for(url, os.environ)
        if proxy not in self._managers:
            # In one step: other threads look meanwhile.
            self._managers.setdefault(proxy, self._manager(proxy))
        return self._managers[proxy].request(method, url, **more)

    def _manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        more: dict[str, Any] = {
            "maxsize": self._count,
            "ssl_context": self._context,
            "retries": False,
            "timeout": SLOW_ANSWER,
        }
        if proxy is None:
            manager = urllib3.PoolManager(**more)
        else:
            # It sees no more than the host's name (RFC 9110, section 9.3.6, "CONNECT").
            account = urllib3.make_headers(proxy_basic_auth=proxy.account or None)
            manager = urllib3.ProxyManager(proxy.url, proxy_headers=account, **more)
        # There is none for http: nothing goes in the clear.
        pools: dict[str, type[urllib3.HTTPConnectionPool] | type[_Pool]] = {"https": _Pool}
        manager.pool_classes_by_scheme = pools
        return manager


def way_to(url: str) -> str:
    """Say through which proxy an address is reached; empty where it is reached directly.

    Args:
        url: The address.
    """
    proxy = proxy_for(url, os.environ)
    return f" through the proxy {proxy}" if proxy else ""


def pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Read a body as it was sent, without decoding.

    Args:
        response: An answer of which nothing was read.

    Raises:
        HTTPError: It breaks off, or comes too slowly.
    """
    since, received = time.monotonic(), 0
    while data := _piece(response):
        received += len(data)
        now = time.monotonic()
        if received >= _LEAST_PROGRESS:
            since, received = now, 0
        elif now - since > _SECONDS_FOR_A_PIECE:
            response.close()
            raise ServerTimeoutError(_ENDLESS)
        yield data
        # What is done with it is not the server's time.
        since += time.monotonic() - now


def _piece(response: urllib3.BaseHTTPResponse) -> bytes:
    connected = _sockets.get(response)
    if connected is None or "Transfer-Encoding" not in response.headers:
        # It is read once from the connection, which has its own limit.
        return response.read1(_PIECE, decode_content=False)
    # What stands between chunks, and after the last, is read until it ends.
    data = b""
    with _ended_after(connected, _SECONDS_FOR_A_PIECE) as expired:
        try:
            data = response.read1(_PIECE, decode_content=False)
        except HTTPError:
            if not expired.is_set():
                raise
    if expired.is_set():
        response.close()
        raise ServerTimeoutError(_ENDLESS)
    return data


def read_body(response: urllib3.BaseHTTPResponse, largest: int) -> bytes:
    """Read a body, or only its first bytes if it is larger, and free the connection.

    Args:
        response: An answer of which nothing was read.
        largest: How many bytes are of use.

    Raises:
        HTTPError: It breaks off, or comes too slowly.
    """
    body = bytearray()
    for piece in pieces(response):
        body += piece[: largest - len(body)]
        if len(body) == largest:
            break
    release(response)
    return bytes(body)


def release(response: urllib3.BaseHTTPResponse) -> None:
    """Return a connection to the pool if the body was read to the end; else close it."""
    if response.closed:
        response.release_conn()
    else:
        response.close()


def is_transient(status: int) -> bool:
    """Return whether the same request may succeed later (RFC 9110, section 15.6)."""
    return status == 429 or (status >= 500 and status not in (501, 505, 507))


def pause(attempt: int, asked: str | None = None) -> None:
    """Wait before a request is tried again.

    Args:
        attempt: How many times it has been, less one.
        asked: The answer's ``Retry-After`` (RFC 9110, section 10.2.3), of which seconds are
            understood.
    """
    if asked and asked.isdecimal():
        time.sleep(min(float(asked), _LONGEST_ASKED_PAUSE) + random.uniform(0, 1))
        return
    # Random, so that clients which failed together do not come back together.
    time.sleep(random.uniform(0.5, 1) * min(2.0**attempt, _LONGEST_PAUSE))
