"""Classifies the applications of an upgrade by their old and new charms."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ckf_airgap.juju.juju_values import Relation, Side
from ckf_airgap.upgrades.rules import MinorRule, UpgradeRules
from ckf_airgap.upgrades.start_and_target import (
    RunningApplication,
    RunningModel,
    RunningRelation,
    TargetApplication,
    UpgradeTarget,
    WalkMemory,
)

_OTHER_CHARM = "it cannot be refreshed to the charm {charm}"
_OTHER_STORAGE = "its charm declares other storage, which Juju cannot change in a refresh"


@dataclass(frozen=True)
class Change:
    """An application that is both in the model and in the plan.

    Attributes:
        running: The application's present state.
        target: Its planned state.
    """

    running: RunningApplication
    target: TargetApplication

    @property
    def name(self) -> str:
        """Its name."""
        return self.running.name

    @property
    def changes_charm(self) -> bool:
        """Whether its charm changes; an unknown charm counts as changed."""
        return self.running.digest != self.target.digest

    @property
    def changes_version(self) -> bool:
        """Whether the version of its workload changes."""
        return self.changes_charm and self.running.version != self.target.version

    @property
    def leaves_podspec(self) -> bool:
        """Whether it changes from a podspec to a sidecar charm."""
        was_podspec = self.changes_charm and bool(self.running.is_podspec)
        return was_podspec and not self.target.charm.is_podspec

    @property
    def why_replaced(self) -> str:
        """Why it cannot be refreshed, in words; empty if it can."""
        charm, running = self.target.charm, self.running
        if running.charm != charm.name:
            return _OTHER_CHARM.format(charm=charm.name)
        if not self.changes_charm:
            return ""
        if running.fixed is None:
            # Podspec and sidecar charms declare the same storage differently: a podspec charm
            # declares mount points in it, a sidecar charm declares them in its containers.
            return _OTHER_STORAGE if self.leaves_podspec and charm.has_storage else ""
        return _OTHER_STORAGE if running.fixed != charm.fixed else ""

    @property
    def loses_data(self) -> bool:
        """Whether removing it destroys storage; if unknown, whether its new charm has storage."""
        return self.running.has_storage is not False and (
            bool(self.running.has_storage) or self.target.charm.has_storage
        )


class Changes:
    """The applications of a model, grouped by their change.

    A group is sorted by name if its description names no other order.

    Attributes:
        running: The present state of the model.
        target: Its planned state.
        changes: The applications that are both in the model and in the plan, by name.
    """

    def __init__(
        self,
        running: RunningModel,
        target: UpgradeTarget,
        memory: WalkMemory,
        rules: UpgradeRules,
    ) -> None:
        self.running = running
        self.target = target
        self._memory = memory
        self._rules = rules
        common = sorted(set(running.applications) & set(target.applications))
        self.changes: Mapping[str, Change] = {
            name: Change(running.applications[name], target.applications[name]) for name in common
        }
        self._replaced = {
            name
            for name, change in self.changes.items()
            if change.running.is_leaving or change.why_replaced
        } | (memory.replacing & set(target.applications)) - set(common)

    @property
    def replaced(self) -> list[str]:
        """The applications to remove and deploy again; some may already be removed."""
        return sorted(self._replaced)

    @property
    def new(self) -> list[TargetApplication]:
        """The applications to deploy for the first time."""
        return [
            self.target.applications[name]
            for name in sorted(self.target.applications)
            if name not in self.running.applications and name not in self._replaced
        ]

    @property
    def staying(self) -> list[Change]:
        """The applications that stay, whether or not their charm changes."""
        return [change for name, change in self.changes.items() if name not in self._replaced]

    @property
    def old_mesh(self) -> list[RunningApplication]:
        """The applications that another mesh replaces, in the order in which to remove them."""
        mesh = self._rules.mesh
        if not any(item.charm.name == mesh.deployed[0] for item in self._targets()):
            return []
        removed = [
            item
            for name, item in self.running.applications.items()
            if item.charm in mesh.removed and name not in self.target.applications
        ]
        return sorted(removed, key=lambda item: (mesh.removed.index(item.charm), item.name))

    def of_charm(self, charms: Iterable[str]) -> list[Change]:
        """Return the staying applications of the given charms."""
        wanted = frozenset(charms)
        return [change for change in self.staying if change.target.charm.name in wanted]

    def minor_rules(self) -> Iterator[tuple[MinorRule, Change]]:
        """Yield the applications to upgrade one minor version at a time, with their rules."""
        for rule in self._rules.minors:
            for change in self.of_charm([rule.charm]):
                yield rule, change

    @property
    def leaving_podspec(self) -> list[Change]:
        """The applications to refresh from podspec to sidecar charms."""
        return [change for change in self.staying if change.leaves_podspec]

    def broken_by(self, names: Iterable[str]) -> list[RunningRelation]:
        """List the relations that the new charms of some applications cannot keep.

        Juju refuses such a refresh ("would break relation").
        """
        wanted = frozenset(names)
        return [
            relation
            for relation in sorted(self.running.relations, key=lambda each: str(each.sides))
            if any(
                side.application in wanted and not self._keeps(side, relation.interface)
                for side in relation.sides
            )
        ]

    def relations_of(self, application: str) -> list[RunningRelation]:
        """List the relations of an application."""
        return [
            relation
            for relation in sorted(self.running.relations, key=lambda each: str(each.sides))
            if any(side.application == application for side in relation.sides)
        ]

    def restored(self) -> list[Relation]:
        """List the relations to add again that are not in the plan.

        They are the relations of replaced applications that the new charms support, and those in
        the memory of an unfinished upgrade.
        """
        planned = {frozenset(pair) for pair in self.target.relations}
        found = {
            relation.key: relation.sides
            for name in self.replaced
            for relation in self.relations_of(name)
            if relation.key not in planned
            and all(self._keeps(side, relation.interface) for side in relation.sides)
        }
        remembered = {frozenset(pair): pair for pair in self._memory.relations}
        return [
            pair for _, pair in sorted((remembered | found).items(), key=lambda kv: str(kv[1]))
        ]

    def _keeps(self, side: Side, interface: str) -> bool:
        item = self.target.applications.get(side.application)
        if item is None:
            # An application that is not in the plan keeps its charm, unless it is removed.
            return side.application not in {removed.name for removed in self.old_mesh}
        return item.has_endpoint(side.endpoint, interface)

    def _targets(self) -> Iterable[TargetApplication]:
        return self.target.applications.values()
