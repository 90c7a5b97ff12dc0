"""The juju client as a program: its files, and that the controller answers when it is run."""

from pathlib import Path

import jubilant
import yaml

from ckf_airgap.accounts.credentials import Credentials, write_private
from ckf_airgap.juju.juju_controller import Controller, require_reachable

CONTROLLER = "airgap"
"""What the client's files call the controller."""


class Client(jubilant.Juju):
    """The juju client, run only while the controller answers.

    The client itself tries to reach a controller for ten minutes, at every command.
    """

    def __init__(self, program: Path, controller: Controller, model: str | None = None) -> None:
        """Name what to run.

        Args:
            program: The client.
            controller: The controller, which ``write_client_files`` has told the client of.
            model: The model of its commands, as ``airgap:OWNER/NAME``.
        """
        super().__init__(model=model, cli_binary=program)
        self._controller = controller

    def cli(self, *args: str, include_model: bool = True, stdin: str | None = None) -> str:
        """Run a command, as all other methods do in the end.

        Raises:
            JujuError: The controller does not answer.
            jubilant.CLIError: The command fails.
        """
        require_reachable(self._controller)
        return super().cli(*args, include_model=include_model, stdin=stdin)


def write_client_files(folder: Path, controller: Controller, credentials: Credentials) -> None:
    """Write the two files that log the client in (as ``juju login`` leaves them).

    Args:
        folder: Where the client looks for them (``JUJU_DATA``).
        controller: The controller.
        credentials: Of a Juju user.
    """
    controllers = {
        "controllers": {
            CONTROLLER: {
                "uuid": controller.uuid,
                "api-endpoints": list(controller.api_addresses),
                "ca-cert": controller.ca_certificate,
            }
        },
        "current-controller": CONTROLLER,
    }
    accounts = {
        "controllers": {
            CONTROLLER: {"user": credentials.username, "password": credentials.password}
        }
    }
    write_private(folder / "controllers.yaml", yaml.safe_dump(controllers))
    write_private(folder / "accounts.yaml", yaml.safe_dump(accounts))
