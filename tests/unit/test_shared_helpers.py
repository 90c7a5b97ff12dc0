"""What the tests stand on, where a fault in it would hide others."""

import itertools

import pytest

from tests.support.matrix import matrix


@pytest.mark.parametrize("axes", [((1, 2, 3), "ab"), ("ab", (1, 2, 3)), ("abcd", "xy", (1, 2, 3))])
def test_a_matrix_always_tries_each_value_and_leaves_no_combination_out(
    axes: tuple[tuple[object, ...], ...],
) -> None:
    found = matrix(*axes)
    assert [each.values for each in found] == list(itertools.product(*axes))
    always = [each.values for each in found if not each.marks]
    assert len(always) == max(map(len, axes))
    assert all(
        set(values) == set(axis)
        for values, axis in zip(zip(*always, strict=True), axes, strict=True)
    )
