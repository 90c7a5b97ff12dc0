"""HTTPS to registries and file servers: trust, timeouts, retries, causes of failures."""

import logging
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
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

from ckf_airgap import __version__
from ckf_airgap.errors import OWN_APPLICATION, ConfigurationError
from ckf_airgap.network.proxies import Proxy, proxy_for

ATTEMPTS = 8
"""The maximum number of attempts for a request."""
HEADERS = {"User-Agent": f"ckf-airgap/{__version__}", "Accept-Encoding": "identity"}
"""The headers of every request. ``identity`` asks the server not to compress the body."""
CA_CURE = (
    "give the certificate of the CA that issued it (juju config "
    f"{OWN_APPLICATION} registry-ca=@ca.crt; on a workstation --registry-ca ca.crt)"
)
"""The cure for a certificate that is not trusted."""
_LONGEST_PAUSE = 20.0
_LONGEST_RETRY_AFTER = 120.0
FEW_ATTEMPTS = 4
"""The number of attempts of a request that is not worth a long wait."""
MOST_REDIRECTS = 6
"""The maximum number of redirects that one request follows (RFC 9110, section 15.4)."""
REDIRECTS = (301, 302, 303, 307, 308)
"""The statuses of redirects."""
QUICK_ANSWER = urllib3.Timeout(connect=10, read=60)
"""The timeouts for connecting and for all headers of the response, in seconds."""
# A registry may process a large blob before it answers.
SLOW_ANSWER = urllib3.Timeout(connect=10, read=300)
"""The same timeouts for a request with a body."""
# A body is too slow if fewer than _LEAST_PROGRESS bytes of it arrive in _SECONDS_FOR_A_PIECE.
_LEAST_PROGRESS = 16 * 1024
_SECONDS_FOR_A_PIECE = 60.0
# The number of attempts that may time out.
_SLOW_ATTEMPTS = 3
_ENDLESS = "the answer does not end"
_PIECE = 256 * 1024
_SENT_AT_ONCE = 64 * 1024
# urllib3 logs complete URLs, which may contain tokens, and tracebacks for malformed headers.
logging.getLogger("urllib3").setLevel(logging.ERROR)
# The sockets of responses, which urllib3 does not expose.
_sockets: "WeakKeyDictionary[urllib3.BaseHTTPResponse, socket.socket]" = WeakKeyDictionary()


class Cause(Enum):
    """Why a request got no response."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    WRONG_NAME = "wrong name"
    NO_TLS = "no TLS"
    UNKNOWN_NAME = "unknown name"
    UNREACHABLE = "unreachable"
    SLOW = "slow"


# X509_V_ERR_... of OpenSSL (x509_vfy.h).
_VERIFICATIONS = {
    9: Cause.EXPIRED,
    10: Cause.EXPIRED,
    62: Cause.WRONG_NAME,
    64: Cause.WRONG_NAME,
}
CERTIFICATE_FAILURES = {
    Cause.UNTRUSTED: ("has a certificate that is not trusted", CA_CURE),
    Cause.EXPIRED: (
        "has a certificate that is not valid now, or its CA has one",
        "renew that certificate, or set the clock that is wrong",
    ),
    Cause.WRONG_NAME: (
        "has a certificate for another name",
        "use the name in its certificate, or give it a certificate for this name",
    ),
}
"""The problem and the cure for each cause that concerns a certificate."""


@dataclass(frozen=True)
class Failure:
    """The failure of a request that got no response.

    Attributes:
        cause: The kind of failure.
        detail: The message of the error that urllib3 raised.
    """

    cause: Cause
    detail: str

    @classmethod
    def of(cls, error: HTTPError) -> "Failure":
        """Classify the error of a request."""
        reason: object = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(reason, SSLError):
            for cause in reason.args:
                if isinstance(cause, ssl.SSLCertVerificationError):
                    kind = _VERIFICATIONS.get(cause.verify_code, Cause.UNTRUSTED)
                    return cls(kind, str(reason))
            # An EOF is not final: a proxy closes connections while the server behind it restarts.
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
        """Whether a retry would fail in the same way."""
        return self.cause not in (Cause.UNREACHABLE, Cause.SLOW)


class Attempts:
    """Counts the attempts of a request, and waits between them.

    Attributes:
        failures: How many attempts have failed.
    """

    def __init__(self, count: int = ATTEMPTS) -> None:
        """Allow ``count`` attempts."""
        self._count = count
        self._timeouts = 0
        self.failures = 0

    @property
    def is_last(self) -> bool:
        """Whether the current attempt is the last one."""
        return self.failures + 1 >= self._count

    def must_stop(self, failure: Failure) -> bool:
        """Return whether to stop after this failure; there are fewer attempts after timeouts."""
        self._timeouts += failure.cause is Cause.SLOW
        return failure.is_final or self.is_last or self._timeouts >= _SLOW_ATTEMPTS

    def wait(self, retry_after: str | None = None) -> None:
        """Wait before the next attempt; see ``pause``."""
        pause(self.failures, retry_after)
        self.failures += 1


def retry(
    send: Callable[[], urllib3.BaseHTTPResponse], count: int = ATTEMPTS
) -> urllib3.BaseHTTPResponse:
    """Send a request until its response is not transient, or no attempts are left.

    Args:
        send: Sends the request once.
        count: The maximum number of attempts.

    Raises:
        HTTPError: The last attempt got no response, or one failed in a way that a retry does not
            change.
    """
    attempts = Attempts(count)
    while True:
        retry_after = None
        try:
            response = send()
        except HTTPError as error:
            if attempts.must_stop(Failure.of(error)):
                raise
        else:
            if not is_transient(response.status) or attempts.is_last:
                return response
            retry_after = response.headers.get("Retry-After")
            response.close()
        attempts.wait(retry_after)


@contextmanager
def _time_limit(connected: socket.socket, seconds: float) -> Generator[threading.Event]:
    """Yield an event; after ``seconds``, set it and shut the connection down."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        # Not SSLSocket.shutdown, which drops the TLS state that the reading thread still uses.
        with suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


