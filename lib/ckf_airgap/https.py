"""HTTPS towards the registry and the file server of an air gap: trust, patience, causes."""

import random
import ssl
import time
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, SSLError

from ckf_airgap.errors import ConfigurationError, DownloadError

ATTEMPTS = 8
"""How often a request is tried before it has failed: for a minute and a half, about."""
USER_AGENT = "ckf-airgap"
CA_CURE = (
    "give its authority's certificate (juju config ckf-airgap registry-ca=@ca.crt; on a "
    "workstation --registry-ca ca.crt)"
)
"""What to do about a certificate that is not trusted."""
_LONGEST_PAUSE = 20.0
# What a server asks for may be longer than what is waited without being asked; but not an hour.
_LONGEST_ASKED_PAUSE = 120.0
_MOST_REFERRALS = 6
_REFERRALS = (301, 302, 303, 307, 308)
_PASSING = (429, 502, 503, 504)
_TIMEOUT = urllib3.Timeout(connect=10, read=300)


class Cause(Enum):
    """Why a request got no answer."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    OTHER_NAME = "other name"
    NO_TLS = "no TLS"
    UNKNOWN_NAME = "unknown name"
    UNREACHABLE = "unreachable"


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
        """Tell what a failed request failed of."""
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
        return cls(Cause.UNREACHABLE, str(reason))

    @property
    def is_final(self) -> bool:
        """Whether no waiting mends it."""
        return self.cause is not Cause.UNREACHABLE


def connections(ca: str | None, *, count: int = 1) -> urllib3.PoolManager:
    """Make what keeps the connections; certificates are verified always.

    Args:
        ca: PEM certificates of the authorities to trust beside those of the system.
        count: How many connections to a host are kept open.

    Raises:
        ConfigurationError: ``ca`` is not a PEM certificate.
    """
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cadata=ca)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"registry-ca is not a PEM certificate ({error})",
                CA_CURE,
            ) from error
    return urllib3.PoolManager(maxsize=count, ssl_context=context, retries=False, timeout=_TIMEOUT)


def fetch(url: str, ca: str | None, *, largest: int) -> bytes:
    """Fetch a small file, wherever its server refers to.

    Args:
        url: Its address.
        ca: PEM certificates of the authorities to trust beside those of the system.
        largest: How many bytes it may have.

    Raises:
        ConfigurationError: ``ca`` is not a PEM certificate.
        DownloadError: The file cannot be had.
    """
    cure = "see that the address is right and that its server can be reached"
    pool = connections(ca)
    place = url
    for _ in range(_MOST_REFERRALS):
        if not place.startswith("https://"):
            raise DownloadError(url, f"is not given over HTTPS, but at {place}", "give the file")
        try:
            response = pool.request(
                "GET",
                place,
                redirect=False,
                retries=urllib3.Retry(total=4, backoff_factor=1, status_forcelist=_PASSING),
                preload_content=False,
                headers={"User-Agent": USER_AGENT},
            )
            content = response.read(largest + 1)
            response.close()
        except (HTTPError, ValueError) as error:
            raise DownloadError(url, f"cannot be fetched ({error})", cure) from error
        target = response.headers.get("Location")
        if target and response.status in _REFERRALS:
            place = urljoin(place, target)
            continue
        if response.status != HTTPStatus.OK:
            raise DownloadError(
                url, f"cannot be fetched: its server answers {response.status}", cure
            )
        if len(content) > largest:
            raise DownloadError(url, f"has more than {largest:,} bytes", "give another address")
        return content
    raise DownloadError(url, "cannot be fetched: its server refers to others without end", cure)


def is_transient(status: int) -> bool:
    """Tell the statuses after which the same request may succeed (RFC 9110, section 15.6)."""
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
