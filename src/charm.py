#!/usr/bin/env python3
"""The charm: reads configuration and parameters, calls the core, reports."""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import ops

from ckf_airgap import cluster
from ckf_airgap.archives.sources import FileSource, Source, UrlSource
from ckf_airgap.credentials import Credentials, write_private
from ckf_airgap.errors import (
    AirgapError,
    ArtifactError,
    ConfigurationError,
    PlanError,
    disk_error,
)
from ckf_airgap.installer import Inputs, Installer
from ckf_airgap.juju import Controller, JujuModel
from ckf_airgap.memory import use_one_arena
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import Plan, PlanSettings, check_settings
from ckf_airgap.planning.report import plan_report
from ckf_airgap.planning.topology import charms_with_namespaces
from ckf_airgap.preflight import Level, Preflight, require_fit_charms
from ckf_airgap.registry.progress import Progress
from ckf_airgap.registry.push import PushResult

logger = logging.getLogger(__name__)

_RESOURCE_FILES = {
    "images": "./images.tar.gz",
    "charms": "./charms.tar.gz",
    "juju": "/snap/juju/current/bin/juju",
}
# Juju takes results of up to 100 kB in all.
_LONGEST_DOCUMENT = 32_000
_LONGEST_LIST = 6_000
_POLL_SECONDS = 5
_REPLACEMENT_SECONDS = 60
# Juju keeps a thousand lines of an action's log.
_LOG_SECONDS = 30
_STATUS_SECONDS = 5
_SHOWN_UNITS = 3
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """The charm's options."""

    registry: str = ""
    registry_ca: str | None = None
    registry_credentials: ops.Secret | None = None
    juju_credentials: ops.Secret | None = None
    model: str = "kubeflow"
    images_url: str = ""
    charms_url: str = ""
    gateway_service_type: str = ""
    excluded_charms: str = "auto"
    overlay: str = ""
    auto_deploy: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeployParameters:
    """The parameters of the actions deploy and refresh."""

    allow_missing: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyParameters:
    """The parameters of the action verify."""

    timeout: int = 1800


@dataclasses.dataclass(frozen=True)
class Reporter:
    """Where to tell what goes on.

    Attributes:
        log: Takes a line of text at each step.
        results: Takes what has come out so far.
    """

    log: Callable[[str], None]
    results: Callable[[Mapping[str, object]], None]

    @classmethod
    def of_action(cls, event: ops.ActionEvent) -> "Reporter":
        """Tell the operator who runs an action."""
        return cls(event.log, lambda results: event.set_results(dict(results)))

    @classmethod
    def of_log(cls) -> "Reporter":
        """Tell the unit's log."""
        return cls(logger.info, lambda results: logger.info("%s", results))


