"""The main job on the testbed, as an operator does it: ``make demo``."""

import argparse
import shutil
import sys
import time
from pathlib import Path

import jubilant

from testbed import Testbed, TestbedError
from tests.sample_release import SampleRelease
from tests.support.operator_steps import PROJECT, UNIT, Operator, make_artifacts, site_of_testbed

_MODEL = "kubeflow"


def main() -> int:
    """Bring the testbed up and deploy to it; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=PROJECT / "build", help="for what is made")
    parser.add_argument(
        "--files", action="store_true", help="make what an operator needs, and deploy nothing"
    )
    arguments = parser.parse_args()
    output: Path = arguments.output
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"\n=== {time.monotonic() - started:4.0f} s  {text}", flush=True)

    try:
        say("Bringing up an air-gapped Kubernetes and Juju")
        testbed = Testbed()
        testbed.up()
        operator = Operator(site_of_testbed(testbed), _MODEL)
        say("Making images.tar.gz and charms.tar.gz")
        artifacts = make_artifacts(output)
        say("Packing the charm")
        charm = testbed.pack(PROJECT, output)
        if arguments.files:
            _give_files(testbed, output, charm, artifacts)
            say(f"Done. All is in {output}; end the air gap with: make testbed-down")
            return 0
        say("juju add-model, juju deploy, juju config")
        operator.add_model()
        operator.deploy_charm(charm, artifacts)
        operator.configure()
        operator.give_juju_user()
        say(f"juju run {UNIT} preflight")
        _show(operator.run("preflight"))
        say(f"juju run {UNIT} deploy")
        _show(operator.run("deploy"))
        say(f"juju run {UNIT} verify")
        report = operator.run("verify")
        say("juju status --relations")
        print(operator.juju.cli("status", "--relations"))
        say("The report of verify")
        _show(report)
        say(f"Done. Look around with {testbed.juju_wrapper}; end it with: make testbed-down")
    except (TestbedError, jubilant.CLIError, jubilant.TaskError, TimeoutError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def _give_files(testbed: Testbed, output: Path, charm: Path, artifacts: SampleRelease) -> None:
    """Put everything into one folder, under the names that the documents use."""
    for name, source in (
        ("ckf-airgap_amd64.charm", charm),
        ("images.tar.gz", artifacts.images.path),
        ("charms.tar.gz", artifacts.charms.path),
        ("bundle.yaml", artifacts.bundle),
        ("ca.crt", testbed.registry.ca),
        ("juju", testbed.juju_client),
    ):
        if source.resolve() != (output / name).resolve():
            shutil.copy(source, output / name)
    (output / "environment").write_text(f"export PATH={testbed.juju_wrapper.parent}:$PATH\n")


def _show(task: jubilant.Task) -> None:
    for line in task.log:
        print(f"  {line}")
    for name, value in task.results.items():
        text = str(value).replace("\n", "\n      ")
        print(f"  {name}: {text}")


if __name__ == "__main__":
    sys.exit(main())
