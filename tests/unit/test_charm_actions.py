"""What the actions answer."""

import dataclasses
import logging
from collections.abc import Callable

import ops
import pytest
import yaml
from ops import testing

import charm as charm_module
from action_results import shortened
from ckf_airgap.deployment.preflight import Finding, Level, Preflight, PreflightResult
from ckf_airgap.deployment.release import Release
from ckf_airgap.errors import ConfigurationError, JujuError, RegistryError
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.kubernetes.cluster import RunningImage
from ckf_airgap.planning.charm_selection import MissingCharm
from ckf_airgap.planning.plan_warnings import PlanWarning
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk
from tests.conftest import PROJECT
from tests.sample_release import SampleRelease
from tests.unit.charm_unit import (
    ACTIONS,
    MISSING,
    PLAN,
    READY,
    FakeCore,
    FakeJujuModel,
    Unit,
)


class FakePreflight(Preflight):
    """The checks, with findings that were chosen."""

    findings: tuple[Finding, ...] = (Finding("registry", Level.OK, "it answers"),)
    walk: Walk | None = None
    permissions: Permissions | None = None
    mirrors: bool | None = None

    def __init__(self) -> None:
        pass

    def __call__(
        self,
        release: Release,
        login: Callable[[], JujuModel],
        permissions: Permissions,
        report: Callable[[str], None],
        *,
        mirrors: bool,
    ) -> "FakePreflight":
        """Stand for the class: what is made is this one."""
        self.permissions = permissions
        self.mirrors = mirrors
        return self

    def run(self) -> PreflightResult:
        return PreflightResult(self.findings, self.walk)


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch) -> FakePreflight:
    fake = FakePreflight()
    monkeypatch.setattr(charm_module, "Preflight", fake)
    return fake


def test_preflight_tells_what_it_found(
    unit: Unit, core: FakeCore, preflight: FakePreflight
) -> None:
    preflight.findings += (Finding("plan", Level.WARNING, "something", "do that"),)
    assert unit.run("preflight") == {
        "findings": "ok  registry: it answers\nwarning  plan: something: do that",
        "errors": 0,
        "warnings": 1,
        "result": "ready: juju run ckf-airgap/0 deploy",
    }


def test_preflight_fails_with_every_error(
    unit: Unit, core: FakeCore, preflight: FakePreflight
) -> None:
    preflight.findings += tuple(Finding("plan", Level.ERROR, n, "fix") for n in ("one", "two"))
    assert unit.fail("preflight") == "error  plan: one: fix; error  plan: two: fix"
    assert unit.results["errors"] == 2
    assert "result" not in unit.results


def test_preflight_of_what_runs_tells_the_steps(
    unit: Unit, core: FakeCore, preflight: FakePreflight
) -> None:
    preflight.walk = core.walk_
    results = unit.run("preflight", allow_data_loss=" mlmd, ,other", to_mesh="ambient")
    assert results["result"] == "ready: juju run ckf-airgap/0 refresh"
    assert results["steps"] == 1
    assert "1  remove old-app (it is of no use)" in results["walk"]
    assert preflight.permissions == Permissions(
        data_loss=frozenset({"mlmd", "other"}), to_mesh="ambient"
    )
    assert preflight.mirrors is False
    unit.run("preflight", mirrors=True)
    assert preflight.mirrors is True


def test_preflight_names_all_inputs_that_are_missing(unit: Unit, preflight: FakePreflight) -> None:
    unit.configure(registry=None, gateway_service_type="x")
    unit.paths["juju"].write_bytes(b"")
    assert unit.fail("preflight") == "3 inputs are missing or not valid: see the results"
    errors = unit.results["errors"]
    for text in ("waiting for registry", "waiting for the resource juju", "gateway-service-type"):
        assert text in errors


@pytest.mark.parametrize(("longest", "kept"), [(12, 6), (11, 5), (10, 5)])
def test_what_is_cut_is_counted_in_bytes(longest: int, kept: int) -> None:
    text = "\u00e9" * 6
    cut = "" if kept == 6 else "\n... cut: too long for Juju"
    assert shortened(text, longest) == text[:kept] + cut


def test_a_long_result_is_cut(unit: Unit, core: FakeCore) -> None:
    warnings = tuple(PlanWarning(f"warning {number}") for number in range(9999))
    core.plan_ = dataclasses.replace(PLAN, warnings=warnings)
    report = unit.run("render-bundle")["report"]
    assert len(report) < 50_000
    assert report.endswith("... cut: too long for Juju; see `ckf-airgap plan` on a workstation")


