"""What an upgrade starts from and goes to: the model, the record of it, the cluster, the plan."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version, version_in
from ckf_airgap.charms.image_options import image_option, parsed_value
from ckf_airgap.deployment.record import DeploymentRecord, KnownCharm
from ckf_airgap.errors import ClusterError
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import Relation, Side
from ckf_airgap.kubernetes import cluster
from ckf_airgap.planning.plan import Plan, PlannedApplication
from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.rules import load_rules
from ckf_airgap.upgrades.start_and_target import (
    Permissions,
    RunningApplication,
    RunningModel,
    RunningRelation,
    UpgradeTarget,
)
from ckf_airgap.upgrades.walk_steps import Walk


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """What the cluster tells of a model.

    Attributes:
        kubernetes: The version of the oldest node, where that is known.
        deployments: The Deployments in the model's namespace.
        podspec: The applications whose charm is of the podspec kind.
        problem: Why nothing of this is known, or None.
    """

    kubernetes: Version | None = None
    deployments: frozenset[str] = frozenset()
    podspec: frozenset[str] = frozenset()
    problem: ClusterError | None = None


def read_cluster_state(namespace: str) -> ClusterState:
    """Look at the cluster; where it cannot be looked at, nothing is known of it.

    Args:
        namespace: The model's namespace.
    """
    try:
        versions = map(Version.find, cluster.describe().versions)
        return ClusterState(
            kubernetes=min(filter(None, versions), default=None),
            deployments=cluster.deployments(namespace),
            podspec=cluster.podspec_applications(namespace),
        )
    except ClusterError as error:
        return ClusterState(problem=error)


@dataclass(frozen=True, kw_only=True)
class ModelReader:
    """Reads what a model holds, in the terms of a plan.

    Attributes:
        model: The model, logged in to.
        state: What it holds.
        record: What it was deployed from.
        account: What the images are pulled with; None for nothing.
        cluster: What the cluster tells of it.
    """

    model: JujuModel
    state: ModelState
    record: DeploymentRecord
    account: Credentials | None
    cluster: ClusterState = field(default_factory=ClusterState)

    def read(self, target: UpgradeTarget) -> RunningModel:
        """Read the model.

        Args:
            target: What it is to hold.

        Raises:
            AirgapError: Juju cannot be asked.
        """
        state = self.state
        return RunningModel(
            name=self.model.name.rpartition("/")[2],
            applications={
                name: self._application(name, target) for name in sorted(state.applications)
            },
            relations=frozenset(running_relations(state, target.relations)),
            juju=self.model.versions().model,
            kubernetes=self.cluster.kubernetes,
            deployments=self.cluster.deployments,
        )

    def _application(self, name: str, target: UpgradeTarget) -> RunningApplication:
        state = self.state
        runs = state.charms[name]
        known = self.record.known_charm(name, runs)
        version = (known and known.version) or self._default_version(name, runs.name)
        wanted = target.applications.get(name)
        is_current = wanted is not None and known is not None and known.digest == wanted.digest
        is_leaving = name in state.leaving
        planned = _as_it_runs(name, target, known, version)
        return RunningApplication(
            name=name,
            charm=runs.name,
            digest=known.digest if known else None,
            version=version,
            # Its own record does not say of what somebody else has deployed; the cluster does.
            is_podspec=known.is_podspec if known else name in self.cluster.podspec or None,
            has_storage=known.has_storage if known else None,
            fixed=known.fixed if known else None,
            base=state.bases.get(name),
            scale=state.scales.get(name, 1),
            units=state.units.get(name, 1),
            is_active=name not in state.unsettled,
            is_leaving=is_leaving,
            other_images=tuple(self.record.other_images(wanted.planned, self.account))
            if wanted and is_current
            else (),
            other_options=self.model.changed_options(planned.local())
            if planned and planned.options and not is_leaving
            else {},
        )

    def _default_version(self, name: str, charm: str) -> Version | None:
        """Tell a version from the defaults of the charm that runs, whoever has deployed it."""
        if charm not in load_rules().charms_with_versions:
            return None
        defaults = self.model.option_defaults(name)
        options = [image_option(key, parsed_value(value)) for key, value in defaults.items()]
        return version_in(filter(None, options))


def _as_it_runs(
    name: str, target: UpgradeTarget, known: KnownCharm | None, version: Version | None
) -> PlannedApplication | None:
    """Return how an application is planned with the very charm that it runs; None for not.

    A walk that was interrupted may have left it at a charm between, and without the options.
    """
    planned = target.applications.get(name)
    for each in (*((planned,) if planned else ()), *target.between.get(name, ())):
        if each.digest == known.digest if known else version and each.version == version:
            return each.planned
    return None


def plan_model_walk(
    plan: Plan,
    charms: Iterable[CharmFile],
    reader: ModelReader,
    permissions: Permissions,
) -> Walk:
    """Plan how a model is brought to a plan, or the rest of that.

    Args:
        plan: The plan.
        charms: The charms at hand.
        reader: Reads what the model holds.
        permissions: What the operator allows.

    Raises:
        AirgapError: It cannot go well, or what it needs to know cannot be asked.
    """
    record = reader.record
    target = UpgradeTarget.of_plan(plan, charms, lambda charm: record.digest(charm.path))
    walk = plan_walk(reader.read(target), target, permissions=permissions, memory=record.walk)
    if reader.cluster.problem and walk.needs_cluster:
        raise reader.cluster.problem
    return walk


def running_relations(state: ModelState, planned: Iterable[Relation]) -> list[RunningRelation]:
    """List the relations of a model.

    Juju tells of each endpoint with which applications it is related, and not at which of their
    endpoints: where several of one interface could be meant, those that are planned are taken.

    Args:
        state: The model.
        planned: The relations as planned.
    """
    found: dict[frozenset[Side], RunningRelation] = {}
    matched: set[tuple[Side, str]] = set()

    def add(first: Side, second: Side) -> None:
        relation = RunningRelation((first, second), state.interfaces[first])
        found.setdefault(relation.key, relation)
        matched.update(((first, second.application), (second, first.application)))

    for first, second in planned:
        if first in state.interfaces and state.has_relation((first, second)):
            add(first, second)
    sides = sorted(state.relations.items(), key=lambda item: str(item[0]))
    for first, names in sides:
        for name in sorted(names - {first.application}):
            for second, others in sides:
                is_pair = second.application == name and first.application in others
                is_known = (first, name) in matched and (second, first.application) in matched
                is_fitting = state.interfaces.get(first) == state.interfaces.get(second)
                if is_pair and is_fitting and not is_known:
                    add(first, second)
    return list(found.values())
