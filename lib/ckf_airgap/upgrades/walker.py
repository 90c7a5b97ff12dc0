"""Carries out the steps of a walk in order, until one fails."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from ckf_airgap.errors import JujuError
from ckf_airgap.juju.juju_values import OptionValue, Relation
from ckf_airgap.juju.rollout import AT_ONCE, NO_AGENT, roll_out
from ckf_airgap.upgrades import walk_steps as steps
from ckf_airgap.upgrades.rendering import in_words
from ckf_airgap.upgrades.start_and_target import TargetApplication, WalkMemory
from ckf_airgap.upgrades.walk_steps import Phase, Step, Walk

_POLL_SECONDS = 5.0
# Units are gone within a minute (the guides), or later if a node is unreachable.
_REMOVAL_MINUTES = 10
# Consecutive steps of one of these kinds may run at the same time.
_ROLLED_OUT = (steps.Refresh, steps.AttachImages, steps.Deploy)

Numbered = tuple[int, Step]
_Wait = steps.WaitGone | steps.WaitActive | steps.WaitRemoved


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The state of an application.

    Attributes:
        units: The number of its units.
        is_active: Whether all requested units exist and are active, with idle agents.
        is_starting: Whether a unit has no running agent yet, or still runs the previous charm.
        status: The status of its units in words, for messages.
    """

    units: int
    is_active: bool
    is_starting: bool = False
    status: str = ""


class ModelOperations(Protocol):
    """The operations of a walk on a model. Those that change the model describe each change."""

    def conditions(self) -> Mapping[str, Condition]:
        """Return the state of each application of the model."""
        ...

    def deployments(self) -> Collection[str]:
        """List the Deployments in the model's namespace."""
        ...

    def scale(self, application: str, units: int) -> list[str]:
        """Scale an application."""
        ...

    def refresh(self, target: TargetApplication, base: str | None) -> list[str]:
        """Refresh an application to another charm, together with its images and options."""
        ...

    def attach_images(self, target: TargetApplication, resources: Sequence[str]) -> list[str]:
        """Attach other images to an application."""
        ...

    def deploy(self, targets: Sequence[TargetApplication]) -> list[str]:
        """Deploy applications."""
        ...

    def remove(self, application: str, *, destroy_storage: bool) -> list[str]:
        """Remove an application."""
        ...

    def set_options(self, application: str, options: Mapping[str, OptionValue]) -> list[str]:
        """Set options of an application."""
        ...

    def relate(self, relation: Relation) -> list[str]:
        """Add a relation."""
        ...

    def unrelate(self, relation: Relation) -> list[str]:
        """Remove a relation."""
        ...


