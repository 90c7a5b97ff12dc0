"""The Terraform module, checked by OpenTofu."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.functional.opentofu import OpenTofu
from tests.support.operator_steps import PROJECT

pytestmark = pytest.mark.interop

MODULE = PROJECT / "terraform"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A copy of the module, with its tests and a charm to deploy."""
    folder = tmp_path / "module"
    shutil.copytree(MODULE, folder)
    shutil.copytree(PROJECT / "tests/terraform", folder / "tests")
    with zipfile.ZipFile(folder / "ckf-airgap_amd64.charm", "w") as charm:
        charm.writestr("metadata.yaml", "{name: ckf-airgap, summary: s, description: d}")
    return folder


def test_it_is_formatted_as_the_field_does(tofu: OpenTofu) -> None:
    tofu.must(MODULE, "fmt", "-check", "-diff", "-recursive")


def test_it_is_valid_and_deploys_what_its_variables_say(tofu: OpenTofu, module: Path) -> None:
    tofu.must(module, "init")
    tofu.must(module, "validate")
    assert "4 passed, 0 failed" in tofu.must(module, "test")


def test_what_the_provider_does_not_know_is_found(tofu: OpenTofu, module: Path) -> None:
    main = module / "main.tf"
    main.write_text(main.read_text().replace("constraints  ", "constraint   "))
    tofu.must(module, "init")
    outcome = tofu.run(module, "validate")
    assert outcome.returncode == 1
    assert 'An argument named "constraint" is not expected here' in outcome.stdout


def test_the_example_of_its_readme_is_valid(tofu: OpenTofu, module: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```hcl\n(.*?)^```", (MODULE / "README.md").read_text(), re.S | re.M)
    plan = tmp_path / "plan"
    plan.mkdir()
    plan.joinpath("main.tf").write_text(
        example.replace("./ckf-airgap/terraform", str(module))
        + 'variable "deployer_password" {\n  type = string\n}\n'
        + (MODULE / "versions.tf").read_text()
    )
    plan.joinpath("ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    tofu.must(plan, "init")
    tofu.must(plan, "validate")


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_its_readme_lists_all_in_the_order_of_the_alphabet(kind: str) -> None:
    names = re.findall(rf'^{kind} "(\w+)"', (MODULE / f"{kind}s.tf").read_text(), re.M)
    assert names == sorted(names)
    section = "Inputs" if kind == "variable" else "Outputs"
    text = (MODULE / "README.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", text, re.M) == names