class CkfAirgapCharm(ops.CharmBase):
    """Takes the operator's inputs to a running Charmed Kubeflow, by actions."""

    _stored = ops.StoredState()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._stored.set_default(next_step="", failure="", deployed={})
        self._last_log = 0.0
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)
        framework.observe(self.on.preflight_action, self._on_preflight)
        framework.observe(self.on.push_images_action, self._on_push_images)
        framework.observe(self.on.render_bundle_action, self._on_render_bundle)
        framework.observe(self.on.deploy_action, self._on_deploy)
        framework.observe(self.on.add_relations_action, self._on_add_relations)
        framework.observe(self.on.verify_action, self._on_verify)
        framework.observe(self.on.refresh_action, self._on_refresh)
        for event in (
            self.on.start,
            self.on.upgrade_charm,
            self.on.config_changed,
            self.on.secret_changed,
            self.on.update_status,
        ):
            framework.observe(event, self._on_inputs)

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        try:
            self._check_inputs()
        except ConfigurationError as error:
            event.add_status(ops.BlockedStatus(str(error)))
            return
        if self._configuration.auto_deploy and self._stored.failure:
            event.add_status(ops.BlockedStatus(str(self._stored.failure)))
        ready = f"ready: juju run {self.unit.name} deploy"
        event.add_status(ops.ActiveStatus(str(self._stored.next_step) or ready))

    def _on_inputs(self, _: ops.EventBase) -> None:
        """Deploy without being asked, where the operator wants it and the inputs are new."""
        # One unit is enough, and two would be in each other's way.
        if not self._configuration.auto_deploy or not self.unit.is_leader():
            return
        try:
            self._check_inputs()
        except ConfigurationError:
            return
        # Resources come with another pod, which begins without this mark.
        mark = self._folder / "deployed-inputs"
        inputs = ""
        try:
            inputs = self._fingerprint()
            if mark.exists() and mark.read_text() == inputs:
                return
            self._install(Reporter.of_log(), allow_missing=False, refresh=True)
        except AirgapError as error:
            logger.error("auto-deploy: %s", error)
            self._stored.failure = str(error)
            if not isinstance(error, (ArtifactError, PlanError)):
                # A registry or a model may be there at the next event; the archives stay the same.
                return
        write_private(mark, inputs)

    def _on_preflight(self, event: ops.ActionEvent) -> None:
        problems = list(self._input_problems())
        if problems:
            event.set_results({"errors": _listed(problems)})
            event.fail(f"{len(problems)} inputs are missing or not valid: see the results")
            return
        with self._failing(event):
            reporter = Reporter.of_action(event)
            preflight = Preflight(
                self._installer(reporter),
                self._login,
                self._juju_credentials().username,
                lambda text: self._show(text, reporter),
            )
            findings = preflight.run()
            count = Counter(finding.level for finding in findings)
            event.set_results(
                {
                    "findings": _shortened("\n".join(map(str, findings))),
                    "errors": count[Level.ERROR],
                    "warnings": count[Level.WARNING],
                }
            )
            if count[Level.ERROR]:
                errors = [finding for finding in findings if finding.level is Level.ERROR]
                event.fail("; ".join(map(str, errors)))
                return
            event.set_results({"result": f"ready: juju run {self.unit.name} deploy"})

    def _on_push_images(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            reporter = Reporter.of_action(event)
            result = self._push(self._installer(reporter), reporter)
            event.set_results(_push_results(result))
            lost = result.inventory.perhaps_lost
            if lost:
                event.fail(f"{lost[0].problem}: {lost[0].cure}")

    def _on_render_bundle(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            installer = self._installer(Reporter.of_action(event))
            plan = installer.plan()
            event.set_results(
                {
                    "bundle": _shortened(installer.render(plan.without_incomplete())),
                    "report": _shortened(plan_report(plan, self._location())),
                    **_plan_results(plan),
                }
            )

    def _on_deploy(self, event: ops.ActionEvent) -> None:
        parameters = event.load_params(DeployParameters, errors="fail")
        with self._failing(event):
            reporter = Reporter.of_action(event)
            self._install(reporter, allow_missing=parameters.allow_missing, refresh=False)

    def _on_refresh(self, event: ops.ActionEvent) -> None:
        parameters = event.load_params(DeployParameters, errors="fail")
        with self._failing(event):
            reporter = Reporter.of_action(event)
            self._install(reporter, allow_missing=parameters.allow_missing, refresh=True)

    def _on_add_relations(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            model = self._login()
            installer = self._installer(Reporter.of_action(event))
            event.set_results(_change_results(installer.add_relations(installer.plan(), model)))

    def _on_verify(self, event: ops.ActionEvent) -> None:
        parameters = event.load_params(VerifyParameters, errors="fail")
        with self._failing(event):
            location = self._location()
            model = self._login()
            not_active = self._wait_for_units(model, parameters.timeout, Reporter.of_action(event))
            namespaces = self._namespaces(model)
            patience = min(parameters.timeout, _REPLACEMENT_SECONDS)
            report = self._image_report(namespaces, location.host, model, patience)
            event.set_results(
                {
                    "namespaces": ", ".join(namespaces),
                    "containers": report.containers,
                    "not-active": _listed(f"{u}: {s}" for u, s in not_active.items()),
                    "foreign-images": _listed(report.foreign),
                    "failed-pulls": _listed(report.not_pulled),
                }
            )
            if not_active or report.foreign or report.not_pulled:
                event.fail(
                    f"{len(not_active)} units are not active, {len(report.foreign)} containers "
                    f"have an image from elsewhere than {location.host}, "
                    f"{len(report.not_pulled)} cannot pull theirs: see the results of this task"
                )
                return
            event.set_results(
                {
                    "result": f"every unit is active and the images of all {report.containers} "
                    f"containers come from {location.host}"
                }
            )
            self._stored.next_step = "verified: Charmed Kubeflow runs from this registry"

    def _image_report(
        self, namespaces: Iterable[str], host: str, model: JujuModel, patience: float
    ) -> cluster.ImageReport:
        """Look at the images, where pulls fail again: their pods may just be replaced."""
        deadline = time.monotonic() + patience
        while True:
            images = cluster.running_images(namespaces)
            report = cluster.report_images(images, host, model.agent_images())
            if not report.not_pulled or time.monotonic() >= deadline:
                return report
            time.sleep(_POLL_SECONDS)

    def _install(self, reporter: Reporter, *, allow_missing: bool, refresh: bool) -> None:
        """Carry out the whole way, what is done already left as it is."""
        self._check_inputs()
        # What would stop it must show before hours of fetching and pushing.
        model = self._login()
        installer = self._installer(reporter)
        require_fit_charms(installer, model.versions().model)
        if not allow_missing and installer.missing_charms:
            # Not a complete release: all that it lacks is named, and nothing is pushed.
            installer.plan().require_complete()
        push = self._push(installer, reporter)
        plan = installer.plan()
        reporter.results({**_push_results(push), **_plan_results(plan)})
        if not allow_missing:
            plan.require_complete()
        changes = (installer.refresh if refresh else installer.deploy)(plan, model)
        reporter.results(_change_results(changes))
        outdated = [] if refresh else installer.outdated(plan, model)
        if outdated:
            reporter.results(
                {
                    "outdated": f"{', '.join(outdated)} run other charms or images than these "
                    f"files hold: juju run {self.unit.name} refresh"
                }
            )
        self._stored.failure = ""
        self._stored.next_step = f"deployed: juju run {self.unit.name} verify"

    @contextmanager
    def _failing(self, event: ops.ActionEvent) -> Generator[None]:
        """Let the errors of the core fail an action with what they say."""
        try:
            yield
        except AirgapError as error:
            event.fail(str(error))
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            event.fail(str(disk_error(Path(error.filename or self._folder), error)))

    @property
    def _configuration(self) -> Configuration:
        return self.load_config(Configuration)

    def _check_inputs(self) -> None:
        """See that all inputs are there, in the order in which an operator gives them.

        Raises:
            ConfigurationError: One is not; the message tells the command that gives it.
        """
        for problem in self._input_problems():
            raise problem

    def _input_problems(self) -> Iterator[ConfigurationError]:
        """Look for inputs that are missing or not valid, one by one."""
        configuration = self._configuration
        checks: list[Callable[[], object]] = [
            self._location,
            lambda: self._credentials(configuration.registry_credentials, "registry-credentials"),
            self._juju_credentials,
            lambda: self._source("charms"),
            # The file of the resource is fetched only when it is needed.
            lambda: configuration.images_url and self._source("images"),
            lambda: self._resource("juju"),
            lambda: check_settings(self._settings(RegistryLocation("registry.invalid:5000"))),
        ]
        for check in checks:
            try:
                check()
            except ConfigurationError as error:
                yield error

    def _installer(self, reporter: Reporter) -> Installer:
        configuration = self._configuration
        images = self._source("images")
        return Installer(
            Inputs(
                images=images,
                charms=self._source("charms"),
                settings=self._settings(self._location()),
                registry_ca=configuration.registry_ca,
                registry_credentials=self._credentials(
                    configuration.registry_credentials, "registry-credentials"
                ),
            ),
            folder=self._folder,
            templates=self.charm_dir / "templates",
            push_state=self._push_state(images),
            report=lambda text: self._step(text, reporter),
            record=cast(MutableMapping[str, str], self._stored.deployed),
        )

    def _settings(self, location: RegistryLocation) -> PlanSettings:
        configuration = self._configuration
        bundle = self._optional_resource("bundle")
        try:
            text = bundle.read_text("utf-8") if bundle else ""
        except UnicodeDecodeError:
            raise ConfigurationError(
                "the bundle is not text",
                f"juju attach-resource {self.app.name} bundle=./bundle.yaml",
            ) from None
        return PlanSettings(
            location=location,
            model=configuration.model.rpartition("/")[2],
            excluded_charms=configuration.excluded_charms,
            gateway_service_type=configuration.gateway_service_type,
            bundle=text,
            overlay=configuration.overlay,
        )

    def _fingerprint(self) -> str:
        """Tell one set of options, secrets and archives from another."""
        configuration = dataclasses.asdict(
            dataclasses.replace(
                self._configuration, registry_credentials=None, juju_credentials=None
            )
        )
        secrets = [
            (found.username, found.password) if found else None
            for found in (
                self._credentials(
                    self._configuration.registry_credentials, "registry-credentials"
                ),
                self._juju_credentials(),
            )
        ]
        versions = [self._source(name).version for name in ("images", "charms")]
        text = json.dumps([configuration, secrets, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _namespaces(self, model: JujuModel) -> list[str]:
        """List where Kubeflow runs: its model, Knative's namespaces, those of user profiles."""
        own = [
            str(namespace)
            for application, charm in sorted(model.state().charms.items())
            if charm.rpartition("-")[0] in charms_with_namespaces()
            and (namespace := model.option(application, "namespace"))
        ]
        first = self._configuration.model.rpartition("/")[2]
        found = [*cluster.knative_namespaces(), *cluster.profile_namespaces()]
        return list(dict.fromkeys([first, *own, *found]))

    def _login(self) -> JujuModel:
        client = self._resource("juju")
        client.chmod(0o755)
        return JujuModel.login(
            client=client,
            folder=self._folder / "juju",
            controller=Controller.from_agent_configuration(self.charm_dir.parent / "agent.conf"),
            credentials=self._juju_credentials(),
            model=self._configuration.model,
        )

    @property
    def _folder(self) -> Path:
        """Where this unit keeps its files: beside the charm, which an upgrade replaces."""
        return self.charm_dir.parent / "ckf-airgap"

    def _location(self) -> RegistryLocation:
        registry = self._configuration.registry
        if not registry:
            raise ConfigurationError(
                "waiting for registry", f"juju config {self.app.name} registry=HOST[:PORT][/PATH]"
            )
        return RegistryLocation.parse(registry)

    def _juju_credentials(self) -> Credentials:
        credentials = self._credentials(self._configuration.juju_credentials, "juju-credentials")
        if credentials is None:
            raise ConfigurationError(
                "waiting for juju-credentials",
                f"juju config {self.app.name} juju-credentials=secret:...",
            )
        return credentials

    def _credentials(self, secret: ops.Secret | None, option: str) -> Credentials | None:
        """Read a user secret; None where the option is not set."""
        if secret is None:
            return None
        try:
            content = secret.get_content(refresh=True)
        except (ops.SecretNotFoundError, ops.ModelError):
            raise ConfigurationError(
                f"the secret of {option} cannot be read",
                f"juju grant-secret NAME {self.app.name}",
            ) from None
        try:
            # A value that was read from a file, as password#file= does, ends with its last line.
            return Credentials(
                content["username"].rstrip("\r\n"), content["password"].rstrip("\r\n")
            )
        except KeyError as error:
            raise ConfigurationError(
                f"the secret of {option} has no {error.args[0]}",
                "juju update-secret NAME username=... password=...",
            ) from None

    def _source(self, name: str) -> Source:
        """Find an artifact: at the address that is given, on the volume, or the resource."""
        configuration = self._configuration
        url = configuration.images_url if name == "images" else configuration.charms_url
        if url:
            return UrlSource(url, f"{name}-url", configuration.registry_ca)
        path = self._on_volume(name) or self._optional_resource(name)
        if path is None and (volumes := self.model.storages["artifacts"]):
            raise ConfigurationError(
                f"waiting for {name}.tar.gz on the volume, or for the resource {name}",
                f"juju scp ./{name}.tar.gz {self.unit.name}:{volumes[0].location}/",
            )
        return FileSource(path or self._resource(name))

    def _on_volume(self, name: str) -> Path | None:
        """Look for an artifact on the volume; None where it is not there."""
        for storage in self.model.storages["artifacts"]:
            found = [path for path in storage.location.glob(f"{name}.t*") if _is_archive(path)]
            if len(found) > 1:
                listed = ", ".join(sorted(path.name for path in found))
                raise ConfigurationError(
                    f"the volume holds several archives of {name}: {listed}",
                    "remove all but one of them",
                )
            if found:
                return found[0]
        return None

    def _push_state(self, images: Source) -> Path:
        """Say where to remember the push: beside the archive, if that outlives this pod."""
        if isinstance(images, FileSource):
            folder = images.path.parent
            is_kept = any(folder == item.location for item in self.model.storages["artifacts"])
            if is_kept and os.access(folder, os.W_OK):
                return images.path.with_name(f"{images.name}.pushed")
        return self._folder / "images.pushed"

    def _resource(self, name: str) -> Path:
        """Fetch a file resource."""
        path = self._optional_resource(name)
        if path is None:
            raise ConfigurationError(
                f"waiting for the resource {name}",
                f"juju attach-resource {self.app.name} {name}={_RESOURCE_FILES[name]}",
            )
        return path

    def _optional_resource(self, name: str) -> Path | None:
        """Fetch a file resource; an empty file counts as none."""
        try:
            path = self.model.resources.fetch(name)
            return path if path.stat().st_size > 0 else None
        except (ops.ModelError, NameError, OSError):
            return None

    def _push(self, installer: Installer, reporter: Reporter) -> PushResult:
        shown_at = 0.0

        def show(progress: Progress) -> None:
            nonlocal shown_at
            for reference in progress.finished:
                reporter.log(f"pushed {reference}")
            if time.monotonic() - shown_at >= _STATUS_SECONDS:
                shown_at = time.monotonic()
                self._show(f"pushing images: {progress}", reporter)

        self._show("pushing images", reporter)
        installer.check_registry()
        return installer.push(show)

    def _wait_for_units(
        self, model: JujuModel, timeout: int, reporter: Reporter
    ) -> dict[str, str]:
        """Wait until all units but this one are active; give those that are not in time."""
        deadline = time.monotonic() + timeout
        while True:
            waiting = {
                name: status
                for name, status in model.state().not_active.items()
                if name.partition("/")[0] != self.app.name
            }
            if not waiting or time.monotonic() >= deadline:
                return waiting
            shown = ", ".join(f"{name} ({s})" for name, s in list(waiting.items())[:_SHOWN_UNITS])
            more = (
                f" and {len(waiting) - _SHOWN_UNITS} more" if len(waiting) > _SHOWN_UNITS else ""
            )
            self._show(f"waiting for {shown}{more}", reporter)
            time.sleep(_POLL_SECONDS)

    def _step(self, text: str, reporter: Reporter) -> None:
        """Show a step in the unit's status and in the log."""
        self.unit.status = ops.MaintenanceStatus(text)
        reporter.log(text)

    def _show(self, text: str, reporter: Reporter) -> None:
        """Show how far a step is in the unit's status, and now and then in the log."""
        self.unit.status = ops.MaintenanceStatus(text)
        if time.monotonic() - self._last_log >= _LOG_SECONDS:
            self._last_log = time.monotonic()
            reporter.log(text)


def _push_results(result: PushResult) -> dict[str, object]:
    return {
        "pushed-images": len(result.pushed),
        "present-images": result.present,
        "uploaded-bytes": result.uploaded_bytes,
        "passed-over-files": len(result.inventory.passed_over),
    }


def _is_archive(path: Path) -> bool:
    return path.suffix in (".gz", ".tgz", ".tar", ".zst") and path.stat().st_size > 0


def _plan_results(plan: Plan) -> dict[str, object]:
    return {
        "applications": len(plan.applications),
        "excluded": ", ".join(item.name for item in plan.excluded) or "none",
        "missing-images": _listed(plan.missing),
        "missing-charms": _listed(plan.missing_charms),
        "left-out": ", ".join(item.name for item in plan.incomplete) or "none",
        "warnings": _listed(plan.warnings),
    }


def _change_results(changes: list[str]) -> dict[str, object]:
    count = len(changes)
    return {
        "changes": _listed(changes),
        "result": f"{count} changes" if changes else "nothing to do: the model is as planned",
    }


def _listed(items: Iterable[object]) -> str:
    return _shortened("\n".join(map(str, items)), _LONGEST_LIST) or "none"


def _shortened(text: str, longest: int = _LONGEST_DOCUMENT) -> str:
    """Cut a result to what Juju takes."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n... cut: `ckf-airgap plan` on a workstation gives all"


if __name__ == "__main__":
    use_one_arena()
    ops.main(CkfAirgapCharm, use_juju_for_storage=True)
