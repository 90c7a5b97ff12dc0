"""The public pipeline: it runs what tox runs, with no right and no moving version too many."""

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.operator_steps import PROJECT

WORKFLOWS = sorted(PROJECT.glob(".github/workflows/*.yaml"))
ACTIONS = [*WORKFLOWS, *PROJECT.glob(".github/actions/*/action.yaml")]
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d")


def environments() -> set[str]:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(PROJECT / "tox.ini")
    listed = tox["tox"]["envlist"].split(", ")
    assert {f"testenv:{name}" for name in listed} <= set(tox.sections())
    return set(listed)


def jobs() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        yield from yaml.safe_load(path.read_text())["jobs"].values()


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.parent.name + "/" + path.name)
def test_every_action_is_pinned_by_its_hash(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    for action in used:
        assert action.startswith("./") or PINNED.match(action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_right_that_a_job_does_not_name(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}


def test_the_pipeline_runs_every_environment_that_tox_alone_runs() -> None:
    run: set[str] = set()
    for job in jobs():
        matrix = job.get("strategy", {}).get("matrix", {}).get("environment", [])
        for step in job.get("steps", []):
            for name in re.findall(r'tox run -e "?([\w$]+)', step.get("run", "")):
                run.update(matrix if name == "$ENVIRONMENT" else [name])
    assert run == environments()
