"""What of a plan the existing applications of a model are in the way of."""

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.deployment.record import DeploymentRecord
from ckf_airgap.errors import JujuError
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.planning.plan import Plan


def outdated_applications(
    plan: Plan,
    state: ModelState,
    record: DeploymentRecord,
    account: Credentials | None,
) -> list[str]:
    """List the applications of a model that run another charm or other images than planned.

    Args:
        plan: The plan.
        state: What the model holds.
        record: What it was deployed from.
        account: What the images are pulled with; None for nothing.

    Returns:
        Their names. Those of which it is not known what they were deployed from do not count.
    """
    return [
        item.name
        for item in plan.applications
        if item.name in state.applications
        and record.knows(item)
        and (
            not record.is_same_charm(item, state.charms.get(item.name))
            or record.other_images(item, account)
        )
    ]


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
