"""The proxy for an address: ``HTTPS_PROXY`` and ``NO_PROXY``.

The rules are those of Juju and skopeo (Go, ``golang.org/x/net/http/httpproxy``). Juju passes a
model's ``juju-https-proxy`` and ``juju-no-proxy`` to charms as ``JUJU_CHARM_...``.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ckf_airgap.errors import ConfigurationError

NO_PROXY_CURE = (
    "to reach it directly, add its host to NO_PROXY; for a charm, to no-proxy or juju-no-proxy "
    "of the model (juju model-config)"
)
"""The cure if a host inside the air gap cannot be reached through the proxy."""

_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "JUJU_CHARM_HTTPS_PROXY")
_EXCEPTION_VARIABLES = ("NO_PROXY", "no_proxy", "JUJU_CHARM_NO_PROXY")


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its address without an account, so that messages may show it.
        account: ``user:password``; empty for none.
    """

    url: str
    account: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.url


def proxy_for(
    url: str, environment: Mapping[str, str], setting: str = "HTTPS_PROXY"
) -> Proxy | None:
    """Return the proxy for an HTTPS address, or None for a direct connection.

    Args:
        url: The address.
        environment: The environment variables; upper case names take precedence over lower case
            ones, and both over Juju's.
        setting: The name of the setting with the proxy, for messages.

    Raises:
        ConfigurationError: The proxy is not the address of an HTTP or HTTPS proxy.
    """
    text, exceptions = (
        next(filter(None, map(environment.get, names)), "")
        for names in (_PROXY_VARIABLES, _EXCEPTION_VARIABLES)
    )
    parts = urlsplit(url)
    if not text or _is_excepted(parts.hostname or "", parts.port or 443, exceptions):
        return None
    return _parse(text, setting)


def model_proxy(settings: Mapping[str, object], host: str, *, networks: bool) -> Proxy | None:
    """Return the proxy through which the charms of a model reach a host over HTTPS.

    Args:
        settings: The model's configuration; Juju gives ``https-proxy`` and ``no-proxy`` to hooks
            as ``HTTPS_PROXY`` and ``NO_PROXY``.
        host: A host name or an IP address.
        networks: Whether networks such as ``10.0.0.0/8`` in ``no-proxy`` apply. The HTTP client
            of lightkube (httpx) ignores them.

    Raises:
        ConfigurationError: ``https-proxy`` is not the address of an HTTP or HTTPS proxy.
    """
    entries = str(settings.get("no-proxy") or "").split(",")
    exceptions = ",".join(entry for entry in entries if networks or "/" not in entry)
    proxy = str(settings.get("https-proxy") or "")
    address = f"[{host}]" if ":" in host else host
    return proxy_for(
        f"https://{address}/",
        {"HTTPS_PROXY": proxy, "NO_PROXY": exceptions},
        "https-proxy of the model",
    )


def _parse(text: str, setting: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable, parts = False, urlsplit("")
    if not is_usable:
        # The message must not repeat what may be a password.
        raise ConfigurationError(
            f"{setting} is not the address of a proxy", "set it as http://HOST:PORT"
        )
    account = ""
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", account)


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    address = _address(host)
    # Go never uses a proxy for this machine.
    if host == "localhost" or (address and address.is_loopback):
        return True
    return any(
        _matches(entry.strip().lower(), host, address, port) for entry in exceptions.split(",")
    )


def _matches(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    """Return whether an entry of ``NO_PROXY`` is for a host, which may be an IP address."""
    if entry == "*":
        return True
    if address and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, _, number = entry.rpartition(":")
    if name and number.isdecimal() and _address(entry) is None:
        if number != str(port):
            return False
        entry = name
    if address:
        return _address(entry.strip("[]")) == address
    domain = entry.removeprefix("*").lstrip(".")
    is_host_itself = host == domain and not entry.startswith((".", "*"))
    return bool(domain) and (is_host_itself or host.endswith(f".{domain}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
