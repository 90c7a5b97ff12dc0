"""Reads the running model from Juju, the record and the cluster, and plans its upgrade."""

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
    """The state of a model in the cluster.

    Attributes:
        kubernetes: The Kubernetes version of the oldest node, or None if unknown.
        deployments: The Deployments in the model's namespace; None if unknown.
        podspec: The applications with podspec charms.
        problem: Why the cluster could not be read, or None.
    """

    kubernetes: Version | None = None
    deployments: frozenset[str] | None = None
    podspec: frozenset[str] = frozenset()
    problem: ClusterError | None = None


def read_cluster_state(namespace: str) -> ClusterState:
    """Read the state of the cluster.

    Args:
        namespace: The model's namespace.

    Returns:
        The state; only ``problem`` is set if the cluster cannot be read.
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
    """Reads a model for comparison with a plan.

    Attributes:
        model: The model, after login.
        state: The model's state.
        record: The record of its deployment.
        account: The pull account, or None.
        cluster: The model's state in the cluster.
    """

    model: JujuModel
    state: ModelState
    record: DeploymentRecord
    account: Credentials | None
    cluster: ClusterState = field(default_factory=ClusterState)

    def read(self, target: UpgradeTarget) -> RunningModel:
        """Read the model.

        Args:
            target: The plan to compare with.

        Raises:
            AirgapError: Juju fails.
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
        charm = state.charms[name]
        known = self.record.known_charm(name, charm)
        version = (known and known.version) or self._default_version(name, charm.name)
        wanted = target.applications.get(name)
        is_current = wanted is not None and known is not None and known.digest == wanted.digest
        is_leaving = name in state.leaving
        planned = _planned_with_same_charm(name, target, known, version)
        return RunningApplication(
            name=name,
            charm=charm.name,
            digest=known.digest if known else None,
            version=version,
            # For an application without a record, only the cluster shows the kind of charm.
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
        """Find the version of a running charm in the default values of its options."""
        if charm not in load_rules().charms_with_versions:
            return None
        defaults = self.model.option_defaults(name)
        options = [image_option(key, parsed_value(value)) for key, value in defaults.items()]
        return version_in(filter(None, options))


def _planned_with_same_charm(
    name: str, target: UpgradeTarget, known: KnownCharm | None, version: Version | None
) -> PlannedApplication | None:
    """Return the plan of an application with its present charm, or None.

    An interrupted upgrade may have left it at an intermediate charm, without the planned options.
    """
    planned = target.applications.get(name)
    for each in (*((planned,) if planned else ()), *target.intermediate.get(name, ())):
        if each.digest == known.digest if known else version and each.version == version:
            return each.planned
    return None


def plan_model_walk(
    plan: Plan,
    charms: Iterable[CharmFile],
    reader: ModelReader,
    permissions: Permissions,
) -> Walk:
    """Plan the upgrade that brings a model to a plan, or the rest of an interrupted upgrade.

    Args:
        plan: The plan.
        charms: The charms of charms.tar.gz.
        reader: Reads the model.
        permissions: The operator's permissions.

    Returns:
        The steps of the upgrade.

    Raises:
        AirgapError: The upgrade cannot succeed, or Juju or the cluster cannot be read.
    """
    record = reader.record
    target = UpgradeTarget.of_plan(plan, charms, lambda charm: record.digest(charm.path))
    walk = plan_walk(reader.read(target), target, permissions=permissions, memory=record.walk)
    if reader.cluster.problem and walk.needs_cluster:
        raise reader.cluster.problem
    return walk


def running_relations(state: ModelState, planned: Iterable[Relation]) -> list[RunningRelation]:
    """List the relations between different applications of a model.

    For each endpoint, Juju lists the related applications, but not their endpoints. If several
    endpoints of an application have the interface, the planned relation is assumed.

    Args:
        state: The state of the model.
        planned: The planned relations.
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
