"""The order of the steps: what would stop a deployment is found before hours of pushing."""

from collections.abc import Callable

from ckf_airgap.deployment.installer import Installer
from ckf_airgap.deployment.outcome import Outcome
from ckf_airgap.deployment.requirements import require_deployable
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.planning.plan import Plan
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.pusher import PushResult
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Walk


def push(installer: Installer, on_progress: Callable[[Progress], None]) -> PushResult:
    """Push the images into a registry that answers and takes pushes.

    Args:
        installer: Knows the inputs.
        on_progress: Called after each member of images.tar.gz.

    Raises:
        ArtifactError: Something in images.tar.gz is damaged.
        RegistryError: The registry fails or refuses.
    """
    installer.check_registry()
    return installer.push(on_progress)


def walk(
    installer: Installer,
    model: JujuModel,
    permissions: Permissions,
    *,
    allow_missing: bool,
) -> Walk:
    """Plan a refresh; nothing is pushed or changed.

    Args:
        installer: Knows the inputs.
        model: The model, logged in to.
        permissions: What the operator allows.
        allow_missing: As for ``bring``.

    Raises:
        AirgapError: It cannot go well.
    """
    require_deployable(installer, model)
    plan = installer.plan()
    if not allow_missing:
        plan.require_complete()
    return installer.walk(plan, model, permissions)


def bring(
    installer: Installer,
    model: JujuModel,
    *,
    upgrade: Permissions | None,
    allow_missing: bool,
    on_progress: Callable[[Progress], None],
    on_plan: Callable[[PushResult, Plan], None],
) -> Outcome:
    """Push the images, plan, and deploy or refresh; skip what is already done.

    Args:
        installer: Knows the inputs.
        model: The model, logged in to.
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
    require_deployable(installer, model)
    # Looked at in any case: it also refuses charms that are needed and cannot be read.
    missing = installer.missing_charms
    if missing and not allow_missing:
        # Not a complete release: all that it lacks is named, and nothing is pushed.
        installer.plan().require_complete()
    if not allow_missing:
        # With it, what is refused here may be left out anyway for lack of an image.
        installer.check_model(model, upgrade)
    pushed = push(installer, on_progress)
    plan = installer.plan()
    on_plan(pushed, plan)
    if not allow_missing:
        plan.require_complete()
    if upgrade is None:
        return installer.deploy(plan, model)
    return installer.refresh(plan, model, upgrade)
