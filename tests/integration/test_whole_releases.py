"""Whole releases of Charmed Kubeflow, packed, and deployed from what was packed.

Not part of the other integration tests: ``tox -e releases``.
"""

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from testbed import Testbed
from tests.integration.connected_side import ConnectedSide
from tests.integration.whole_release import (
    RELEASES,
    deploy_and_verify,
    outside_release,
    pack_release,
    prepare,
)
from tests.sample_release import SampleRelease
from tests.support.operator_steps import Operator, Site

pytestmark = pytest.mark.releases
LAYOUTS = ("docker", "oci")


@pytest.fixture(scope="module", params=list(RELEASES))
def connected(
    request: pytest.FixtureRequest,
    facts: Path | None,
    site: Site,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[ConnectedSide]:
    folder = tmp_path_factory.mktemp("connected")
    with outside_release(str(request.param), facts, site, folder) as found:
        yield found


@pytest.fixture(scope="module", params=LAYOUTS)
def artifacts(
    request: pytest.FixtureRequest,
    connected: ConnectedSide,
    facts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> SampleRelease:
    """The release as it is packed."""
    output = tmp_path_factory.mktemp("packed")
    start = time.monotonic()
    done = pack_release(connected, facts, output, "--format", str(request.param))
    print(
        f"\nCKF {connected.release.name}, {request.param}: packed {len(done['charms'])} charms "
        f"and {len(done['images'])} images in {time.monotonic() - start:.0f} s; "
        f"images.tar.gz {done['images_bytes'] / 1e6:.0f} MB"
    )
    return connected.packed(output)


@pytest.fixture(scope="module")
def operator(site: Site, charm: Path, artifacts: SampleRelease) -> Generator[Operator]:
    operator = Operator(site, "kubeflow")
    operator.add_model()
    operator.deploy_charm(charm, artifacts, with_bundle=False)
    yield operator
    operator.destroy_model()


def test_a_whole_release_runs_from_the_registry(
    artifacts: SampleRelease, operator: Operator, testbed: Testbed | None
) -> None:
    # Of each archive a registry path of its own, so that nothing is there before.
    place = f"{operator.site.registry}/{artifacts.images.path.parent.name}"
    prepare(operator, artifacts.release, place)
    before = _used_memory()
    deployed = deploy_and_verify(operator, artifacts.release, testbed)
    memory = _used_memory() - before
    print(
        f"\nCKF {artifacts.release.name}: {deployed.containers} containers; "
        f"deploy {deployed.deploy_seconds:.0f} s, verify {deployed.verify_seconds:.0f} s; "
        f"memory of all that was deployed {memory / 1024:.1f} GiB"
    )
    again = operator.run("deploy", wait=3600).results
    assert again["changes"] == "none"


def _used_memory() -> int:
    """Tell the memory in use on this machine, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (values["MemTotal"] - values["MemAvailable"]) // 1024
