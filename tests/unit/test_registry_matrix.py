"""The matrix of registries in the reference: each of its rows is a test."""

import re

import pytest

from tests.support.operator_steps import PROJECT

_REFERENCE = PROJECT.joinpath("docs/reference.md").read_text()
_SECTION = _REFERENCE[_REFERENCE.index("\n## Registries\n") :]
ROWS = [line for line in _SECTION.partition("\n## The command\n")[0].splitlines() if "::" in line]


def test_it_has_rows() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS)
def test_each_row_names_a_test(row: str) -> None:
    *_, test, _ = row.split("|")
    found = re.fullmatch(r" `(\w+)::(test_\w+)` ", test)
    assert found
    module = PROJECT.joinpath("tests/functional", f"{found[1]}.py").read_text()
    assert f"\ndef {found[2]}(" in module
