"""From release to release, from 1.8 to 1.11: a part of each, killed at each step, and all of each.

Not part of the other integration tests: ``tox -e upgrades``. The charms are stand-ins with the
metadata of the real ones, as in the other test of an upgrade.
"""

import time
from collections.abc import Generator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from testbed import Testbed
from tests.integration.walks import Upgrade, gateway_images, require_verified
from tests.sample_release import (
    UPGRADED_CHARMS,
    ImageOptions,
    Release,
    SampleRelease,
    images_named_by,
    istio_version,
    pilot_of,
    with_charms_between,
    with_later_endpoints,
    write_release,
)
from tests.support.documented_upgrade import OPTIONS, documented
from tests.support.operator_steps import Operator, Site

pytestmark = pytest.mark.upgrades
# What is removed and deployed again on the way to each, as its storage changes.
REPLACED = {"1.9": {"mlmd"}, "1.10": {"minio"}, "1.11": set[str]()}
NAMES = ("1.8", *REPLACED)
PART = (*UPGRADED_CHARMS, "minio")
KNATIVE_VERSION = "v1.12.0"


@pytest.fixture(scope="module", params=["part", "whole"])
def releases(request: pytest.FixtureRequest, facts: Path | None) -> tuple[Release, ...]:
    lacking = [name for name in NAMES if facts is None or not (facts / name).is_dir()]
    if facts is None or lacking:
        pytest.skip(f"no facts about CKF {', '.join(lacking)}: set CKF_FACTS")
    names = PART if request.param == "part" else None
    found = [Release.from_folder(facts / name, names) for name in NAMES]
    return with_later_endpoints([_with_all_images(release, facts) for release in found])


def _with_all_images(release: Release, facts: Path) -> Release:
    """Add what the lists of the releases lack, and what the charms of Knative do not name."""
    named = {word for charm in release.charms for word in images_named_by(charm)}
    keys = yaml.safe_load((facts / "knative-keymap.yaml").read_text())
    knative = {
        f"gcr.io/knative-releases/{tail}:{KNATIVE_VERSION}"
        for tails in keys.values()
        for tail in tails.values()
    }
    # The key of a map looks like an image too, but for its end.
    images = {*release.images, *knative, *(word for word in named if not word.endswith(":"))}
    return replace(release, images=tuple(sorted(images)))


@pytest.fixture(scope="module")
def artifacts(
    releases: tuple[Release, ...], tmp_path_factory: pytest.TempPathFactory
) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(releases[0], tmp_path_factory.mktemp("first"), ImageOptions(), OPTIONS)


@pytest.fixture(scope="module")
def operator(
    request: pytest.FixtureRequest, site: Site, charm: Path, artifacts: SampleRelease
) -> Generator[Operator]:
    operator = Operator(site, "kubeflow")
    operator.add_model()
    operator.deploy_charm(charm, artifacts)
    yield operator
    if not request.config.getoption("--keep-models"):
        operator.destroy_model()


def test_from_release_to_release(
    releases: tuple[Release, ...], operator: Operator, testbed: Testbed | None, tmp_path: Path
) -> None:
    podspec = [charm.name for charm in releases[0].charms if charm.podspec]
    operator.configure(**{"excluded-charms": ",".join(podspec)})
    operator.give_juju_user()
    operator.wait_until_says("ready")
    operator.run("deploy", wait=3600)
    require_verified(operator, 3000)
    is_part = len(releases[0].applications) <= len(PART)
    for before, after in pairwise(releases):
        made = write_release(
            with_charms_between(before, after), tmp_path / after.name, ImageOptions(), OPTIONS
        )
        operator.attach(made)
        start = time.monotonic()
        upgrade = Upgrade(operator, REPLACED[after.name])
        if testbed and is_part:
            upgrade.kill_at_each_change(testbed)
        else:
            upgrade.run_to_end()
        walked = time.monotonic() - start
        require_verified(operator, 3000)
        # What a release does not have any more stays, until the operator removes it.
        assert set(after.applications) <= set(operator.juju.status().apps)
        print(
            f"\nCKF {before.name} to {after.name}: {len(after.applications)} applications, "
            f"{len(upgrade.changes)} changes in {upgrade.runs} runs; walked in {walked:.0f} s, "
            f"verified after {time.monotonic() - start:.0f} s"
        )
        expected = documented(before, made.release, REPLACED[after.name])
        if is_part:
            assert upgrade.changes == expected
        else:
            # Of all applications only the order of Istio is told by names; the rest is in none.
            assert _istio(upgrade.changes) == _istio(expected)
        assert upgrade.failed_units == set()
        if testbed:
            (image,) = gateway_images(operator, testbed)
            assert image.endswith(f":{istio_version(pilot_of(after))}")
        assert operator.run("refresh", wait=3600).results["changes"] == "none"


def _istio(changes: list[str]) -> list[str]:
    return [change for change in changes if change.split()[1].startswith("istio-")]
