"""The base of an application after a refresh."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.errors import JujuError

# Juju 4 moves applications only with --force-base, which also skips its other checks.
_MOVES_BASES = Assumption(
    parts=(Assumption(feature="juju >= 3.6.1"), Assumption(feature="juju < 4"))
)


@dataclass(frozen=True, kw_only=True)
class CharmRefresh:
    """A planned refresh of an application.

    Attributes:
        application: The application's name.
        base: Its present base, for example ``ubuntu@22.04``; None if unknown.
        planned_base: The base that is planned with the new charm; None for the charm's default.
        charm_bases: The bases of the new charm; empty if it declares none.
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
            The planned base; None to keep the present one, if both are equal, if one is
            unknown, or if Juju cannot move applications (before 3.6.1, and Juju 4).
        """
        moves = self.base and self.planned_base and self.base != self.planned_base
        return self.planned_base if moves and _MOVES_BASES.holds(juju) else None


def require_movable(refreshes: Sequence[CharmRefresh], juju: str) -> None:
    """Refuse refreshes to charms that lack the present base, if Juju cannot move applications.

    Args:
        refreshes: The planned refreshes.
        juju: The controller's version, for example ``3.6.8``.

    Raises:
        JujuError: Some applications would have to move; the message names all of them.
    """
    stuck = [
        f"{refresh.application} (on {refresh.base}, its new charm runs on "
        f"{', '.join(refresh.charm_bases)})"
        for refresh in refreshes
        if refresh.base
        and refresh.charm_bases
        and refresh.base not in refresh.charm_bases
        and not refresh.new_base(juju)
    ]
    if stuck:
        raise JujuError(
            f"Juju {juju} cannot move applications to another base: {'; '.join(stuck)}",
            "juju remove-application NAME for each of them, wait until juju status no longer "
            "lists it, and run the action again: it deploys the new charm",
        )
