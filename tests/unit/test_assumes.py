"""What charms demand of the controller."""

from typing import Any

import pytest
import yaml

from ckf_airgap.charms.assumes import Assumption


def assumption(text: str) -> Assumption:
    # As CharmFile reads it: every scalar is a string.
    metadata: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return Assumption.of_charm(metadata)


@pytest.mark.parametrize(
    ("demand", "juju", "holds"),
    [
        ("juju >= 3.4", "3.4", True),
        ("juju >= 3.4", "3.4.0", True),
        ("juju >= 3.4.0", "3.4", True),
        ("juju < 3.4.0", "3.4", False),
        ("juju >= 3.4", "3.6.8", True),
        ("juju >= 3.4", "3.3.7", False),
        ("juju >= 3.4", "2.9.49", False),
        ("juju >= 3.4.3", "3.4.3", True),
        ("juju >= 3.4.3", "3.4.2", False),
        ("juju >= 3.4.3", "3.10.0", True),
        ("juju >= 3.10", "3.9.9", False),
        ("juju >= 3", "3.0.0", True),
        ("juju < 4", "3.6.8", True),
        ("juju < 4", "4.0.0", False),
        ("juju < 4.1", "4.0.9", True),
        ("juju < 4.1", "4.1", False),
        ("juju < 3.10", "3.9.1", True),
    ],
)
def test_versions_are_compared_as_numbers(demand: str, juju: str, holds: bool) -> None:
    assert assumption(f"assumes: ['{demand}']").holds(juju) is holds


@pytest.mark.parametrize(
    ("demand", "juju", "holds"),
    [
        # A pre-release counts as its release.
        ("juju >= 4.1", "4.1-beta2", True),
        ("juju >= 4.1.1", "4.1-beta2", False),
        ("juju < 4.1", "4.1-beta2", False),
        ("juju < 4.2", "4.1-rc1.3", True),
        ("juju >= 4.0.1", "4.0-beta7.9", False),
        ("juju >= 3.6-beta1", "3.6.0", True),
        ("juju < 4.0-beta1", "3.6.8", True),
        # So does what names the base and the architecture as well.
        ("juju >= 2.9.49", "2.9.49-ubuntu-amd64", True),
        ("juju >= 2.9.50", "2.9.49-ubuntu-amd64", False),
        # The number of a build counts for nothing.
        ("juju >= 3.6.8", "3.6.8.1", True),
        ("juju < 3.6.8", "3.6.8.1", False),
        ("juju < 3.6.8.1", "3.6.8", False),
    ],
)
def test_a_version_is_read_up_to_its_patch(demand: str, juju: str, holds: bool) -> None:
    assert assumption(f"assumes: ['{demand}']").holds(juju) is holds


@pytest.mark.parametrize("demand", ["juju >= 3.4", "juju>=3.4", "juju  >=3.4", " juju >= 3.4 "])
def test_spaces_say_nothing(demand: str) -> None:
    assert assumption(f"assumes: ['{demand}']").holds("3.4.0")
    assert not assumption(f"assumes: ['{demand}']").holds("3.3.0")


@pytest.mark.parametrize(
    "demand", ["k8s-api", "k8s-api >= 1.99", "k8s-api < 1", "new-feature", "juju"]
)
def test_a_feature_other_than_the_version_of_juju_counts_as_met(demand: str) -> None:
    assert assumption(f"assumes: ['{demand}']").holds("2.9.0")


def test_all_of_a_list_must_hold() -> None:
    demand = assumption("assumes: [k8s-api, juju >= 3.1, juju < 4]")
    assert [demand.holds(juju) for juju in ("3.0.9", "3.1.0", "3.6.8", "4.0.0")] == [
        False,
        True,
        True,
        False,
    ]


NESTED = """
assumes:
  - k8s-api
  - any-of:
      - all-of:
          - juju >= 2.9.49
          - juju < 3
      - all-of:
          - juju >= 3.4.3
          - any-of: [juju < 3.5, juju >= 3.5.2]
"""


@pytest.mark.parametrize(
    ("juju", "holds"),
    [
        ("2.9.48", False),
        ("2.9.49", True),
        ("2.9.52", True),
        ("3.0.0", False),
        ("3.4.2", False),
        ("3.4.3", True),
        ("3.5.0", False),
        ("3.5.1", False),
        ("3.5.2", True),
        ("4.1-beta2", True),
    ],
)
def test_any_of_and_all_of_are_nested(juju: str, holds: bool) -> None:
    assert assumption(NESTED).holds(juju) is holds


