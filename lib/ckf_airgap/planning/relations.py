"""Selects the relations that fit the available charms; finds missing applications."""

from collections.abc import Iterator, Mapping
from itertools import islice

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError, listed
from ckf_airgap.juju.juju_values import Relation, Side
from ckf_airgap.planning.nearest_names import to_choose_from
from ckf_airgap.planning.topology import Topology

_OPPOSITE = {"provides": "requires", "requires": "provides"}
_SHOWN_CANDIDATES = 10


def fitting_relations(
    topology: Topology, applications: Mapping[str, CharmFile]
) -> tuple[Relation, ...]:
    """Keep the relations whose applications exist and that fit exactly one pair of endpoints.

    Of the others, those from the table of all releases are left out without a message.

    Args:
        topology: The topology.
        applications: The deployed applications, with their charms.

    Returns:
        The relations with both endpoints, in the order of the topology.

    Raises:
        ConfigurationError: A relation in the operator's bundle or overlay fits no pair of
            endpoints, or several.
    """
    found: list[Relation] = []
    finder = _CandidateFinder(applications)
    for relation in topology.relations:
        if any(side.application not in applications for side in relation):
            continue
        candidates = finder.candidates(relation)
        if len(candidates) == 1:
            found.append(candidates[0])
        elif relation in topology.demanded:
            first, second = relation
            shown = [f"{a} - {b}" for a, b in candidates[:_SHOWN_CANDIDATES]]
            shown += ["more"] if len(candidates) > _SHOWN_CANDIDATES else []
            problem, cure = (
                (
                    f"could be several: {listed(shown)}",
                    "name both endpoints (APPLICATION:ENDPOINT)",
                )
                if candidates
                else ("fits no endpoints of these charms", "correct it")
            )
            raise ConfigurationError(
                f"the relation of {first} with {second} {problem}",
                f"{cure} in the bundle or the overlay, or remove it"
                f"{_endpoints_to_choose_from(relation, applications)}",
            )
    # The order of the sides does not matter.
    unique: dict[frozenset[Side], Relation] = {}
    for relation in found:
        unique.setdefault(frozenset(relation), relation)
    return tuple(unique.values())


def lacking_partners(topology: Topology, charms: Mapping[str, CharmFile]) -> dict[str, str]:
    """Find the applications without an available charm that an available charm requires.

    Args:
        topology: The topology.
        charms: The available charms, by name.

    Returns:
        Name of such an application -> the first endpoint that requires it, as
        ``application:endpoint``.
    """
    charm_names = {item.name: item.charm for item in topology.applications}
    lacking: dict[str, str] = {}
    for first, second in topology.relations:
        for side, other in ((first, second), (second, first)):
            charm = charms.get(charm_names[side.application])
            if charm is None or charm_names[other.application] in charms:
                continue
            endpoint = charm.endpoint(side.endpoint)
            if endpoint and endpoint.role == "requires" and not endpoint.is_optional:
                lacking.setdefault(other.application, str(side))
    return lacking


def _endpoints_to_choose_from(relation: Relation, applications: Mapping[str, CharmFile]) -> str:
    """List the endpoints of each charm that lacks the named endpoint."""
    return "".join(
        f"; {side.application} has: "
        + to_choose_from(side.endpoint, [endpoint.name for endpoint in charm.endpoints])
        for side in relation
        for charm in (applications[side.application],)
        if side.endpoint and charm.endpoint(side.endpoint) is None
    )


class _CandidateFinder:
    """Finds the possible endpoints of a relation.

    It compares two charms only once for the same named endpoints, whichever applications they are.
    """

    def __init__(self, applications: Mapping[str, CharmFile]) -> None:
        self._applications = applications
        self._known: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}

    def candidates(self, relation: Relation) -> list[Relation]:
        """Return the fitting pairs of endpoints, or the first few of very many."""
        first, second = relation
        charm, other_charm = (self._applications[side.application] for side in relation)
        key = (charm.name, first.endpoint, other_charm.name, second.endpoint)
        if key not in self._known:
            fitting = _fitting(charm, first.endpoint, other_charm, second.endpoint)
            self._known[key] = list(islice(fitting, _SHOWN_CANDIDATES + 1))
        return [
            (Side(first.application, name), Side(second.application, other_name))
            for name, other_name in self._known[key]
        ]


def _fitting(
    charm: CharmFile, name: str, other_charm: CharmFile, other_name: str
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of endpoint names that fit; an empty name stands for any endpoint."""
    if other_name and not name:
        swapped = _fitting(other_charm, other_name, charm, "")
        yield from ((first, second) for second, first in swapped)
        return
    named = charm.endpoint(name)
    for endpoint in [named] if named else () if name else charm.endpoints:
        role = _OPPOSITE[endpoint.role]
        partner = other_charm.endpoint(other_name)
        if partner and (partner.interface, partner.role) == (endpoint.interface, role):
            yield endpoint.name, partner.name
        elif not other_name:
            for candidate in other_charm.endpoints_of(endpoint.interface, role):
                yield endpoint.name, candidate.name
