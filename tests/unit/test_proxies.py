"""Which addresses are reached through a proxy."""

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.network.proxies import Proxy, model_proxy, proxy_for

PROXY = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("url", "exceptions", "is_direct"),
    [
        ("https://files.corp/x", "", False),
        ("https://files.corp/x", "*", True),
        ("https://files.corp/x", "files.corp", True),
        ("https://files.corp/x", "other.corp, corp", True),
        ("https://files.corp/x", ".corp", True),
        ("https://files.corp/x", "*.corp", True),
        ("https://files.corp/x", ".files.corp", False),
        ("https://myfiles.corp/x", "files.corp", False),
        ("https://files.corp/x", "files.corp:443", True),
        ("https://files.corp:8443/x", "files.corp:443", False),
        ("https://10.1.2.3/x", "10.0.0.0/8", True),
        ("https://11.1.2.3/x", "10.0.0.0/8", False),
        ("https://10.1.2.3/x", "10.1.2.3", True),
        ("https://10.1.2.3/x", "nonsense/99", False),
        ("https://[fd00::1]/x", "fd00::/8", True),
        ("https://[fd00::1]/x", "fd00::1", True),
        ("https://localhost:5000/x", "", True),
        ("https://127.0.0.1/x", "", True),
    ],
)
def test_exceptions(url: str, exceptions: str, is_direct: bool) -> None:
    found = proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": exceptions})
    assert found == (None if is_direct else Proxy(PROXY))


def test_an_account_is_kept_apart() -> None:
    proxy = proxy_for("https://x.y/", {"https_proxy": "http://ann:s%40cret@proxy.corp:3128"})
    assert proxy == Proxy(PROXY, "ann:s@cret")
    assert "cret" not in f"{proxy} {proxy!r}"


def test_what_juju_gives_a_charm_comes_last() -> None:
    """The model's options juju-https-proxy and juju-no-proxy."""
    environment = {
        "JUJU_CHARM_HTTPS_PROXY": PROXY,
        "JUJU_CHARM_NO_PROXY": "10.0.0.0/8,registry.corp",
    }
    assert proxy_for("https://files.corp/x", environment) == Proxy(PROXY)
    assert proxy_for("https://registry.corp:5000/v2/", environment) is None
    environment["HTTPS_PROXY"] = "http://own.corp:8080"
    assert proxy_for("https://files.corp/x", environment) == Proxy("http://own.corp:8080")


@pytest.mark.parametrize("text", ["socks5://a:secret@b", "http://", "http://a:secret@b:x", "[::"])
def test_what_is_not_a_proxy(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address of a proxy") as error:
        proxy_for("https://x.y/", {"HTTPS_PROXY": text})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("exceptions", ["", "10.0.0.0/8", "fd00::1", "fd00::/8"])
def test_an_ipv6_address_behind_the_proxy_of_the_model(exceptions: str) -> None:
    settings = {"https-proxy": PROXY, "no-proxy": exceptions}
    found = model_proxy(settings, "fd00::1", networks=True)
    assert found == (None if exceptions.startswith("fd00") else Proxy(PROXY))


def test_what_is_not_a_proxy_of_the_model() -> None:
    settings = {"https-proxy": "socks5://a:secret@b", "no-proxy": ""}
    message = "https-proxy of the model is not the address of a proxy"
    with pytest.raises(ConfigurationError, match=message):
        model_proxy(settings, "10.152.183.1", networks=True)