def test_one_of_any_of_is_enough_and_all_of_all_of_are_needed() -> None:
    pair = "[juju < 3, juju >= 3.4]"
    assert assumption(f"assumes: [any-of: {pair}]").holds("3.6.8")
    assert not assumption(f"assumes: [any-of: {pair}]").holds("3.1.0")
    assert not assumption(f"assumes: [all-of: {pair}]").holds("3.6.8")


@pytest.mark.parametrize(
    ("metadata", "juju", "holds"),
    [
        ("min-juju-version: 2.9.0", "2.8.11", False),
        ("min-juju-version: 2.9.0", "2.9.0", True),
        ("min-juju-version: 3.10", "3.9.0", False),
        ("{min-juju-version: 3.1, assumes: [juju < 4]}", "3.0.0", False),
        ("{min-juju-version: 3.1, assumes: [juju < 4]}", "3.6.8", True),
        ("{min-juju-version: 3.1, assumes: [juju < 4]}", "4.0.0", False),
    ],
)
def test_the_old_key_for_the_least_version_counts_as_well(
    metadata: str, juju: str, holds: bool
) -> None:
    assert assumption(metadata).holds(juju) is holds


@pytest.mark.parametrize(
    "metadata",
    [
        "name: plain",
        "assumes: []",
        "assumes:",
        "assumes: juju >= 9",
        "assumes: {any-of: [juju >= 9]}",
        "assumes: [[juju >= 9]]",
        "assumes: [{some-of: [juju >= 9]}]",
        "assumes: [{any-of: juju >= 9}]",
        "assumes: [{any-of: []}]",
        "assumes: [{all-of: []}]",
        "assumes: [juju > 9]",
        "assumes: [juju = 9]",
        "assumes: [juju >=]",
        "assumes: [juju >= 9 or later]",
        "assumes: [JUJU >= 9]",
        "assumes: ['']",
        "min-juju-version: ''",
    ],
)
def test_what_is_not_of_the_grammar_is_left_to_juju(metadata: str) -> None:
    assert assumption(metadata).holds("2.9.0")


def test_a_malformed_piece_does_not_hide_its_neighbours() -> None:
    demand = assumption("assumes: [{some-of: [juju]}, juju >= 3.4, [x], {any-of: [juju >= 3.5]}]")
    assert not demand.holds("3.3.0")
    assert not demand.holds("3.4.0")
    assert demand.holds("3.5.0")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ("name: plain", ""),
        ("assumes: [juju >= 3.4]", "juju >= 3.4"),
        ("assumes: [' juju >= 3.4 ']", "juju >= 3.4"),
        ("assumes: [k8s-api, juju >= 3.4]", "(k8s-api and juju >= 3.4)"),
        ("assumes: [any-of: [juju >= 3.4, juju < 3]]", "(juju >= 3.4 or juju < 3)"),
        ("assumes: [any-of: [juju >= 3.4]]", "juju >= 3.4"),
        ("min-juju-version: 2.9.0", "juju >= 2.9.0"),
        ("{min-juju-version: 2.9.0, assumes: [k8s-api]}", "(k8s-api and juju >= 2.9.0)"),
        (
            NESTED,
            "(k8s-api and ((juju >= 2.9.49 and juju < 3) or "
            "(juju >= 3.4.3 and (juju < 3.5 or juju >= 3.5.2))))",
        ),
    ],
)
def test_a_demand_reads_as_a_sentence(metadata: str, text: str) -> None:
    assert str(assumption(metadata)) == text


def test_a_controller_that_lacks_something_is_told_what() -> None:
    demand = assumption("assumes: [k8s-api, juju >= 3.4]")
    assert not demand.problem("3.4.0")
    assert demand.problem("3.1.9") == "requires (k8s-api and juju >= 3.4), and this is Juju 3.1.9"


@pytest.mark.parametrize(
    "demand", ['"juju >= 4\\0"', '"juju >= \\e[2J"', '"\\ud800"', f'"{"a" * 200}"', '"--help"']
)
def test_what_is_not_of_the_grammar_is_left_out(demand: str) -> None:
    for text in (f"assumes: [{demand}]", f"min-juju-version: {demand}"):
        assert not str(assumption(text))
        assert assumption(text).holds("2.9.0")
