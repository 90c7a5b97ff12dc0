"""Carries out the steps of an upgrade on a Juju model; records deployments and refreshes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from ckf_airgap.deployment.pull_secrets import ResourceFiles
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_values import OptionValue, Relation
from ckf_airgap.kubernetes import cluster
from ckf_airgap.planning.plan import PlannedApplication
from ckf_airgap.upgrades.start_and_target import TargetApplication
from ckf_airgap.upgrades.walker import Condition


class RecordingModel:
    """Implements ``upgrades.walker.ModelOperations``.

    Deployed and refreshed applications and attached images are recorded; other changes are not.
    """

    def __init__(
        self,
        model: JujuModel,
        *,
        namespace: str,
        files: Callable[[Sequence[PlannedApplication]], AbstractContextManager[ResourceFiles]],
        deploy: Callable[[Sequence[str]], list[str]],
        remember: Callable[[Sequence[PlannedApplication]], None],
    ) -> None:
        """Store the arguments, without calling Juju.

        Args:
            model: The model, after login.
            namespace: The model's namespace.
            files: Provides the resource files of applications, as ``pull_secrets.resource_files``
                does.
            deploy: Deploys and records planned applications, given by name.
            remember: Records that applications are as planned.
        """
        self._model = model
        self._namespace = namespace
        self._files = files
        self._deploy = deploy
        self._remember = remember

    def conditions(self) -> Mapping[str, Condition]:
        """Return the condition of each application in the model."""
        state = self._model.state()
        return {
            name: Condition(
                units=state.units.get(name, 0),
                is_active=name not in state.unsettled,
                is_starting=name in state.starting,
                status=state.unsettled.get(name, ""),
            )
            for name in state.applications
        }

    def deployments(self) -> Collection[str]:
        """List the Deployments in the model's namespace."""
        return cluster.deployments(self._namespace)

    def scale(self, application: str, units: int) -> list[str]:
        """Scale an application to a number of units."""
        return self._model.scale_application(application, units)

    def refresh(self, target: TargetApplication, base: str | None) -> list[str]:
        """Refresh an application to another charm, together with its images and options."""
        with self._files([target.planned]) as files:
            local = target.planned.local(files)
            changes = self._model.refresh_application(local, base=base)
        self._remember([target.planned])
        # Some controllers do not set options during a refresh.
        return changes + self._model.update_options(local)

    def attach_images(self, target: TargetApplication, resources: Sequence[str]) -> list[str]:
        """Attach other images to an application."""
        with self._files([target.planned]) as files:
            sources = target.planned.local(files).resources
            changes = [
                change
                for each in resources
                for change in self._model.attach_resource(target.name, each, sources[each])
            ]
        self._remember([target.planned])
        return changes

    def deploy(self, targets: Sequence[TargetApplication]) -> list[str]:
        """Deploy applications."""
        return self._deploy([target.name for target in targets])

    def remove(self, application: str, *, destroy_storage: bool) -> list[str]:
        """Remove an application."""
        return self._model.remove_application(application, destroy_storage=destroy_storage)

    def set_options(self, application: str, options: Mapping[str, OptionValue]) -> list[str]:
        """Set options of an application."""
        return self._model.set_options(application, options)

    def relate(self, relation: Relation) -> list[str]:
        """Add a relation."""
        return self._model.relate(relation, self._model.state())

    def unrelate(self, relation: Relation) -> list[str]:
        """Remove a relation."""
        return self._model.remove_relation(relation)
