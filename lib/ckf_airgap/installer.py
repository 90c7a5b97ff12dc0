"""The steps from the artifacts to a deployed model; each can be run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckf_airgap.archives.byte_stream import report_reading
from ckf_airgap.archives.charms import UnpackedCharms, unpack_charms
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import Source
from ckf_airgap.charm_file import CharmFile, wanted_images
from ckf_airgap.credentials import Credentials
from ckf_airgap.deployment.local_application import local_application
from ckf_airgap.deployment.outcome import Outcome
from ckf_airgap.deployment.record import Deployed, DeploymentRecord
from ckf_airgap.deployment.refresh_checks import (
    charm_refreshes,
    outdated_applications,
    require_refreshable,
    require_staying,
)
from ckf_airgap.deployment.resource_files import ResourceFiles, resource_files
from ckf_airgap.journal import sealing_key
from ckf_airgap.juju import JujuModel, ModelState
from ckf_airgap.juju_command import require_values
from ckf_airgap.machine import node_architecture
from ckf_airgap.names import image_path
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.charms_at_hand import CharmSelection, MissingCharm
from ckf_airgap.planning.plan import (
    Plan,
    PlannedApplication,
    make_plan,
    select_charms,
)
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.progress import Progress
from ckf_airgap.registry.push import ImagePusher, PushResult
from ckf_airgap.rollout import AT_ONCE, PATIENCE, roll_out

# The secret of the model that tells what it was deployed from.
_RECORD = "ckf-airgap-record"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the operator gives.

    Attributes:
        images: images.tar.gz.
        charms: charms.tar.gz.
        settings: What the operator says about the deployment.
        registry_ca: PEM certificates of the registry's authority, or None.
        registry_credentials: For the registry, or None.
    """

    images: Source
    charms: Source
    settings: PlanSettings
    registry_ca: str | None = None
    registry_credentials: Credentials | None = None


