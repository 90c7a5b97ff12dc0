"""A secret of a model: kept by Juju at once, and readable by the model's admins only."""

from collections.abc import Mapping

import jubilant

from ckf_airgap.juju_command import client_errors


class ModelSecret:
    """One user secret of a model, by its name.

    Every method raises JujuError where Juju fails, ConfigurationError where the account is no
    admin of the model (Juju documentation, "Secret").
    """

    def __init__(self, juju: jubilant.Juju, name: str) -> None:
        """Name the secret; nothing is asked or made yet.

        Args:
            juju: The client, with the model that the secret belongs to.
            name: The secret's name: lower-case letters, digits and hyphens.
        """
        self._juju = juju
        self._name = name
        self._is_there = False

    def read(self) -> Mapping[str, str]:
        """Give its content; empty where there is no such secret."""
        with client_errors():
            if not self._exists():
                return {}
            return self._juju.show_secret(self._name, reveal=True).content

    def write(self, content: Mapping[str, str], info: str) -> None:
        """Give it another content; Juju drops the earlier one.

        Args:
            content: Values by their keys (lower-case letters, digits and hyphens, three at
                least). It reaches the client as a file that nobody else may read.
            info: What the secret is, for people.
        """
        with client_errors():
            if self._exists():
                self._juju.update_secret(self._name, content, info=info, auto_prune=True)
            else:
                self._juju.add_secret(self._name, content, info=info)
                self._is_there = True

    def _exists(self) -> bool:
        # The exit code of show-secret does not tell a secret that is not there from a failure.
        if not self._is_there:
            self._is_there = any(found.name == self._name for found in self._juju.secrets())
        return self._is_there
