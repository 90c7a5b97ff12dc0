#!/usr/bin/env python3
"""The charm: reads configuration and parameters, calls the core, reports."""

import dataclasses
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import ops

from ckf_airgap import cluster
from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import AirgapError, ConfigurationError
from ckf_airgap.installer import Inputs, Installer
from ckf_airgap.juju import Controller, JujuModel
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import Plan
from ckf_airgap.registry.push import Progress, PushResult

logger = logging.getLogger(__name__)

_RESOURCE_FILES = {
    "images": "./images.tar.gz",
    "charms": "./charms.tar.gz",
    "juju": "/snap/juju/current/bin/juju",
}
_POLL_SECONDS = 5
# Juju keeps a thousand lines of an action's log.
_LOG_SECONDS = 30
_SHOWN_UNITS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """The charm's options."""

    registry: str = ""
    registry_ca: str | None = None
    registry_credentials: ops.Secret | None = None
    juju_credentials: ops.Secret | None = None
    model: str = "kubeflow"
    excluded_charms: str = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeployParameters:
    """The parameters of the action deploy."""

    allow_missing: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyParameters:
    """The parameters of the action verify."""

    timeout: int = 1800


class CkfAirgapCharm(ops.CharmBase):
    """Takes the operator's inputs to a running Charmed Kubeflow, by actions."""

    _stored = ops.StoredState()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._stored.set_default(next_step="")
        self._last_log = 0.0
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)
        framework.observe(self.on.push_images_action, self._on_push_images)
        framework.observe(self.on.render_bundle_action, self._on_render_bundle)
        framework.observe(self.on.deploy_action, self._on_deploy)
        framework.observe(self.on.add_relations_action, self._on_add_relations)
        framework.observe(self.on.verify_action, self._on_verify)

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        try:
            self._check_inputs()
        except ConfigurationError as error:
            event.add_status(ops.BlockedStatus(str(error)))
        else:
            ready = f"ready: juju run {self.unit.name} deploy"
            event.add_status(ops.ActiveStatus(str(self._stored.next_step) or ready))

    def _on_push_images(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            event.set_results(_push_results(self._push(self._installer(event), event)))

    def _on_render_bundle(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            installer = self._installer(event)
            plan = installer.plan()
            event.set_results({"bundle": installer.render(plan), **_plan_results(plan)})

    def _on_deploy(self, event: ops.ActionEvent) -> None:
        parameters = event.load_params(DeployParameters, errors="fail")
        with self._failing(event):
            self._check_inputs()
            # A wrong password or a missing model must show before hours of fetching and pushing.
            model = self._login()
            installer = self._installer(event)
            push = self._push(installer, event)
            plan = installer.plan()
            event.set_results({**_push_results(push), **_plan_results(plan)})
            if not parameters.allow_missing:
                plan.require_all_images()
            self._show("deploying", event)
            changes = installer.deploy(plan, model)
            event.set_results(_change_results(changes))
            self._stored.next_step = f"deployed: juju run {self.unit.name} verify"

    def _on_add_relations(self, event: ops.ActionEvent) -> None:
        with self._failing(event):
            self._check_inputs()
            model = self._login()
            installer = self._installer(event)
            event.set_results(_change_results(installer.add_relations(installer.plan(), model)))

    def _on_verify(self, event: ops.ActionEvent) -> None:
        parameters = event.load_params(VerifyParameters, errors="fail")
        with self._failing(event):
            location = self._location()
            model = self._login()
            not_active = self._wait_for_units(model, parameters.timeout, event)
            namespace = self._configuration.model.rpartition("/")[2]
            report = cluster.report_images(cluster.running_images([namespace]), location.host)
            event.set_results(
                {
                    "containers": report.containers,
                    "not-active": "\n".join(f"{u}: {s}" for u, s in not_active.items()) or "none",
                    "foreign-images": "\n".join(map(str, report.foreign)) or "none",
                    "failed-pulls": "\n".join(map(str, report.not_pulled)) or "none",
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

    @contextmanager
    def _failing(self, event: ops.ActionEvent) -> Generator[None]:
        """Let the errors of the core fail an action with what they say."""
        try:
            yield
        except AirgapError as error:
            event.fail(str(error))

    @property
    def _configuration(self) -> Configuration:
        return self.load_config(Configuration)

    def _check_inputs(self) -> None:
        """See that all inputs are there, in the order in which an operator gives them.

        Raises:
            ConfigurationError: One is not; the message tells the command that gives it.
        """
        configuration = self._configuration
        self._location()
        self._credentials(configuration.registry_credentials, "registry-credentials")
        self._juju_credentials()
        for resource in ("charms", "juju"):
            self._resource(resource)

    def _installer(self, event: ops.ActionEvent) -> Installer:
        configuration = self._configuration
        return Installer(
            Inputs(
                images=self._resource("images"),
                charms=self._resource("charms"),
                location=self._location(),
                registry_ca=configuration.registry_ca,
                registry_credentials=self._credentials(
                    configuration.registry_credentials, "registry-credentials"
                ),
                model=configuration.model,
                excluded_charms=configuration.excluded_charms,
            ),
            folder=self._folder,
            templates=self.charm_dir / "templates",
            report=event.log,
        )

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
            return Credentials(content["username"], content["password"])
        except KeyError as error:
            raise ConfigurationError(
                f"the secret of {option} has no {error.args[0]}",
                "juju update-secret NAME username=... password=...",
            ) from None

    def _resource(self, name: str) -> Path:
        """Fetch a file resource; an empty file counts as none."""
        try:
            path = self.model.resources.fetch(name)
            is_given = path.stat().st_size > 0
        except (ops.ModelError, NameError, OSError):
            is_given = False
            path = Path()
        if not is_given:
            raise ConfigurationError(
                f"waiting for the resource {name}",
                f"juju attach-resource {self.app.name} {name}={_RESOURCE_FILES[name]}",
            )
        return path

    def _push(self, installer: Installer, event: ops.ActionEvent) -> PushResult:
        def show(progress: Progress) -> None:
            self._show(
                f"pushing images: {progress.images} done, {progress.fraction:.0%} of the archive "
                "read",
                event,
            )

        self._show("pushing images", event)
        installer.check_registry()
        return installer.push(show)

    def _wait_for_units(
        self, model: JujuModel, timeout: int, event: ops.ActionEvent
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
            self._show(f"waiting for {shown}{more}", event)
            time.sleep(_POLL_SECONDS)

    def _show(self, text: str, event: ops.ActionEvent) -> None:
        """Show a step in the unit's status, and now and then in the action's log."""
        self.unit.status = ops.MaintenanceStatus(text)
        if time.monotonic() - self._last_log >= _LOG_SECONDS:
            self._last_log = time.monotonic()
            event.log(text)


def _push_results(result: PushResult) -> dict[str, object]:
    return {
        "pushed-images": len(result.pushed),
        "present-images": result.present,
        "uploaded-bytes": result.uploaded_bytes,
    }


def _plan_results(plan: Plan) -> dict[str, object]:
    return {
        "applications": len(plan.applications),
        "excluded": ", ".join(item.name for item in plan.excluded) or "none",
        "missing-images": "\n".join(map(str, plan.missing)) or "none",
        "warnings": "\n".join(plan.warnings) or "none",
    }


def _change_results(changes: list[str]) -> dict[str, object]:
    count = len(changes)
    return {
        "changes": "\n".join(changes) or "none",
        "result": f"{count} changes" if changes else "nothing to do: the model is as planned",
    }


if __name__ == "__main__":
    ops.main(CkfAirgapCharm, use_juju_for_storage=True)
