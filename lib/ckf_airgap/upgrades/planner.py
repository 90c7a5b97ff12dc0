"""Plans the steps of an upgrade, or refuses it.

The steps follow from the model, the archive and the stored ``WalkMemory``. Finished steps are
omitted: planning an interrupted upgrade again gives the remaining steps.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ckf_airgap.errors import AirgapError, join_errors
from ckf_airgap.juju.juju_values import Relation
from ckf_airgap.planning.topology import load_topology
from ckf_airgap.upgrades import refusals
from ckf_airgap.upgrades import walk_steps as steps
from ckf_airgap.upgrades.bases import CharmRefresh
from ckf_airgap.upgrades.changes import Change, Changes
from ckf_airgap.upgrades.rules import MinorRule, ReleaseRule, UpgradeRules, load_rules
from ckf_airgap.upgrades.start_and_target import (
    Permissions,
    RunningModel,
    RunningRelation,
    TargetApplication,
    UpgradeTarget,
    WalkMemory,
)
from ckf_airgap.upgrades.walk_steps import Phase, Step, Walk

_Kind = TypeVar("_Kind", steps.ScaleUp, steps.Remove)


def plan_walk(
    running: RunningModel,
    target: UpgradeTarget,
    *,
    permissions: Permissions | None = None,
    memory: WalkMemory | None = None,
    rules: UpgradeRules | None = None,
) -> Walk:
    """Plan an upgrade, or the rest of an interrupted upgrade.

    Args:
        running: The current state of the model.
        target: Its planned state.
        permissions: The operator's permissions; None if there are none.
        memory: The state of an unfinished walk; None if there is none.
        rules: The upgrade rules; None for those in ``rules.yaml``.

    Returns:
        The upgrade; its steps are empty if everything is as planned.

    Raises:
        AirgapError: The upgrade is refused; the message lists as many reasons as fit.
    """
    planner = _Planner(
        running,
        target,
        permissions or Permissions(),
        memory or WalkMemory(),
        rules or load_rules(),
    )
    return planner.walk()


class _Planner:
    """Plans one walk."""

    def __init__(
        self,
        running: RunningModel,
        target: UpgradeTarget,
        permissions: Permissions,
        memory: WalkMemory,
        rules: UpgradeRules,
    ) -> None:
        self._running = running
        self._target = target
        self._permissions = permissions
        self._memory = memory
        self._rules = rules
        self._changes = Changes(running, target, memory, rules)
        self._steps: list[tuple[Phase, Step]] = []
        self._refreshes: list[CharmRefresh] = []
        self._removed_relations: set[RunningRelation] = set()
        # The applications whose steps are already planned.
        self._done: set[str] = set()
        # The applications that have a SetOptions step.
        self._with_options: set[str] = set()

    def walk(self) -> Walk:
        before = self._rules.release_of(
            (item.charm, item.version)
            for item in self._running.applications.values()
            if item.version
        )
        after = self._rules.release_of(
            (item.charm.name, item.version)
            for item in self._target.applications.values()
            if item.version
        )
        self._plan_mesh()
        for rule, change in self._changes.minor_rules():
            self._plan_versions(rule, change)
        self._plan_replaced()
        self._plan_podspec()
        self._plan_rest()
        restored = self._changes.restored()
        self._plan_relations(restored)
        reasons = list(self._refusals(before, after))
        if reasons:
            raise join_errors(reasons, "reasons why this upgrade is not possible")
        return Walk(
            steps=tuple(self._steps),
            backups=tuple(self._backups()) if self._steps else (),
            memory=WalkMemory(
                scales={step.application: step.units for step in self._steps_of(steps.ScaleUp)},
                replacing=frozenset(self._changes.replaced),
                relations=tuple(restored),
            ),
            before=before,
            after=after,
            left=tuple(self._unplanned()),
        )

    def _refusals(
        self, before: ReleaseRule | None, after: ReleaseRule | None
    ) -> Iterator[AirgapError]:
        juju = self._running.juju
        if self._steps:
            yield from refusals.release_refusals(before, after, self._running, self._rules)
        yield from refusals.mesh_refusals(
            self._changes, self._permissions, self._rules, before, after
        )
        for rule, change in self._changes.minor_rules():
            yield from refusals.minor_refusals(rule, change, self._target, juju)
        yield from refusals.kind_refusals(self._changes)
        yield from refusals.data_refusals(self._changes, self._permissions)
        yield from refusals.base_refusals(self._refreshes, juju)

    def _plan_mesh(self) -> None:
        old_mesh = self._changes.old_mesh
        for item in old_mesh:
            if not item.is_leaving:
                self._drop_relations(Phase.MESH, self._changes.relations_of(item.name))
                why = f"the {self._rules.mesh.name} mesh replaces it"
                self._add(Phase.MESH, steps.Remove(item.name, False, why))
        for item in old_mesh:
            self._add(Phase.MESH, steps.WaitRemoved(item.name))
        order = self._rules.mesh.deployed
        new = [item for item in self._changes.new if item.charm.name in order]
        for item in sorted(new, key=lambda item: order.index(item.charm.name)):
            # Also if an interrupted upgrade has already removed all applications of the old mesh.
            self._deploy(Phase.MESH, item)

    def _plan_versions(self, rule: MinorRule, change: Change) -> None:
        """Refresh an application one minor version at a time, with dependents scaled to 0."""
        phase, running = Phase.VERSIONS, change.running
        between, _ = refusals.versions_between(
            rule, change, self._target.intermediate.get(change.name, ())
        )
        chain = [*between, change.target] if change.changes_version else []
        dependents = [
            dependent
            for dependent in self._changes.of_charm(rule.without_units)
            if self._needs_no_units(dependent, chain)
        ]
        if running.other_options and (chain or dependents):
            # After an interrupted refresh, the application stays inactive without its options.
            self._set_options(phase, change)
        if (running.other_options or not running.is_active) and (chain or dependents):
            self._add(phase, steps.WaitActive(change.name, running.version, rule.minutes))
        self._drop_relations(
            phase,
            self._changes.broken_by(
                each.name for each in [*dependents, *([change] if chain else [])]
            ),
        )
        scaled_down = [each for each in dependents if chain or each.changes_version]
        for each in scaled_down:
            if each.running.scale:
                self._add(phase, steps.ScaleDown(each.name, each.running.scale))
        for each in scaled_down:
            deployment = rule.deployment_of(each.target.charm.name, _options_of(each.target))
            has_units = each.running.scale or each.running.units
            present = self._running.deployments
            may_be_there = deployment and (present is None or deployment in present)
            if has_units or may_be_there:
                self._add(phase, steps.WaitGone(each.name, deployment))
        self._refresh_through(change, chain, rule.minutes)
        for each in dependents:
            if each.changes_charm:
                self._refresh(phase, each)
        for each in dependents:
            self._scale_up(phase, each, was_down=each in scaled_down)

    def _needs_no_units(self, dependent: Change, chain: list[TargetApplication]) -> bool:
        """Return whether an application must be, or still is, scaled to 0 for the upgrade."""
        is_unfinished = dependent.name in self._memory.scales and not dependent.running.scale
        return bool(chain) or dependent.changes_version or is_unfinished

    def _refresh_through(
        self, change: Change, chain: list[TargetApplication], minutes: int
    ) -> None:
        base, before = change.running.base, change.running.version
        for item in chain:
            # An intermediate charm keeps the present base if it supports it.
            keeps_base = item is not chain[-1] and base in item.charm.bases
            new_base = self._base(change, item, base, base if keeps_base else item.planned.base)
            self._add(Phase.VERSIONS, steps.Refresh(item, before, new_base))
            self._add(Phase.VERSIONS, steps.WaitActive(change.name, item.version, minutes))
            base, before = new_base or base, item.version
        if chain:
            self._done.add(change.name)

    def _plan_replaced(self) -> None:
        phase = Phase.REPLACED
        for name in self._changes.replaced:
            change = self._changes.changes.get(name)
            if change and not change.running.is_leaving:
                self._drop_relations(phase, self._changes.relations_of(name))
                self._add(phase, steps.Remove(name, change.loses_data, change.why_replaced))
            if change:
                self._add(phase, steps.WaitRemoved(name))
            self._deploy(phase, self._target.applications[name])

    def _plan_podspec(self) -> None:
        phase = Phase.PODSPEC
        from_podspec = [
            each for each in self._changes.leaving_podspec if each.name not in self._done
        ]
        self._drop_relations(phase, self._changes.broken_by(each.name for each in from_podspec))
        for each in from_podspec:
            if each.running.scale:
                self._add(phase, steps.ScaleDown(each.name, each.running.scale))
        for each in from_podspec:
            if each.running.scale or each.running.units:
                self._add(phase, steps.WaitGone(each.name))
        for each in from_podspec:
            self._refresh(phase, each)
        for each in self._changes.staying:
            is_unfinished = each.name in self._memory.scales and each.name not in self._done
            if each in from_podspec or is_unfinished:
                self._scale_up(phase, each, was_down=each in from_podspec)

    def _plan_rest(self) -> None:
        phase = Phase.REST
        staying = [each for each in self._changes.staying if each.name not in self._done]
        outdated = [each for each in staying if each.changes_charm]
        self._drop_relations(phase, self._changes.broken_by(each.name for each in outdated))
        for each in outdated:
            self._refresh(phase, each)
        # An interrupted walk may have refreshed some of these without setting their options.
        current = [each for each in self._changes.staying if not each.changes_charm]
        for each in current:
            if each.running.other_images:
                self._add(phase, steps.AttachImages(each.target, each.running.other_images))
        for item in self._changes.new:
            if item.name not in self._done:
                self._deploy(phase, item)
        for each in current:
            if each.running.other_options and each.name not in self._with_options:
                self._set_options(phase, each)

    def _plan_relations(self, restored: Iterable[Relation]) -> None:
        present = {each.key for each in self._running.relations - self._removed_relations}
        for pair in [*self._target.relations, *restored]:
            if frozenset(pair) not in present:
                self._add(Phase.RELATIONS, steps.AddRelation(pair))

    def _refresh(self, phase: Phase, change: Change) -> None:
        item, running = change.target, change.running
        base = self._base(change, item, running.base, item.planned.base)
        self._add(phase, steps.Refresh(item, running.version, base))
        self._done.add(change.name)

    def _set_options(self, phase: Phase, change: Change) -> None:
        self._add(phase, steps.SetOptions(change.name, change.running.other_options))
        self._with_options.add(change.name)

    def _base(
        self, change: Change, item: TargetApplication, base: str | None, planned: str | None
    ) -> str | None:
        """Return the base to move an application to, and record the refresh for the base check."""
        refresh = CharmRefresh(
            application=change.name,
            base=base,
            planned_base=planned,
            charm_bases=item.charm.bases,
        )
        self._refreshes.append(refresh)
        return refresh.new_base(self._running.juju)

    def _scale_up(self, phase: Phase, change: Change, *, was_down: bool) -> None:
        units = self._memory.scales.get(change.name) or change.running.scale
        units = units or change.target.planned.scale
        if units and (was_down or not change.running.scale):
            self._add(phase, steps.ScaleUp(change.name, units))
        self._done.add(change.name)

    def _deploy(self, phase: Phase, item: TargetApplication) -> None:
        self._add(phase, steps.Deploy(item))
        self._done.add(item.name)

    def _drop_relations(self, phase: Phase, relations: Iterable[RunningRelation]) -> None:
        for relation in relations:
            if relation not in self._removed_relations:
                self._removed_relations.add(relation)
                self._add(phase, steps.RemoveRelation(relation.sides))

    def _add(self, phase: Phase, step: Step) -> None:
        self._steps.append((phase, step))

    def _steps_of(self, kind: type[_Kind]) -> list[_Kind]:
        return [step for _, step in self._steps if isinstance(step, kind)]

    def _backups(self) -> Iterator[steps.Backup]:
        lost = {step.application for step in self._steps_of(steps.Remove) if step.destroys_storage}
        for name, item in sorted(self._running.applications.items()):
            target = self._target.applications.get(name)
            has_storage = item.has_storage or (target and target.charm.has_storage)
            if not (has_storage and target) and name not in lost:
                continue
            rule = self._rules.backup(item.charm)
            data, command, note = (rule.data, rule.command, rule.note) if rule else ("", "", "")
            yield steps.Backup(
                application=name,
                data=data or "all data on its storage",
                command=command.format(application=name, model=self._running.name),
                note=note,
                is_lost=name in lost,
            )

    def _unplanned(self) -> Iterator[str]:
        known = {item.charm for item in load_topology().applications}
        known |= {item.charm.name for item in self._target.applications.values()}
        removed = {step.application for step in self._steps_of(steps.Remove)}
        for name, item in sorted(self._running.applications.items()):
            is_planned = name in self._target.applications
            if not is_planned and name not in removed and item.charm in known:
                yield name


def _options_of(item: TargetApplication) -> dict[str, str]:
    values = {**item.charm.options, **item.planned.options}
    return {name: str(value) for name, value in values.items()}
