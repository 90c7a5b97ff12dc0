"""The reasons to refuse an upgrade, checked before anything is changed.

The functions yield an error for each reason, so that one message can name all reasons.
"""

from collections.abc import Iterator

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.errors import AirgapError, JujuError, PlanError
from ckf_airgap.upgrades.bases import CharmRefresh, require_movable
from ckf_airgap.upgrades.changes import Change, Changes
from ckf_airgap.upgrades.rules import MinorRule, ReleaseRule, UpgradeRules
from ckf_airgap.upgrades.start_and_target import (
    Permissions,
    RunningModel,
    TargetApplication,
    UpgradeTarget,
)


def versions_between(
    rule: MinorRule, change: Change, charms: tuple[TargetApplication, ...]
) -> tuple[list[TargetApplication], list[tuple[int, int]]]:
    """Choose the intermediate charms of an application, one per minor version.

    Args:
        rule: The rule of its charm.
        change: The application.
        charms: Its intermediate charms in the archive.

    Returns:
        The newest patch of each minor version between the running and the planned one, in order;
        and the minor versions that the archive lacks. Both are empty if a version is unknown.
    """
    first, last = change.running.version, change.target.version
    if first is None or last is None:
        return [], []
    chosen: list[TargetApplication] = []
    missing: list[tuple[int, int]] = []
    versions = [(item.version, item) for item in charms if item.version is not None]
    for minor in rule.between(first, last):
        patches = [pair for pair in versions if pair[0].minor_release == minor]
        if patches:
            chosen.append(max(patches, key=lambda pair: pair[0])[1])
        else:
            missing.append(minor)
    return chosen, missing


def release_refusals(
    before: ReleaseRule | None,
    after: ReleaseRule | None,
    running: RunningModel,
    rules: UpgradeRules,
) -> Iterator[AirgapError]:
    """Refuse skipped releases, downgrades, and too old versions of Juju and Kubernetes."""
    if before and after:
        steps = rules.releases.index(after) - rules.releases.index(before)
        if steps < 0:
            yield PlanError(
                f"the model runs Charmed Kubeflow {before.release}, and the archive is of "
                f"{after.release}: charms cannot be downgraded",
                f"attach the archives of {before.release} or of the release after it",
            )
        elif steps > 1:
            following = rules.releases[rules.releases.index(before) + 1].release
            yield PlanError(
                f"the model runs Charmed Kubeflow {before.release}, and the archive is of "
                f"{after.release}: an upgrade goes only from one release to the next",
                f"upgrade to {following} first, with archives of that release, then go on",
            )
    if after is None or after is before:
        return
    juju = Version.find(running.juju)
    if juju and juju < after.juju:
        yield JujuError(
            f"Charmed Kubeflow {after.release} needs Juju {after.juju} or newer, and this is "
            f"{running.juju}",
            "upgrade the controller and the model first (juju upgrade-controller, juju "
            "upgrade-model)",
        )
    oldest = running.kubernetes
    if oldest and oldest < after.kubernetes:
        needed = ".".join(map(str, after.kubernetes.minor_release))
        yield PlanError(
            f"Charmed Kubeflow {after.release} needs Kubernetes {needed} or newer, and the oldest "
            f"node has {oldest}",
            "upgrade the cluster first",
        )


