"""The arguments of a command in a test, and what it prints."""

from typing import Any

import pytest
import yaml

from tests.sample_release import SampleRelease

REGISTRY = "registry.corp:5000/ckf"


def plan_arguments(made: SampleRelease, *words: str) -> list[str]:
    archives = ["--charms", str(made.charms.path), "--images", str(made.images.path)]
    return ["plan", *archives, "--registry", REGISTRY, *words]


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return yaml.safe_load(capsys.readouterr().out)
