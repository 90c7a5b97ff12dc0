"""The order of the steps: what would stop a deployment is found before hours of pushing."""

from collections.abc import Callable

from ckf_airgap.deployment.deployer import Deployer, Outcome
from ckf_airgap.deployment.requirements import require_deployable
from ckf_airgap.planning.plan import Plan
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk


def walk(deployer: Deployer, permissions: Permissions, *, allow_missing: bool) -> Walk:
    """Plan a refresh; nothing is pushed or changed.

    Args:
        deployer: Knows the release and the model.
        permissions: What the operator allows.
        allow_missing: As for ``deploy_or_refresh``.

    Raises:
        AirgapError: It cannot go well.
    """
    release = deployer.release
    require_deployable(release.selected_charms.deployed, deployer.model)
    plan = release.plan()
    if not allow_missing:
        plan.require_complete()
    return deployer.walk(plan, permissions)


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
        deployer: Knows the release and the model.
        upgrade: What the operator allows where applications that run other charms or images are
            brought to these; None to leave those as they are.
        allow_missing: Whether to go on without charms or images that are missing.
        on_progress: Called after each member of images.tar.gz.
        on_plan: Called once with what was pushed and with the plan, before anything is deployed.

    Returns:
        What was changed.

    Raises:
        AirgapError: A step fails; the next run continues where it stopped.
    """
    release = deployer.release
    require_deployable(release.selected_charms.deployed, deployer.model)
    # Looked at in any case: it also refuses charms that are needed and cannot be read.
    missing = release.selected_charms.require_readable().missing
    if missing and not allow_missing:
        # Not a complete release: all that it lacks is named, and nothing is pushed.
        release.plan().require_complete()
    if not allow_missing:
        # With it, what is refused here may be left out anyway for lack of an image.
        deployer.check(upgrade)
    pushed = release.push(on_progress)
    plan = release.plan()
    on_plan(pushed, plan)
    if not allow_missing:
        plan.require_complete()
    if upgrade is None:
        return deployer.deploy(plan)
    return deployer.refresh(plan, upgrade)