def minor_refusals(
    rule: MinorRule, change: Change, target: UpgradeTarget, juju: str
) -> Iterator[AirgapError]:
    """Refuse version changes that the charm itself would refuse only during the upgrade."""
    name, first, last = change.name, change.running.version, change.target.version
    if not change.changes_charm:
        return
    if first is None or last is None:
        which = "the running charm" if first is None else change.target.charm.label
        yield PlanError(
            f"{name} is upgraded one minor version at a time, and {which} does not report its "
            "version",
            f"see juju config {name}; upgrade {name} by hand, one minor version at a time, and "
            "run the action again",
        )
        return
    if last < first or last.major != first.major:
        yield PlanError(
            f"{name} runs {first}, and the archive has {last}: its charm supports neither "
            "downgrades nor a change of the major version",
            "attach the archive of a release that follows the one that runs",
        )
        return
    chosen, missing = versions_between(rule, change, target.intermediate.get(name, ()))
    if missing:
        versions = ", ".join(".".join(map(str, minor)) for minor in missing)
        download = f"juju download {rule.charm} --channel {rule.channel_of(missing[0])}"
        yield PlanError(
            f"{name} goes from {first} to {last} one minor version at a time, and charms.tar.gz "
            f"lacks {rule.charm} {versions}",
            f"add them to charms.tar.gz ({download}), and their images to images.tar.gz",
        )
    for item in chosen:
        if problem := item.charm.assumes.problem(juju):
            yield JujuError(f"{item.charm.label} {problem}", "use a controller of such a version")


def kind_refusals(changes: Changes) -> Iterator[AirgapError]:
    """Refuse changes from a sidecar charm to a podspec charm, as Juju does."""
    names = [
        change.name
        for change in changes.changes.values()
        if change.changes_charm
        and change.running.is_podspec is False
        and change.target.charm.is_podspec
    ]
    if names:
        yield JujuError(
            f"{', '.join(names)} would go back from a sidecar charm to a podspec charm",
            "attach the archive of a release that follows the one that runs",
        )


def data_refusals(changes: Changes, permissions: Permissions) -> Iterator[AirgapError]:
    """Refuse to destroy storage without the operator's permission."""
    lost = [
        (name, changes.changes[name].why_replaced)
        for name in changes.replaced
        if name in changes.changes
        and not changes.changes[name].running.is_leaving
        and changes.changes[name].loses_data
        and name not in permissions.data_loss
    ]
    if lost:
        names = ",".join(name for name, _ in lost)
        reasons = "; ".join(f"{name}: {why}" for name, why in lost)
        yield PlanError(
            f"{names.replace(',', ', ')} must be removed with its storage and deployed again, "
            f"which loses its data ({reasons})",
            f"list the backups (refresh dry-run=true allow-data-loss={names}), make them, then "
            f"refresh with allow-data-loss={names}",
        )


def base_refusals(refreshes: list[CharmRefresh], juju: str) -> Iterator[AirgapError]:
    """Refuse changes of bases that this Juju does not support."""
    try:
        require_movable(refreshes, juju)
    except JujuError as error:
        yield error


def mesh_refusals(
    changes: Changes,
    permissions: Permissions,
    rules: UpgradeRules,
    before: ReleaseRule | None,
    after: ReleaseRule | None,
) -> Iterator[AirgapError]:
    """Refuse a change of mesh without permission, together with a release upgrade, or back."""
    mesh = rules.mesh
    removed = changes.old_mesh
    if removed and permissions.to_mesh != mesh.name:
        names = ", ".join(item.name for item in removed)
        yield PlanError(
            f"the archive has the {mesh.name} mesh, and moving to it removes {names}",
            f"allow it (to-mesh={mesh.name}), or attach archives of the running mesh",
        )
    if removed and before and after and before is not after:
        yield PlanError(
            f"moving to the {mesh.name} mesh requires Charmed Kubeflow {after.release}, and "
            f"the model runs {before.release}",
            f"upgrade to {after.release} first, with archives of the running mesh",
        )
    running = {item.charm: item.name for item in changes.running.applications.values()}
    planned = {item.charm.name for item in changes.target.applications.values()}
    if (
        mesh.deployed[0] in running
        and mesh.deployed[0] not in planned
        and planned & {*mesh.removed}
    ):
        yield PlanError(
            f"the model has the {mesh.name} mesh ({running[mesh.deployed[0]]}), and the archive "
            "has the previous mesh, to which a model cannot return",
            f"attach the archives of a release with the {mesh.name} mesh",
        )
