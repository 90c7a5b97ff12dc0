"""Deploys, refreshes, relates and compares the applications of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.deployment.model_operations import RecordingModel
from ckf_airgap.deployment.pull_secrets import resource_files
from ckf_airgap.deployment.record import Deployed, DeploymentRecord
from ckf_airgap.deployment.release import Release
from ckf_airgap.deployment.requirements import require_none_leaving, require_settable
from ckf_airgap.deployment.running_model import ModelReader, plan_model_walk, read_cluster_state
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import DeployedCharm
from ckf_airgap.juju.rollout import AT_ONCE, NO_AGENT, roll_out
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk
from ckf_airgap.upgrades.walker import Walker

_RECORD_SECRET = "ckf-airgap-record"  # noqa: S105


@dataclass(frozen=True)
class Outcome:
    """The outcome of a deployment or a refresh.

    Attributes:
        changes: A line for each change of the model; empty if nothing changed.
        outdated: The recorded applications whose charm, image or pull account differs from the
            plan; empty after a refresh. Applications without a record are never listed;
            ``refresh`` checks them too.
    """

    changes: tuple[str, ...]
    outdated: tuple[str, ...] = ()


class Deployer:
    """Deploys and upgrades a release in a model. All methods are safe to repeat."""

    def __init__(
        self,
        release: Release,
        model: JujuModel,
        report: Callable[[str], None] = lambda _: None,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        """Store the arguments, without calling Juju.

        Args:
            release: The release.
            model: The model, after login.
            report: Called with a line of text at each step.
            at_once: The maximum number of applications that start at the same time.
        """
        self.release = release
        self.model = model
        self._report = report
        self._at_once = at_once

    def deploy(self, plan: Plan) -> Outcome:
        """Deploy missing applications, update options, and add relations.

        Applications that need a refresh keep their options.

        Args:
            plan: The plan. Applications that lack a required image are skipped.

        Returns:
            The changes, and the applications that need a refresh.

        Raises:
            AirgapError: A step fails.
        """
        self._report_incomplete(plan)
        plan = plan.without_incomplete()
        state = self.model.state()
        require_none_leaving(plan, state)
        self._record.complete(state.charms)
        outdated = self._outdated(plan, state)
        changes = self._deploy_missing(plan, state)
        changes += self._update_options(plan, outdated)
        changes += self._relate(plan, self.model.state() if changes else state)
        return Outcome(tuple(changes), tuple(outdated))

    def plan_walk(
        self, plan: Plan, permissions: Permissions, state: ModelState | None = None
    ) -> Walk:
        """Plan the upgrade of a running deployment, or the rest of an interrupted upgrade.

        Args:
            plan: The plan of the new archives. Applications that lack a required image are
                skipped.
            permissions: The operator's permissions.
            state: The state of the model; None to ask Juju.

        Returns:
            The upgrade steps; empty if the model matches the plan.

        Raises:
            AirgapError: The upgrade cannot succeed, and the message lists the reasons; or the
                registry, Juju or the cluster fails.
        """
        plan = plan.without_incomplete()
        account = self.release.pull_account(plan)
        return self._plan_walk(plan, permissions, account, state or self.model.state())

    def refresh(self, plan: Plan, permissions: Permissions) -> Outcome:
        """Upgrade a running deployment, in the order that the charms require.

        Args:
            plan: The plan of the new archives. Applications that lack a required image are
                skipped.
            permissions: The operator's permissions.

        Returns:
            The changes.

        Raises:
            AirgapError: The upgrade cannot succeed, and nothing was changed; or a step fails, and
                the next run continues with it.
        """
        self._report_incomplete(plan)
        plan = plan.without_incomplete()
        account = self.release.pull_account(plan)
        walk = self._plan_walk(plan, permissions, account, self.model.state())
        operations = RecordingModel(
            self.model,
            namespace=self.release.inputs.settings.model,
            files=lambda items: resource_files(items, self._resources, account),
            deploy=lambda names: self._deploy_announced(plan.only(names), account),
            remember=lambda items: self._remember(items, account, self.model.state().charms),
        )
        walker = Walker(
            operations,
            report=self._report,
            remember=self._record.remember_walk,
            at_once=self._at_once,
        )
        changes = walker.walk(walk)
        for name in walk.left:
            self._report(f"{name} is not part of this deployment: left unchanged")
        return Outcome(tuple(changes))

    def check(self, permissions: Permissions | None) -> None:
        """Check that Juju will accept the plan, as far as possible without the images.

        Args:
            permissions: The operator's permissions for a refresh; None for a deployment.

        Raises:
            ConfigurationError: The juju client cannot set an option of an application.
            AirgapError: The deployment or upgrade would fail; the message lists the reasons.
        """
        # An empty inventory is enough: applications and charms do not depend on the images.
        plan = self.release.plan_from(Inventory(()))
        state = self.model.state()
        require_settable(plan, self.model, state, upgrade=permissions is not None)
        if permissions is None:
            require_none_leaving(plan, state)
        else:
            self._plan_walk(plan, permissions, None, state)

    def differences(self, plan: Plan, state: ModelState) -> list[str]:
        """List how the model differs from the plan.

        Compared are which applications are deployed, their charms, images and pull accounts, and
        the options that name images.

        Args:
            plan: The plan. Applications that lack a required image are skipped.
            state: The state of the model.

        Returns:
            A line for each difference.

        Raises:
            AirgapError: Juju or the registry fails.
        """
        plan = plan.without_incomplete()
        self._record.complete(state.charms)
        outdated = self._outdated(plan, state)
        problem = "has a charm, image or pull account that differs from the plan"
        lines = [f"{name} {problem}" for name in outdated]
        for item in plan.applications:
            if item.name not in state.applications:
                lines.append(f"{item.name} is not deployed")
                continue
            changed = self.model.changed_options(item.local()) if item.image_options else {}
            lines += [
                f"{item.name}: the option {name} is not set to {changed[name]}"
                for name in item.image_options
                if name in changed
            ]
        return lines

    def add_relations(self, plan: Plan) -> list[str]:
        """Add the missing relations.

        Args:
            plan: The plan. Applications that lack a required image are skipped.

        Returns:
            A line for each added relation.

        Raises:
            AirgapError: Juju fails.
        """
        return self._relate(plan.without_incomplete(), self.model.state())

    def _relate(self, plan: Plan, state: ModelState) -> list[str]:
        self._report(f"adding missing relations, of {len(plan.relations)} planned")
        return [change for pair in plan.relations for change in self.model.relate(pair, state)]

    def _report_incomplete(self, plan: Plan) -> None:
        for item in plan.incomplete:
            self._report(f"leaving out {item.name}: no image for {item.lacking_in_words}")

    def _plan_walk(
        self,
        plan: Plan,
        permissions: Permissions,
        account: Credentials | None,
        state: ModelState,
    ) -> Walk:
        self._record.complete(state.charms)
        reader = ModelReader(
            model=self.model,
            state=state,
            record=self._record,
            account=account,
            cluster=read_cluster_state(self.release.inputs.settings.model),
        )
        charms = self.release.unpacked_charms.readable
        return plan_model_walk(plan, charms, reader, permissions)

    def _deploy_missing(self, plan: Plan, state: ModelState) -> list[str]:
        new = [item.name for item in plan.applications if item.name not in state.applications]
        account = self.release.pull_account(plan)
        changes: list[str] = []

        def deploy(names: Sequence[str]) -> None:
            done = len(new) - len(waiting)
            self._report(f"deploying {', '.join(names)} ({done + len(names)} of {len(new)})")
            waiting.difference_update(names)
            changes.extend(self._deploy_part(plan.only(names), account))

        if new:
            self._announce(plan.only(new), account)
        waiting = set(new)
        late = roll_out(new, deploy, lambda: self.model.state().starting, at_once=self._at_once)
        if names := ", ".join(sorted(late)):
            self._report(f"{NO_AGENT}: {names}")
        return changes

    def _announce(self, part: Plan, account: Credentials | None) -> None:
        """Record the applications before their deployment, in case this run is killed."""
        self._remember(part.applications, account, {})

    def _deploy_announced(self, part: Plan, account: Credentials | None) -> list[str]:
        self._announce(part, account)
        return self._deploy_part(part, account)

    def _deploy_part(self, part: Plan, account: Credentials | None) -> list[str]:
        """Deploy the applications of a partial plan; none may exist yet."""
        changes: list[str] = []
        with resource_files(part.applications, self._resources, account) as files:
            # Juju refuses a bundle with a local charm for an application that exists.
            if part.bundled:
                bundle = self.release.folder / "bundle.yaml"
                bundle.write_text(self.release.render(part, files))
                changes += self.model.deploy_bundle(bundle)
            for item in part.excluded:
                changes += self.model.deploy_application(item.local(files))
        self._remember(part.applications, account, self.model.state().charms)
        return changes

    def _update_options(self, plan: Plan, outdated: Sequence[str]) -> list[str]:
        """Update the options of all applications that are not outdated."""
        if outdated:
            self._report(f"applications that need a refresh: {', '.join(outdated)}")
        return [
            change
            for item in plan.applications
            if item.name not in outdated
            for change in self.model.update_options(item.local())
        ]

    @property
    def _resources(self) -> Path:
        return self.release.folder / "resources"

    @cached_property
    def _record(self) -> DeploymentRecord:
        return DeploymentRecord(self.model.secret(_RECORD_SECRET))

    def _outdated(self, plan: Plan, state: ModelState) -> list[str]:
        return self._record.outdated(plan, state, self.release.pull_account(plan))

    def _remember(
        self,
        items: Sequence[PlannedApplication],
        account: Credentials | None,
        running: Mapping[str, DeployedCharm],
    ) -> None:
        files = {charm.path: charm for charm in self.release.unpacked_charms.readable}
        deployed = [Deployed(item, running.get(item.name), files[item.file]) for item in items]
        self._record.remember(deployed, account)
