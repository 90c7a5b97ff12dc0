"""Every command of the documents, in their order, on the testbed."""

import re
import subprocess
import sys
from collections.abc import Collection, Generator, Mapping
from pathlib import Path

import pytest
import yaml

from testbed import Testbed
from tests.support.documents import blocks
from tests.support.operator_steps import PROJECT, Operator, site_of_testbed

_MOST_SECONDS = 900
_FEW = (
    "argo-controller",
    "kubeflow-dashboard",
    "kubeflow-profiles",
    "kubeflow-volumes",
    "minio",
)
_PRELUDE = """
set -eu -o pipefail
ckf-airgap() { %s -m ckf_airgap "$@"; }
"""


@pytest.fixture(scope="module")
def folder(testbed: Testbed | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make demo-files`` makes, with fewer applications: test_main_job has them all."""
    if testbed is None:
        pytest.skip("the documents are tried on the testbed")
    output = tmp_path_factory.mktemp("documents")
    words = ["-m", "tests.demo", "--files", "--output", str(output)]
    subprocess.run([sys.executable, *words], check=True, cwd=PROJECT)
    keep_in_bundle(output / "bundle.yaml", _FEW)
    output.joinpath("other-ca.crt").write_bytes(output.joinpath("ca.crt").read_bytes())
    return output


@pytest.fixture
def no_model(testbed: Testbed) -> Generator[None]:
    """Neither before nor after."""
    operator = Operator(site_of_testbed(testbed), "kubeflow")
    operator.destroy_model()
    yield
    operator.destroy_model()


def run(document: str, folder: Path, testbed: Testbed, changes: Mapping[str, str]) -> str:
    """Run the commands of a document; gives what they print.

    Args:
        document: Its file.
        folder: Where to run them.
        testbed: Where they have their effect.
        changes: What stands in the document, and what to take for it here.
    """
    script = f"cd {folder}\n" + _PRELUDE % sys.executable + ". ./environment\n"
    for number, block in enumerate(blocks(document), 1):
        if block.tested_by:
            continue
        commands = block.commands
        for old, new in changes.items():
            commands = commands.replace(old, new)
        script += f"echo '=== block {number}'\n{commands}"
    # Into a file: of what hangs, there is to be seen where.
    output = folder / f"{document}.log"
    with output.open("w") as log:
        done = subprocess.run(
            testbed.command(["timeout", str(_MOST_SECONDS), "bash", "-c", script]),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = output.read_text()
    assert done.returncode == 0, f"{document}, block {text.rpartition('=== block')[2][-3000:]}"
    # The juju client does not fail with an action that was waited for.
    assert not re.search(r"^(Action id \d+ failed|\s*error  )", text, re.MULTILINE), text
    assert testbed.is_healthy()
    return text


def keep_in_bundle(path: Path, names: Collection[str]) -> None:
    """Take all other applications out of a bundle, so that it is deployed in less time."""
    bundle = yaml.safe_load(path.read_text())
    bundle["applications"] = {name: bundle["applications"][name] for name in names}
    bundle["relations"] = [
        pair
        for pair in bundle["relations"]
        if all(endpoint.partition(":")[0] in names for endpoint in pair)
    ]
    path.write_text(yaml.safe_dump(bundle, sort_keys=False))


@pytest.mark.usefixtures("no_model")
def test_the_tutorial(folder: Path, testbed: Testbed) -> None:
    user = f"deployer-{folder.parent.name}".replace("_", "-").lower()
    changes = {"make demo-files": "", "cd build\n": "", "cd ..": "", "deployer": user}
    output = run("tutorial.md", folder, testbed, changes)
    assert "nothing to do" in output
    assert "come from registry.airgap.test:5000" in output


@pytest.mark.thorough
@pytest.mark.usefixtures("no_model")
def test_the_how_to_guides(folder: Path, testbed: Testbed) -> None:
    with testbed.serving(folder) as server:
        changes = {
            "registry.corp:5000": testbed.registry.host,
            "https://files.corp/": server.url(""),
            "/snap/juju/current/bin/juju": "./juju",
            "deployer": f"guided-{folder.parent.name}".replace("_", "-").lower(),
        }
        output = run("how-to.md", folder, testbed, changes)
    assert "every unit is active" in output


@pytest.mark.parametrize("document", ["tutorial.md", "how-to.md"])
def test_what_is_tested_elsewhere_is(document: str) -> None:
    found = blocks(document)
    assert found
    for block in found:
        if block.tested_by:
            assert PROJECT.joinpath(block.tested_by).exists()
