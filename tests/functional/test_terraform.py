"""The Terraform module, checked by OpenTofu.

The provider is a stand-in with the schema of the Juju provider, or the provider itself where
``CKF_JUJU_PROVIDER`` names its program.
"""

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import builds
from tests.support.operator_steps import PROJECT

MODULE = PROJECT / "terraform"
# The module asks for it; the stand-in has what this version has.
PROVIDER_VERSION = "2.3.0"

Tofu = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a machine without internet: the provider comes from a folder."""
    folder = tmp_path_factory.mktemp("tofu")
    mirror = folder / f"mirror/registry.opentofu.org/juju/juju/{PROVIDER_VERSION}/linux_amd64"
    mirror.mkdir(parents=True)
    given = os.environ.get("CKF_JUJU_PROVIDER")
    provider = Path(given) if given else builds.juju_provider()
    shutil.copy2(provider, mirror / f"terraform-provider-juju_v{PROVIDER_VERSION}")
    file = folder / "tofurc"
    file.write_text(
        "provider_installation {\n  filesystem_mirror {\n"
        f'    path = "{folder / "mirror"}"\n  }}\n}}\n'
    )
    return file


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A copy of the module, with its tests and a charm to deploy."""
    folder = tmp_path / "module"
    shutil.copytree(MODULE, folder)
    shutil.copytree(PROJECT / "tests/terraform", folder / "tests")
    with zipfile.ZipFile(folder / "ckf-airgap_amd64.charm", "w") as charm:
        charm.writestr("metadata.yaml", "{name: ckf-airgap, summary: s, description: d}")
    return folder


@pytest.fixture
def tofu(configuration: Path) -> Tofu:
    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [builds.opentofu(), words[0], "-no-color", *words[1:]],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": str(configuration)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def test_it_is_formatted_as_the_field_does(tofu: Tofu) -> None:
    outcome = tofu(MODULE, "fmt", "-check", "-diff", "-recursive")
    assert outcome.returncode == 0, outcome.stdout


def test_it_is_valid_and_deploys_what_its_variables_say(tofu: Tofu, module: Path) -> None:
    for words in (["init"], ["validate"], ["test"]):
        outcome = tofu(module, *words)
        assert outcome.returncode == 0, outcome.stdout
    assert "4 passed, 0 failed" in outcome.stdout


def test_what_the_provider_does_not_know_is_found(tofu: Tofu, module: Path) -> None:
    main = module / "main.tf"
    main.write_text(main.read_text().replace("constraints  ", "constraint   "))
    assert tofu(module, "init").returncode == 0
    outcome = tofu(module, "validate")
    assert outcome.returncode == 1
    assert 'An argument named "constraint" is not expected here' in outcome.stdout


def test_the_example_of_its_readme_is_valid(tofu: Tofu, module: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```hcl\n(.*?)^```", (MODULE / "README.md").read_text(), re.S | re.M)
    plan = tmp_path / "plan"
    plan.mkdir()
    plan.joinpath("main.tf").write_text(
        example.replace("./ckf-airgap/terraform", str(module))
        + 'variable "deployer_password" {\n  type = string\n}\n'
        + (MODULE / "versions.tf").read_text()
    )
    plan.joinpath("ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    for words in (["init"], ["validate"]):
        outcome = tofu(plan, *words)
        assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_its_readme_lists_all_in_the_order_of_the_alphabet(kind: str) -> None:
    names = re.findall(rf'^{kind} "(\w+)"', (MODULE / f"{kind}s.tf").read_text(), re.M)
    assert names == sorted(names)
    section = "Inputs" if kind == "variable" else "Outputs"
    text = (MODULE / "README.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", text, re.M) == names
