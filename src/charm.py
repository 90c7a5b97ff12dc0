#!/usr/bin/env python3
"""The charm: passes options and parameters to ckf_airgap, and reports the results."""

import logging
from contextlib import suppress

import ops

import action_results
import parameters
from charm_relations import Relations
from ckf_airgap import __version__
from ckf_airgap.concurrency import use_one_malloc_arena
from ckf_airgap.deployment import steps, verification
from ckf_airgap.deployment.deployer import Deployer
from ckf_airgap.deployment.preflight import Preflight
from ckf_airgap.deployment.release import Release
from ckf_airgap.deployment.verified_state import VerifiedState
from ckf_airgap.errors import AirgapError, ArtifactError, PlanError, disk_errors
from ckf_airgap.files.new_files import write_private
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.planning.plan_document import plan_report
from mirrors_action import MirrorsAction
from operator_inputs import OperatorInputs
from pull_secrets_action import PullSecretsAction
from reporting import UNIT_DISK, UnitReporter, reporting
from unit_status import VERIFIED, UnitStatus

logger = logging.getLogger(__name__)


class CkfAirgapCharm(ops.CharmBase):
    """Deploys Charmed Kubeflow by actions, or without one if auto-deploy is set."""

    _stored = ops.StoredState()

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._stored.set_default(next_step="", state_key="", verified="", failure="")
        relations = Relations(self)
        self._inputs = OperatorInputs(self, relations)
        self._status = UnitStatus(self, self._inputs, self._stored)
        self._mirrors = MirrorsAction(self, self._inputs, self._release)
        self._pull_secrets_action = PullSecretsAction(self, self._inputs)
        on = self.on
        framework.observe(on.preflight_action, self._on_preflight)
        framework.observe(on.push_images_action, self._on_push_images)
        framework.observe(on.render_bundle_action, self._on_render_bundle)
        framework.observe(on.deploy_action, self._on_deploy)
        framework.observe(on.add_relations_action, self._on_add_relations)
        framework.observe(on.verify_action, self._on_verify)
        framework.observe(on.refresh_action, self._on_refresh)
        framework.observe(on.update_status, self._on_update_status)
        hooks = on.start, on.upgrade_charm, on.config_changed, on.secret_changed, on.update_status
        for event in (*hooks, *relations.changes):
            framework.observe(event, self._on_inputs)

    def _on_update_status(self, _: ops.UpdateStatusEvent) -> None:
        """Repeat the checks of verify that are cheap: pods and options may have changed."""
        try:
            with disk_errors(UNIT_DISK):
                if not self._status.is_verified:
                    return
                verified = VerifiedState.read(str(self._stored.verified))
                model_name = self._inputs.configuration.model_name
                host = self._inputs.location().host
                changes = verified.changes(self._inputs.login, model_name, host)
        except AirgapError as error:
            logger.warning("cannot repeat the checks of verify: %s", error)
            return
        if changes:
            changed = f"{' and '.join(changes)} since it was verified"
            self._status.set_next_step(f"{changed}: juju run {self.unit.name} verify")

    def _on_inputs(self, _: ops.EventBase) -> None:
        """Deploy without an action if auto-deploy is set and the inputs have changed."""
        self.unit.set_workload_version(__version__)
        # Only the leader deploys: two units would interfere with each other.
        if not self._inputs.configuration.auto_deploy or not self.unit.is_leader():
            return
        try:
            with disk_errors(UNIT_DISK):
                self._inputs.require()
        except AirgapError:
            return
        # A new resource restarts the unit in a new pod, where this file does not exist.
        deployed_file = self._inputs.folder / "deployed-inputs"
        fingerprint = ""
        try:
            with disk_errors(UNIT_DISK):
                fingerprint = self._inputs.fingerprint()
                if deployed_file.exists() and deployed_file.read_text() == fingerprint:
                    return
                self._deploy_or_refresh(UnitReporter.of_hook(self.unit), parameters.Refresh())
                write_private(deployed_file, fingerprint)
        except AirgapError as error:
            logger.error("auto-deploy: %s", error)
            self._stored.failure = str(error)
            # The same bad archives would fail again. After other errors, such as a registry that
            # does not answer, the next event retries.
            if isinstance(error, (ArtifactError, PlanError)):
                with suppress(OSError):
                    write_private(deployed_file, fingerprint)

    def _on_preflight(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.Preflight, errors="fail")
        with reporting(self.unit, event) as reporter:
            problems = list(self._inputs.problems())
            if problems:
                event.set_results({"errors": action_results.listed(problems)})
                event.fail(f"{len(problems)} inputs are missing or not valid: see the results")
                return
            release, login = self._release(reporter), self._inputs.login
            preflight = Preflight(
                release, login, params.permissions, reporter.progress, mirrors=params.mirrors
            ).run()
            event.set_results(action_results.of_preflight(preflight, self.unit.name))
            if preflight.errors:
                event.fail(action_results.shortened("; ".join(map(str, preflight.errors))))

    def _on_push_images(self, event: ops.ActionEvent) -> None:
        with reporting(self.unit, event) as reporter:
            self._inputs.require()
            reporter.progress("pushing images")
            result = self._release(reporter).push(reporter.pushing)
            event.set_results(action_results.of_push(result))
            if lost := result.inventory.possible_images:
                event.fail(f"{lost[0].problem}: {lost[0].cure}")

    def _on_render_bundle(self, event: ops.ActionEvent) -> None:
        with reporting(self.unit, event) as reporter:
            self._inputs.require()
            release = self._release(reporter)
            plan = release.plan()
            report = plan_report(plan, self._inputs.location())
            bundle = release.render(plan.without_incomplete())
            event.set_results(action_results.of_rendered(plan, bundle, report))

    def _on_deploy(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.Deploy, errors="fail")
        with reporting(self.unit, event) as reporter:
            self._deploy_or_refresh(reporter, params)

    def _on_refresh(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.Refresh, errors="fail")
        with reporting(self.unit, event) as reporter:
            if params.dry_run:
                self._show_walk(reporter, params)
            else:
                self._deploy_or_refresh(reporter, params)

    def _on_add_relations(self, event: ops.ActionEvent) -> None:
        with reporting(self.unit, event) as reporter:
            self._inputs.require()
            deployer = self._deployer(self._inputs.login(), reporter)
            changes = deployer.add_relations(deployer.release.plan())
            event.set_results(action_results.of_changes(changes))

    def _on_verify(self, event: ops.ActionEvent) -> None:
        params = event.load_params(parameters.Verify, errors="fail")
        with reporting(self.unit, event) as reporter:
            host, model = self._inputs.location().host, self._inputs.login()
            problem = self._inputs.comparison_problem()
            # The status stays not verified until verify succeeds.
            self._status.set_next_step(f"not verified: juju run {self.unit.name} verify")
            result = verification.verify(
                model,
                model_name=self._inputs.configuration.model_name,
                host=host,
                own_application=self.app.name,
                timeout=params.timeout,
                report=reporter.progress,
                deployer=None if problem else self._deployer(model, reporter),
                not_compared=problem,
                mirrors=params.mirrors,
                gives_pull_secrets=self._pull_secrets_action.is_enabled,
            )
            event.set_results(action_results.of_verification(result))
            if result.problem:
                event.fail(f"{result.problem}: see the results of this action")
                return
            event.set_results({"result": result.summary})
            self._stored.verified = VerifiedState.of(result).text
            self._status.set_next_step(VERIFIED)

    def _show_walk(self, reporter: UnitReporter, params: parameters.Refresh) -> None:
        self._inputs.require()
        deployer = self._deployer(self._inputs.login(), reporter)
        walk = steps.plan_refresh(deployer, params.permissions, allow_missing=params.allow_missing)
        reporter.results(action_results.of_walk(walk))

    def _deploy_or_refresh(self, reporter: UnitReporter, params: parameters.Deploy) -> None:
        """Push, plan and deploy or refresh; skip what is already done."""
        self._inputs.require()
        # Log in first: errors must appear before hours of downloads and pushes.
        deployer = self._deployer(self._inputs.login(), reporter)
        reporter.progress("pushing images")
        outcome = steps.deploy_or_refresh(
            deployer,
            upgrade=params.upgrade,
            allow_missing=params.allow_missing,
            on_progress=reporter.pushing,
            on_plan=lambda push, plan: reporter.results(
                {**action_results.of_push(push), **action_results.of_plan(plan)}
            ),
        )
        reporter.results(action_results.of_outcome(outcome, self.unit.name))
        self._stored.failure = ""
        self._status.set_next_step(f"deployed: juju run {self.unit.name} verify")

    def _deployer(self, model: JujuModel, reporter: UnitReporter) -> Deployer:
        return Deployer(self._release(reporter), model, reporter.step)

    def _release(self, reporter: UnitReporter) -> Release:
        inputs = self._inputs.collect()
        return Release(
            inputs,
            folder=self._inputs.folder,
            templates=self.charm_dir / "templates",
            push_state=self._inputs.push_state(inputs.images),
            report=reporter.step,
        )


if __name__ == "__main__":
    use_one_malloc_arena()
    ops.main(CkfAirgapCharm, use_juju_for_storage=True)
