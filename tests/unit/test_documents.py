"""The documents: they name all that there is, and nothing that there is not."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ckf_airgap.commands.main import make_parser
from tests.support.operator_steps import PROJECT

DOCUMENTS = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("*/README.md")]
)
CHARM: dict[str, Any] = yaml.safe_load(PROJECT.joinpath("charmcraft.yaml").read_text())
REFERENCE = PROJECT.joinpath("docs/reference.md").read_text()


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)


def anchors(path: Path) -> set[str]:
    """Give the anchors of a document, as GitHub makes them of its headings."""
    plain = (re.sub(r"[^\w\- ]", "", each.lower()) for each in headings(path.read_text()))
    return {each.strip().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        place, _, anchor = target.partition("#")
        linked = (path.parent / place) if place else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("kind", ["options", "actions", "resources", "requires", "storage"])
def test_the_reference_has_a_section_for_each(kind: str) -> None:
    section = CHARM["config"]["options"] if kind == "options" else CHARM[kind]
    assert set(section) <= set(headings(REFERENCE))


@pytest.mark.parametrize("action", CHARM["actions"])
def test_every_parameter_of_an_action_is_named_in_its_section(action: str) -> None:
    start = REFERENCE.index(f"\n### {action}\n")
    section = REFERENCE[start : REFERENCE.find("\n### ", start + 1)]
    for parameter in CHARM["actions"][action].get("params", {}):
        assert f"`{parameter}" in section
    assert "```" in section, "an example of its output"


def test_every_option_of_the_command_is_named() -> None:
    section = REFERENCE[REFERENCE.index("\n## The command\n") :]
    for words in command_options():
        assert words in section, words


def command_options() -> set[str]:
    found: set[str] = set()
    parsers = [make_parser()]
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
            found.update(word for word in action.option_strings if word.startswith("--"))
            if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
                parsers += cast(Mapping[str, argparse.ArgumentParser], action.choices).values()
    return found - {"--help"}
