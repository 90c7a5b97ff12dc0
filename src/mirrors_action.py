"""The action mirrors: writes the mirror configuration for the nodes."""

from collections.abc import Callable

import ops

import action_results
import parameters
from ckf_airgap.deployment.release import Release
from ckf_airgap.mirrors.runtime_files import MirrorSettings, chosen_runtimes, runtime_files
from operator_inputs import OperatorInputs
from reporting import UnitReporter, reporting


class MirrorsAction(ops.Object):
    """Puts the files for the nodes into the action's results."""

    def __init__(
        self,
        charm: ops.CharmBase,
        inputs: OperatorInputs,
        release: Callable[[UnitReporter], Release],
    ) -> None:
        super().__init__(charm, "mirrors")
        self._unit = charm.unit
        self._inputs = inputs
        self._release = release
        self.framework.observe(charm.on.mirrors_action, self._on_action)

    def _on_action(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.Mirrors, errors="fail")
        with reporting(self._unit, event) as reporter:
            self._inputs.require()
            release = self._release(reporter)
            names = release.original_names(release.inventory())
            names.require_some()
            lacking = names.lacking(release.registry)
            settings = MirrorSettings(names.location, names.hosts, release.inputs.registry_ca)
            files = {
                runtime: runtime_files(runtime, settings)
                for runtime in chosen_runtimes(params.runtime)
            }
            event.set_results(action_results.of_mirrors(names, lacking, files))
