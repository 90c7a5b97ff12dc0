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
        ca: PEM certificates of CAs to trust besides those of the system.
        largest: The maximum size of the file, in bytes.

    Raises:
        ConfigurationError: ``ca`` is not a PEM certificate, or ``HTTPS_PROXY`` is not the
            address of a proxy.
        DownloadError: The file cannot be fetched, or is too large.
    """
    cure = "check the address, and that its server can be reached"
    target, name = url, without_query(url)
    connections = https.Connections(ca)
    for _ in range(https.MOST_REDIRECTS):
        try:
            address = Address.parse(target)
        except ValueError:
            shown = without_query(target)
            raise DownloadError(
                name, f"is not served over HTTPS, but at {shown}", "download it, and give its path"
            ) from None
        try:
            response, content = _get(connections, address, largest + 1)
            location = response.headers.get("Location")
            if location and response.status in https.REDIRECTS:
                target = urljoin(address.url, location)
                continue
        except (HTTPError, ValueError) as error:
            note = https.proxy_note(address.url)
            raise DownloadError(name, f"cannot be fetched{note} ({error})", cure) from error
        if response.status != HTTPStatus.OK:
            raise DownloadError(
                name, f"cannot be fetched: its server answers {response.status}", cure
            )
        if len(content) > largest:
            raise DownloadError(name, f"has more than {largest:,} bytes", "give another address")
        return content
    raise DownloadError(name, "cannot be fetched: too many redirects", cure)


def _get(
    connections: https.Connections, address: Address, largest: int
) -> tuple[urllib3.BaseHTTPResponse, bytes]:
    """Request a small file; return the first ``largest`` bytes of its content."""
    content = b""

    def send() -> urllib3.BaseHTTPResponse:
        nonlocal content
        response = connections.request(
            "GET",
            address.url,
            redirect=False,
            preload_content=False,
            headers=https.HEADERS,
            timeout=https.QUICK_ANSWER,
        )
        content = https.read_body(response, largest)
        return response

    response = https.retry(send, _ATTEMPTS)
    return response, content
