"""The juju client as a program: its files, and running it only if the controller answers."""

from pathlib import Path

import jubilant
import yaml

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.files.new_files import write_private
from ckf_airgap.juju.juju_controller import Controller, require_reachable

CONTROLLER = "airgap"
"""The name of the controller in the client's files."""


class Client(jubilant.Juju):
    """The juju client, run only while the controller answers.

    The client itself tries for ten minutes to reach the controller, at every command.
    """

    def __init__(self, program: Path, controller: Controller, model: str | None = None) -> None:
        """Store the arguments.

        Args:
            program: The client.
            controller: The controller, as in the files of ``write_client_files``.
            model: The model of its commands, as ``airgap:OWNER/NAME``.
        """
        super().__init__(model=model, cli_binary=program)
        self._controller = controller

    def cli(self, *args: str, include_model: bool = True, stdin: str | None = None) -> str:
        """Run a command; all other methods use this one.

        Raises:
            JujuError: The controller does not answer.
            jubilant.CLIError: The command fails.
        """
        require_reachable(self._controller)
        return super().cli(*args, include_model=include_model, stdin=stdin)


def write_client_files(folder: Path, controller: Controller, credentials: Credentials) -> None:
    """Write the two files that log the client in (as ``juju login`` leaves them).

    Args:
        folder: The directory of the client (``JUJU_DATA``).
        controller: The controller.
        credentials: The account of a Juju user.
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
