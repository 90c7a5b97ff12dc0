"""What Juju refuses to do to existing applications, found before anything is changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ckf_airgap.assumptions import Assumption
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.credentials import Credentials
from ckf_airgap.deployment.record import DeploymentRecord
from ckf_airgap.errors import JujuError
from ckf_airgap.juju import ModelState
from ckf_airgap.planning.plan import Plan, PlannedApplication

# Juju 4 wants --force-base for it, which also leaves out its other checks.
_MOVES_BASES = Assumption(
    parts=(Assumption(feature="juju >= 3.6.1"), Assumption(feature="juju < 4"))
)


@dataclass(frozen=True, kw_only=True)
class CharmRefresh:
    """An application that is to run another charm.

    Attributes:
        application: Its name.
        base: The base that it runs on, for example ``ubuntu@22.04``; None where it is not known.
        planned_base: The base that is planned for the new charm; None for the charm's own.
        charm_bases: The bases that the new charm runs on; empty for charms of the old format.
        leaves_podspec: Whether the charm that runs is of the podspec kind, and the new one is not.
        has_units: Whether it has units, or is to have some.
    """

    application: str
    base: str | None
    planned_base: str | None
    charm_bases: tuple[str, ...] = ()
    leaves_podspec: bool = False
    has_units: bool = True

    def new_base(self, juju: str) -> str | None:
        """Return the base to move the application to.

        Args:
            juju: The controller's version.

        Returns:
            The base, or None where it stays on its own: Juju 4 moves none.
        """
        moves = self.base and self.planned_base and self.base != self.planned_base
        return self.planned_base if moves and _MOVES_BASES.holds(juju) else None


def outdated_applications(
    plan: Plan,
    state: ModelState,
    record: DeploymentRecord,
    account: Credentials | None,
    *,
    unknown: bool,
) -> list[str]:
    """List the applications of a model that run another charm or other images than planned.

    Args:
        plan: The plan.
        state: What the model holds.
        record: What it was deployed from.
        account: What the images are pulled with; None for nothing.
        unknown: Whether those count of which it is not known what they were deployed from.
    """
    return [
        item.name
        for item in plan.applications
        if item.name in state.applications
        and (unknown or record.knows(item))
        and (
            not record.is_same_charm(item, state.charms.get(item.name))
            or record.other_images(item, account)
        )
    ]


def charm_refreshes(
    items: Iterable[PlannedApplication],
    charms: Iterable[CharmFile],
    state: ModelState,
    record: DeploymentRecord,
) -> list[CharmRefresh]:
    """List the applications of a model that are to run another charm.

    Args:
        items: The applications as planned; those that are not in the model do not count.
        charms: The charms at hand.
        state: What the model holds.
        record: What it was deployed from.
    """
    files = {charm.path: charm for charm in charms}
    found: list[CharmRefresh] = []
    for item in items:
        runs = state.charms.get(item.name)
        if item.name not in state.applications or record.is_same_charm(item, runs):
            continue
        charm = files.get(item.file)
        found.append(
            CharmRefresh(
                application=item.name,
                base=state.bases.get(item.name),
                planned_base=item.base,
                charm_bases=charm.bases if charm else (),
                leaves_podspec=record.was_podspec(item.name, runs)
                and charm is not None
                and not charm.is_podspec,
                has_units=item.name not in state.without_units,
            )
        )
    return found


def require_refreshable(refreshes: Sequence[CharmRefresh], juju: str) -> None:
    """Refuse what Juju would refuse halfway, or would do in a way that the charms cannot run.

    Args:
        refreshes: The applications that are to run other charms.
        juju: The controller's version, for example ``3.6.8``.

    Raises:
        JujuError: There are some; the message names all of them.
    """
    stuck = [
        f"{each.application} (on {each.base}, its new charm runs on {', '.join(each.charm_bases)})"
        for each in refreshes
        if each.base
        and each.charm_bases
        and each.base not in each.charm_bases
        and not each.new_base(juju)
    ]
    if stuck:
        raise JujuError(
            f"Juju {juju} moves no application to another base: {'; '.join(stuck)}",
            "juju remove-application NAME for each of them, wait until juju status does not list "
            "it any more, and run the action again: it deploys the new charm",
        )
    podspec = [each.application for each in refreshes if each.leaves_podspec and each.has_units]
    if podspec:
        raise JujuError(
            f"{', '.join(podspec)} cannot be refreshed from a podspec charm to a sidecar charm "
            "while it has units",
            "juju scale-application NAME 0, run the action again, then scale it up; or juju "
            "remove-application NAME, and run the action again: it deploys the new charm",
        )


def require_staying(plan: Plan, state: ModelState) -> None:
    """Check that no application of the plan is being removed.

    Args:
        plan: The plan.
        state: What the model holds.

    Raises:
        JujuError: There are such applications; the message names all of them.
    """
    leaving = sorted(item.name for item in plan.applications if item.name in state.leaving)
    if leaving:
        raise JujuError(
            f"{', '.join(leaving)} cannot be deployed while it is being removed from the model",
            "wait until juju status does not list it any more (juju remove-application --force "
            "where it is stuck), then run the action again",
        )
