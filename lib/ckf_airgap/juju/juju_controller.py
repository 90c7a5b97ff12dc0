"""The addresses of the Juju controller, and whether it answers."""

import queue
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ckf_airgap.errors import JujuError, listed

# The name in the certificate of every controller, whatever its address.
_SERVER_NAME = "juju-apiserver"
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Controller:
    """The addresses of the controller, and the CA certificate that identifies it.

    Attributes:
        uuid: The controller's UUID.
        api_addresses: Its API addresses, ``host:port``.
        ca_certificate: The certificate of its own authority, PEM.
    """

    uuid: str
    api_addresses: tuple[str, ...]
    ca_certificate: str

    @classmethod
    def from_agent_configuration(cls, path: Path) -> "Controller":
        """Read a controller from the configuration of a unit's agent (``agent.conf``, format 2.0).

        Args:
            path: The file.

        Raises:
            JujuError: The file does not exist or has another format.
        """
        try:
            document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
            return cls(
                uuid=str(document["controller"]).removeprefix("controller-"),
                api_addresses=tuple(map(str, document["apiaddresses"])),
                ca_certificate=str(document["cacert"]),
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            raise JujuError(
                f"the agent's configuration {path.name} cannot be read ({error})",
                "this charm runs on Kubernetes, with Juju 3.6 or newer: deploy it there",
            ) from error


def require_reachable(controller: Controller, *, seconds: float = _TIMEOUT_SECONDS) -> None:
    """Check that a controller answers at one of its addresses; all are tried concurrently.

    Args:
        controller: The controller.
        seconds: The time limit for all addresses.

    Raises:
        JujuError: None of them answers.
    """
    addresses = controller.api_addresses
    deadline = time.monotonic() + seconds
    answers: queue.Queue[str] = queue.Queue()

    def try_address(address: str) -> None:
        answers.put(_problem(address, controller.ca_certificate, seconds))

    for address in addresses:
        # A daemon thread, because nothing waits for one that is still resolving a name.
        threading.Thread(target=try_address, args=(address,), daemon=True).start()
    problems: list[str] = []
    for _ in addresses:
        try:
            problem = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            problems.append(f"no answer within {seconds:.0f} s")
            break
        if not problem:
            return
        problems.append(problem)
    raise JujuError(
        f"the Juju controller cannot be reached at {listed(addresses, separator=', ')} "
        f"({listed(list(dict.fromkeys(problems)))})",
        "see that it runs (juju status -m controller), then run the action again",
    )


def _problem(address: str, ca_certificate: str, seconds: float) -> str:
    """Return why an address does not answer; an empty string if it does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection(
            (host.strip("[]"), int(port)), timeout=seconds
        ) as connection:
            context = ssl.create_default_context(cadata=ca_certificate)
            with context.wrap_socket(connection, server_hostname=_SERVER_NAME):
                return ""
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return "it closes the connection"
    except ssl.SSLError:
        # A server answers. If its certificate is wrong, the juju client reports that.
        return ""
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
