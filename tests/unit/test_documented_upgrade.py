"""The walk through the archives of the upgrades on the testbed is the documented one.

With stand-ins as Juju 4 takes them: no podspec charm, one base. What these add, the other tests of
upgrades show.
"""

import tarfile
from itertools import pairwise
from pathlib import Path

import pytest

from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.rendering import in_words, walk_table
from ckf_airgap.upgrades.start_and_target import Permissions
from tests.sample_release import (
    ISTIO_VERSIONS,
    UPGRADED_CHARMS,
    Release,
    images_named_by,
    istio_version,
    present_release_folders,
    stated_release,
    with_charms_between,
    with_later_endpoints,
    write_charm_archive,
)
from tests.support.documented_upgrade import (
    OPTIONS,
    WORKLOAD,
    changes_of,
    documented,
    words_of_log,
    words_of_table,
)
from tests.unit.upgrade_model import KilledError, SimulatedModel, read_charms, target_of

FOLDERS = {folder.name: folder for folder in present_release_folders()}
JUJU = "4.1-beta2"
REPLACED = {"1.9": {"mlmd"}, "1.10": {"minio"}, "1.11": set[str]()}
TO_1_9 = [
    "scale istio-ingressgateway 0",
    "refresh istio-pilot 1.18.7",
    "refresh istio-pilot 1.19.10",
    "refresh istio-pilot 1.20.6",
    "refresh istio-pilot 1.21.2",
    "refresh istio-pilot 1.22.0",
    "refresh istio-ingressgateway",
    "scale istio-ingressgateway 1",
    "unrelate envoy:grpc mlmd:grpc",
    "unrelate kfp-metadata-writer:grpc mlmd:grpc",
    "remove mlmd --destroy-storage",
    "deploy mlmd",
    "refresh envoy",
    "refresh katib-controller",
    "refresh katib-db-manager",
    "refresh kfp-metadata-writer",
    "refresh kubeflow-volumes",
    "integrate envoy:grpc mlmd:grpc",
    "integrate katib-controller:k8s-service-info katib-db-manager:k8s-service-info",
    "integrate kfp-metadata-writer:grpc mlmd:grpc",
]


def release_of(source: str, name: str) -> Release:
    if source == "stated":
        return stated_release(name)
    if name not in FOLDERS:
        pytest.skip(f"no metadata of CKF {name} at hand")
    return Release.from_folder(FOLDERS[name], (*UPGRADED_CHARMS, "minio"))


class Upgrade:
    """An upgrade from one release to another, with the archive that is carried for it."""

    def __init__(self, before: Release, after: Release, folder: Path) -> None:
        self.before, self.after = before, with_charms_between(before, after)
        own = len(after.charms)
        charms = read_charms(before.charms, folder / "before", options=OPTIONS)
        self._runs = target_of(charms, bundle=before.bundle)
        self.target = target_of(
            read_charms(after.charms, folder / "after", options=OPTIONS),
            read_charms(self.after.charms[own:], folder / "between", options=OPTIONS),
            bundle=after.bundle,
        )

    def model(self) -> SimulatedModel:
        return SimulatedModel(self._runs, JUJU)

    def words(self, replaced: set[str]) -> list[str]:
        model = self.model()
        permissions = Permissions(data_loss=frozenset(replaced))
        walk = plan_walk(model.running(self.target), self.target, permissions=permissions)
        assert words_of_table(walk_table(walk)) == [in_words(step) for _, step in walk.steps]
        return [in_words(step) for _, step in walk.steps]


def test_the_documented_sequence_is_what_it_is() -> None:
    before, after = stated_release("1.8"), stated_release("1.9")
    assert documented(before, with_charms_between(before, after), {"mlmd"}) == TO_1_9


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [("stated", "1.8", "1.9"), *(("real", *pair) for pair in pairwise(["1.8", *REPLACED]))],
)
def test_the_walk_is_the_documented_one(
    source: str, before: str, after: str, tmp_path: Path
) -> None:
    pair = with_later_endpoints([release_of(source, name) for name in (before, after)])
    upgrade = Upgrade(pair[0], pair[1], tmp_path)
    expected = documented(upgrade.before, upgrade.after, REPLACED[after])
    words = upgrade.words(REPLACED[after])
    assert changes_of(words) == expected
    gone = f"wait until istio-ingressgateway has no unit and the Deployment {WORKLOAD} is gone"
    assert words[1] == gone


