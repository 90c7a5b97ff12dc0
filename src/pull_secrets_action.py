"""The action user-pull-secrets; hooks repeat it for new namespaces and passwords."""

import logging

import ops

import action_results
import parameters
from ckf_airgap.errors import AirgapError, disk_errors
from ckf_airgap.kubernetes.user_pull_secrets import give_pull_secrets, remove_pull_secrets
from operator_inputs import OperatorInputs
from reporting import UNIT_DISK, reporting

logger = logging.getLogger(__name__)

# The most namespaces that one hook changes, so that it does not block the unit.
_MOST_NAMESPACES = 50


class PullSecretsAction(ops.Object):
    """Gives users' namespaces a pull secret for the registry."""

    _stored = ops.StoredState()

    def __init__(self, charm: ops.CharmBase, inputs: OperatorInputs) -> None:
        super().__init__(charm, "user-pull-secrets")
        self._stored.set_default(is_enabled=False)
        self._unit = charm.unit
        self._inputs = inputs
        self.framework.observe(charm.on.user_pull_secrets_action, self._on_action)
        for event in (charm.on.update_status, charm.on.secret_changed):
            self.framework.observe(event, self._on_hook)

    @property
    def is_enabled(self) -> bool:
        """Whether hooks keep the pull secrets of users' namespaces up to date."""
        return bool(self._stored.is_enabled)

    def _on_action(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.PullSecretsAction, errors="fail")
        with reporting(self._unit, event) as reporter:
            reporter.step("checking users' namespaces")
            if params.remove:
                self._stored.is_enabled = False
                result = remove_pull_secrets()
            else:
                host, account = self._inputs.location().host, self._inputs.user_pull_credentials()
                self._stored.is_enabled = True
                result = give_pull_secrets(host, account)
            event.set_results(action_results.of_pull_secrets(result))
            if result.problems:
                event.fail(action_results.listed(result.problems))

    def _on_hook(self, _: ops.EventBase) -> None:
        """Give new namespaces the secret, and update it if the password has changed."""
        if not self.is_enabled:
            return
        try:
            with disk_errors(UNIT_DISK):
                host, account = self._inputs.location().host, self._inputs.user_pull_credentials()
                result = give_pull_secrets(host, account, most_namespaces=_MOST_NAMESPACES)
        except AirgapError as error:
            # The next hook retries; verify lists namespaces without the secret.
            logger.warning("cannot update pull secrets: %s", error)
            return
        for change in result.changes:
            logger.info("%s", change)
        for problem in result.problems:
            logger.warning("%s", problem)
        if result.postponed:
            logger.info("%s namespaces are left for the next update-status", result.postponed)
