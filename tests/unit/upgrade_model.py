"""A model in memory that refuses in an upgrade what Juju 3.6 and the real charms refuse."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ckf_airgap.charms.charm_file import CharmFile, wanted_images
from ckf_airgap.charms.charm_version import Version
from ckf_airgap.errors import JujuError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_values import OptionValue, Relation
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.start_and_target import (
    RunningApplication,
    RunningModel,
    RunningRelation,
    TargetApplication,
    UpgradeTarget,
    WalkMemory,
)
from ckf_airgap.upgrades.walk_steps import Walk
from ckf_airgap.upgrades.walker import Condition, Walker
from tests.sample_release import (
    Charm,
    CharmOptions,
    Container,
    Endpoint,
    Option,
    Resource,
    Storage,
    charm_file,
)
from tests.unit.artifacts import inventory_of

WORKLOAD = "istio-ingressgateway-workload"
OLD_BASE, NEW_BASE = "ubuntu@20.04", "ubuntu@24.04"


class KilledError(Exception):
    """The pod of the unit is gone."""


def charm(
    name: str,
    version: str = "1.0.0",
    *,
    podspec: bool = False,
    storage: Mapping[str, Any] | None = None,
    ends: Mapping[str, str] | None = None,
    options: Iterable[Option] = (),
    details: Mapping[str, Any] | None = None,
) -> Charm:
    """Make a charm; ``ends`` are endpoints as ``role name`` -> interface."""
    return Charm(
        name,
        resources=(Resource("oci-image", "oci-image", f"example.org/{name}:{version}"),),
        options=tuple(options),
        endpoints=tuple(
            Endpoint(words.split()[1], words.split()[0], interface)
            for words, interface in (ends or {}).items()
        ),
        containers=() if podspec else (Container(name, "oci-image"),),
        storages=(Storage("data", dict(storage)),) if storage is not None else (),
        details={**({"series": ["kubernetes"]} if podspec else {}), **(details or {})},
    )


def istio_pilot(version: str) -> Charm:
    """Make an istio-pilot as it is: the version stands in an option alone."""
    default = yaml.safe_dump(
        {"pilot-image": "pilot", "global-tag": version, "global-hub": "docker.io/istio"}
    )
    pilot = charm(
        "istio-pilot",
        options=(Option("image-configuration", "string", default),),
        ends={"provides istio-pilot": "k8s-service"},
    )
    return replace(pilot, resources=(), containers=())


def istio_gateway(version: str) -> Charm:
    gateway = charm(
        "istio-gateway",
        options=(
            Option("kind", "string", ""),
            Option("proxy-image", "string", f"docker.io/istio/proxyv2:{version}"),
        ),
        ends={"requires istio-pilot": "k8s-service"},
    )
    return replace(gateway, resources=(), containers=())


def read_charms(
    charms: Iterable[Charm],
    folder: Path,
    bases: Mapping[str, Sequence[str]] | None = None,
    options: CharmOptions | None = None,
) -> list[CharmFile]:
    """Write charms into a folder and read them again."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[CharmFile] = []
    for number, each in enumerate(charms):
        names = (bases or {}).get(each.name, (OLD_BASE,))
        manifest = {
            "bases": [
                dict(zip(("name", "channel"), base.split("@"), strict=True)) for base in names
            ]
        }
        path = folder / f"{each.name}_r{number}.charm"
        more = {"manifest.yaml": yaml.safe_dump(manifest)}
        path.write_bytes(charm_file(each, options, more))
        found.append(CharmFile.read(path))
    return found


def target_of(
    charms: Sequence[CharmFile],
    intermediate: Sequence[CharmFile] = (),
    *,
    bundle: str = "",
) -> UpgradeTarget:
    """Plan charms, and with them those that an upgrade goes through."""
    settings = PlanSettings.parse(
        location=RegistryLocation.parse("registry.corp:5000/ckf"), bundle=bundle
    )
    every = [*charms, *intermediate]
    inventory = inventory_of(str(image) for image in wanted_images(every))
    plan = make_plan(charms, inventory, settings, intermediate=intermediate)
    return UpgradeTarget.of_plan(
        plan, every, lambda each: hashlib.sha256(each.path.read_bytes()).hexdigest()
    )


@dataclass
class _Application:
    target: TargetApplication
    base: str | None
    scale: int = 1
    units: int = 1
    is_active: bool = True
    problem: str = ""
    is_leaving: bool = False
    options: dict[str, OptionValue] = field(default_factory=dict[str, OptionValue])


