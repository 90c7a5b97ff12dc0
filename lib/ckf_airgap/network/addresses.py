"""HTTPS addresses: checked before use, and without secrets in messages."""

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

_DEFAULT_PORT = 443


@dataclass(frozen=True)
class Origin:
    """The host, in lower case, and the port of a server (RFC 6454)."""

    host: str
    port: int


@dataclass(frozen=True)
class Address:
    """A valid HTTPS address, and the server that it is on."""

    url: str
    origin: Origin

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Parse an absolute address.

        Raises:
            ValueError: It is not a valid HTTPS address, or it contains an account.
        """
        parts = urlsplit(url)
        if parts.scheme.lower() != "https":
            raise ValueError("not over HTTPS")
        # A port that is out of range raises ValueError only when it is read.
        port = parts.port or _DEFAULT_PORT
        if not parts.hostname or "@" in parts.netloc or not url.isascii() or not url.isprintable():
            raise ValueError("no address")
        if " " in url:
            raise ValueError("no address")
        return cls(url, Origin(parts.hostname, port))

    def resolve(self, reference: str) -> "Address":
        """Resolve the ``Location`` of a response from this address (RFC 9110, section 10.2.2).

        Raises:
            ValueError: As for ``parse``.
        """
        return self.parse(urljoin(self.url, reference))

    def __str__(self) -> str:
        return without_query(self.url)


def without_query(url: str) -> str:
    """Return an address for a message, without its query and account: they may be secrets."""
    address, _, _ = url.partition("?")
    scheme, separator, rest = address.partition("://")
    account, at, location = rest.partition("@")
    return f"{scheme}{separator}{location if at and '/' not in account else rest}"[:300]
