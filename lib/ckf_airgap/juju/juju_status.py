"""The state of a model, from ``juju status``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jubilant

from ckf_airgap.juju.juju_values import DeployedCharm, Relation, Side

_LEAVING = ("dying", "dead")
_AGENT_STARTS = frozenset({"", "allocating"})


@dataclass(frozen=True)
class ModelState:
    """The state of a model.

    Attributes:
        applications: The names of its applications.
        relations: The related applications of each side of a relation.
        not_active: The status of each unit that is not active, and of each application without
            units that should have some. ``verify`` waits until there is none.
        starting: The applications with fewer units than requested, or with a unit whose agent does
            not run yet or is upgrading to another revision of the charm. A rollout deploys further
            applications while few are starting.
        charms: The charm of each application.
        leaving: The applications that are being removed.
        bases: The base of each application, for example ``ubuntu@22.04``, if Juju shows it.
        interfaces: The interface of each side of a relation.
        scales: The requested number of units of each application.
        units: The present number of units of each application.
        unsettled: The status of each application whose number of units differs from the requested
            one, or with a unit that is not active or whose agent is not idle. An upgrade waits
            until the applications that it changes are settled.
    """

    applications: frozenset[str]
    relations: Mapping[Side, frozenset[str]]
    not_active: Mapping[str, str]
    starting: frozenset[str] = frozenset()
    charms: Mapping[str, DeployedCharm] = field(default_factory=dict[str, DeployedCharm])
    leaving: frozenset[str] = frozenset()
    bases: Mapping[str, str] = field(default_factory=dict[str, str])
    interfaces: Mapping[Side, str] = field(default_factory=dict[Side, str])
    scales: Mapping[str, int] = field(default_factory=dict[str, int])
    units: Mapping[str, int] = field(default_factory=dict[str, int])
    unsettled: Mapping[str, str] = field(default_factory=dict[str, str])

    def has_relation(self, relation: Relation) -> bool:
        """Return whether a relation seems to exist: each side is related to the other application.

        Juju's status does not tell the endpoints of the related applications. So with the
        relations a:x - b:y2 and a:x2 - b:y, the relation a:x - b:y seems to exist, too.
        """
        first, second = relation
        return second.application in self.relations.get(
            first, ()
        ) and first.application in self.relations.get(second, ())


def read_state(status: jubilant.Status) -> ModelState:
    """Read the state of a model from ``juju status``."""
    endpoints = {
        Side(name, endpoint): relations
        for name, application in status.apps.items()
        for endpoint, relations in application.relations.items()
    }
    return ModelState(
        frozenset(status.apps),
        {
            side: frozenset(relation.related_app for relation in relations)
            for side, relations in endpoints.items()
        },
        _not_active(status),
        frozenset(name for name, app in status.apps.items() if _is_starting(app)),
        {name: DeployedCharm(app.charm_name, app.charm_rev) for name, app in status.apps.items()},
        frozenset(name for name, app in status.apps.items() if app.life in _LEAVING),
        _bases(status),
        {side: relations[0].interface for side, relations in endpoints.items() if relations},
        {name: app.scale for name, app in status.apps.items()},
        {name: len(app.units) for name, app in status.apps.items()},
        {name: reasons for name, app in status.apps.items() if (reasons := _unsettled(app))},
    )


def _not_active(status: jubilant.Status) -> dict[str, str]:
    waiting: dict[str, str] = {}
    for name, application in status.apps.items():
        if not application.units and application.scale:
            waiting[name] = f"no unit yet ({application.app_status.message or 'waiting'})"
        for unit, details in application.units.items():
            if details.workload_status.current != "active":
                waiting[unit] = _status_text(details.workload_status)
    return waiting


def _unsettled(application: jubilant.statustypes.AppStatus) -> str:
    """Describe why an application is not settled; an empty text if it is."""
    reasons = [
        f"{unit} is {_status_text(status)}"
        for unit, details in application.units.items()
        for status, settled in ((details.workload_status, "active"), (details.juju_status, "idle"))
        if status.current != settled
    ]
    if len(application.units) != application.scale:
        reasons.insert(0, f"{len(application.units)} of {application.scale} units")
    if _has_starting_agent(application):
        reasons.append("an agent is starting")
    return "; ".join(reasons)


def _status_text(status: jubilant.statustypes.StatusInfo) -> str:
    return f"{status.current}: {status.message}".removesuffix(": ")


def _bases(status: jubilant.Status) -> dict[str, str]:
    """Return the bases as charms name them: without the risk of a channel."""
    return {
        name: f"{application.base.name}@{application.base.channel.partition('/')[0]}"
        for name, application in status.apps.items()
        if application.base
    }


def _is_starting(application: jubilant.statustypes.AppStatus) -> bool:
    return len(application.units) < application.scale or _has_starting_agent(application)


def _has_starting_agent(application: jubilant.statustypes.AppStatus) -> bool:
    return any(
        unit.juju_status.current in _AGENT_STARTS or unit.upgrading_from
        for unit in application.units.values()
    )
