"""A user secret of a model, which Juju stores at once and shows only to the model's admins."""

from collections.abc import Mapping

import jubilant

from ckf_airgap.juju.juju_command import client_errors


class ModelSecret:
    """One user secret of a model, by its name.

    Every method raises JujuError if Juju fails, ConfigurationError if the account is not an admin
    of the model (Juju documentation, "Secret").
    """

    def __init__(self, juju: jubilant.Juju, name: str) -> None:
        """Store the arguments; nothing is requested yet.

        Args:
            juju: The client, with the model of the secret.
            name: The secret's name: lower-case letters, digits and hyphens.
        """
        self._juju = juju
        self._name = name
        self._is_there = False

    def read(self) -> Mapping[str, str]:
        """Return its content; empty if there is no such secret."""
        with client_errors():
            if not self._exists():
                return {}
            return self._juju.show_secret(self._name, reveal=True).content

    def write(self, content: Mapping[str, str], info: str) -> None:
        """Replace its content; Juju deletes the earlier revision.

        Args:
            content: Values by their keys (at least three lower-case letters, digits and hyphens).
                The client gets it as a file that nobody else can read.
            info: A description of the secret.
        """
        with client_errors():
            if self._exists():
                self._juju.update_secret(self._name, content, info=info, auto_prune=True)
            else:
                self._juju.add_secret(self._name, content, info=info)
                self._is_there = True

    def _exists(self) -> bool:
        # show-secret has the same exit code for a missing secret and for a failure.
        if not self._is_there:
            self._is_there = any(found.name == self._name for found in self._juju.secrets())
        return self._is_there
