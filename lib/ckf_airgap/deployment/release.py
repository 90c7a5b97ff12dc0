"""A release: its charms, images and plan, and the push of its images. Nothing here needs Juju."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.byte_stream import report_reading
from ckf_airgap.archives.inventory import Inventory, read_inventory
from ckf_airgap.archives.minisign import PublicKey
from ckf_airgap.archives.pack_manifest import PackManifest, first_record, read_user_images
from ckf_airgap.archives.signed_images import require_signed
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms, unpack_charms
from ckf_airgap.files.journal import sealing_key
from ckf_airgap.images.naming import image_path
from ckf_airgap.kubernetes.node_architecture import node_architecture
from ckf_airgap.mirrors.original_names import OriginalNames
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.charm_selection import CharmSelection, select_charms
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.push.left_out_layers import find_left_out
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import ImagePusher, PushResult
from ckf_airgap.registry.client import RegistryClient


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The operator's inputs for a release.

    Attributes:
        images: images.tar.gz.
        charms: charms.tar.gz.
        settings: The operator's settings for the deployment.
        registry_ca: CA certificates for the registry, in PEM format, or None.
        registry_credentials: The account of the registry, or None.
        artifact_key: The key that both archives must be signed with, or None.
    """

    images: Source
    charms: Source
    settings: PlanSettings
    registry_ca: str | None = None
    registry_credentials: Credentials | None = None
    artifact_key: PublicKey | None = None


