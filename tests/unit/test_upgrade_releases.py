"""Upgrades between the real releases, as far as their metadata is at hand."""

from itertools import pairwise
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_version import version_of
from ckf_airgap.errors import AirgapError
from ckf_airgap.upgrades.rules import load_rules
from ckf_airgap.upgrades.start_and_target import Permissions, UpgradeTarget
from tests.sample_release import (
    ISTIO_VERSIONS,
    Charm,
    Release,
    at_istio_version,
    istio_version,
    pilot_of,
    present_release_folders,
)
from tests.unit.upgrade_model import (
    NEW_BASE,
    OLD_BASE,
    KilledError,
    SimulatedModel,
    read_charms,
    target_of,
)

# What the guide from 1.9 to 1.10 moves to another base.
MOVED = (
    *("argo-controller", "kfp-api", "kfp-metadata-writer", "kfp-persistence"),
    *("kfp-profile-controller", "kfp-schedwf", "kfp-ui", "kfp-viewer", "kfp-viz"),
)
FOLDERS = {folder.name: folder for folder in present_release_folders()}
ORDER = [rule.release for rule in load_rules().releases]
NAMES = sorted(FOLDERS, key=ORDER.index)


def bases(release: str) -> dict[str, list[str]]:
    is_new = ORDER.index(release) >= ORDER.index("1.10")
    return {charm: [NEW_BASE if is_new else OLD_BASE] for charm in MOVED}


def pilots(release: Release) -> list[Charm]:
    """Make the charms between of the release's own istio-pilot."""
    pilot = pilot_of(release)
    own = istio_version(pilot)
    return [at_istio_version(pilot, own, version) for version in ISTIO_VERSIONS if version != own]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, UpgradeTarget]:
    return {
        name: _target(Release.from_folder(folder), tmp_path_factory.mktemp(name))
        for name, folder in FOLDERS.items()
    }


def _target(release: Release, folder: Path) -> UpgradeTarget:
    charms = read_charms(release.charms, folder / "charms", bases(release.name))
    return target_of(charms, read_charms(pilots(release), folder / "between"))


def upgrade(model: SimulatedModel, target: UpgradeTarget) -> None:
    model.upgrade(target, permissions=Permissions(data_loss=frozenset({"mlmd", "minio"})))


@pytest.mark.parametrize("name", NAMES)
def test_each_release_is_known_by_its_versions(
    name: str, targets: dict[str, UpgradeTarget]
) -> None:
    found = load_rules().release_of(
        (item.charm.name, version)
        for item in targets[name].applications.values()
        if (version := version_of(item.charm))
    )
    assert found and found.release == name


@pytest.mark.parametrize(("before", "after"), list(pairwise(NAMES)))
def test_from_each_release_to_the_next(
    before: str, after: str, targets: dict[str, UpgradeTarget]
) -> None:
    model = SimulatedModel(targets[before])
    upgrade(model, targets[after])
    for name, item in targets[after].applications.items():
        assert model.applications[name].target.digest == item.digest, name
        assert model.applications[name].is_active, name
        assert model.applications[name].units == 1, name
    istio = [command for command in model.commands if "istio" in command.split()[1]]
    first, last = (targets[name].applications["istio-pilot"].version for name in (before, after))
    assert first and last
    minors = [
        f"refresh istio-pilot {version}"
        for version in ISTIO_VERSIONS
        if first.minor < int(version.split(".")[1]) <= last.minor
    ]
    assert [command for command in istio if not command.startswith("integrate")] == [
        "scale istio-ingressgateway 0",
        *minors,
        "refresh istio-ingressgateway",
        "scale istio-ingressgateway 1",
    ]
    moved = {command.split()[1] for command in model.commands if "--base" in command}
    assert moved == ({*MOVED} if after == "1.10" else set())
    planned = {frozenset(pair) for pair in targets[after].relations}
    assert planned <= {each.key for each in model.relations}


@pytest.mark.skipif("1.8" not in FOLDERS or "1.9" not in FOLDERS, reason="no metadata at hand")
def test_the_special_steps_from_1_8_to_1_9(targets: dict[str, UpgradeTarget]) -> None:
    model = SimulatedModel(targets["1.8"])
    upgrade(model, targets["1.9"])
    special = {"mlmd", "envoy", "katib-controller", "kubeflow-volumes"}
    found = [
        command
        for command in model.commands
        if not command.startswith("refresh kfp")
        and any(word.partition(":")[0] in special for word in command.split()[1:])
    ]
    assert found == [
        "unrelate mlmd:grpc envoy:grpc",
        "unrelate mlmd:grpc kfp-metadata-writer:grpc",
        "remove mlmd --destroy-storage",
        "deploy mlmd",
        "scale envoy 0",
        "scale katib-controller 0",
        "scale kubeflow-volumes 0",
        "refresh envoy",
        "refresh katib-controller",
        "refresh kubeflow-volumes",
        "scale envoy 1",
        "scale katib-controller 1",
        "scale kubeflow-volumes 1",
        "integrate katib-db-manager:k8s-service-info katib-controller:k8s-service-info",
        "integrate mlmd:grpc envoy:grpc",
        "integrate mlmd:grpc kfp-metadata-writer:grpc",
    ]
    for pair in (
        "kubeflow-dashboard:links training-operator:dashboard-links",
        "dex-auth:dex-oidc-config oidc-gatekeeper:dex-oidc-config",
    ):
        assert f"integrate {pair}" in model.commands


@pytest.mark.parametrize(("before", "after"), list(pairwise(NAMES)))
def test_each_is_finished_wherever_it_was_killed(
    before: str, after: str, targets: dict[str, UpgradeTarget]
) -> None:
    undisturbed = SimulatedModel(targets[before])
    upgrade(undisturbed, targets[after])
    # Every seventh: each command of a small upgrade is tried elsewhere.
    for number in range(1, len(undisturbed.commands), 7):
        model = SimulatedModel(targets[before])
        model.kill_after = number
        with pytest.raises(KilledError):
            upgrade(model, targets[after])
        model.kill_after = None
        upgrade(model, targets[after])
        assert model.picture() == undisturbed.picture()
        assert sorted(model.commands) == sorted(undisturbed.commands), number


@pytest.mark.parametrize(
    ("before", "after"),
    [(a, b) for a in NAMES for b in NAMES if abs(NAMES.index(a) - NAMES.index(b)) > 1],
)
def test_no_release_is_jumped_over(
    before: str, after: str, targets: dict[str, UpgradeTarget]
) -> None:
    model = SimulatedModel(targets[before])
    with pytest.raises(
        AirgapError, match=r"only from one release to the next|charms cannot be downgraded"
    ):
        upgrade(model, targets[after])
    assert model.commands == []