def test_push_images_tells_what_it_pushed(unit: Unit, core: FakeCore) -> None:
    assert unit.run("push-images") == {
        "pushed-images": 2,
        "present-images": 3,
        "uploaded-bytes": 4096,
        "passed-over-files": 0,
    }
    assert core.calls == ["check_registry", "push"]
    assert "one has no name" in unit.context.action_logs
    assert ops.MaintenanceStatus(
        "pushing images: 1 images done, 0 kB of 1 kB read (50%), 4 kB sent"
    ) in (unit.context.unit_status_history)
    assert unit.state.unit_status == ops.ActiveStatus(READY)


def test_render_bundle_shows_the_bundle_and_pushes_nothing(unit: Unit, core: FakeCore) -> None:
    core.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
    assert unit.run("render-bundle") == {
        "bundle": "bundle: kubernetes\n",
        "report": "missing:\n- image: a/b:1\n  wanted_by:\n  - kfp-api/cache-image\n"
        "  - kfp-ui/image\nresolved: []\nwarnings:\n- something to know\n",
        "applications": 2,
        "excluded": "minio",
        "missing-images": "a/b:1 (for kfp-api/cache-image, kfp-ui/image)",
        "missing-charms": "none",
        "left-out": "none",
        "warnings": "something to know",
    }
    assert core.calls == ["plan"]


def test_deploy_goes_the_whole_way(unit: Unit, core: FakeCore, model: FakeJujuModel) -> None:
    assert unit.run("deploy") == {
        "pushed-images": 2,
        "present-images": 3,
        "uploaded-bytes": 4096,
        "passed-over-files": 0,
        "applications": 2,
        "excluded": "minio",
        "missing-images": "none",
        "missing-charms": "none",
        "left-out": "none",
        "warnings": "something to know",
        "changes": "deploy application minio\nadd relation a:x - b:y",
        "result": "2 changes",
    }
    assert core.calls == ["check_registry", "push", "plan", "deploy"]
    verify = ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")
    assert unit.state.unit_status == verify
    assert unit.status() == verify


