"""The unit's status while no action runs: what is missing, or the next step."""

import ops

from ckf_airgap.errors import AirgapError, disk_errors
from operator_inputs import OperatorInputs
from reporting import UNIT_DISK

VERIFIED = "verified: Charmed Kubeflow runs from this registry"


class UnitStatus(ops.Object):
    """Sets the unit's status at the end of each event."""

    def __init__(
        self, charm: ops.CharmBase, inputs: OperatorInputs, stored: ops.BoundStoredState
    ) -> None:
        """Observe the event in which the status is set.

        Args:
            charm: The charm.
            inputs: The operator's inputs.
            stored: The charm's state: ``next_step``; ``state_key``, the key of the inputs for
                which that step was set; ``failure``, why auto-deploy failed.
        """
        super().__init__(charm, "unit-status")
        self._unit = charm.unit
        self._inputs = inputs
        self._stored = stored
        self.framework.observe(charm.on.collect_unit_status, self._on_collect_unit_status)

    @property
    def is_verified(self) -> bool:
        """Whether the last action verified the present inputs."""
        return self._current_step.startswith(VERIFIED)

    def set_next_step(self, step: str) -> None:
        """Show a step until the inputs change."""
        self._stored.next_step = step
        self._stored.state_key = self._inputs.state_key()

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        try:
            with disk_errors(UNIT_DISK):
                self._inputs.require()
                step = self._current_step
        except AirgapError as error:
            event.add_status(ops.BlockedStatus(str(error)))
            return
        if self._inputs.configuration.auto_deploy and self._stored.failure:
            event.add_status(ops.BlockedStatus(str(self._stored.failure)))
        event.add_status(ops.ActiveStatus(step or f"ready: juju run {self._unit.name} deploy"))

    @property
    def _current_step(self) -> str:
        """The next step, as set by the last action; empty if the inputs have changed since."""
        step = str(self._stored.next_step)
        return step if step and self._stored.state_key == self._inputs.state_key() else ""
