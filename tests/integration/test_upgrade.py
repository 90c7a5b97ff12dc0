"""An upgrade on a real cluster: refused, shown, killed in the middle, and finished.

The applications are those whose way from 1.8 to 1.9 has special steps: with the metadata of the
real charms where that is at hand, else with what this project states of them. On Juju 4 all are
sidecar charms on one base, and none gets further endpoints: what a Juju 3 does beside, the
functional tests show.
"""

from pathlib import Path

import pytest

from testbed import Testbed
from tests.integration.walks import Upgrade, gateway_images, refusal, require_verified
from tests.sample_release import (
    UPGRADED_CHARMS,
    Release,
    SampleRelease,
    at_istio_version,
    charm_file,
    istio_version,
    pilot_of,
    stated_release,
    with_later_endpoints,
)
from tests.support.documented_upgrade import (
    OPTIONS,
    changes_of,
    documented,
    words_of_table,
    write_carried,
)
from tests.support.operator_steps import APPLICATION, UNIT, Operator

# Among the upgrades until its walk has been seen to its end on the testbed.
pytestmark = pytest.mark.upgrades

# What is removed and deployed again, as its storage changes.
REPLACED = {"mlmd"}
ALLOWED = {"allow-data-loss": "mlmd"}
JUMP = "an upgrade goes only from one release to the next"


@pytest.fixture(scope="module")
def releases(facts: Path | None) -> dict[str, Release]:
    releases = [
        Release.from_folder(facts / name, UPGRADED_CHARMS) if facts else stated_release(name)
        for name in ("1.8", "1.9", "1.10")
    ]
    return {release.name: release for release in with_later_endpoints(releases)}


@pytest.fixture(scope="module")
def carried(
    releases: dict[str, Release], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, SampleRelease]:
    """The files of each release, with the charms between 1.8 and it."""
    return write_carried(releases, tmp_path_factory.mktemp("upgrade"), "1.8")


@pytest.fixture(scope="module")
def artifacts(carried: dict[str, SampleRelease]) -> SampleRelease:
    """In place of those of the other tests."""
    return carried["1.8"]


@pytest.fixture(scope="module")
def expected(releases: dict[str, Release], carried: dict[str, SampleRelease]) -> list[str]:
    """What the guide from 1.8 to 1.9 changes."""
    return documented(releases["1.8"], carried["1.9"].release, REPLACED)


@pytest.fixture(scope="module")
def deployed(operator: Operator, artifacts: SampleRelease) -> Operator:
    """An operator with 1.8, verified."""
    podspec = [charm.name for charm in artifacts.release.charms if charm.podspec]
    operator.configure(**{"excluded-charms": ",".join(podspec)})
    operator.give_juju_user()
    operator.wait_until_says("ready")
    operator.run("deploy")
    require_verified(operator)
    return operator


def test_a_jump_over_a_release_is_refused(
    deployed: Operator, carried: dict[str, SampleRelease]
) -> None:
    before = deployed.picture()
    deployed.attach(carried["1.10"])
    assert JUMP in refusal(deployed, "preflight")
    assert JUMP in refusal(deployed, "refresh", **ALLOWED)
    assert JUMP in refusal(deployed, "refresh", **ALLOWED, **{"dry-run": True})
    assert deployed.picture() == before


def test_data_is_not_lost_without_a_word(
    deployed: Operator, carried: dict[str, SampleRelease]
) -> None:
    before = deployed.picture()
    deployed.attach(carried["1.9"])
    assert "allow-data-loss=mlmd" in refusal(deployed, "preflight")
    said = refusal(deployed, "refresh")
    assert "mlmd must be removed with its storage" in said
    assert "allow-data-loss=mlmd" in said
    assert "allow-data-loss=mlmd" in refusal(deployed, "refresh", **{"allow-data-loss": "envoy"})
    assert deployed.picture() == before


def test_a_dry_run_shows_the_walk_and_changes_nothing(
    deployed: Operator, expected: list[str]
) -> None:
    before = deployed.picture()
    walk = deployed.run("refresh", **ALLOWED, **{"dry-run": True}).results["walk"]
    assert walk.startswith("From 1.8 to 1.9: ")
    assert "mlmd, the ML metadata (LOST in the upgrade)" in walk
    assert changes_of(words_of_table(walk)) == expected
    preflight = deployed.juju.run(UNIT, "preflight", ALLOWED, wait=1800).results
    assert preflight["walk"] == walk
    assert "ok  upgrade: From 1.8 to 1.9: " in preflight["findings"]
    assert deployed.picture() == before


def test_killed_in_the_middle_the_next_run_completes_the_walk(
    deployed: Operator, expected: list[str], testbed: Testbed | None
) -> None:
    upgrade = Upgrade(deployed, REPLACED)
    if testbed:
        upgrade.kill_at("refresh istio-pilot from 1.19.10 to 1.20.6", testbed)
        assert gateway_images(deployed, testbed) == []
    upgrade.run_to_end()
    assert upgrade.changes == expected
    assert upgrade.failed_units == set()


def test_all_is_active_and_verified_at_the_end(
    deployed: Operator, carried: dict[str, SampleRelease], testbed: Testbed | None
) -> None:
    require_verified(deployed)
    status = deployed.juju.status()
    assert set(status.apps) - {APPLICATION} == set(carried["1.9"].release.applications)
    assert all(len(application.units) == 1 for application in status.apps.values())
    version = istio_version(pilot_of(carried["1.9"].release))
    assert version in str(deployed.juju.config("istio-pilot")["image-configuration"])
    if testbed:
        (image,) = gateway_images(deployed, testbed)
        assert image.startswith(f"{deployed.site.registry}/")
        assert image.endswith(f":{version}")


def test_at_the_end_nothing_is_left_to_do(deployed: Operator) -> None:
    before = deployed.picture()
    assert deployed.run("refresh").results["changes"] == "none"
    assert deployed.picture() == before


def test_istio_pilot_fails_on_a_jump_that_is_made_by_hand(
    deployed: Operator, releases: dict[str, Release], tmp_path: Path
) -> None:
    """Else it would show nothing that no unit failed on the way."""
    pilot = pilot_of(releases["1.9"])
    jump = tmp_path / "istio-pilot.charm"
    jump.write_bytes(charm_file(at_istio_version(pilot, istio_version(pilot), "1.24.2"), OPTIONS))
    deployed.juju.refresh("istio-pilot", path=jump)
    deployed.juju.wait(
        lambda status: any(
            unit.workload_status.current == "error"
            and "upgrade-charm" in unit.workload_status.message
            for unit in status.apps["istio-pilot"].units.values()
        )
    )
