"""The whole way from the artifacts to a deployed model, in steps that can each be run again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckf_airgap.artifacts.byte_stream import open_gzip
from ckf_airgap.artifacts.charms import unpack_charms
from ckf_airgap.artifacts.inventory import Inventory, read_inventory
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import ArtifactError
from ckf_airgap.juju import JujuModel
from ckf_airgap.names import ImageReference, RegistryLocation
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.plan import AUTOMATIC, Plan, make_plan
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.push import ImagePusher, Progress, PushResult

_WAVE = 4
_WAVE_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the operator gives.

    Attributes:
        images: images.tar.gz.
        charms: charms.tar.gz.
        location: The registry prefix.
        registry_ca: PEM certificates of the registry's authority, or None.
        registry_credentials: For the registry, or None.
        model: The name of the model to deploy to.
        excluded_charms: ``auto``, or names separated by commas.
    """

    images: Path
    charms: Path
    location: RegistryLocation
    registry_ca: str | None = None
    registry_credentials: Credentials | None = None
    model: str
    excluded_charms: str = AUTOMATIC


class Installer:
    """Carries out the steps, and keeps what they need to know of each other in a folder."""

    def __init__(
        self,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is read or sent yet.

        Args:
            inputs: What the operator gives.
            folder: Where to keep unpacked charms, the bundle and what is known of the push.
            templates: The folder of the bundle's template.
            report: Called with a line of text at each step.
        """
        self._inputs = inputs
        self._folder = folder
        self._templates = templates
        self._report = report
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def charms(self) -> tuple[CharmFile, ...]:
        """The charms, unpacked when first asked for."""
        charms = unpack_charms(self._inputs.charms, self._folder / "charms")
        self._report(f"charms.tar.gz: {len(charms)} charms")
        return charms

    def push(self, on_progress: Callable[[Progress], None] = lambda _: None) -> PushResult:
        """Push the images that the registry does not have.

        Args:
            on_progress: Called after each member of images.tar.gz.

        Raises:
            ArtifactError: Something in images.tar.gz is damaged; whatever is not has been pushed.
            RegistryError: The registry fails or refuses.
        """
        result = self._pusher(on_progress).push(self._inputs.images, self._wanted)
        _require_undamaged(result.inventory)
        for image in result.inventory.unnamed:
            self._report(f"{image.member} has no name, and no charm asks for it: not pushed")
        return result

    def check_registry(self) -> None:
        """See that the registry answers and accepts the credentials."""
        self._registry.check()

    def plan(self) -> Plan:
        """Resolve what the charms need against what the archive holds.

        An archive that has not been pushed is read to its end for it, without being pushed.
        """
        return make_plan(
            self.charms,
            self._inventory,
            self._inputs.location,
            model=self._inputs.model.rpartition("/")[2],
            excluded_charms=self._inputs.excluded_charms,
        )

    def render(self, plan: Plan) -> str:
        """Render the bundle of a plan."""
        return render_bundle(plan, self._templates)

    def deploy(self, plan: Plan, model: JujuModel) -> list[str]:
        """Deploy the bundle in waves, then the excluded applications, then add the relations.

        Juju sends few requests a second to Kubernetes, and all that starts up polls through it:
        what is deployed a few at a time is running sooner than what is deployed at once.

        Args:
            plan: The plan.
            model: The model, logged in to.

        Returns:
            What was changed; empty where all was there already.
        """
        changes: list[str] = []
        deployed = model.state().applications
        # Juju takes no local charm a second time through a bundle: it holds what is new alone.
        bundled = [item.name for item in plan.bundled if item.name not in deployed]
        for start in range(0, len(bundled), _WAVE):
            wave = bundled[start : start + _WAVE]
            self._report(f"deploying {', '.join(wave)} ({start + len(wave)} of {len(bundled)})")
            bundle = self._folder / "bundle.yaml"
            bundle.write_text(self.render(plan.only(wave)))
            changes += model.deploy_bundle(bundle)
            self._wait_for_agents(model, wave)
        for application in plan.excluded:
            if application.name not in deployed:
                self._report(f"deploying {application.name} outside the bundle")
                changes += model.deploy_application(application)
        for application in plan.applications:
            if application.name in deployed:
                changes += model.update_options(application)
        return changes + self.add_relations(plan, model)

    def add_relations(self, plan: Plan, model: JujuModel) -> list[str]:
        """Add the relations that are not there yet.

        Args:
            plan: The plan.
            model: The model, logged in to.

        Returns:
            What was changed; empty where all was there already.
        """
        self._report(f"relating: {len(plan.relations)} relations")
        state = model.state()
        return [change for pair in plan.relations for change in model.relate(pair, state)]

    def _wait_for_agents(self, model: JujuModel, applications: list[str]) -> None:
        """Wait until the agents of a wave run; not for its workloads, which may want relations."""
        late = model.wait_for_agents(applications, _WAVE_SECONDS)
        if late:
            self._report(
                f"no agent yet after {_WAVE_SECONDS} s, going on: {', '.join(sorted(late))}"
            )

    @property
    def _wanted(self) -> tuple[ImageReference, ...]:
        references = (ImageReference.parse(image) for c in self.charms for image in c.images)
        return tuple(dict.fromkeys(reference for reference in references if reference))

    @cached_property
    def _registry(self) -> RegistryClient:
        return RegistryClient(
            self._inputs.location.host,
            ca=self._inputs.registry_ca,
            credentials=self._inputs.registry_credentials,
        )

    def _pusher(self, on_progress: Callable[[Progress], None] = lambda _: None) -> ImagePusher:
        return ImagePusher(
            self._registry, self._inputs.location, self._folder / "push.json", on_progress
        )

    @property
    def _inventory(self) -> Inventory:
        known = self._pusher().known_inventory(self._inputs.images)
        if known is not None:
            return known
        self._report("reading images.tar.gz to see what it holds")
        with open_gzip(self._inputs.images) as archive:
            inventory = read_inventory(archive, self._inputs.images.name, self._wanted)
        _require_undamaged(inventory)
        return inventory


def _require_undamaged(inventory: Inventory) -> None:
    if not inventory.damaged:
        return
    listed = "; ".join(error.problem for error in inventory.damaged)
    raise ArtifactError(
        f"images.tar.gz holds {len(inventory.damaged)} damaged archives: {listed}",
        "save these images again (docker save), make the archive again and attach it",
    )