class Walker:
    """Carries out a walk."""

    def __init__(
        self,
        model: ModelOperations,
        *,
        report: Callable[[str], None] = lambda _: None,
        remember: Callable[[WalkMemory | None], None] = lambda _: None,
        at_once: int = AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Store the arguments, without calling Juju.

        Args:
            model: The model.
            report: Called with a line of text at each step, and repeatedly while waiting.
            remember: Stores the state of an unfinished walk; called before the first step, and
                with None after the last one.
            at_once: The maximum number of applications that start at the same time.
            clock: Returns the time in seconds.
            sleep: Sleeps for a number of seconds.
        """
        self._model = model
        self._report_line = report
        self._remember = remember
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._began = 0.0
        self._count = 0

    def walk(self, walk: Walk) -> list[str]:
        """Carry out all steps.

        Args:
            walk: The walk.

        Returns:
            The changes in words; empty if nothing changed.

        Raises:
            JujuError: A wait exceeds its time limit.
            AirgapError: An operation on the model fails.

            The walk then stops; planning again gives the remaining steps.
        """
        self._began, self._count = self._clock(), len(walk.steps)
        changes: list[str] = []
        if walk.steps:
            self._remember(walk.memory)
        for group in _groups(walk):
            if isinstance(group[0][1], _ROLLED_OUT):
                changes += self._roll_out(group)
            else:
                for number, step in group:
                    self._report(number, step)
                    if isinstance(step, _Wait):
                        self._wait(number, step)
                    else:
                        changes += self._change(step)
        self._remember(None)
        return changes

    def _roll_out(self, numbered: Sequence[Numbered]) -> list[str]:
        by_name = {str(number): (number, step) for number, step in numbered}
        changes: list[str] = []

        def carry_out(names: Sequence[str]) -> None:
            for number, step in map(by_name.__getitem__, names):
                self._report(number, step)
            chosen = [step for _, step in _chosen(by_name, names)]
            if deployed := [step.target for step in chosen if isinstance(step, steps.Deploy)]:
                changes.extend(self._model.deploy(deployed))
            for step in chosen:
                if not isinstance(step, steps.Deploy):
                    changes.extend(self._change(step))

        def starting() -> list[str]:
            conditions = self._model.conditions()
            return [
                name
                for name, (_, step) in by_name.items()
                if isinstance(step, _ROLLED_OUT)
                and (condition := conditions.get(step.application))
                and condition.is_starting
            ]

        late = roll_out(
            list(by_name),
            carry_out,
            starting,
            at_once=self._at_once,
            clock=self._clock,
            sleep=self._sleep,
        )
        if late:
            chosen = _chosen(by_name, sorted(late, key=int))
            names = ", ".join(in_words(step) for _, step in chosen)
            self._report_line(f"{NO_AGENT}: {names}")
        return changes

    def _change(self, step: Step) -> list[str]:
        model = self._model
        match step:
            case steps.ScaleDown():
                return model.scale(step.application, 0)
            case steps.ScaleUp():
                return model.scale(step.application, step.units)
            case steps.Refresh():
                return model.refresh(step.target, step.base)
            case steps.AttachImages():
                return model.attach_images(step.target, step.resources)
            case steps.Remove():
                return model.remove(step.application, destroy_storage=step.destroys_storage)
            case steps.SetOptions():
                return model.set_options(step.application, step.options)
            case steps.AddRelation():
                return model.relate(step.relation)
            case steps.RemoveRelation():
                return model.unrelate(step.relation)
            case _:
                raise TypeError(f"{step} changes nothing")

    def _wait(self, number: int, step: _Wait) -> None:
        minutes = step.minutes if isinstance(step, steps.WaitActive) else _REMOVAL_MINUTES
        deadline = self._clock() + minutes * 60
        while unmet := self._unmet_condition(step):
            if self._clock() >= deadline:
                raise JujuError(
                    f"step {number} of {self._count} ({in_words(step)}) is not done after "
                    f"{minutes} minutes: {unmet}",
                    f"{_where_to_look(step)}; no later step was carried out: fix the cause and "
                    "run the action again, which continues with this step",
                )
            self._report(number, step, unmet)
            self._sleep(_POLL_SECONDS)

    def _unmet_condition(self, step: _Wait) -> str:
        """Describe the unmet condition of a wait; empty if it is met."""
        condition = self._model.conditions().get(step.application)
        match step:
            case steps.WaitRemoved():
                return f"{step.application} still exists" if condition else ""
            case steps.WaitActive():
                if condition is None:
                    return f"{step.application} is not in the model"
                return "" if condition.is_active else condition.status or "it is not active"
            case steps.WaitGone():
                if condition and condition.units:
                    return f"{step.application} has {condition.units} units"
                if step.deployment and step.deployment in self._model.deployments():
                    return f"the Deployment {step.deployment} still exists"
                return ""

    def _report(self, number: int, step: Step, unmet: str = "") -> None:
        elapsed = _duration(self._clock() - self._began)
        tail = f" ({unmet})" if unmet else ""
        self._report_line(f"step {number} of {self._count}, {elapsed}: {in_words(step)}{tail}")


def _groups(walk: Walk) -> Iterator[list[Numbered]]:
    """Group steps that may run at the same time; every other step is a group of its own."""

    def kind(item: tuple[int, tuple[Phase, Step]]) -> object:
        number, (phase, step) = item
        is_rolled_out = isinstance(step, _ROLLED_OUT) and phase is not Phase.VERSIONS
        return (phase, type(step)) if is_rolled_out else number

    for _, items in groupby(enumerate(walk.steps, 1), key=kind):
        yield [(number, step) for number, (_, step) in items]


def _chosen(by_name: Mapping[str, Numbered], names: Sequence[str]) -> list[Numbered]:
    return [by_name[name] for name in names]


def _where_to_look(step: _Wait) -> str:
    name = step.application
    logs = f"see juju status {name} and juju debug-log --include {name}"
    if isinstance(step, steps.WaitGone) and step.deployment:
        return f"{logs}, and kubectl get deployment {step.deployment} in the model's namespace"
    return logs


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
