"""Plans an upgrade between two releases from their archives, for a change request."""

from collections.abc import Mapping

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import version_of
from ckf_airgap.juju.juju_values import Relation
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.rules import load_rules
from ckf_airgap.upgrades.start_and_target import (
    Permissions,
    RunningApplication,
    RunningModel,
    RunningRelation,
    UpgradeTarget,
)
from ckf_airgap.upgrades.walk_steps import Walk


def walk_between(
    before: UnpackedCharms, after: UnpackedCharms, plan: Plan, settings: PlanSettings, juju: str
) -> Walk:
    """Plan the upgrade of a model from one release to another.

    Nothing is carried out, so the walk also has the steps that need the operator's permission.

    Args:
        before: The charms of the running release; all are assumed to be deployed and active.
        after: The charms of the new release.
        plan: The plan of the new release.
        settings: The operator's settings, for both releases.
        juju: The version of the controller.

    Returns:
        The steps of the upgrade.

    Raises:
        AirgapError: The upgrade is not possible.
    """
    running = _running_model(before, settings, juju)
    permissions = Permissions(
        data_loss=frozenset(running.applications), to_mesh=load_rules().mesh.name
    )
    target = UpgradeTarget.of_plan(plan, after.readable, lambda charm: after.digests[charm.label])
    return plan_walk(running, target, permissions=permissions)


def _running_model(charms: UnpackedCharms, settings: PlanSettings, juju: str) -> RunningModel:
    plan = make_plan(charms.charms, Inventory(()), settings, charms.unreadable)
    by_path = {charm.path: charm for charm in charms.charms}
    files = {item.name: by_path[item.file] for item in plan.applications}
    return RunningModel(
        name=settings.model,
        applications={
            item.name: _running(item, files[item.name], charms.digests)
            for item in plan.applications
        },
        relations=frozenset(_relation(pair, files) for pair in plan.relations),
        juju=juju,
    )


def _running(
    item: PlannedApplication, charm: CharmFile, digests: Mapping[str, str]
) -> RunningApplication:
    return RunningApplication(
        name=item.name,
        charm=charm.name,
        digest=digests[charm.label],
        version=version_of(charm),
        is_podspec=charm.is_podspec,
        has_storage=charm.has_storage,
        fixed=charm.fixed,
        base=item.base,
        scale=item.scale,
        units=item.scale,
    )


def _relation(pair: Relation, files: Mapping[str, CharmFile]) -> RunningRelation:
    side = pair[0]
    endpoint = files[side.application].endpoint(side.endpoint)
    return RunningRelation(pair, endpoint.interface if endpoint else "")
