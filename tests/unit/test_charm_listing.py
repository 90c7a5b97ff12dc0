"""What the store shows of the charm, and what is packed for it."""

import re
from typing import Any
from xml.etree import ElementTree

import yaml

from tests.support.operator_steps import PROJECT

CHARM: dict[str, Any] = yaml.safe_load(PROJECT.joinpath("charmcraft.yaml").read_text())


def test_the_icon_has_the_size_that_the_store_wants() -> None:
    # Charmhub takes a square SVG of 100 x 100 (Charmcraft documentation, "Add an icon").
    icon = ElementTree.parse(PROJECT / "icon.svg").getroot()
    assert icon.tag == "{http://www.w3.org/2000/svg}svg"
    assert (icon.get("width"), icon.get("height")) == ("100", "100")


def test_the_charm_holds_what_the_store_reads_and_what_a_reader_expects() -> None:
    primed = CHARM["parts"]["files"]["prime"]
    assert {"icon.svg", "LICENSE", "README.md"} <= set(primed)
    for name in primed:
        assert PROJECT.joinpath(name).exists(), name


def test_the_licence_is_one_text() -> None:
    # REUSE reads LICENSES, everybody else LICENSE.
    reuse = PROJECT / "LICENSES" / "Apache-2.0.txt"
    assert reuse.read_text() == PROJECT.joinpath("LICENSE").read_text()


def test_every_link_is_named_and_goes_over_https() -> None:
    assert set(CHARM["links"]) == {"contact", "documentation", "issues", "source", "website"}
    for address in CHARM["links"].values():
        assert re.fullmatch(r"https://[\w.-]+(/[\w./-]*)?", address)
