"""Sorts the charms that a deployment needs into available, missing and unreadable."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm
from ckf_airgap.errors import join_errors
from ckf_airgap.planning.plan_warnings import PlanWarning
from ckf_airgap.planning.relations import lacking_partners
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.planning.topology import Topology


@dataclass(frozen=True)
class MissingCharm:
    """A needed charm that charms.tar.gz lacks.

    Attributes:
        name: The charm.
        applications: The applications that use it.
        wanted_by: Why it is needed, in words.
    """

    name: str
    applications: tuple[str, ...]
    wanted_by: str

    def __str__(self) -> str:
        return f"charm {self.name} (for {', '.join(self.applications)}; {self.wanted_by})"


@dataclass(frozen=True)
class CharmSelection:
    """The charms of a deployment.

    Attributes:
        deployed: The available charms that applications use.
        missing: The needed charms that charms.tar.gz lacks.
        topology: The topology without the applications of the other service mesh.
        unreadable: The needed charms that cannot be read.
    """

    deployed: tuple[CharmFile, ...]
    missing: tuple[MissingCharm, ...]
    topology: Topology
    unreadable: tuple[UnreadableCharm, ...] = ()

    def require_readable(self) -> "CharmSelection":
        """Return the selection if all needed charms can be read.

        Raises:
            ArtifactError: Some charms cannot be read; the message names them.
        """
        require_readable(self.unreadable)
        return self


def select_charms(
    charms: Iterable[CharmFile],
    settings: PlanSettings,
    unreadable: Sequence[UnreadableCharm] = (),
) -> CharmSelection:
    """Select the charms; this does not need the images.

    Args:
        charms: The available charms.
        settings: The settings of the operator.
        unreadable: The unreadable charms of charms.tar.gz.
    """
    by_name = {charm.name: charm for charm in charms}
    topology = settings.topology.for_mesh_of({*by_name, *(charm.name for charm in unreadable)})
    used = {item.charm for item in topology.applications}
    # An unreadable charm is not needed if a readable one has the same name.
    needed = tuple(charm for charm in unreadable if charm.name in used - by_name.keys())
    unreadable_names = {charm.name for charm in needed}
    return CharmSelection(
        tuple(charm for name, charm in by_name.items() if name in used),
        tuple(
            charm
            for charm in _missing_charms(topology, by_name)
            if charm.name not in unreadable_names
        ),
        topology,
        needed,
    )


def _missing_charms(
    topology: Topology, charms: Mapping[str, CharmFile]
) -> tuple[MissingCharm, ...]:
    lacking = lacking_partners(topology, charms)
    applications: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for item in topology.applications:
        if item.charm in charms or not (item.is_expected or item.name in lacking):
            continue
        endpoint = lacking.get(item.name)
        reason = f"{endpoint} requires it" if endpoint else item.expected_by
        reasons.setdefault(item.charm, reason)
        applications.setdefault(item.charm, []).append(item.name)
    return tuple(
        MissingCharm(name, tuple(applications[name]), reasons[name]) for name in sorted(reasons)
    )


def require_readable(needed: Sequence[UnreadableCharm]) -> None:
    """Require that all needed charms can be read.

    Raises:
        ArtifactError: Some charms cannot be read; the message names them.
    """
    if needed:
        raise join_errors(
            [charm.error for charm in needed], "charms that the deployment needs cannot be read"
        )


def unreadable_warnings(unreadable: Iterable[UnreadableCharm]) -> Iterator[PlanWarning]:
    """Warn of unreadable charms; the caller has refused those that the deployment needs."""
    for charm in unreadable:
        yield PlanWarning(f"{charm.error.problem}; nothing is deployed from it", charm.error.cure)
