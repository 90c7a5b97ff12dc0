"""How long a deployment takes: one bundle of all applications against a few at a time.

``python3 -m benchmarks.rollout --facts DIRECTORY`` starts the testbed and deploys a release with
idle stand-ins for its charms. The time is from the first ``juju deploy`` until every agent is idle
and every relation is there. Each way has a model of its own, one after the other in the order
given; the first one also fills the node's image cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jubilant

from ckf_airgap.archives.sources import FileSource
from ckf_airgap.deployment import release as product
from ckf_airgap.deployment.deployer import Deployer
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju import rollout
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.planning.plan import Plan
from ckf_airgap.planning.settings import PlanSettings
from testbed import Testbed
from tests.conftest import PROJECT
from tests.sample_release import CharmOptions, Release, SampleRelease, write_release

_POLL_SECONDS = 3
_INSIDE = "CKF_AIRGAP_INSIDE"


@dataclass(frozen=True)
class _Outcome:
    at_once: int
    idle_after: float | None
    idle: int


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser("python3 -m benchmarks.rollout", description=__doc__)
    parser.add_argument("--facts", type=Path, help="a release's folder; the built-in one if not")
    parser.add_argument(
        "--at-once",
        default=f"{rollout.AT_ONCE},0",
        metavar="NUMBERS",
        help="how many may start at a time, 0 for all in one bundle (default: %(default)s)",
    )
    parser.add_argument("--limit", type=float, default=2400, help="seconds (default: %(default)s)")
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:
        return _run_inside()
    release = Release.from_folder(arguments.facts) if arguments.facts else Release.builtin()
    with tempfile.TemporaryDirectory(prefix="ckf-airgap-benchmark-") as folder:
        made = write_release(
            release, Path(folder), charm_options=CharmOptions(podspec_as_sidecar=True)
        )
        ways = [int(word) for word in arguments.at_once.split(",")]
        outcomes = [_measure(made, Path(folder), way, arguments.limit) for way in ways]
    _print(outcomes, len(release.applications), arguments.limit)
    return 0


def _run_inside() -> int:
    """Run this program again where the controller and the registry can be reached."""
    testbed = Testbed()
    testbed.up()
    environment = [f"{_INSIDE}=1", f"PYTHONPATH={PROJECT}{os.pathsep}{PROJECT / 'lib'}"]
    words = ["env", *environment, sys.executable, "-m", "benchmarks.rollout", *sys.argv[1:]]
    return subprocess.run(testbed.command(words)).returncode


def _measure(made: SampleRelease, folder: Path, at_once: int, limit: float) -> _Outcome:
    testbed = Testbed()
    name = f"rollout-{at_once}"
    juju = jubilant.Juju(cli_binary=str(testbed.juju_client))
    juju.add_model(name)
    model = JujuModel(jubilant.Juju(model=name, cli_binary=str(testbed.juju_client)), "admin")
    assert testbed.registry.ca
    settings = PlanSettings.parse(
        location=RegistryLocation.parse(f"{testbed.registry.host}/ckf"),
        model=name,
        bundle=made.bundle.read_text(),
    )

    def report(text: str) -> None:
        print(f"  {text}", flush=True)

    deployed = product.Release(
        product.Inputs(
            images=FileSource(made.images.path),
            charms=FileSource(made.charms.path),
            settings=settings,
            registry_ca=testbed.registry.ca.read_text(),
        ),
        folder=folder / name,
        templates=PROJECT / "templates",
        report=report,
    )
    deployed.push()
    plan = deployed.plan().without_incomplete()
    at_a_time = at_once or len(made.release.applications)
    start = time.monotonic()
    Deployer(deployed, model, report, at_once=at_a_time).deploy(plan)
    outcome = _wait(plan, juju, at_once, start, limit)
    juju.destroy_model(name, destroy_storage=True, force=True)
    return outcome


def _wait(plan: Plan, juju: jubilant.Juju, at_once: int, start: float, limit: float) -> _Outcome:
    while True:
        units = [unit for app in juju.status().apps.values() for unit in app.units.values()]
        idle = sum(unit.juju_status.current == "idle" for unit in units)
        elapsed = time.monotonic() - start
        if idle >= len(plan.applications):
            return _Outcome(at_once, elapsed, idle)
        if elapsed > limit:
            return _Outcome(at_once, None, idle)
        time.sleep(_POLL_SECONDS)


def _print(outcomes: list[_Outcome], applications: int, limit: float) -> None:
    print(f"{applications} applications")
    print(f"{'starting at once':<18} {'idle':>5} {'seconds':>8} {'ratio':>6}")
    least = min((o.idle_after for o in outcomes if o.idle_after), default=None)
    for outcome in outcomes:
        shown = "all" if outcome.at_once == 0 else str(outcome.at_once)
        elapsed = outcome.idle_after or limit
        more = "" if outcome.idle_after else ">"
        seconds = f"{more}{elapsed:.0f}"
        ratio = f"{more}{elapsed / least:.1f}" if least else ""
        print(f"{shown:<18} {outcome.idle:>5} {seconds:>8} {ratio:>6}")


if __name__ == "__main__":
    sys.exit(main())