def test_deploy_on_a_finished_deployment_says_that_nothing_was_to_do(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.changes = ()
    results = unit.run("deploy")
    assert results["changes"] == "none"
    assert results["result"] == "nothing to do: the model is as planned"


def test_deploy_refuses_missing_images_unless_told_otherwise(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
    message = unit.fail("deploy")
    assert "lacks 1 images" in message
    assert str(MISSING) in message
    assert "allow-missing=true" in message
    assert "deploy" not in core.calls
    # What was done by then is told all the same.
    assert unit.results["missing-images"] == str(MISSING)
    assert unit.results["pushed-images"] == 2
    assert unit.state.unit_status == ops.ActiveStatus(READY)

    assert unit.run("deploy", allow_missing=True)["missing-images"] == str(MISSING)
    assert core.calls[-1] == "deploy"


def test_deploy_finds_a_wrong_password_before_it_pushes(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    model.failure = ConfigurationError("the controller refuses the user", "juju update-secret")
    assert unit.fail("deploy") == "the controller refuses the user: juju update-secret"
    assert core.calls == []


@pytest.mark.parametrize("action", ["deploy", "refresh"])
def test_a_user_who_is_no_admin_is_refused_before_anything_is_pushed(
    action: str, unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    """What is deployed is kept in a secret of the model, which admins alone can make."""
    model.access_ = "write"
    assert unit.fail(action) == (
        "the user deployer has only write access to the model: "
        "juju grant deployer admin admin/kubeflow"
    )
    assert core.calls == []


def test_an_incomplete_release_is_refused_before_anything_is_pushed(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    lacking = MissingCharm("minio", ("minio",), "every release has it")
    core.missing_charms = (lacking,)
    core.plan_ = dataclasses.replace(PLAN, missing=(MISSING,), missing_charms=(lacking,))
    message = unit.fail("deploy")
    assert str(MISSING) in message
    assert str(lacking) in message
    assert core.calls == ["plan"]
    assert unit.run("deploy", allow_missing=True)["missing-charms"] == str(lacking)
    assert core.calls[-1] == "deploy"


def test_deploy_tells_what_a_refresh_would_change(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.outdated = ("kfp-api",)
    assert "juju run ckf-airgap/0 refresh" in unit.run("deploy")["outdated"]


def test_refresh_pushes_and_brings_what_changed(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    assert unit.run("refresh")["result"] == "2 changes"
    assert core.calls == ["check_registry", "push", "plan", "refresh"]


def test_refresh_is_told_what_the_operator_allows(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    unit.run("refresh", allow_data_loss="mlmd,minio", to_mesh="ambient")
    assert core.permissions == Permissions(
        data_loss=frozenset({"mlmd", "minio"}), to_mesh="ambient"
    )


def test_a_dry_run_shows_the_steps_and_changes_nothing(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    results = unit.run("refresh", dry_run=True)
    assert results["walk"].startswith("From the running release to the planned release: 1 steps\n")
    assert results["steps"] == 1
    assert core.calls == ["plan", "walk"]


def test_a_dry_run_of_what_lacks_images_names_them(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
    assert "lacks 1 images" in unit.fail("refresh", dry_run=True)
    assert unit.run("refresh", dry_run=True, allow_missing=True)["steps"] == 1


def test_add_relations_tells_what_it_added(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    assert unit.run("add-relations") == {
        "changes": "deploy application minio\nadd relation a:x - b:y",
        "result": "2 changes",
    }
    core.changes = ()
    assert unit.run("add-relations") == {
        "changes": "none",
        "result": "nothing to do: the model is as planned",
    }
    assert core.calls == ["plan", "add_relations"] * 2


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("push-images", "check_registry"),
        ("push-images", "push"),
        ("render-bundle", "plan"),
        ("deploy", "push"),
        ("deploy", "deploy"),
        ("add-relations", "add_relations"),
    ],
)
def test_an_action_fails_with_what_the_core_says(
    action: str, step: str, unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.failures = {step: RegistryError("it broke", "fix it")}
    assert unit.fail(action) == "it broke: fix it"
    assert core.calls[-1] == step
    assert "result" not in unit.results
    assert unit.state.unit_status == ops.ActiveStatus(READY)


@pytest.mark.parametrize("action", ["deploy", "refresh"])
def test_what_juju_would_refuse_is_told_before_the_push(
    action: str, unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    core.failures = {"check": JujuError("it is being removed", "wait")}
    assert unit.fail(action) == "it is being removed: wait"
    assert "push" not in core.calls
    # What cannot be deployed for lack of images is left out, and may be what is refused.
    unit.run(action, allow_missing=True)
    assert "push" in core.calls


def test_an_error_that_nobody_foresaw_is_not_hidden(unit: Unit, core: FakeCore) -> None:
    core.failures = {"plan": AssertionError("a bug")}
    with pytest.raises(testing.errors.UncaughtCharmError, match="a bug"):
        unit.run("render-bundle")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("fails", [False, True])
def test_no_password_is_shown_anywhere(
    action: str,
    fails: bool,
    unit: Unit,
    core: FakeCore,
    model: FakeJujuModel,
    running: list[RunningImage],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    message = ""
    if fails:
        model.failure = JujuError("juju refused", "try again")
        failure = RegistryError("the registry refused", "try again")
        core.failures = dict.fromkeys(("check_registry", "plan"), failure)
        message = unit.fail(action)
    else:
        unit.run(action)
    unit.status()
    everything = f"{unit.shown}\n{message}\n{caplog.text}"
    assert "pass-phrase" not in everything


def test_render_bundle_works_on_real_files_without_a_registry(
    unit: Unit, builtin: SampleRelease
) -> None:
    (unit.folder / "charm" / "templates").symlink_to(PROJECT / "templates")
    resources = {
        testing.Resource(name="images", path=builtin.images.path),
        testing.Resource(name="charms", path=builtin.charms.path),
        testing.Resource(name="juju", path=unit.paths["juju"]),
        testing.Resource(name="bundle", path=builtin.bundle),
    }
    unit.state = dataclasses.replace(unit.state, resources=resources)
    results = unit.run("render-bundle")
    assert results["missing-images"] == "none"
    assert results["excluded"] == "katib-controller, kubeflow-volumes, minio"
    assert results["applications"] == len(builtin.release.applications)
    bundle = yaml.safe_load(results["bundle"])
    assert set(bundle["applications"]) == set(builtin.release.applications) - {
        "katib-controller",
        "kubeflow-volumes",
        "minio",
    }
    # The real core, whose folder stands beside the charm.
    assert charm_module.Release is Release
    assert list((unit.folder / "ckf-airgap" / "charms").glob("*.charm"))
