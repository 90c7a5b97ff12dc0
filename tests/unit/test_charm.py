"""The charm: what its status asks for, and what its actions answer."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import ops
import pytest
import yaml
from ops import testing

import charm as charm_module
from charm import CkfAirgapCharm
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.sources import FileSource, UrlSource
from ckf_airgap.cluster import RunningImage
from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import ClusterError, ConfigurationError, JujuError, RegistryError
from ckf_airgap.installer import Inputs, Installer
from ckf_airgap.juju import Controller, JujuVersions, ModelState
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.image_finder import MissingImage
from ckf_airgap.planning.plan import (
    MissingCharm,
    Plan,
    PlannedApplication,
    PlanSettings,
    PlanWarning,
)
from ckf_airgap.preflight import Finding, Level
from ckf_airgap.registry.progress import Progress
from ckf_airgap.registry.push import PushResult
from tests.conftest import PROJECT
from tests.sample_release import SampleRelease

JUJU_PASSWORD = "juju-pass-phrase"
REGISTRY_PASSWORD = "registry-pass-phrase"
READY = "ready: juju run ckf-airgap/0 deploy"
ACTIONS = ("push-images", "render-bundle", "deploy", "add-relations", "verify", "refresh")
NEEDS_ARTIFACTS = tuple(name for name in ACTIONS if name != "verify")
RESOURCES = ("images", "charms", "juju")
MISSING = MissingImage("a/b:1", ("kfp-api/cache-image", "kfp-ui/image"), "")
PLAN = Plan(
    applications=tuple(
        PlannedApplication(
            name=name,
            charm=name,
            file=Path(f"/charms/{name}.charm"),
            base=None,
            is_excluded=name == "minio",
            scale=1,
            constraints=None,
            resources={},
            options={},
        )
        for name in ("kfp-api", "minio")
    ),
    relations=(),
    resolved=(),
    missing=(),
    warnings=(PlanWarning("something to know"),),
)
ACTIVE = ModelState(frozenset(), {}, {})


class FakeInstaller:
    """The core without its work: keeps what it was given, answers what it was told."""

    plan_: Plan = PLAN
    changes: tuple[str, ...] = ("deploy application minio", "add relation a:x - b:y")
    failures: Mapping[str, Exception] = {}
    calls: list[str]
    inputs: Inputs | None = None
    folders: tuple[Path, Path] | None = None
    missing_charms: tuple[MissingCharm, ...] = ()
    deployed_charms = ()
    outdated_: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.calls = []

    def __call__(
        self,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        push_state: Path,
        report: Callable[[str], None],
        record: MutableMapping[str, str],
    ) -> "FakeInstaller":
        self.push_state = push_state
        self.inputs = inputs
        folder.mkdir(exist_ok=True)
        self.folders = folder, templates
        self._report = report
        return self

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failures:
            raise self.failures[name]

    def check_registry(self) -> None:
        self._call("check_registry")

    def push(self, on_progress: Callable[[Progress], None]) -> PushResult:
        self._call("push")
        on_progress(Progress(1, ("h:5/a:1",), 500, 1000, 4096, 0.0))
        self._report("one has no name")
        image = ArchivedImage("one.tar", (), "sha256:0", "amd64")
        return PushResult(Inventory((image,)), ("h:5/a:1", "h:5/b:1"), 3, 4096)

    def plan(self) -> Plan:
        self._call("plan")
        return self.plan_

    def render(self, plan: Plan) -> str:
        assert plan == self.plan_
        return "bundle: kubernetes\n"

    def deploy(self, plan: Plan, model: object) -> list[str]:
        self._call("deploy")
        assert (plan, type(model)) == (self.plan_, FakeJujuModel)
        return list(self.changes)

    def refresh(self, plan: Plan, model: object) -> list[str]:
        self._call("refresh")
        return list(self.changes)

    def outdated(self, plan: Plan, model: object) -> list[str]:
        return list(self.outdated_)

    def add_relations(self, plan: Plan, model: object) -> list[str]:
        self._call("add_relations")
        assert (plan, type(model)) == (self.plan_, FakeJujuModel)
        return list(self.changes)


class FakeJujuModel:
    """A model that is logged in to, with the states that it goes through."""

    def __init__(self) -> None:
        self.states: list[ModelState] = [ACTIVE]
        self.logins: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def login(self, **inputs: object) -> "FakeJujuModel":
        self.logins.append(inputs)
        if self.failure:
            raise self.failure
        return self

    def versions(self) -> JujuVersions:
        return JujuVersions("3.6.8", "3.6.8")

    def agent_images(self) -> str | None:
        return None

    def option(self, application: str, option: str) -> str:
        return f"{application}-{option}"

    def state(self) -> ModelState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


class Unit:
    """The unit under test with its inputs, all of them given at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = folder / "charm"
        root.mkdir()
        self.context = testing.Context(CkfAirgapCharm, charm_root=root)
        self.juju = testing.Secret({"username": "deployer", "password": JUJU_PASSWORD})
        self.registry = testing.Secret({"username": "pusher", "password": REGISTRY_PASSWORD})
        self.paths = {name: folder / name for name in RESOURCES}
        for path in self.paths.values():
            path.write_text("content")
        # Not given, as for a whole release.
        self.paths["bundle"] = folder / "bundle"
        self.paths["bundle"].write_bytes(b"")
        agent = {"controller": "controller-1", "apiaddresses": ["10.0.0.1:17070"], "cacert": "CA"}
        (folder / "agent.conf").write_text(yaml.safe_dump(agent))
        self.state: testing.State = testing.State(
            leader=True,
            config={
                "registry": "registry.corp:5000/ckf",
                "registry-credentials": self.registry.id,
                "juju-credentials": self.juju.id,
            },
            secrets={self.juju, self.registry},
            resources={testing.Resource(name=n, path=p) for n, p in self.paths.items()},
        )

    def configure(self, **options: str | bool | None) -> None:
        """Set options; None unsets one."""
        changed = {name.replace("_", "-"): value for name, value in options.items()}
        config = {**self.state.config, **changed}
        kept = {name: value for name, value in config.items() if value is not None}
        self.state = dataclasses.replace(self.state, config=kept)

    def give_secrets(self, *secrets: testing.Secret) -> None:
        self.state = dataclasses.replace(self.state, secrets=secrets)

    def status(self) -> ops.StatusBase:
        self.state = self.context.run(self.context.on.config_changed(), self.state)
        status: object = self.state.unit_status
        assert isinstance(status, ops.StatusBase)
        return status

    def run(self, action: str, **parameters: object) -> dict[str, Any]:
        """Run an action and give its results."""
        missing = {"allow-missing": False}
        defaults = {"deploy": missing, "refresh": missing, "verify": {"timeout": 0}}.get(
            action, {}
        )
        given = {name.replace("_", "-"): value for name, value in parameters.items()}
        event = self.context.on.action(action, params={**defaults, **given})
        self.state = self.context.run(event, self.state)
        return self.context.action_results or {}

    def fail(self, action: str, **parameters: object) -> str:
        """Run an action that fails and give what it says."""
        with pytest.raises(testing.ActionFailed) as error:
            self.run(action, **parameters)
        # The library's own types are only partly known to the type checker.
        state: object = error.value.state  # pyright: ignore[reportUnknownMemberType]
        assert isinstance(state, testing.State)
        self.state = state
        return error.value.message

    @property
    def results(self) -> dict[str, Any]:
        """The results that an action gave, also one that failed."""
        return self.context.action_results or {}

    @property
    def shown(self) -> str:
        """Everything that anybody but the charm can see."""
        context = self.context
        return "\n".join(
            map(
                str,
                [
                    self.state.unit_status,
                    *context.unit_status_history,
                    *context.juju_log,
                    *context.action_logs,
                    self.results,
                    *self.state.stored_states,
                ],
            )
        )


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> FakeInstaller:
    fake = FakeInstaller()
    monkeypatch.setattr(charm_module, "Installer", fake)
    return fake


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeJujuModel:
    fake = FakeJujuModel()
    monkeypatch.setattr(charm_module, "JujuModel", fake)
    monkeypatch.setattr(charm_module, "_POLL_SECONDS", 0)
    return fake


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[RunningImage]:
    """What runs in the cluster; tests change the list."""
    images = [RunningImage("kubeflow", "minio-0", "minio", "registry.corp:5000/ckf/minio:1")]
    asked: list[list[str]] = []

    def running_images(namespaces: list[str]) -> list[RunningImage]:
        asked.append(namespaces)
        return [image for image in images if image.namespace in namespaces]

    monkeypatch.setattr(charm_module.cluster, "running_images", running_images)
    monkeypatch.setattr(charm_module.cluster, "knative_namespaces", list[str])
    monkeypatch.setattr(charm_module.cluster, "profile_namespaces", lambda: ["ann", "bob"])
    return images


