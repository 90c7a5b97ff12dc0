"""A unit of the charm with fakes of the core, for the tests of its behaviour."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ops
import pytest
import yaml
from ops import testing

from charm import CkfAirgapCharm
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.deployment.installer import Inputs
from ckf_airgap.deployment.outcome import Outcome
from ckf_airgap.juju.juju_model import JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.planning.charms_at_hand import MissingCharm
from ckf_airgap.planning.image_finder import MissingImage
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.planning.plan_warnings import PlanWarning
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Phase, Remove, Walk

JUJU_PASSWORD = "juju-pass-phrase"
REGISTRY_PASSWORD = "registry-pass-phrase"
READY = "ready: juju run ckf-airgap/0 deploy"
ACTIONS = ("push-images", "render-bundle", "deploy", "add-relations", "verify", "refresh")
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
    outdated: tuple[str, ...] = ()
    differences_: tuple[str, ...] = ()
    known_plan_: Plan | None = PLAN
    digests: Mapping[tuple[str, str], str] = {}
    walk_ = Walk(steps=((Phase.REST, Remove("old-app", False, "it is of no use")),))
    permissions: Permissions | None = None

    def __init__(self) -> None:
        self.calls = []
        self.registry = self

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        return self.digests.get((repository, tag))

    def __call__(
        self,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        push_state: Path,
        report: Callable[[str], None],
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

    def check_model(self, model: object, permissions: Permissions | None) -> None:
        assert type(model) is FakeJujuModel
        if "check_model" in self.failures:
            raise self.failures["check_model"]

    def deploy(self, plan: Plan, model: object) -> Outcome:
        self._call("deploy")
        assert (plan, type(model)) == (self.plan_, FakeJujuModel)
        return Outcome(self.changes, self.outdated)

    def refresh(self, plan: Plan, model: object, permissions: Permissions) -> Outcome:
        self._call("refresh")
        self.permissions = permissions
        return Outcome(self.changes)

    def walk(self, plan: Plan, model: object, permissions: Permissions) -> Walk:
        self._call("walk")
        self.permissions = permissions
        return self.walk_

    def known_plan(self) -> Plan | None:
        return self.known_plan_

    def differences(self, plan: Plan, model: object) -> list[str]:
        assert plan == self.known_plan_
        return list(self.differences_)

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
        self.name = "admin/kubeflow"
        self.user = "deployer"
        self.access_ = "admin"

        self.options_: dict[str, dict[str, str]] = {}
        self.resource_sizes_: dict[str, int] | None = {"images": 7, "charms": 7}

    def resource_sizes(self, model: str, application: str) -> dict[str, int] | None:
        assert application == "ckf-airgap"
        return self.resource_sizes_

    @property
    def access(self) -> str:
        return self.access_

    def login(self, **inputs: object) -> "FakeJujuModel":
        self.logins.append(inputs)
        if self.failure:
            raise self.failure
        return self

    def versions(self) -> JujuVersions:
        return JujuVersions("3.6.8", "3.6.8")

    def agent_images(self) -> str | None:
        return None

    def option_values(self, application: str) -> Mapping[str, str]:
        return {"namespace": f"{application}-namespace", **self.options_.get(application, {})}

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

    def update_status(self) -> None:
        self.state = self.context.run(self.context.on.update_status(), self.state)

    def run(self, action: str, **parameters: object) -> dict[str, Any]:
        """Run an action and give its results."""
        missing = {"allow-missing": False}
        upgrade = {"allow-data-loss": "", "to-mesh": ""}
        defaults = {
            "deploy": missing,
            "refresh": {**missing, **upgrade, "dry-run": False},
            "preflight": upgrade,
            "verify": {"timeout": 0},
        }.get(action, {})
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
