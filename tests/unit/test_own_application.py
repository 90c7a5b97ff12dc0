"""The commands that messages advise: they name the application of this unit."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SHOW = """
from ckf_airgap.network import https
from ckf_airgap.juju import juju_command
from ckf_airgap.errors import AirgapError
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from ckf_airgap.planning.topology import load_topology
from ckf_airgap.registry.authentication import CREDENTIALS_CURE

print(https.CA_CURE)
print(CREDENTIALS_CURE)
for read in (lambda: read_bundle("["), lambda: apply_overlay(load_topology(), "[")):
    try:
        read()
    except AirgapError as error:
        print(error.cure)
try:
    with juju_command.client_errors():
        raise OSError(8, "Exec format error")
except AirgapError as error:
    print(error.cure)
"""
# A command of Juju with the name of the charm where that of the application belongs.
_FIXED_NAME = re.compile(r"\bjuju [a-z-]+ (?:NAME )?ckf-airgap\b")


def advised(unit: str | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "JUJU_UNIT_NAME"}
    environment |= {"PYTHONPATH": ":".join(sys.path)}
    environment |= {"JUJU_UNIT_NAME": unit} if unit else {}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("unit", "name"), [("airgap-east/3", "airgap-east"), (None, "ckf-airgap")]
)
def test_commands_name_the_application_as_it_is_deployed(unit: str | None, name: str) -> None:
    text = advised(unit)
    assert text.splitlines()[2:] == [
        f"correct it (juju attach-resource {name} bundle=FILE; on a workstation the file of "
        "--bundle)",
        f"correct it (juju config {name} overlay=@overlay.yaml; on a workstation the file of "
        "--overlay)",
        "attach the client of the operator's machine, for the CPU of this node: "
        f"juju attach-resource {name} juju=/snap/juju/current/bin/juju",
    ]
    assert f"juju config {name} registry-ca=@ca.crt" in text
    assert f"juju config {name} registry-credentials=secret:..." in text


def test_no_message_of_the_product_has_the_name_built_in() -> None:
    built_in = [
        f"{path.name}:{node.lineno}"
        for folder in ("lib", "src")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _FIXED_NAME.search(node.value)
    ]
    assert built_in == []
