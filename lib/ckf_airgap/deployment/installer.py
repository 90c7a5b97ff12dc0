"""The steps from the artifacts to a deployed model; each can be run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.byte_stream import report_reading
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms, unpack_charms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.deployment.local_application import local_application
from ckf_airgap.deployment.model_operations import RecordedModel
from ckf_airgap.deployment.outcome import Outcome
from ckf_airgap.deployment.pull_secrets import resource_files
from ckf_airgap.deployment.record import Deployed, DeploymentRecord
from ckf_airgap.deployment.refresh_checks import outdated_applications, require_staying
from ckf_airgap.deployment.running_model import ModelReader, look_at_cluster, plan_model_walk
from ckf_airgap.files.journal import sealing_key
from ckf_airgap.images.naming import image_path
from ckf_airgap.juju.juju_command import require_values
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.rollout import AT_ONCE, PATIENCE, roll_out
from ckf_airgap.kubernetes.node_architecture import node_architecture
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.charms_at_hand import CharmSelection, MissingCharm
from ckf_airgap.planning.plan import (
    Plan,
    PlannedApplication,
    make_plan,
    select_charms,
)
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import ImagePusher, PushResult
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk
from ckf_airgap.upgrades.walker import Walker

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
        """The charms that can be read, the newest of each name."""
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
        if wanted := self.unpacked_charms.wanted_images:
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
        result = self._pusher(on_progress).push(
            self.inputs.images, self.unpacked_charms.wanted_images
        )
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
        images = self.inputs.images
        if (known := self._pusher().known_inventory(images)) is not None:
            return known
        self._report(f"reading {images.name} to see what it holds")
        return read_inventory(
            images,
            self.unpacked_charms.wanted_images,
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
        unpacked, settings = self.unpacked_charms, self.inputs.settings
        return make_plan(
            unpacked.charms, inventory, settings, unpacked.unreadable, unpacked.between
        )

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
        self._report_incomplete(plan)
        plan = plan.without_incomplete()
        state = model.state()
        require_staying(plan, state)
        outdated = self._outdated(plan, state, model)
        changes = self._deploy_applications(plan, state, model)
        changes += self._update_options(plan, outdated, model)
        changes += self.add_relations(plan, model)
        return Outcome(tuple(changes), tuple(outdated))

    def walk(self, plan: Plan, model: JujuModel, permissions: Permissions) -> Walk:
        """Plan how a running deployment is brought to new artifacts, or the rest of that.

        Args:
            plan: The plan of the new artifacts. What cannot be deployed is left out.
            model: The model, logged in to.
            permissions: What the operator allows.

        Returns:
            The steps; none where the model is as planned.

        Raises:
            AirgapError: It cannot go well; the message has the reasons. Nothing has changed.
        """
        plan = plan.without_incomplete()
        return self._walk(plan, model, permissions, self._account(plan))

    def refresh(self, plan: Plan, model: JujuModel, permissions: Permissions) -> Outcome:
        """Bring a running deployment to new artifacts, in the order that the charms need.

        Args and errors are those of ``walk``. A step may fail, too; the next run goes on there.

        Returns:
            What was changed.
        """
        self._report_incomplete(plan)
        plan = plan.without_incomplete()
        account = self._account(plan)
        walk = self._walk(plan, model, permissions, account)
        operations = RecordedModel(
            model,
            namespace=self.inputs.settings.model,
            files=lambda items: resource_files(items, self._resources, account),
            deploy=lambda names: self._deploy_part(plan.only(names), model, account),
            remember=lambda items: self._remember(items, model, account),
        )
        walker = Walker(
            operations,
            report=self._report,
            remember=self._record_of(model).remember_walk,
            at_once=self._at_once,
        )
        changes = walker.walk(walk)
        for name in walk.left:
            self._report(f"{name} is not part of this deployment: left as it is")
        return Outcome(tuple(changes))

    def check_model(self, model: JujuModel, permissions: Permissions | None) -> None:
        """Check what Juju would refuse to deploy or to refresh, for which no image is needed.

        Args:
            model: The model, logged in to.
            permissions: What the operator allows in a refresh; None for a deployment.

        Raises:
            ConfigurationError: The juju client cannot be given an option of an application.
            AirgapError: There is something else; the message names all that it concerns.
        """
        # Which charms go where does not depend on the images.
        plan = self.plan_from(Inventory(()))
        state = model.state()
        for item in plan.applications:
            if item.is_excluded or (permissions and item.name in state.applications):
                require_values(item.name, item.options)
        if permissions is None:
            require_staying(plan, state)
        else:
            self._walk(plan, model, permissions, None)

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
        outdated = self._outdated(plan, state, model)
        problem = "runs another charm, image or pull account than planned"
        lines = [f"{name} {problem}" for name in outdated]
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

    def _report_incomplete(self, plan: Plan) -> None:
        for item in plan.incomplete:
            self._report(f"leaving out {item.name}: no image for {item.lacking_in_words}")

    def _walk(
        self,
        plan: Plan,
        model: JujuModel,
        permissions: Permissions,
        account: Credentials | None,
    ) -> Walk:
        reader = ModelReader(
            model=model,
            record=self._record_of(model),
            account=account,
            cluster=look_at_cluster(self.inputs.settings.model),
        )
        return plan_model_walk(plan, self.unpacked_charms.readable, reader, permissions)

    def _deploy_applications(self, plan: Plan, state: ModelState, model: JujuModel) -> list[str]:
        new = [item.name for item in plan.applications if item.name not in state.applications]
        account = self._account(plan)
        changes: list[str] = []

        def deploy(names: Sequence[str]) -> None:
            done = len(new) - len(waiting)
            self._report(f"deploying {', '.join(names)} ({done + len(names)} of {len(new)})")
            waiting.difference_update(names)
            changes.extend(self._deploy_part(plan.only(names), model, account))

        waiting = set(new)
        late = roll_out(new, deploy, lambda: model.state().starting, at_once=self._at_once)
        if names := ", ".join(sorted(late)):
            self._report(f"no agent yet after {PATIENCE:.0f} s, going on: {names}")
        return changes

    def _deploy_part(self, part: Plan, model: JujuModel, account: Credentials | None) -> list[str]:
        """Deploy the applications of a part of the plan; none of them may be there yet."""
        changes: list[str] = []
        with resource_files(part.applications, self._resources, account) as files:
            # Juju takes no local charm a second time through a bundle: it holds what is new alone.
            if part.bundled:
                bundle = self.folder / "bundle.yaml"
                bundle.write_text(render_bundle(part, self._templates, files))
                changes += model.deploy_bundle(bundle)
            for item in part.excluded:
                changes += model.deploy_application(local_application(item, files))
        self._remember(part.applications, model, account)
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

    @property
    def _resources(self) -> Path:
        return self.folder / "resources"

    def _outdated(self, plan: Plan, state: ModelState, model: JujuModel) -> list[str]:
        return outdated_applications(plan, state, self._record_of(model), self._account(plan))

    def _record_of(self, model: JujuModel) -> DeploymentRecord:
        if model.uuid not in self._records:
            self._records[model.uuid] = DeploymentRecord(model.secret(_RECORD))
        return self._records[model.uuid]

    def _remember(
        self, items: Sequence[PlannedApplication], model: JujuModel, account: Credentials | None
    ) -> None:
        runs = model.state().charms
        files = {charm.path: charm for charm in self.unpacked_charms.readable}
        deployed = [Deployed(item, runs.get(item.name), files[item.file]) for item in items]
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
