"""The action user-pull-secrets, and what it has begun, on each update-status."""

import logging

import ops

import action_results
import parameters
from ckf_airgap.errors import AirgapError, disk_errors
from ckf_airgap.kubernetes.user_pull_secrets import give_pull_secrets, remove_pull_secrets
from operator_inputs import OperatorInputs
from reporting import UNIT_DISK, reporting

logger = logging.getLogger(__name__)

# In how many namespaces one hook changes something: it must not hold up the unit.
_MOST_NAMESPACES = 50


class UserPullSecrets(ops.Object):
    """Gives the namespaces of users the account of the registry."""

    _stored = ops.StoredState()

    def __init__(self, charm: ops.CharmBase, inputs: OperatorInputs) -> None:
        super().__init__(charm, "user-pull-secrets")
        self._stored.set_default(are_given=False)
        self._unit = charm.unit
        self._inputs = inputs
        self.framework.observe(charm.on.user_pull_secrets_action, self._on_action)
        for event in (charm.on.update_status, charm.on.secret_changed):
            self.framework.observe(event, self._on_hook)

    @property
    def are_given(self) -> bool:
        """Whether users' namespaces are given the account."""
        return bool(self._stored.are_given)

    def _on_action(self, event: ops.ActionEvent) -> None:
        given = event.load_params(parameters.UserPullSecrets, errors="fail")
        with reporting(self._unit, event) as reporter:
            reporter.step("looking at the namespaces of users")
            if given.remove:
                self._stored.are_given = False
                done = remove_pull_secrets()
            else:
                host, account = self._inputs.location().host, self._inputs.user_pull_credentials()
                self._stored.are_given = True
                done = give_pull_secrets(host, account)
            event.set_results(action_results.of_pull_secrets(done))
            if done.problems:
                event.fail(action_results.listed(done.problems))

    def _on_hook(self, _: ops.EventBase) -> None:
        """Give namespaces that have come since, and a changed password, what they need."""
        if not self.are_given:
            return
        try:
            with disk_errors(UNIT_DISK):
                host, account = self._inputs.location().host, self._inputs.user_pull_credentials()
                done = give_pull_secrets(host, account, most=_MOST_NAMESPACES)
        except AirgapError as error:
            # The next hook tries again; verify tells who lacks the secret.
            logger.warning("users' namespaces are not given their pull secret: %s", error)
            return
        for change in done.changes:
            logger.info("%s", change)
        for problem in done.problems:
            logger.warning("%s", problem)
        if done.left:
            logger.info("%s namespaces are left for the next update-status", done.left)