# Named as in urllib3, which shows the name in messages.
class HTTPSConnection(_HTTPSConnection):
    """A connection whose timeout is for all headers of a response, not for each byte."""

    def request(self, *args: Any, **more: Any) -> None:
        """Send a request."""
        # The timeout for sending. Afterwards, urllib3 sets the timeout for the response.
        self.timeout = _SECONDS_FOR_A_PIECE
        super().request(*args, **more)

    def send(self, data: Any) -> None:
        """Send a part of a request."""
        if not isinstance(data, bytes):
            super().send(data)
            return
        # The timeout of a TLS socket is for one call of send, whatever its size.
        view = memoryview(data)
        for start in range(0, len(view), _SENT_AT_ONCE):
            super().send(view[start : start + _SENT_AT_ONCE])

    def getresponse(self) -> HTTPResponse:
        """Wait for the headers of the response; raise TimeoutError if they take too long."""
        # The socket's own timeout restarts with every byte.
        connected = self.sock
        seconds = self.timeout
        if not isinstance(connected, socket.socket) or not isinstance(seconds, (int, float)):
            return super().getresponse()
        with _time_limit(connected, seconds) as expired:
            try:
                response = super().getresponse()
            except Exception as error:
                if expired.is_set():
                    raise TimeoutError(_ENDLESS) from error
                raise
        if expired.is_set():
            # The shutdown looked like the end of the headers, so that incomplete ones were parsed.
            response.close()
            raise TimeoutError(_ENDLESS)
        _sockets[response] = connected
        return response


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HTTPSConnection  # pyright: ignore[reportAssignmentType]


class Connections:
    """Pools of HTTPS connections, direct or through the proxies that the environment sets."""

    def __init__(self, ca: str | None, *, count: int = 1) -> None:
        """Create the pools; certificates are always verified.

        Args:
            ca: PEM certificates of CAs to trust besides those of the system.
            count: How many connections per host stay open.

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
        """Send a request without retries, as ``urllib3.PoolManager.request`` does.

        Raises:
            ConfigurationError: ``HTTPS_PROXY`` is not the address of a proxy.
            HTTPError: No response came.
        """
        proxy = proxy_for(url, os.environ)
        if proxy not in self._managers:
            # Atomic: several threads send.
            self._managers.setdefault(proxy, self._manager(proxy))
        return self._managers[proxy].request(method, url, **more)

    def _manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": self._count,
            "ssl_context": self._context,
            "retries": False,
            "timeout": SLOW_ANSWER,
        }
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            # The proxy sees no more than the host's name (RFC 9110, section 9.3.6, "CONNECT").
            account = urllib3.make_headers(proxy_basic_auth=proxy.account or None)
            manager = urllib3.ProxyManager(proxy.url, proxy_headers=account, **options)
        # No pool for http: nothing is sent in the clear.
        pools: dict[str, type[urllib3.HTTPConnectionPool] | type[_Pool]] = {"https": _Pool}
        manager.pool_classes_by_scheme = pools
        return manager


def proxy_note(url: str) -> str:
    """Return " through the proxy ..." for a message, or "" if no proxy is used for an address."""
    proxy = proxy_for(url, os.environ)
    return f" through the proxy {proxy}" if proxy else ""


def pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Read a body from its start, in pieces, without decoding it.

    Raises:
        HTTPError: The body breaks off, or arrives too slowly.
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
        # Do not count the time that the caller spends on a piece.
        since += time.monotonic() - now


def _piece(response: urllib3.BaseHTTPResponse) -> bytes:
    connected = _sockets.get(response)
    if connected is None or "Transfer-Encoding" not in response.headers:
        # One read of the socket, which has its own timeout.
        return response.read1(_PIECE, decode_content=False)
    # Chunk headers and trailers may take any number of reads: limit their time together.
    data = b""
    with _time_limit(connected, _SECONDS_FOR_A_PIECE) as expired:
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
    """Read at most ``largest`` bytes of a body from its start, and release the connection.

    Raises:
        HTTPError: The body breaks off, or arrives too slowly.
    """
    body = bytearray()
    for piece in pieces(response):
        body += piece[: largest - len(body)]
        if len(body) == largest:
            break
    release(response)
    return bytes(body)


def release(response: urllib3.BaseHTTPResponse) -> None:
    """Return the connection to the pool if the body was read to the end, otherwise close it."""
    if response.closed:
        response.release_conn()
    else:
        response.close()


def is_transient(status: int) -> bool:
    """Return whether the same request may succeed later (RFC 9110, 15.6; RFC 6585, 4)."""
    return status == 429 or (status >= 500 and status not in (501, 505, 507))


def pause(failures: int, retry_after: str | None = None) -> None:
    """Wait before the next attempt.

    Args:
        failures: How many attempts failed before the current one.
        retry_after: The header ``Retry-After`` of the response (RFC 9110, section 10.2.3). Only a
            number of seconds is used, not a date.
    """
    if retry_after and retry_after.isdecimal():
        time.sleep(min(float(retry_after), _LONGEST_RETRY_AFTER) + random.uniform(0, 1))  # noqa: S311
        return
    # Random, so that clients that failed together do not retry together.
    time.sleep(random.uniform(0.5, 1) * min(2.0**failures, _LONGEST_PAUSE))  # noqa: S311