class Release:
    """The two archives, and the registry for the images.

    Attributes:
        inputs: The operator's inputs.
        folder: The directory for unpacked charms and, by default, the journal of the push.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        push_state: Path | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Store the arguments, without reading or sending anything.

        Args:
            inputs: The operator's inputs.
            folder: The directory for unpacked charms; created if missing.
            templates: The directory of the bundle's template.
            push_state: The journal of the push; by default in ``folder``.
            report: Called with a line of text at each step.
        """
        self.inputs = inputs
        self.folder = folder
        self._templates = templates
        self._push_state = push_state or folder / "images.pushed"
        self._report = report
        self._pull_account: tuple[Credentials | None] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def unpacked_charms(self) -> UnpackedCharms:
        """The content of charms.tar.gz, unpacked on first access."""
        charms = self.inputs.charms
        unpacked = unpack_charms(charms, self.folder / "charms", self._signed(charms))
        self._report(f"{self.inputs.charms.name}: {len(unpacked.charms)} charms")
        for charm in unpacked.unreadable:
            self._report(str(charm.error))
        return unpacked

    @cached_property
    def registry(self) -> RegistryClient:
        """The client of the registry."""
        return RegistryClient(
            self.inputs.settings.location.host,
            ca=self.inputs.registry_ca,
            credentials=self.inputs.registry_credentials,
        )

    @cached_property
    def selected_charms(self) -> CharmSelection:
        """The available and the missing charms of the deployment."""
        unpacked = self.unpacked_charms
        return select_charms(unpacked.charms, self.inputs.settings, unpacked.unreadable)

    def check_registry(self) -> None:
        """Check that the registry accepts pushes, by starting and canceling an upload.

        Raises:
            RegistryError: The registry fails or refuses.
            ArtifactError: charms.tar.gz cannot be read.
        """
        self.registry.check()
        # Probably the first repository of the push; images.tar.gz is not read yet.
        if wanted := self.unpacked_charms.wanted_images:
            location = self.inputs.settings.location
            self.registry.check_write(location.repository(image_path(wanted[0])))

    def check_left_out(self) -> int:
        """Check that the registry has the layers that images.tar.gz leaves out.

        Returns:
            The number of these layers; 0 for an archive that leaves out none.

        Raises:
            ArtifactError: The archive cannot be read.
            RegistryError: The registry lacks some, or fails.
        """
        record = first_record(self.inputs.images)
        if record is None:
            return 0
        location, name = self.inputs.settings.location, self.inputs.images.name
        return len(find_left_out(self.registry, location, record, name))

    def push(self, on_progress: Callable[[Progress], None] = lambda _: None) -> PushResult:
        """Push the images that the registry does not have.

        Args:
            on_progress: Called after each member of images.tar.gz.

        Raises:
            ArtifactError: An archive cannot be read or its signature is refused, or members of
                images.tar.gz are damaged; in this last case, the others have been pushed.
            RegistryError: The registry fails or refuses.
        """
        self.check_registry()
        images = self.inputs.images
        signed = self._signed(images)
        if signed:
            # Check the whole archive against its record before anything is sent.
            self._read_inventory()
        result = self._pusher(on_progress).push(images, self.unpacked_charms.wanted_images, signed)
        for notice in result.notices:
            self._report(notice)
        for image in result.inventory.unnamed:
            self._report(f"{image.member} has no name, and no charm uses it: not pushed")
        for entry in result.inventory.possible_images:
            self._report(f"{entry.problem}: {entry.cure}")
        result.inventory.require_sound(self.inputs.images.name)
        return result

    def inventory(self) -> Inventory:
        """Return the content of images.tar.gz, including damaged members.

        This reads the whole archive before the first push, and always if there is an artifact key.

        Raises:
            ArtifactError: The archive cannot be read.
        """
        # The journal may be older than the key: only reading the archive checks the signature.
        if self.inputs.artifact_key is None and (known := self._known_inventory()) is not None:
            return known
        return self._read_inventory()

    def _signed(self, archive: Source) -> PackManifest | None:
        """Check the signature of an archive; return its record, or None without a key."""
        key = self.inputs.artifact_key
        return require_signed(archive, key) if key else None

    def _read_inventory(self) -> Inventory:
        images = self.inputs.images
        signed = self._signed(images)
        self._report(f"listing the content of {images.name}")
        return read_inventory(
            images,
            self.unpacked_charms.wanted_images,
            architecture=node_architecture(),
            on_read=report_reading(images, self._report),
            signed=signed,
        )

    def original_names(self, inventory: Inventory) -> OriginalNames:
        """Return the original names of the images of an inventory."""
        wanted, location = self.unpacked_charms.wanted_images, self.inputs.settings.location
        return OriginalNames.of(inventory, wanted, location)

    def plan(self) -> Plan:
        """Plan the deployment from the charms and the content of images.tar.gz.

        Raises:
            ArtifactError: The archive cannot be read, or members of it are damaged.
            PlanError: The charms cannot be deployed together.
        """
        inventory = self.inventory()
        inventory.require_sound(self.inputs.images.name)
        return self.plan_from(inventory)

    def known_plan(self) -> Plan | None:
        """Plan the deployment from the journal of the push; None without a complete push."""
        known = self._known_inventory()
        return None if known is None else self.plan_from(known)

    def plan_from(self, inventory: Inventory) -> Plan:
        """Plan the deployment from the charms and an inventory."""
        unpacked, settings = self.unpacked_charms, self.inputs.settings
        return make_plan(
            unpacked.charms, inventory, settings, unpacked.unreadable, unpacked.intermediate
        )

    def render(self, plan: Plan, files: Mapping[tuple[str, str], Path] | None = None) -> str:
        """Render the bundle of a plan.

        Args:
            plan: The plan.
            files: (application, resource) -> file that replaces the image reference for Juju.
        """
        return render_bundle(plan, self._templates, files or {})

    def pull_account(self, plan: Plan) -> Credentials | None:
        """Return the pull account; None if the registry allows anonymous pulls.

        Args:
            plan: A plan of this release. The registry is asked once, about one image of the plan.

        Raises:
            RegistryError: The registry fails.
        """
        if self._pull_account is None:
            needed = self._pull_needs_credentials(plan)
            self._pull_account = (self.inputs.registry_credentials if needed else None,)
        return self._pull_account[0]

    def _known_inventory(self) -> Inventory | None:
        """Return the inventory of an earlier push, with the archive's list of users' images.

        None if there was no complete push.
        """
        images = self.inputs.images
        known = self._pusher().known_inventory(images)
        return known and replace(known, user_images=read_user_images(images))

    def _pull_needs_credentials(self, plan: Plan) -> bool:
        path = next((item.path for item in plan.resolved if item.path), None)
        if path is None or self.inputs.registry_credentials is None:
            return False
        repository = self.inputs.settings.location.repository(path)
        return not self.registry.allows_anonymous_pull(repository, path.tag)

    def _pusher(self, on_progress: Callable[[Progress], None] = lambda _: None) -> ImagePusher:
        return ImagePusher(
            self.registry,
            self.inputs.settings.location,
            self._push_state,
            on_progress,
            architecture=node_architecture(),
            # The key is in the directory of the journal: on a volume, both outlive the pod.
            key=sealing_key(self._push_state.parent),
            for_mirrors=True,
        )
