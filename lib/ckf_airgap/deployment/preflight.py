"""The checks before a deployment or an upgrade.

They deploy nothing that stays. Like a deployment, they complete the entries that an interrupted
run left in the deployment record, a secret of the model.
"""

import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.deployment.deployer import Deployer
from ckf_airgap.deployment.mirror_trial import try_mirrors
from ckf_airgap.deployment.release import Release
from ckf_airgap.deployment.requirements import (
    require_admin,
    require_matching_client,
    require_settable,
    unsupported_charms,
)
from ckf_airgap.errors import AirgapError
from ckf_airgap.images.registry_location import SHORTER_PATH
from ckf_airgap.juju.juju_images import controller_images, default_repository, model_images
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_version import JujuVersion
from ckf_airgap.kubernetes import cluster
from ckf_airgap.mirrors.original_names import CONFIGURE_NODES
from ckf_airgap.network.proxies import model_proxy
from ckf_airgap.planning.plan import Plan
from ckf_airgap.planning.plan_warnings import not_pushed
from ckf_airgap.upgrades.rendering import walk_title
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk

_SPARE_BYTES = 100 * 1024 * 1024
_ADD_CHARM = (
    "download it with juju download, and add it to charms.tar.gz; or attach a bundle without it, "
    "or run deploy with allow-missing=true"
)
_ADD_IMAGE = "add it to images.tar.gz, or run deploy with allow-missing=true"


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: The name of the check.
        level: The severity.
        text: What was found, as a sentence.
        cure: The fix; empty if none is needed.
    """

    check: str
    level: Level
    text: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f": {self.cure}" if self.cure else ""
        return f"{self.level.value}  {self.check}: {self.text}{cure}"


@dataclass(frozen=True)
class PreflightResult:
    """The result of all checks.

    Attributes:
        findings: The findings, in the order of the checks. Fix errors from the top.
        walk: The steps that upgrade the model to the plan; None if the model has no planned
            application, if the upgrade is refused, or if Juju or an archive cannot be read.
    """

    findings: tuple[Finding, ...]
    walk: Walk | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that prevent a deployment.

        Missing charms or images do not prevent one with ``allow-missing=true``.
        """
        return tuple(each for each in self.findings if each.level is Level.ERROR)