@pytest.mark.parametrize(("source", "last"), [("stated", "1.10"), ("real", "1.11")])
def test_no_charm_gets_further_endpoints(source: str, last: str) -> None:
    names = [name for name in ("1.8", *REPLACED) if name != "1.11" or last == "1.11"]
    releases = [release_of(source, name) for name in names]
    changed = with_later_endpoints(releases)
    for before, after in pairwise(changed):
        olds = {charm.name: {end.name for end in charm.endpoints} for charm in before.charms}
        for charm in after.charms:
            assert {end.name for end in charm.endpoints} <= olds.get(charm.name, {*()}) or (
                charm.name not in olds
            ), charm.name
    # Each keeps those that it has, and its relations.
    for release, other in zip(releases, changed, strict=True):
        for charm, more in zip(release.charms, other.charms, strict=True):
            assert more.endpoints[: len(charm.endpoints)] == charm.endpoints
        assert (release.relations, release.images) == (other.relations, other.images)


def test_a_walk_out_of_order_is_told(tmp_path: Path) -> None:
    """What the others compare with is no mirror of the walk."""
    upgrade = Upgrade(stated_release("1.8"), stated_release("1.9"), tmp_path)
    words = upgrade.words({"mlmd"})
    for wrong in (words[2:], [*words[4:6], *words[2:4], *words[6:]], words[:-1], words[::-1]):
        assert changes_of(wrong) != TO_1_9


def test_what_two_runs_have_done_is_read_from_their_logs(tmp_path: Path) -> None:
    upgrade = Upgrade(stated_release("1.8"), stated_release("1.9"), tmp_path)
    for moment in ("kill_before", "kill_after"):
        model, lines = upgrade.model(), list[str]()
        setattr(model, moment, 3)
        with pytest.raises(KilledError):
            walk_once(model, upgrade, lines)
        setattr(model, moment, None)
        walk_once(model, upgrade, lines)
        assert changes_of(words_of_log(lines)) == TO_1_9


def walk_once(model: SimulatedModel, upgrade: Upgrade, lines: list[str]) -> None:
    permissions = Permissions(data_loss=frozenset({"mlmd"}))
    running = model.running(upgrade.target)
    walk = plan_walk(running, upgrade.target, permissions=permissions, memory=model.memory)
    model.walker(lambda line: lines.append(f"2026-11-26 14:00:00 +0000 UTC {line}")).walk(walk)


def test_an_archive_holds_the_charms_between_under_names_of_their_own(tmp_path: Path) -> None:
    release = with_charms_between(stated_release("1.8"), stated_release("1.9"))
    pilots = [charm for charm in release.charms if charm.name == "istio-pilot"]
    versions = [istio_version(charm) for charm in pilots]
    assert versions == ["1.22.0", "1.18.7", "1.19.10", "1.20.6", "1.21.2"]
    assert {image for charm in pilots for image in images_named_by(charm)} <= {*release.images}
    made = write_charm_archive(release.charms, tmp_path / "charms.tar.gz", OPTIONS)
    names = [each.file_name for each in made.charms]
    with tarfile.open(made.path) as archive:
        assert archive.getnames() == names
    assert len(set(names)) == len(release.charms) == len(UPGRADED_CHARMS) + 4


def test_no_two_charms_between_are_of_one_minor_version() -> None:
    minors = [version.rpartition(".")[0] for version in ISTIO_VERSIONS]
    assert minors == [f"1.{number}" for number in range(17, 29)]


@pytest.mark.parametrize("name", ["1.8", "1.9"])
def test_the_stated_charms_are_like_the_real_ones(name: str) -> None:
    """As far as an upgrade goes by it; where they were not, the testbed would show less."""
    stated, real = stated_release(name), release_of("real", name)
    others = {charm.name: charm for charm in real.charms}
    for charm in stated.charms:
        other = others[charm.name]
        assert charm.podspec == other.podspec, charm.name
        assert bool(charm.storages) == bool(other.storages), charm.name
        sources = [{each.upstream_source for each in of.resources} for of in (charm, other)]
        assert sources[0] == sources[1], charm.name
        ends = [{(e.name, e.role, e.interface) for e in of.endpoints} for of in (charm, other)]
        assert ends[0] <= ends[1], charm.name
        assert images_named_by(charm) <= images_named_by(other), charm.name
    assert {*stated.relations} <= {*real.relations}
    assert {*stated.images} <= {*real.images}