def empty(name: str) -> Callable[[Unit, pytest.MonkeyPatch], None]:
    """Give a resource of no bytes: Juju asks for a file at deployment, which may be empty."""

    def truncate(unit: Unit, _: object) -> None:
        unit.paths[name].write_bytes(b"")

    return truncate


def absent(name: str) -> Callable[[Unit, pytest.MonkeyPatch], None]:
    """Let fetching a resource fail."""

    def lacks(_: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch = ops.Resources.fetch

        def fetch_others(self: ops.Resources, wanted: str) -> Path:
            if wanted == name:
                raise ops.ModelError(f"could not download resource {name!r}")
            return fetch(self, wanted)

        monkeypatch.setattr(ops.Resources, "fetch", fetch_others)

    return lacks


def configured(**options: str | None) -> Callable[[Unit, pytest.MonkeyPatch], None]:
    return lambda unit, _: unit.configure(**options)


def with_secrets(*kept: str) -> Callable[[Unit, pytest.MonkeyPatch], None]:
    return lambda unit, _: unit.give_secrets(*(getattr(unit, name) for name in kept))


def secret_content(name: str, content: dict[str, str]) -> Callable[[Unit, object], None]:
    def change(unit: Unit, _: object) -> None:
        secrets = {"juju": unit.juju, "registry": unit.registry}
        secrets[name] = testing.Secret(content, id=secrets[name].id)
        unit.give_secrets(*secrets.values())

    return change


_ATTACH = "waiting for the resource {0}: juju attach-resource ckf-airgap {0}="
LACKS = [
    pytest.param(
        configured(registry=None),
        "waiting for registry: juju config ckf-airgap registry=HOST[:PORT][/PATH]",
        id="registry-unset",
    ),
    pytest.param(
        configured(registry="https://registry.corp"),
        "registry 'https://registry.corp' has a scheme in front: give it as HOST[:PORT][/PATH], "
        "for example registry.corp:5000/ckf",
        id="registry-invalid",
    ),
    pytest.param(
        with_secrets("juju"),
        "the secret of registry-credentials cannot be read: juju grant-secret NAME ckf-airgap",
        id="registry-secret-not-granted",
    ),
    pytest.param(
        secret_content("registry", {"username": "pusher"}),
        "the secret of registry-credentials has no password: "
        "juju update-secret NAME username=... password=...",
        id="registry-secret-incomplete",
    ),
    pytest.param(
        configured(juju_credentials=None),
        "waiting for juju-credentials: juju config ckf-airgap juju-credentials=secret:...",
        id="juju-credentials-unset",
    ),
    pytest.param(
        with_secrets("registry"),
        "the secret of juju-credentials cannot be read: juju grant-secret NAME ckf-airgap",
        id="juju-secret-not-granted",
    ),
    pytest.param(
        secret_content("juju", {"password": JUJU_PASSWORD}),
        "the secret of juju-credentials has no username: "
        "juju update-secret NAME username=... password=...",
        id="juju-secret-incomplete",
    ),
    pytest.param(empty("charms"), _ATTACH.format("charms") + "./charms.tar.gz", id="charms-empty"),
    pytest.param(
        absent("charms"), _ATTACH.format("charms") + "./charms.tar.gz", id="charms-missing"
    ),
    pytest.param(
        empty("juju"), _ATTACH.format("juju") + "/snap/juju/current/bin/juju", id="juju-empty"
    ),
    pytest.param(
        configured(overlay="applications: []"),
        "the overlay has applications, which is not a map: "
        "juju config ckf-airgap overlay=@overlay.yaml",
        id="plan-overlay",
    ),
    pytest.param(
        configured(gateway_service_type="nodeport"),
        "gateway-service-type is 'nodeport': give one of ClusterIP, LoadBalancer, NodePort, or "
        "nothing for the charm's default",
        id="plan-gateway",
    ),
    pytest.param(
        absent("juju"), _ATTACH.format("juju") + "/snap/juju/current/bin/juju", id="juju-missing"
    ),
]
# What verify does not use, so that it does not ask for it.
NOT_FOR_VERIFY = ("registry-secret", "charms", "plan")


@pytest.mark.parametrize(("lack", "message"), LACKS)
def test_the_status_asks_for_what_is_lacking(
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    message: str,
    unit: Unit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.status() == ops.BlockedStatus(message)


def test_the_status_asks_in_the_order_in_which_inputs_are_given(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(unit.state.config)
    unit.configure(registry=None, juju_credentials=None, registry_credentials=None)
    empty("charms")(unit, monkeypatch)
    empty("juju")(unit, monkeypatch)
    steps: list[Callable[[], object]] = [
        lambda: unit.configure(registry=str(given["registry"])),
        lambda: unit.configure(juju_credentials=str(given["juju-credentials"])),
        lambda: unit.paths["charms"].write_text("content"),
        lambda: unit.paths["juju"].write_text("content"),
    ]
    asked = [unit.status().message]
    for step in steps:
        step()
        asked.append(unit.status().message)
    assert [text.partition(":")[0] for text in asked] == [
        "waiting for registry",
        "waiting for juju-credentials",
        "waiting for the resource charms",
        "waiting for the resource juju",
        "ready",
    ]


def test_the_status_is_ready_when_all_is_given(unit: Unit) -> None:
    assert unit.status() == ops.ActiveStatus(READY)
    unit.configure(registry_credentials=None)
    assert unit.status() == ops.ActiveStatus(READY)


def _verify_cases() -> list[Any]:
    cases: list[Any] = []
    for param in LACKS:
        if not str(param.id).startswith(NOT_FOR_VERIFY):
            cases.append(pytest.param("verify", *param.values, id=f"verify-{param.id}"))
    return cases


@pytest.mark.parametrize(
    ("action", "lack", "message"),
    [
        *(
            pytest.param(action, *param.values, id=f"{action}-{param.id}")
            for action in NEEDS_ARTIFACTS
            for param in LACKS
        ),
        *_verify_cases(),
    ],
)
def test_an_action_fails_with_what_is_lacking(
    action: str,
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    message: str,
    unit: Unit,
    installer: FakeInstaller,
    model: FakeJujuModel,
    running: list[RunningImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.fail(action) == message
    assert installer.calls == []
    assert model.logins == []
    assert unit.results == {}


@pytest.mark.parametrize("lack", [empty("images"), absent("images")])
@pytest.mark.parametrize("action", NEEDS_ARTIFACTS)
def test_an_action_that_reads_the_images_asks_for_them(
    action: str,
    lack: Callable[[Unit, pytest.MonkeyPatch], None],
    unit: Unit,
    installer: FakeInstaller,
    model: FakeJujuModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lack(unit, monkeypatch)
    assert unit.fail(action) == _ATTACH.format("images") + "./images.tar.gz"
    assert installer.calls == []


def test_a_login_that_fails_shows_before_the_images_are_fetched(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever asked for the images would fail with another message.
    absent("images")(unit, monkeypatch)
    model.failure = ConfigurationError("the password is wrong", "mend it")
    for action in ("deploy", "add-relations"):
        assert unit.fail(action) == "the password is wrong: mend it"


def test_the_core_is_given_the_inputs(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    overlay = "applications: {kfp-api: {scale: 2}}"
    unit.configure(
        registry_ca="PEM",
        model="ann/mine",
        excluded_charms="minio",
        gateway_service_type="NodePort",
        overlay=overlay,
    )
    bundle = "applications: {kfp-api: {charm: kfp-api}}"
    unit.paths["bundle"].write_text(bundle)
    unit.run("deploy")
    assert installer.inputs == Inputs(
        images=FileSource(unit.paths["images"]),
        charms=FileSource(unit.paths["charms"]),
        settings=PlanSettings(
            location=RegistryLocation("registry.corp:5000", "ckf"),
            model="mine",
            excluded_charms="minio",
            gateway_service_type="NodePort",
            bundle=bundle,
            overlay=overlay,
        ),
        registry_ca="PEM",
        registry_credentials=Credentials("pusher", REGISTRY_PASSWORD),
    )
    # Beside the charm, which an upgrade replaces.
    assert installer.folders == (unit.folder / "ckf-airgap", unit.folder / "charm" / "templates")
    assert model.logins == [
        {
            "client": unit.paths["juju"],
            "folder": unit.folder / "ckf-airgap" / "juju",
            "controller": Controller("1", ("10.0.0.1:17070",), "CA"),
            "credentials": Credentials("deployer", JUJU_PASSWORD),
            "model": "ann/mine",
        }
    ]
    assert unit.paths["juju"].stat().st_mode & 0o777 == 0o755


def test_the_core_is_given_what_holds_where_nothing_is_said(
    unit: Unit, installer: FakeInstaller
) -> None:
    unit.configure(registry_credentials=None)
    unit.run("push-images")
    assert installer.inputs is not None
    assert installer.inputs.registry_credentials is None
    assert installer.inputs.registry_ca is None
    assert installer.inputs.settings == PlanSettings(
        location=RegistryLocation("registry.corp:5000", "ckf")
    )


def test_the_latest_content_of_a_secret_counts(unit: Unit, installer: FakeInstaller) -> None:
    changed = {"username": "pusher", "password": "changed"}
    secret = testing.Secret(
        unit.registry.tracked_content, latest_content=changed, id=unit.registry.id
    )
    unit.give_secrets(unit.juju, secret)
    unit.run("push-images")
    assert installer.inputs is not None
    assert installer.inputs.registry_credentials == Credentials("pusher", "changed")


def test_a_password_that_was_read_from_a_file_has_no_line_break(
    unit: Unit, installer: FakeInstaller
) -> None:
    content = {"username": "pusher\n", "password": " of a file \r\n"}
    unit.give_secrets(unit.juju, testing.Secret(content, id=unit.registry.id))
    unit.run("push-images")
    assert installer.inputs is not None
    assert installer.inputs.registry_credentials == Credentials("pusher", " of a file ")


class FakePreflight:
    """The checks, with findings that were chosen."""

    findings: tuple[Finding, ...] = (Finding("registry", Level.OK, "it answers"),)

    def __call__(
        self, installer: object, login: Callable[[], object], user: str, report: object
    ) -> "FakePreflight":
        assert user == "deployer"
        return self

    def run(self) -> tuple[Finding, ...]:
        return self.findings


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch) -> FakePreflight:
    fake = FakePreflight()
    monkeypatch.setattr(charm_module, "Preflight", fake)
    return fake


def test_preflight_tells_what_it_found(
    unit: Unit, installer: FakeInstaller, preflight: FakePreflight
) -> None:
    preflight.findings += (Finding("plan", Level.WARNING, "something", "do that"),)
    assert unit.run("preflight") == {
        "findings": "ok  registry: it answers\nwarning  plan: something: do that",
        "errors": 0,
        "warnings": 1,
        "result": "ready: juju run ckf-airgap/0 deploy",
    }


def test_preflight_fails_with_every_error(
    unit: Unit, installer: FakeInstaller, preflight: FakePreflight
) -> None:
    preflight.findings += tuple(Finding("plan", Level.ERROR, n, "mend") for n in ("one", "two"))
    assert unit.fail("preflight") == "error  plan: one: mend; error  plan: two: mend"
    assert unit.results["errors"] == 2
    assert "result" not in unit.results


def test_preflight_names_all_inputs_that_are_missing(unit: Unit, preflight: FakePreflight) -> None:
    unit.configure(registry=None, gateway_service_type="x")
    unit.paths["juju"].write_bytes(b"")
    assert unit.fail("preflight") == "3 inputs are missing or not valid: see the results"
    errors = unit.results["errors"]
    for text in ("waiting for registry", "waiting for the resource juju", "gateway-service-type"):
        assert text in errors


def test_a_long_result_is_cut(unit: Unit, installer: FakeInstaller) -> None:
    warnings = tuple(PlanWarning(f"warning {number}") for number in range(9999))
    installer.plan_ = dataclasses.replace(PLAN, warnings=warnings)
    report = unit.run("render-bundle")["report"]
    assert len(report) < 50_000
    assert report.endswith("`ckf-airgap plan` on a workstation gives all")


def test_push_images_tells_what_it_pushed(unit: Unit, installer: FakeInstaller) -> None:
    assert unit.run("push-images") == {
        "pushed-images": 2,
        "present-images": 3,
        "uploaded-bytes": 4096,
        "passed-over-files": 0,
    }
    assert installer.calls == ["check_registry", "push"]
    assert "one has no name" in unit.context.action_logs
    assert ops.MaintenanceStatus(
        "pushing images: 1 images done, 0 kB of 1 kB read (50%), 4 kB sent"
    ) in (unit.context.unit_status_history)
    assert unit.state.unit_status == ops.ActiveStatus(READY)


def test_render_bundle_shows_the_bundle_and_pushes_nothing(
    unit: Unit, installer: FakeInstaller
) -> None:
    installer.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
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
    assert installer.calls == ["plan"]


def test_deploy_goes_the_whole_way(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
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
    assert installer.calls == ["check_registry", "push", "plan", "deploy"]
    verify = ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")
    assert unit.state.unit_status == verify
    assert unit.status() == verify


def test_deploy_on_a_finished_deployment_says_that_nothing_was_to_do(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    installer.changes = ()
    results = unit.run("deploy")
    assert results["changes"] == "none"
    assert results["result"] == "nothing to do: the model is as planned"


def test_deploy_refuses_missing_images_unless_told_otherwise(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    installer.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
    message = unit.fail("deploy")
    assert "lacks 1 images" in message
    assert str(MISSING) in message
    assert "allow-missing=true" in message
    assert "deploy" not in installer.calls
    # What was done by then is told all the same.
    assert unit.results["missing-images"] == str(MISSING)
    assert unit.results["pushed-images"] == 2
    assert unit.state.unit_status == ops.ActiveStatus(READY)

    assert unit.run("deploy", allow_missing=True)["missing-images"] == str(MISSING)
    assert installer.calls[-1] == "deploy"


def test_deploy_finds_a_wrong_password_before_it_pushes(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    model.failure = ConfigurationError("the controller refuses the user", "juju update-secret")
    assert unit.fail("deploy") == "the controller refuses the user: juju update-secret"
    assert installer.calls == []


def test_an_incomplete_release_is_refused_before_anything_is_pushed(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    lacking = MissingCharm("minio", ("minio",), "every release has it")
    installer.missing_charms = (lacking,)
    installer.plan_ = dataclasses.replace(PLAN, missing=(MISSING,), missing_charms=(lacking,))
    message = unit.fail("deploy")
    assert str(MISSING) in message
    assert str(lacking) in message
    assert installer.calls == ["plan"]
    assert unit.run("deploy", allow_missing=True)["missing-charms"] == str(lacking)
    assert installer.calls[-1] == "deploy"


def test_deploy_tells_what_a_refresh_would_change(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    installer.outdated_ = ("kfp-api",)
    assert "juju run ckf-airgap/0 refresh" in unit.run("deploy")["outdated"]


def test_refresh_pushes_and_brings_what_changed(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    assert unit.run("refresh")["result"] == "2 changes"
    assert installer.calls == ["check_registry", "push", "plan", "refresh"]


class TestAutoDeploy:
    @pytest.fixture(autouse=True)
    def _auto(self, unit: Unit) -> None:
        unit.configure(auto_deploy=True)

    def test_it_waits_until_all_is_given(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        unit.paths["charms"].write_bytes(b"")
        assert "waiting for the resource charms" in unit.status().message
        assert installer.calls == []

    def test_it_deploys_once(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        assert unit.status() == ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")
        assert installer.calls == ["check_registry", "push", "plan", "refresh"]
        unit.status()
        assert len(installer.calls) == 4

    def test_only_the_leader_deploys(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        unit.state = dataclasses.replace(unit.state, leader=False)
        unit.status()
        assert installer.calls == []

    def test_it_deploys_again_when_an_input_changes(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        unit.status()
        unit.configure(overlay="applications: {kfp-api: {scale: 2}}")
        unit.status()
        assert len(installer.calls) == 8

    def test_a_failure_that_may_pass_is_shown_and_tried_again(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        installer.failures = {"push": RegistryError("it broke", "mend it")}
        assert unit.status() == ops.BlockedStatus("it broke: mend it")
        installer.failures = {}
        assert unit.status() == ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")

    def test_a_failure_of_the_inputs_is_not_tried_again_with_the_same_ones(
        self, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
    ) -> None:
        installer.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
        assert "lacks 1 images" in unit.status().message
        calls = len(installer.calls)
        assert "lacks 1 images" in unit.status().message
        assert len(installer.calls) == calls


def test_nothing_is_deployed_by_itself_unless_wanted(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    unit.status()
    assert installer.calls == []


def test_add_relations_tells_what_it_added(
    unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    assert unit.run("add-relations") == {
        "changes": "deploy application minio\nadd relation a:x - b:y",
        "result": "2 changes",
    }
    installer.changes = ()
    assert unit.run("add-relations") == {
        "changes": "none",
        "result": "nothing to do: the model is as planned",
    }
    assert installer.calls == ["plan", "add_relations"] * 2


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
    action: str, step: str, unit: Unit, installer: FakeInstaller, model: FakeJujuModel
) -> None:
    installer.failures = {step: RegistryError("it broke", "mend it")}
    assert unit.fail(action) == "it broke: mend it"
    assert installer.calls[-1] == step
    assert "result" not in unit.results
    assert unit.state.unit_status == ops.ActiveStatus(READY)


def test_an_error_that_nobody_foresaw_is_not_hidden(unit: Unit, installer: FakeInstaller) -> None:
    installer.failures = {"plan": AssertionError("a bug")}
    with pytest.raises(testing.errors.UncaughtCharmError, match="a bug"):
        unit.run("render-bundle")


def test_verify_tells_that_all_comes_from_the_registry(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running.append(RunningImage("other", "x", "x", "docker.io/not/looked:1"))
    # This charm's own unit runs the action: it is not active meanwhile.
    own = {"ckf-airgap/0": "maintenance: waiting", "ckf-airgap": "no unit yet (waiting)"}
    model.states = [ModelState(frozenset(), {}, own)]
    assert unit.run("verify") == {
        "namespaces": "kubeflow, ann, bob",
        "containers": 1,
        "not-active": "none",
        "foreign-images": "none",
        "failed-pulls": "none",
        "result": "every unit is active and the images of all 1 containers come from "
        "registry.corp:5000",
    }
    assert unit.status() == ops.ActiveStatus("verified: Charmed Kubeflow runs from this registry")


def test_verify_looks_into_the_namespace_of_the_model(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running[:] = [RunningImage("mine", "x", "x", "registry.corp:5000/a:1")]
    unit.configure(model="ann/mine")
    assert unit.run("verify")["containers"] == 1


def test_verify_looks_into_the_namespaces_of_knative_and_of_profiles(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running[:] = [
        RunningImage(namespace, "x", "x", "docker.io/a:1")
        for namespace in ("serving-namespace", "ann", "elsewhere")
    ]
    charms = {"serving": "knative-serving-3", "kfp-api": "kfp-api-0"}
    model.states = [ModelState(frozenset(charms), {}, {}, frozenset(), charms)]
    unit.fail("verify")
    assert unit.results["namespaces"] == "kubeflow, serving-namespace, ann, bob"
    assert unit.results["containers"] == 2


def test_verify_looks_where_knative_runs_whatever_its_charms_say(
    unit: Unit,
    model: FakeJujuModel,
    running: list[RunningImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The charms of Knative 1.16 have an option for the namespace that has no effect."""
    running.append(RunningImage("knative-serving", "activator", "main", "gcr.io/activator:1"))
    monkeypatch.setattr(
        charm_module.cluster, "knative_namespaces", lambda: ["knative-serving", "knative-eventing"]
    )
    assert "1 containers have an image from elsewhere" in unit.fail("verify")
    assert unit.results["namespaces"] == "kubeflow, knative-serving, knative-eventing, ann, bob"


def test_verify_waits_for_the_units(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    waiting = {f"app-{n}/0": "waiting" for n in range(5)}
    model.states = [
        ModelState(frozenset(), {}, waiting),
        ModelState(frozenset(), {}, {"minio/0": "maintenance: starting"}),
        ACTIVE,
    ]
    assert "result" in unit.run("verify", timeout=60)
    shown = [status.message for status in unit.context.unit_status_history]
    assert (
        "waiting for app-0/0 (waiting), app-1/0 (waiting), app-2/0 (waiting) and 2 more" in shown
    )
    assert "waiting for minio/0 (maintenance: starting)" in shown


def test_verify_fails_with_all_that_is_wrong(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running.append(RunningImage("kubeflow", "kfp-0", "api", "docker.io/a/b:1"))
    running.append(
        RunningImage("kubeflow", "ui-0", "ui", "registry.corp:5000/c:1", "ErrImagePull: unknown")
    )
    model.states = [ModelState(frozenset(), {}, {"minio/0": "blocked: no key", "ui": "no unit"})]
    assert unit.fail("verify") == (
        "2 units are not active, 1 containers have an image from elsewhere than "
        "registry.corp:5000, 1 cannot pull theirs: see the results of this task"
    )
    assert unit.results == {
        "namespaces": "kubeflow, ann, bob",
        "containers": 3,
        "not-active": "minio/0: blocked: no key\nui: no unit",
        "foreign-images": "docker.io/a/b:1 in kubeflow/kfp-0, container api",
        "failed-pulls": "registry.corp:5000/c:1 in kubeflow/ui-0, container ui "
        "(ErrImagePull: unknown)",
    }
    assert unit.status() == ops.ActiveStatus(READY)


@pytest.mark.parametrize(
    ("images", "states"),
    [
        ([RunningImage("kubeflow", "p", "c", "busybox")], {}),
        ([RunningImage("kubeflow", "p", "c", "registry.corp:5000/a:1", "ErrImagePull")], {}),
        ([], {"minio/0": "waiting"}),
    ],
)
def test_each_finding_alone_fails_verify(
    images: list[RunningImage],
    states: dict[str, str],
    unit: Unit,
    model: FakeJujuModel,
    running: list[RunningImage],
) -> None:
    running += images
    model.states = [ModelState(frozenset(), {}, states)]
    assert "see the results of this task" in unit.fail("verify")


def test_verify_fails_where_the_cluster_refuses(
    unit: Unit, model: FakeJujuModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ClusterError("refused", "juju trust ckf-airgap --scope=cluster")

    monkeypatch.setattr(charm_module.cluster, "knative_namespaces", list[str])
    monkeypatch.setattr(charm_module.cluster, "profile_namespaces", list[str])
    monkeypatch.setattr(charm_module.cluster, "running_images", refuse)
    assert unit.fail("verify") == "refused: juju trust ckf-airgap --scope=cluster"


def test_an_agent_without_a_configuration_of_its_own_is_told(
    unit: Unit, installer: FakeInstaller
) -> None:
    (unit.folder / "agent.conf").unlink()
    assert "agent.conf cannot be read" in unit.fail("add-relations")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("fails", [False, True])
def test_no_password_is_shown_anywhere(
    action: str,
    fails: bool,
    unit: Unit,
    installer: FakeInstaller,
    model: FakeJujuModel,
    running: list[RunningImage],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    message = ""
    if fails:
        model.failure = JujuError("juju refused", "try again")
        failure = RegistryError("the registry refused", "try again")
        installer.failures = dict.fromkeys(("check_registry", "plan"), failure)
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
    assert charm_module.Installer is Installer
    assert list((unit.folder / "ckf-airgap" / "charms").glob("*.charm"))


class TestSources:
    """Where the archives are taken from."""

    @pytest.fixture
    def volume(self, unit: Unit) -> Path:
        """A volume that is attached, empty."""
        storage = testing.Storage("artifacts")
        unit.state = dataclasses.replace(unit.state, storages={storage})
        return Path(storage.get_filesystem(unit.context))

    def test_an_address_goes_before_all_else(
        self, unit: Unit, installer: FakeInstaller, volume: Path
    ) -> None:
        (volume / "images.tar.gz").write_text("content")
        unit.configure(images_url="https://files.corp/ckf/images.tar.gz")
        unit.run("push-images")
        assert installer.inputs is not None
        address = "https://files.corp/ckf/images.tar.gz"
        assert installer.inputs.images == UrlSource(address, "images-url")
        assert installer.inputs.charms == FileSource(unit.paths["charms"])
        assert installer.push_state == unit.folder / "ckf-airgap" / "images.pushed"

    def test_the_volume_goes_before_the_resources(
        self, unit: Unit, installer: FakeInstaller, volume: Path
    ) -> None:
        for name in ("images.tar.zst", "charms.tar"):
            (volume / name).write_text("content")
        # What is not there yet, or is something else, does not count.
        (volume / "images.tar.gz").touch()
        (volume / "images.txt").write_text("content")
        unit.run("push-images")
        assert installer.inputs is not None
        assert [source.name for source in (installer.inputs.images, installer.inputs.charms)] == [
            "images.tar.zst",
            "charms.tar",
        ]
        # It outlives the pod there.
        assert installer.push_state.name == "images.tar.zst.pushed"
        assert installer.push_state.parent != unit.folder / "ckf-airgap"

    def test_two_archives_on_the_volume_are_one_too_many(self, unit: Unit, volume: Path) -> None:
        for name in ("charms.tar.gz", "charms.tar"):
            (volume / name).write_text("content")
        assert unit.status() == ops.BlockedStatus(
            "the volume holds several archives of charms: charms.tar, charms.tar.gz: remove all "
            "but one of them"
        )

    def test_an_empty_volume_is_to_be_filled(
        self, unit: Unit, volume: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        absent("charms")(unit, monkeypatch)
        message = unit.status().message
        assert message.startswith("waiting for charms.tar.gz on the volume, or for the resource")
        assert "juju scp ./charms.tar.gz ckf-airgap/0:/" in message

    @pytest.mark.parametrize(
        ("address", "problem"),
        [
            ("http://files.corp/images.tar.gz", "images-url is not the HTTPS address of a file"),
            ("https://ann:word@files.corp/images.tar.gz", "images-url has an account in it"),
            ("https://files.corp", "images-url is not the HTTPS address of a file"),
        ],
    )
    def test_an_address_that_is_not_usable_is_told(
        self, address: str, problem: str, unit: Unit, installer: FakeInstaller
    ) -> None:
        unit.configure(images_url=address)
        message = unit.status().message
        assert unit.fail("push-images") == message
        assert message.startswith(problem)
        assert "word" not in message.replace("password", "")
        assert installer.calls == []