class Preflight:
    """Runs the checks; one that fails stops only those that need its result."""

    def __init__(
        self,
        release: Release,
        login: Callable[[], JujuModel],
        permissions: Permissions,
        report: Callable[[str], None] = lambda _: None,
        *,
        mirrors: bool = False,
    ) -> None:
        """Store the arguments, without checking anything.

        Args:
            release: The release to deploy.
            login: Logs in to the model.
            permissions: The operator's permissions for an upgrade.
            report: Called with a line of text at each step.
            mirrors: Whether to test that the nodes pull images by their original names.
        """
        self._release = release
        self._mirrors = mirrors
        self._login = login
        self._permissions = permissions
        self._report = report
        self._findings: list[Finding] = []
        self._walk: Walk | None = None
        self._model: JujuModel | None = None

    def run(self) -> PreflightResult:
        """Run the checks. If one raises an AirgapError, the error becomes a finding."""
        self._findings, self._walk, self._model = [], None, None
        settings = self._release.inputs.settings
        # The checks of the registry and Juju need the charms: report problems first.
        with self._errors_as_findings("charms"):
            _ = self._release.unpacked_charms
        self._report("checking the registry")
        with self._errors_as_findings("registry"):
            self._check_registry()
        self._report("checking Juju")
        with self._errors_as_findings("juju"):
            self._check_juju()
        self._report("checking the disk and the charms")
        with self._errors_as_findings("disk"):
            self._check_disk()
        with self._errors_as_findings("charms"):
            missing = self._release.selected_charms.require_readable().missing
            for charm in missing:
                self._error("charms", f"charms.tar.gz lacks the {charm}", _ADD_CHARM)
            if not missing:
                count = len(self._release.unpacked_charms.charms)
                self._ok("charms", f"{count} charms, all that the deployment needs")
        inventory = self._check_images()
        if inventory is not None:
            with self._errors_as_findings("images"):
                self._check_left_out()
        self._report("checking Kubernetes")
        with self._errors_as_findings("kubernetes"):
            self._check_cluster(inventory)
        if inventory is not None:
            self._report(f"checking the plan for {settings.location}")
            with self._errors_as_findings("plan"):
                plan = self._release.plan_from(inventory)
                self._check_plan(plan)
                self._check_pull(plan)
                self._report("checking the upgrade")
                self._check_upgrade(plan)
            if self._mirrors:
                with self._errors_as_findings("mirrors"):
                    self._check_mirrors(inventory)
        return PreflightResult(tuple(self._findings), self._walk)

    def _check_registry(self) -> None:
        location = self._release.inputs.settings.location
        self._release.check_registry()
        # Without an image to push, no push is tried.
        accepts = " and accepts pushes" if self._release.unpacked_charms.wanted_images else ""
        self._ok("registry", f"{location} answers over TLS{accepts}")

    def _check_juju(self) -> None:
        self._model = model = self._login()
        versions = model.versions()
        self._ok("juju", f"logged in to {model.name}, Juju {versions.model}")
        with self._errors_as_findings("juju"):
            require_admin(model)
        with self._errors_as_findings("juju"):
            require_matching_client(versions)
        for problem, cure in unsupported_charms(
            self._release.selected_charms.deployed, versions.model
        ):
            self._error("juju", problem, cure)
        self._check_agents(model.agent_images(), versions.model)
        with self._errors_as_findings("juju"):
            self._check_proxy(model)

    def _check_proxy(self, model: JujuModel) -> None:
        """Check that the charms reach the Kubernetes API without the model's proxy."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        settings = model.settings()
        proxy = model_proxy(settings, host, networks=False) if host else None
        if proxy is None:
            return
        # Go programs accept CIDR ranges in no-proxy; the HTTP client of charms does not.
        is_excluded_by_range = model_proxy(settings, host, networks=True) is None
        add = self._warning if is_excluded_by_range else self._error
        exceptions = ",".join(filter(None, (str(settings.get("no-proxy") or ""), host)))
        cure = f"juju model-config --model {model.name} no-proxy={exceptions}"
        problem = f"charms reach the Kubernetes API ({host}) through the model's proxy {proxy}"
        add("juju", problem, cure)

    def _check_agents(self, repository: str | None, version: str) -> None:
        """Check that the registry has Juju's own images, which no charm names."""
        juju = JujuVersion.of_controller(version)
        wanted = model_images(juju, self._release.selected_charms.deployed)
        public = default_repository(juju)
        if not repository:
            unknown = (
                "cannot read caas-image-repo with this account; by default "
                if repository is None
                else ""
            )
            self._warning(
                "juju",
                f"{unknown}the controller pulls the images of its agents from the internet "
                f"({public}: {', '.join(wanted)})",
                "configure a mirror for them on the nodes, or bootstrap with "
                "--config caas-image-repo=HOST/PATH",
            )
            return
        host, _, path = repository.partition("/")
        if host != self._release.inputs.settings.location.host:
            self._ok("juju", f"Juju's agent images come from {repository} ({', '.join(wanted)})")
            return
        cure = (
            f"copy them there from {public}, or pack with --juju-version {juju} and push the "
            "archive there"
        )
        missing = self._missing_images(path, wanted)
        if missing:
            self._error(
                "juju",
                f"{repository} lacks {', '.join(missing)}, in which Juju runs its agents and "
                "charms",
                cure,
            )
        else:
            self._ok("juju", f"{repository} has {', '.join(wanted)}")
        # The controller already runs, but on another node its images would have to be pulled.
        missing = self._missing_images(
            path, [name for name in controller_images(juju) if name not in wanted]
        )
        if missing:
            self._warning(
                "juju",
                f"{repository} lacks {', '.join(missing)}, which the controller needs if its pod "
                "moves to another node",
                cure,
            )

    def _missing_images(self, path: str, names: Iterable[str]) -> list[str]:
        """List the images that the registry lacks below a path."""
        registry = self._release.registry
        parts = [(name, *name.split(":")) for name in names]
        return [
            name
            for name, image, tag in parts
            if registry.manifest_digest(f"{path}/{image}".lstrip("/"), tag) is None
        ]

    def _check_disk(self) -> None:
        directory = self._release.folder
        needed = self._release.inputs.charms.size + _SPARE_BYTES
        free = shutil.disk_usage(directory).free
        if free < needed:
            self._error(
                "disk",
                f"the unit has {free / 1e6:.0f} MB free, and needs {needed / 1e6:.0f} MB to "
                "unpack the charms",
                "free disk space on the unit's node, or move its pod to another node",
            )
        else:
            self._ok("disk", f"{free / 1e9:.1f} GB free in the unit")

    def _check_images(self) -> Inventory | None:
        try:
            inventory = self._release.inventory()
        except AirgapError as error:
            self._error("images", error.problem, error.cure)
            return None
        for error in (*inventory.damaged, *inventory.conflicts):
            self._error("images", error.problem, error.cure)
        for warning in not_pushed(inventory):
            self._warning("images", warning.problem, warning.cure)
        location = self._release.inputs.settings.location
        for image in (*inventory.images, *inventory.artifacts):
            for problem in filter(None, map(location.length_problem, image.paths)):
                self._error("images", f"{image.description}: {problem}", SHORTER_PATH)
        if not inventory.damaged and not inventory.conflicts:
            self._ok("images", f"images.tar.gz is intact: {len(inventory.images)} images")
        return inventory

    def _check_left_out(self) -> None:
        if count := self._release.check_left_out():
            self._ok(
                "images", f"the registry has the {count} layers that images.tar.gz leaves out"
            )

    def _check_cluster(self, inventory: Inventory | None) -> None:
        facts = cluster.describe()
        self._ok("kubernetes", f"{', '.join(sorted(facts.versions))} on {len(facts.nodes)} nodes")
        for node in facts.nodes:
            for problem in node.problems:
                self._warning(
                    "kubernetes", f"the node {node.name} reports {problem}", "check that node"
                )
        charms = self._release.selected_charms.deployed
        with_storage = sorted(c.name for c in charms if c.has_storage)
        if facts.default_storage_class:
            self._ok("kubernetes", f"default storage class {facts.default_storage_class}")
        elif with_storage:
            self._error(
                "kubernetes",
                f"there is no default storage class, and {', '.join(with_storage)} need storage",
                "kubectl annotate storageclass NAME "
                "storageclass.kubernetes.io/is-default-class=true",
            )
        operators = sorted(c.name for c in charms if c.needs_operator_storage)
        if operators and not facts.default_storage_class:
            self._warning(
                "kubernetes",
                f"there is no default storage class, and the operators of {', '.join(operators)} "
                "need storage",
                "make a storage class the default, or set one for operators: "
                "juju model-config operator-storage=NAME",
            )
        architectures = {node.architecture for node in facts.nodes}
        wrong_architecture = {
            image.member: image.architecture
            for image in (inventory.images if inventory else ())
            if image.architecture and image.architecture not in architectures
        }
        if wrong_architecture:
            shown = ", ".join(
                f"{member} ({cpu})" for member, cpu in sorted(wrong_architecture.items())[:5]
            )
            self._error(
                "kubernetes",
                f"{len(wrong_architecture)} images are for a different architecture than the "
                f"nodes ({', '.join(sorted(architectures))}): {shown}",
                "pull and save them again with --platform linux/"
                f"{next(iter(sorted(architectures)), 'amd64')}",
            )

    def _check_plan(self, plan: Plan) -> None:
        for image in plan.missing:
            self._error("plan", f"images.tar.gz lacks {image}", _ADD_IMAGE)
        for item in plan.incomplete:
            self._error(
                "plan",
                f"{item.name} cannot be deployed: no image for {item.lacking_in_words}",
                "add the image to images.tar.gz, or set another in the overlay",
            )
        # _check_images has reported the images that are not pushed.
        reported = {each.text for each in self._findings}
        for warning in plan.warnings:
            if warning.problem in reported:
                continue
            add = self._error if warning.is_fatal else self._warning
            add("plan", warning.problem, warning.cure)
        excluded = ", ".join(item.name for item in plan.excluded) or "none"
        self._ok(
            "plan",
            f"{len(plan.applications)} applications (outside the bundle: {excluded}), "
            f"{len(plan.relations)} relations, {len(plan.resolved)} images found",
        )

    def _check_upgrade(self, plan: Plan) -> None:
        # Without a login, _check_juju has reported the reason.
        if self._model is None:
            return
        state = self._model.state()
        is_deployed = bool(state.applications & {item.name for item in plan.applications})
        with self._errors_as_findings("plan"):
            require_settable(plan, self._model, state, upgrade=is_deployed)
        if is_deployed:
            self._walk = Deployer(self._release, self._model).plan_walk(
                plan, self._permissions, state
            )
            self._ok("upgrade", walk_title(self._walk))

    def _check_pull(self, plan: Plan) -> None:
        host = self._release.inputs.settings.location.host
        if self._release.inputs.registry_credentials is None:
            return
        if self._release.pull_account(plan) is None:
            self._ok("pull", f"{host} allows pulls without credentials")
            return
        self._ok("pull", "the oci-image resources are passed with pull credentials")
        names = sorted(item.name for item in plan.applications if item.image_options)
        if names:
            self._warning(
                "pull",
                f"{host} requires credentials, which images in options cannot have "
                f"({', '.join(names)})",
                f"give the nodes' container runtime credentials for {host}, or allow anonymous "
                "pulls",
            )

    def _check_mirrors(self, inventory: Inventory) -> None:
        release = self._release
        names = release.original_names(inventory)
        trial = try_mirrors(names, release.registry, release.inputs.settings.model, self._report)
        for host in trial.not_tried:
            self._warning(
                "mirrors",
                f"the registry has no image of {host} under its original name",
                "run push-images, then preflight again",
            )
        for failed in trial.failed:
            self._error("mirrors", str(failed), CONFIGURE_NODES)
        if trial.tried and not trial.failed:
            nodes = {each.node for each in trial.tried}
            images = dict.fromkeys(each.image for each in trial.tried)
            self._ok("mirrors", f"{len(nodes)} nodes pull {', '.join(images)} from the registry")

    @contextmanager
    def _errors_as_findings(self, check: str) -> Generator[None]:
        try:
            yield
        except AirgapError as error:
            # Several checks may fail for the same reason: report it once.
            if error.problem not in {each.text for each in self._findings}:
                self._error(check, error.problem, error.cure)

    def _ok(self, check: str, text: str) -> None:
        self._findings.append(Finding(check, Level.OK, text))

    def _warning(self, check: str, text: str, cure: str) -> None:
        self._findings.append(Finding(check, Level.WARNING, text, cure))

    def _error(self, check: str, text: str, cure: str) -> None:
        self._findings.append(Finding(check, Level.ERROR, text, cure))
