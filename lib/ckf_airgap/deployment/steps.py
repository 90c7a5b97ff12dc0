"""Deploys or refreshes, in an order that finds problems before the push, which can take hours."""

from collections.abc import Callable

from ckf_airgap.deployment.deployer import Deployer, Outcome
from ckf_airgap.deployment.requirements import require_deployable
from ckf_airgap.planning.plan import Plan
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk


def plan_refresh(deployer: Deployer, permissions: Permissions, *, allow_missing: bool) -> Walk:
    """Plan a refresh without pushing or changing anything.

    Args:
        deployer: Deploys the release to the model.
        permissions: The operator's permissions.
        allow_missing: Whether to continue although charms or images are missing.

    Returns:
        The steps of the refresh.

    Raises:
        AirgapError: The refresh cannot succeed.
    """
    release = deployer.release
    require_deployable(release.selected_charms.deployed, deployer.model)
    plan = release.plan()
    if not allow_missing:
        plan.require_complete()
    return deployer.plan_walk(plan, permissions)


def deploy_or_refresh(
    deployer: Deployer,
    *,
    upgrade: Permissions | None,
    allow_missing: bool,
    on_progress: Callable[[Progress], None],
    on_plan: Callable[[PushResult, Plan], None],
) -> Outcome:
    """Push the images, plan, and deploy or refresh; skip what is already done.

    Args:
        deployer: Deploys the release to the model.
        upgrade: The operator's permissions for refreshing applications with other charms or
            images; None to deploy without refreshing them.
        allow_missing: Whether to continue although charms or images are missing.
        on_progress: Called after each member of images.tar.gz.
        on_plan: Called once with the result of the push and the plan, before anything is deployed.

    Returns:
        The changes.

    Raises:
        AirgapError: A step fails; the next run continues where it stopped.
    """
    release = deployer.release
    require_deployable(release.selected_charms.deployed, deployer.model)
    # Unreadable charms are refused even with allow_missing.
    missing = release.selected_charms.require_readable().missing
    if missing and not allow_missing:
        # Name everything that is missing before the push.
        release.plan().require_complete()
    if not allow_missing:
        # With allow_missing, the plan may skip an application that this check refuses.
        deployer.check(upgrade)
    pushed = release.push(on_progress)
    plan = release.plan()
    on_plan(pushed, plan)
    if not allow_missing:
        plan.require_complete()
    if upgrade is None:
        return deployer.deploy(plan)
    return deployer.refresh(plan, upgrade)
