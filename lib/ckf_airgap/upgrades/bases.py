"""Which applications Juju moves to another base."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.errors import JujuError

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
    """

    application: str
    base: str | None
    planned_base: str | None
    charm_bases: tuple[str, ...] = ()

    def new_base(self, juju: str) -> str | None:
        """Return the base to move the application to.

        Args:
            juju: The controller's version.

        Returns:
            The base, or None where it stays on its own: Juju 4 moves none.
        """
        moves = self.base and self.planned_base and self.base != self.planned_base
        return self.planned_base if moves and _MOVES_BASES.holds(juju) else None


def require_movable(refreshes: Sequence[CharmRefresh], juju: str) -> None:
    """Refuse to run a charm on a base that it does not run on, where Juju cannot move it.

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