def _waits_for_options(item: _Application) -> bool:
    """Tell whether an istio-pilot has the tag of another version."""
    if item.target.charm.name != "istio-pilot" or not item.target.version:
        return False
    configured = yaml.safe_load(str(item.options["image-configuration"]))
    return configured["global-tag"] != str(item.target.version)


class SimulatedModel:
    """A model; time passes in it whenever it is looked at while something is waited for."""

    def __init__(self, target: UpgradeTarget, juju: str = "3.6.25") -> None:
        self.juju = juju
        self.kubernetes = Version(1, 33)
        self.commands: list[str] = []
        self.applications: dict[str, _Application] = {}
        self.relations: set[RunningRelation] = set()
        self.workloads: set[str] = set()
        self.memory: WalkMemory | None = None
        self.kill_before: int | None = None
        self.kill_after: int | None = None
        self.knows_charms = True
        self.refresh_sets_options = True
        self.deploy(list(target.applications.values()))
        for pair in target.relations:
            self.relate(pair)
        self.pass_time()
        self.commands.clear()

    def running(self, target: UpgradeTarget) -> RunningModel:
        """Give the model as Juju and the record tell it."""
        return RunningModel(
            name="kubeflow",
            applications={
                name: self._running(
                    name, item, target.applications.get(name), target.intermediate.get(name, ())
                )
                for name, item in self.applications.items()
            },
            relations=frozenset(self.relations),
            juju=self.juju,
            kubernetes=self.kubernetes,
            deployments=frozenset(self.workloads),
        )

    def _running(
        self,
        name: str,
        item: _Application,
        target: TargetApplication | None,
        intermediate: Sequence[TargetApplication],
    ) -> RunningApplication:
        targets = (*((target,) if target else ()), *intermediate)
        same = [each for each in targets if each.digest == item.target.digest]
        planned: Mapping[str, OptionValue] = same[0].planned.options if same else {}
        known = self.knows_charms
        return RunningApplication(
            name=name,
            charm=item.target.charm.name,
            digest=item.target.digest if known else None,
            version=item.target.version,
            is_podspec=item.target.charm.is_podspec,
            has_storage=item.target.charm.has_storage if known else None,
            fixed=item.target.charm.fixed if known else None,
            base=item.base,
            scale=item.scale,
            units=item.units,
            is_active=item.is_active and item.units == item.scale,
            is_leaving=item.is_leaving,
            other_options={k: v for k, v in planned.items() if item.options.get(k) != v},
        )

    def pass_time(self) -> None:
        for name, item in list(self.applications.items()):
            if item.is_leaving:
                del self.applications[name]
                continue
            item.units = item.scale
            item.is_active = not item.problem and not _waits_for_options(item)
            if item.target.charm.name == "istio-gateway":
                (self.workloads.add if item.scale else self.workloads.discard)(WORKLOAD)

    # What a walk does.

    def conditions(self) -> Mapping[str, Condition]:
        conditions = {
            name: Condition(
                units=item.units,
                is_active=item.is_active and item.units == item.scale,
                is_starting=item.units != item.scale,
                status=item.problem or "maintenance",
            )
            for name, item in self.applications.items()
        }
        self.pass_time()
        return conditions

    def deployments(self) -> Collection[str]:
        return self.workloads

    def scale(self, application: str, units: int) -> list[str]:
        def change() -> None:
            self.applications[application].scale = units
            if units:
                self.applications[application].is_active = False

        return self._do(f"scale {application} {units}", change)

    def refresh(self, target: TargetApplication, base: str | None) -> list[str]:
        def change() -> None:
            item = self.applications[target.name]
            self._require_refreshable(item, target)
            item.base = base or item.base
            assert item.base in target.charm.bases, f"{target.name} runs in the wrong base"
            item.problem = self._hook_failure(item, target)
            item.target, item.is_active = target, False
            if self.refresh_sets_options:
                item.options |= target.planned.options

        moved = f" --base {base}" if base else ""
        version = f" {target.version}" if target.charm.name == "istio-pilot" else ""
        changes = self._do(f"refresh {target.name}{version}{moved}", change)
        options = self.applications[target.name].options
        wanted = target.planned.options
        changed = {key: each for key, each in wanted.items() if options.get(key) != each}
        return changes + (self.set_options(target.name, changed) if changed else [])

    def _require_refreshable(self, item: _Application, target: TargetApplication) -> None:
        old, new = item.target.charm, target.charm
        if old.name != new.name:
            raise JujuError(f"{new.name} is not {old.name}", "remove it")
        if old.fixed != new.fixed:
            raise JujuError("Juju does not support updating storage", "deploy a new charm")
        if new.is_podspec and not old.is_podspec:
            raise JujuError("cannot downgrade from v2 charm format to v1", "deploy a new charm")
        if old.is_podspec and not new.is_podspec and item.units:
            raise JujuError("the application has to be scaled down to 0 units", "scale it down")
        for relation in self.relations:
            for side in relation.sides:
                if side.application == target.name and not target.has_endpoint(
                    side.endpoint, relation.interface
                ):
                    raise JujuError(f"would break relation {relation}", "remove it")

    def _hook_failure(self, item: _Application, target: TargetApplication) -> str:
        """Say what istio-pilot says to an upgrade that it refuses; empty for none."""
        if target.charm.name != "istio-pilot":
            return ""
        before, after = item.target.version, target.version
        assert before and after
        assert item.is_active, "refreshed while the upgrade before is not over"
        failed = 'error: hook failed: "upgrade-charm"'
        if self.workloads:
            return "maintenance: Upgrading Istio"
        if after < before or after.major != before.major or after.minor - before.minor > 1:
            return failed
        configured = yaml.safe_load(str(target.planned.options["image-configuration"]))
        return failed if configured["global-tag"] != str(after) else ""

    def attach_images(self, target: TargetApplication, resources: Sequence[str]) -> list[str]:
        return self._do(f"attach {target.name} {' '.join(resources)}", lambda: None)

    def deploy(self, targets: Sequence[TargetApplication]) -> list[str]:
        def change() -> None:
            for target in targets:
                assert target.name not in self.applications
                self.applications[target.name] = _Application(
                    target,
                    target.planned.base,
                    units=0,
                    options=dict(target.planned.options),
                )

        return self._do(f"deploy {' '.join(target.name for target in targets)}", change)

    def remove(self, application: str, *, destroy_storage: bool) -> list[str]:
        def change() -> None:
            self.applications[application].is_leaving = True
            self.relations = {
                each
                for each in self.relations
                if all(side.application != application for side in each.sides)
            }

        storage = " --destroy-storage" if destroy_storage else ""
        return self._do(f"remove {application}{storage}", change)

    def set_options(self, application: str, options: Mapping[str, OptionValue]) -> list[str]:
        def change() -> None:
            self.applications[application].options |= options

        return self._do(f"config {application} {' '.join(options)}", change)

    def relate(self, relation: Relation) -> list[str]:
        def change() -> None:
            interfaces: set[str] = set()
            for side in relation:
                if side.application in self.applications:
                    item = self.applications[side.application]
                    assert not item.is_leaving
                    endpoint = item.target.charm.endpoint(side.endpoint)
                    assert endpoint, f"{side} is not there"
                    interfaces.add(endpoint.interface)
            assert len(interfaces) == 1, f"{relation} does not fit"
            self.relations.add(RunningRelation(relation, interfaces.pop()))

        return self._do(f"integrate {relation[0]} {relation[1]}", change)

    def unrelate(self, relation: Relation) -> list[str]:
        def change() -> None:
            found = [each for each in self.relations if each.key == frozenset(relation)]
            assert found
            self.relations -= set(found)

        return self._do(f"unrelate {relation[0]} {relation[1]}", change)

    def _do(self, command: str, change: Callable[[], None]) -> list[str]:
        if self.kill_before == len(self.commands):
            raise KilledError
        change()
        self.commands.append(command)
        if self.kill_after == len(self.commands):
            raise KilledError
        return [command]

    def upgrade(self, target: UpgradeTarget, **words: Any) -> Walk:
        """Plan and walk, as one run of the action does."""
        walk = plan_walk(self.running(target), target, memory=self.memory, **words)
        self.walker().walk(walk)
        return walk

    def walker(self, report: Callable[[str], None] = lambda _: None) -> Walker:
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        def remember(memory: WalkMemory | None) -> None:
            self.memory = memory

        return Walker(self, report=report, remember=remember, clock=lambda: now[0], sleep=sleep)

    def picture(self) -> dict[str, Any]:
        """Give what counts in the end."""
        self.pass_time()
        return {
            name: (
                item.target.digest,
                item.base,
                item.scale,
                item.units,
                item.is_active,
                tuple(sorted(item.options.items(), key=str)),
            )
            for name, item in self.applications.items()
        } | {"relations": frozenset(each.key for each in self.relations)}
