"""Combinations of parameters, of which an ordinary run tries as many as show each value once."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet


def matrix(*axes: Sequence[object]) -> "list[ParameterSet]":
    """Combine the values of several parameters.

    Args:
        axes: The values of each.

    Returns:
        All combinations, for ``pytest.mark.parametrize``. Each value is in one that is always
        tried; the others only combine them otherwise, and wait for ``tox -e thorough``.
    """
    longest = max(len(axis) for axis in axes)
    always = {tuple(index % len(axis) for axis in axes) for index in range(longest)}
    return [
        pytest.param(
            *(axis[index] for axis, index in zip(axes, indices, strict=True)),
            marks=() if indices in always else pytest.mark.thorough,
        )
        for indices in itertools.product(*(range(len(axis)) for axis in axes))
    ]
