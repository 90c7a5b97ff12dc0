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
from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.deployment.deployer import Deployer, Outcome
from ckf_airgap.deployment.release import Inputs, Release
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.mirrors.original_names import OriginalNames
from ckf_airgap.planning.application_images import MissingImage
from ckf_airgap.planning.charm_selection import CharmSelection, MissingCharm
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.planning.plan_warnings import PlanWarning
from ckf_airgap.planning.topology import load_topology
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.registry.client import RegistryClient
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


class FakeCore:
    """What the release and the deployer of a unit are told to answer, and were asked."""

    plan_: Plan = PLAN
    changes: tuple[str, ...] = ("deploy application minio", "add relation a:x - b:y")
    failures: Mapping[str, Exception] = {}
    inputs: Inputs | None = None
    folders: tuple[Path, Path] | None = None
    push_state: Path | None = None
    missing_charms: tuple[MissingCharm, ...] = ()
    outdated: tuple[str, ...] = ()
    differences_: tuple[str, ...] = ()
    known_plan_: Plan | None = PLAN
    digests: Mapping[tuple[str, str], str] = {}
    pull_account_: Credentials | None = None
    walk_ = Walk(steps=((Phase.REST, Remove("old-app", False, "it is of no use")),))
    permissions: Permissions | None = None

    def __init__(self) -> None:
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        self.calls.append(name)
        self.fail(name)

    def fail(self, name: str) -> None:
        if name in self.failures:
            raise self.failures[name]


class FakeRegistry(RegistryClient):
    """A registry that has the digests that it was told."""

    def __init__(self, core: FakeCore) -> None:
        self._core = core

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        return self._core.digests.get((repository, tag))


class FakeRelease(Release):
    """A release without its work: keeps what it was given, answers what it was told."""

    def __init__(
        self,
        core: FakeCore,
        inputs: Inputs,
        *,
        folder: Path,
        templates: Path,
        push_state: Path,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(
            inputs, folder=folder, templates=templates, push_state=push_state, report=report
        )
        core.inputs, core.folders, core.push_state = inputs, (folder, templates), push_state
        self.core = core
        self.registry = FakeRegistry(core)
        self.selected_charms = CharmSelection((), core.missing_charms, load_topology())
        self._tell = report

    def check_registry(self) -> None:
        self.core.call("check_registry")

    def push(self, on_progress: Callable[[Progress], None] = lambda _: None) -> PushResult:
        self.check_registry()
        self.core.call("push")
        on_progress(Progress(1, ("h:5/a:1",), 500, 1000, 4096, 0.0))
        self._tell("one has no name")
        image = ArchivedImage("one.tar", (), "sha256:0", "amd64")
        return PushResult(Inventory((image,)), ("h:5/a:1", "h:5/b:1"), 3, 4096)

    def inventory(self) -> Inventory:
        return Inventory(())

    def original_names(self, inventory: Inventory) -> OriginalNames:
        return OriginalNames(self.inputs.settings.location, {}, ())

    def plan(self) -> Plan:
        self.core.call("plan")
        return self.core.plan_

    def known_plan(self) -> Plan | None:
        return self.core.known_plan_

    def pull_account(self, plan: Plan) -> Credentials | None:
        return self.core.pull_account_

    def render(self, plan: Plan, files: object = None) -> str:
        assert plan == self.core.plan_
        return "bundle: kubernetes\n"


class FakeDeployer(Deployer):
    """A deployer without its work, of a release without its own."""

    def __init__(
        self, release: FakeRelease, model: JujuModel, report: Callable[[str], None]
    ) -> None:
        super().__init__(release, model, report)
        assert type(model) is FakeJujuModel
        self._core = release.core

    def check(self, permissions: Permissions | None) -> None:
        self._core.fail("check")

    def deploy(self, plan: Plan) -> Outcome:
        self._core.call("deploy")
        assert plan == self._core.plan_
        return Outcome(self._core.changes, self._core.outdated)

    def refresh(self, plan: Plan, permissions: Permissions) -> Outcome:
        self._core.call("refresh")
        self._core.permissions = permissions
        return Outcome(self._core.changes)

    def plan_walk(
        self, plan: Plan, permissions: Permissions, state: ModelState | None = None
    ) -> Walk:
        self._core.call("walk")
        self._core.permissions = permissions
        return self._core.walk_

    def differences(self, plan: Plan, state: ModelState) -> list[str]:
        assert plan == self._core.known_plan_
        return list(self._core.differences_)

    def add_relations(self, plan: Plan) -> list[str]:
        self._core.call("add_relations")
        assert plan == self._core.plan_
        return list(self._core.changes)


class FakeJujuModel(JujuModel):
    """A model that is logged in to, with the states that it goes through."""

    def __init__(self) -> None:
        self.states: list[ModelState] = [ACTIVE]
        self.logins: list[dict[str, object]] = []
        self.failure: Exception | None = None
        self.user = "deployer"
        self.access_ = "admin"
        self.options_: dict[str, dict[str, str]] = {}
        self.resource_sizes_: dict[str, int] | None = {"images": 7, "charms": 7}

    @property
    def name(self) -> str:
        return "admin/kubeflow"

    @property
    def access(self) -> str:
        return self.access_

    def login(self, **inputs: object) -> "FakeJujuModel":  # type: ignore[override]
        """Stand for the class: what is logged in to is this model."""
        self.logins.append(inputs)
        if self.failure:
            raise self.failure
        return self

    def resource_sizes(self, model: str, application: str) -> Mapping[str, int] | None:
        assert application == "ckf-airgap"
        return self.resource_sizes_

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
            "preflight": {**upgrade, "mirrors": False},
            "verify": {"timeout": 0, "mirrors": False},
            "user-pull-secrets": {"remove": False},
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