class Installer:
    """Carries out the steps, and keeps their shared state in a directory."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        push_state: Path | None = None,
        report: Callable[[str], None] = lambda _: None,
        at_once: int = AT_ONCE,
    ) -> None:
        """Prepare; nothing is read or sent yet.

        Args:
            inputs: What the operator gives.
            folder: Where to keep unpacked charms, the bundle and what is known of the push.
            templates: The folder of the bundle's template.
            push_state: Where to remember what has been pushed; in the folder where not given.
            report: Called with a line of text at each step.
            at_once: How many applications may be starting at any time.
        """
        self.inputs = inputs
        self.folder = folder
        self._templates = templates
        self._push_state = push_state or folder / "images.pushed"
        self._report = report
        self._at_once = at_once
        self._records: dict[str, DeploymentRecord] = {}
        self._pull_account: tuple[Credentials | None] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def unpacked_charms(self) -> UnpackedCharms:
        """What charms.tar.gz holds, unpacked when first asked for."""
        unpacked = unpack_charms(self.inputs.charms, self.folder / "charms")
        self._report(f"{self.inputs.charms.name}: {len(unpacked.charms)} charms")
        for charm in unpacked.unreadable:
            self._report(str(charm.error))
        return unpacked

    @property
    def charms(self) -> tuple[CharmFile, ...]:
        """The charms that can be read."""
        return self.unpacked_charms.charms

    @cached_property
    def registry(self) -> RegistryClient:
        """The registry."""
        return RegistryClient(
            self.inputs.settings.location.host,
            ca=self.inputs.registry_ca,
            credentials=self.inputs.registry_credentials,
        )

    @property
    def _selected_charms(self) -> CharmSelection:
        return select_charms(self.charms, self.inputs.settings, self.unpacked_charms.unreadable)

    @property
    def deployed_charms(self) -> tuple[CharmFile, ...]:
        """The charms that applications are deployed from."""
        return self._selected_charms.deployed

    @property
    def missing_charms(self) -> tuple[MissingCharm, ...]:
        """The charms that charms.tar.gz lacks.

        Raises:
            ArtifactError: It has charms that are needed and cannot be read.
        """
        return self._selected_charms.require_readable().missing

    def check_registry(self) -> None:
        """Check that the registry accepts pushes, with an upload that is cancelled at once.

        Raises:
            RegistryError: It does not.
        """
        self.registry.check()
        # Where the push begins, as far as it is known without the archive.
        wanted = wanted_images(self.charms)
        if wanted:
            location = self.inputs.settings.location
            self.registry.check_write(location.repository(image_path(wanted[0])))

    def push(self, on_progress: Callable[[Progress], None] = lambda _: None) -> PushResult:
        """Push the images that the registry does not have.

        Args:
            on_progress: Called after each member of images.tar.gz.

        Raises:
            ArtifactError: Something in images.tar.gz is damaged; whatever is not has been pushed.
            RegistryError: The registry fails or refuses.
        """
        result = self._pusher(on_progress).push(self.inputs.images, wanted_images(self.charms))
        for notice in result.notices:
            self._report(notice)
        for image in result.inventory.unnamed:
            self._report(f"{image.member} has no name, and no charm asks for it: not pushed")
        for entry in result.inventory.perhaps_lost:
            self._report(f"{entry.problem}: {entry.cure}")
        result.inventory.require_sound(self.inputs.images.name)
        return result

    def inventory(self) -> Inventory:
        """Return the content of images.tar.gz, including damaged members.

        An archive that has not been pushed is read to its end for it, without being pushed.
        """
        known = self._pusher().known_inventory(self.inputs.images)
        if known is not None:
            return known
        images = self.inputs.images
        self._report(f"reading {images.name} to see what it holds")
        return read_inventory(
            images,
            wanted_images(self.charms),
            architecture=node_architecture(),
            on_read=report_reading(images, self._report),
        )

    def plan(self) -> Plan:
        """Resolve what the charms need against what the archive holds."""
        inventory = self.inventory()
        inventory.require_sound(self.inputs.images.name)
        return self.plan_from(inventory)

    def known_plan(self) -> Plan | None:
        """Plan from what an earlier push has found; None where the archive was not pushed."""
        known = self._pusher().known_inventory(self.inputs.images)
        return None if known is None else self.plan_from(known)

    def plan_from(self, inventory: Inventory) -> Plan:
        """Resolve what the charms need against an inventory."""
        unreadable = self.unpacked_charms.unreadable
        return make_plan(self.charms, inventory, self.inputs.settings, unreadable)

    def render(self, plan: Plan) -> str:
        """Render the bundle of a plan."""
        return render_bundle(plan, self._templates)

    def deploy(self, plan: Plan, model: JujuModel) -> Outcome:
        """Deploy missing applications, update the options of the others, and add relations.

        Args:
            plan: The plan. Applications whose resources have no image are left out.
            model: The model, logged in to.

        Returns:
            What was changed, and what a refresh would change.
        """
        return self._bring(plan, model, refresh=False)

    def refresh(self, plan: Plan, model: JujuModel) -> Outcome:
        """Update a running deployment to new artifacts: changed and new applications.

        Args:
            plan: The plan of the new artifacts.
            model: The model, logged in to.

        Returns:
            What was changed.
        """
        return self._bring(plan, model, refresh=True)

    def check_model(self, model: JujuModel, *, refresh: bool) -> None:
        """Check what Juju would refuse to deploy or to refresh, for which no image is needed.

        Args:
            model: The model, logged in to.
            refresh: Whether applications are to be refreshed.

        Raises:
            ConfigurationError: The juju client cannot be given an option of an application that is
                deployed by itself.
            JujuError: There is something; the message names all applications that it concerns.
        """
        # Which charms go where does not depend on the images.
        plan = self.plan_from(Inventory(()))
        for item in plan.excluded:
            require_values(item.name, item.options)
        state = model.state()
        require_staying(plan, state)
        if refresh:
            self._charm_refreshes(plan.applications, state, model)

    def differences(self, plan: Plan, model: JujuModel) -> list[str]:
        """List how the model differs from the plan: applications, charms, image options.

        Args:
            plan: The plan. What cannot be deployed does not count.
            model: The model, logged in to.

        Returns:
            A line for each difference.
        """
        plan = plan.without_incomplete()
        state = model.state()
        outdated = self._outdated(plan, state, model, unknown=False)
        lines = [
            f"{name} runs another charm, image or pull account than planned" for name in outdated
        ]
        for item in plan.applications:
            if item.name not in state.applications:
                lines.append(f"{item.name} is not deployed")
                continue
            changed = model.changed_options(local_application(item)) if item.image_options else {}
            lines += [
                f"{item.name}: the option {name} is not {changed[name]}"
                for name in item.image_options
                if name in changed
            ]
        return lines

    def add_relations(self, plan: Plan, model: JujuModel) -> list[str]:
        """Add the missing relations.

        Args:
            plan: The plan.
            model: The model, logged in to.

        Returns:
            What was changed; empty where all was there already.
        """
        plan = plan.without_incomplete()
        self._report(f"relating: {len(plan.relations)} relations")
        state = model.state()
        return [change for pair in plan.relations for change in model.relate(pair, state)]

    def pull_needs_credentials(self, plan: Plan) -> bool:
        """Return whether the registry requires credentials to pull."""
        path = next((item.path for item in plan.resolved if item.path), None)
        if path is None or self.inputs.registry_credentials is None:
            return False
        repository = self.inputs.settings.location.repository(path)
        return not self.registry.allows_anonymous_pull(repository, path.tag)

    def _account(self, plan: Plan) -> Credentials | None:
        """Return the account that images are pulled with; None if everybody may pull them."""
        if self._pull_account is None:
            needed = self.pull_needs_credentials(plan)
            self._pull_account = (self.inputs.registry_credentials if needed else None,)
        return self._pull_account[0]

    def _bring(self, plan: Plan, model: JujuModel, *, refresh: bool) -> Outcome:
        for item in plan.incomplete:
            self._report(f"leaving out {item.name}: no image for {item.lacking_in_words}")
        plan = plan.without_incomplete()
        state = model.state()
        require_staying(plan, state)
        # What nobody remembers deploying may be anything.
        outdated = self._outdated(plan, state, model, unknown=refresh)
        changes: list[str] = []
        with resource_files(plan, self.folder / "resources", self._account(plan)) as files:
            if refresh:
                changes += self._refresh_applications(plan, outdated, state, model, files)
                outdated = []
            changes += self._deploy_applications(plan, state, model, files)
            changes += self._update_options(plan, outdated, model)
        changes += self.add_relations(plan, model)
        return Outcome(tuple(changes), tuple(outdated))

    def _deploy_applications(
        self, plan: Plan, state: ModelState, model: JujuModel, files: ResourceFiles
    ) -> list[str]:
        new = [item.name for item in plan.applications if item.name not in state.applications]
        account = self._account(plan)
        changes: list[str] = []

        def deploy(names: Sequence[str]) -> None:
            done = len(new) - len(waiting)
            self._report(f"deploying {', '.join(names)} ({done + len(names)} of {len(new)})")
            waiting.difference_update(names)
            # Juju takes no local charm a second time through a bundle: it holds what is new alone.
            part = plan.only(names)
            if part.bundled:
                bundle = self.folder / "bundle.yaml"
                bundle.write_text(render_bundle(part, self._templates, files))
                changes.extend(model.deploy_bundle(bundle))
            for item in part.excluded:
                changes.extend(model.deploy_application(local_application(item, files)))
            self._remember(part.applications, model, account)

        waiting = set(new)
        self._roll_out(new, deploy, model)
        return changes

    def _update_options(self, plan: Plan, outdated: Sequence[str], model: JujuModel) -> list[str]:
        """Update the options of the applications that run the planned charm."""
        if outdated:
            self._report(f"left to a refresh: {', '.join(outdated)}")
        return [
            change
            for item in plan.applications
            if item.name not in outdated
            for change in model.update_options(local_application(item))
        ]

    def _refresh_applications(
        self,
        plan: Plan,
        outdated: Sequence[str],
        state: ModelState,
        model: JujuModel,
        files: ResourceFiles,
    ) -> list[str]:
        planned = {item.name: item for item in plan.applications}
        record = self._record_of(model)
        account = self._account(plan)
        changes: list[str] = []
        refreshes = self._charm_refreshes([planned[name] for name in outdated], state, model)

        def refresh(names: Sequence[str]) -> None:
            for name in names:
                item = planned[name]
                local = local_application(item, files)
                self._report(f"refreshing {name}")
                if name in refreshes:
                    changes.extend(model.refresh_application(local, base=refreshes[name]))
                else:
                    for each in record.other_images(item, account):
                        changes.extend(model.attach_resource(name, each, local.resources[each]))
                self._remember([item], model, account)

        self._roll_out(outdated, refresh, model)
        for name in sorted(state.applications - set(planned)):
            if state.charms[name].name in {c.name for c in self.charms}:
                self._report(f"{name} is not part of this deployment: left as it is")
        return changes

    def _roll_out(
        self, names: Sequence[str], action: Callable[[Sequence[str]], None], model: JujuModel
    ) -> None:
        late = roll_out(names, action, lambda: model.state().starting, at_once=self._at_once)
        if late:
            self._report(
                f"no agent yet after {PATIENCE:.0f} s, going on: {', '.join(sorted(late))}"
            )

    def _outdated(
        self, plan: Plan, state: ModelState, model: JujuModel, *, unknown: bool
    ) -> list[str]:
        record, account = self._record_of(model), self._account(plan)
        return outdated_applications(plan, state, record, account, unknown=unknown)

    def _record_of(self, model: JujuModel) -> DeploymentRecord:
        if model.uuid not in self._records:
            self._records[model.uuid] = DeploymentRecord(model.secret(_RECORD))
        return self._records[model.uuid]

    def _charm_refreshes(
        self, items: Sequence[PlannedApplication], state: ModelState, model: JujuModel
    ) -> dict[str, str | None]:
        """Return the applications that run another charm, with the base to move each to."""
        refreshes = charm_refreshes(items, self.charms, state, self._record_of(model))
        juju = model.versions().model if refreshes else ""
        require_refreshable(refreshes, juju)
        return {each.application: each.new_base(juju) for each in refreshes}

    def _remember(
        self, items: Sequence[PlannedApplication], model: JujuModel, account: Credentials | None
    ) -> None:
        runs = model.state().charms
        podspec = {charm.path for charm in self.charms if charm.is_podspec}
        deployed = [Deployed(i, runs.get(i.name), i.file in podspec) for i in items]
        self._record_of(model).remember(deployed, account)

    def _pusher(self, on_progress: Callable[[Progress], None] = lambda _: None) -> ImagePusher:
        return ImagePusher(
            self.registry,
            self.inputs.settings.location,
            self._push_state,
            on_progress,
            architecture=node_architecture(),
            # Beside the journal: on a volume, both outlive the pod.
            key=sealing_key(self._push_state.parent),
        )
