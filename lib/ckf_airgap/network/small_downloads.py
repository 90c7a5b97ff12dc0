"""Fetches small files over HTTPS, such as lists of images."""

from http import HTTPStatus
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError

from ckf_airgap.errors import DownloadError
from ckf_airgap.network import https
from ckf_airgap.network.addresses import Address, without_query

_ATTEMPTS = 5


def fetch(url: str, ca: str | None, *, largest: int) -> bytes:
    """Fetch a small file, following redirects.

    Args:
        url: Its address.
        ca: PEM certificates of the authorities to trust beside those of the system.
        largest: How many bytes it may have.

    Raises:
        ConfigurationError: ``ca`` is not a PEM certificate, or ``HTTPS_PROXY`` is no proxy.
        DownloadError: The file cannot be had.
    """
    cure = "see that the address is right and that its server can be reached"
    place, name = url, without_query(url)
    connections = https.Connections(ca)
    for _ in range(https.MOST_REDIRECTS):
        try:
            address = Address.parse(place)
        except ValueError:
            where = without_query(place)
            raise DownloadError(
                name, f"is not given over HTTPS, but at {where}", "give the file"
            ) from None
        try:
            response, content = _get(connections, address, largest + 1)
            target = response.headers.get("Location")
            if target and response.status in https.REDIRECTS:
                place = urljoin(address.url, target)
                continue
        except (HTTPError, ValueError) as error:
            through = https.way_to(address.url)
            raise DownloadError(name, f"cannot be fetched{through} ({error})", cure) from error
        if response.status != HTTPStatus.OK:
            raise DownloadError(
                name, f"cannot be fetched: its server answers {response.status}", cure
            )
        if len(content) > largest:
            raise DownloadError(name, f"has more than {largest:,} bytes", "give another address")
        return content
    raise DownloadError(name, "cannot be fetched: its server refers to others without end", cure)


def _get(
    connections: https.Connections, address: Address, largest: int
) -> tuple[urllib3.BaseHTTPResponse, bytes]:
    """Request a small file, with retries; return the first bytes of its content."""
    attempts = https.Attempts(_ATTEMPTS)
    while True:
        asked = None
        try:
            response = connections.request(
                "GET",
                address.url,
                redirect=False,
                preload_content=False,
                headers=https.HEADERS,
                timeout=https.QUICK_ANSWER,
            )
            content = https.read_body(response, largest)
            if not https.is_transient(response.status) or attempts.are_over:
                return response, content
            asked = response.headers.get("Retry-After")
        except HTTPError as error:
            if attempts.end(https.Failure.of(error)):
                raise
        attempts.wait(asked)
