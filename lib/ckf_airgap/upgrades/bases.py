"""The base of an application after a refresh."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.errors import JujuError

# Juju 4 requires --force-base for this, which also skips its other checks.
_MOVES_BASES = Assumption(
    parts=(Assumption(feature="juju >= 3.6.1"), Assumption(feature="juju < 4"))
)


@dataclass(frozen=True, kw_only=True)
class CharmRefresh:
    """A planned refresh of an application.

    Attributes:
        application: Its name.
        base: Its present base, for example ``ubuntu@22.04``; None if unknown.
        planned_base: The planned base of the new charm; None for the charm's default.
        charm_bases: The bases of the new charm; empty for charms of the old format.
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
            The base, or None to keep its own: Juju 4 cannot move applications.
        """
        moves = self.base and self.planned_base and self.base != self.planned_base
        return self.planned_base if moves and _MOVES_BASES.holds(juju) else None


def require_movable(refreshes: Sequence[CharmRefresh], juju: str) -> None:
    """Refuse charms without the present base if Juju cannot move their applications.

    Args:
        refreshes: The planned refreshes.
        juju: The controller's version, for example ``3.6.8``.

    Raises:
        JujuError: Some applications cannot move; the message names all of them.
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
            f"Juju {juju} cannot move applications to another base: {'; '.join(stuck)}",
            "juju remove-application NAME for each of them, wait until juju status no longer "
            "lists it, and run the action again: it deploys the new charm",
        )
