"""Addresses from servers, checked once, and shown in messages without secrets."""

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

_DEFAULT_PORT = 443


@dataclass(frozen=True)
class Origin:
    """A server (RFC 6454): its addresses can be written in several ways.

    Attributes:
        host: In lower case.
        port: Its port.
    """

    host: str
    port: int


@dataclass(frozen=True)
class Address:
    """An address from a server: over HTTPS, and valid.

    Attributes:
        url: The address.
        origin: The server.
    """

    url: str
    origin: Origin

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read an absolute address.

        Raises:
            ValueError: It is not one of HTTPS, or has an account in it.
        """
        parts = urlsplit(url)
        if parts.scheme.lower() != "https":
            raise ValueError("not over HTTPS")
        # The port is looked at only here: out of range, it raises ValueError.
        port = parts.port or _DEFAULT_PORT
        if not parts.hostname or "@" in parts.netloc or not url.isascii() or not url.isprintable():
            raise ValueError("no address")
        if " " in url:
            raise ValueError("no address")
        return cls(url, Origin(parts.hostname, port))

    def resolve(self, reference: str) -> "Address":
        """Read what a ``Location`` of its answer refers to (RFC 9110, section 10.2.2).

        Raises:
            ValueError: It is not one of HTTPS, or has an account in it.
        """
        return self.parse(urljoin(self.url, reference))

    def __str__(self) -> str:
        return without_query(self.url)


def without_query(url: str) -> str:
    """Return an address for a message, without what may be a secret."""
    address, _, _ = url.partition("?")
    scheme, separator, rest = address.partition("://")
    account, at, place = rest.partition("@")
    return f"{scheme}{separator}{place if at and '/' not in account else rest}"[:300]
