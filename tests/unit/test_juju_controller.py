"""Whether a controller answers, found out by a listener of this machine."""

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from ckf_airgap.errors import JujuError
from ckf_airgap.juju.juju_controller import Controller, require_reachable

AUTHORITY = trustme.CA()


def controller(*addresses: str, authority: trustme.CA = AUTHORITY) -> Controller:
    certificate = authority.cert_pem.bytes().decode()
    return Controller("c0ffee", addresses, certificate)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def closed() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return address(server)


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("broken", ["", "no-port", "127.0.0.1:x", "127.0.0.1:99999", "[::1:17070"])
def test_an_address_that_is_none_does_not_answer(broken: str) -> None:
    with pytest.raises(JujuError, match="the Juju controller cannot be reached at"):
        require_reachable(controller(broken))


def test_a_controller_that_does_not_listen_is_told_with_its_addresses(closed: str) -> None:
    with pytest.raises(JujuError, match=f"cannot be reached at {closed} .*juju status"):
        require_reachable(controller(closed))


def test_a_controller_that_says_nothing_is_told_in_time(listener: socket.socket) -> None:
    with pytest.raises(JujuError, match="cannot be reached"):
        require_reachable(controller(address(listener)), seconds=0.1)


@pytest.fixture
def juju(listener: socket.socket) -> Iterator[str]:
    """A server with the certificate of a controller, which takes one connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued = AUTHORITY.issue_cert("juju-apiserver")
    with issued.private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)

    def serve() -> None:
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as channel:
                channel.recv(1)
        except OSError:
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield address(listener)
    thread.join()


def test_one_address_that_answers_is_enough(closed: str, juju: str) -> None:
    require_reachable(controller(closed, juju))


def test_a_certificate_of_another_authority_is_left_to_the_client(juju: str) -> None:
    require_reachable(controller(juju, authority=trustme.CA()))


def test_a_connection_that_is_closed_at_once_is_no_answer(listener: socket.socket) -> None:
    def close() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    with pytest.raises(JujuError, match="cannot be reached"):
        require_reachable(controller(address(listener)))
    thread.join()


def test_a_controller_without_addresses_is_told() -> None:
    with pytest.raises(JujuError, match="cannot be reached"):
        require_reachable(controller())
