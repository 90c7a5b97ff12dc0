"""A publication that is killed between two changes in the output directory."""

import os
from pathlib import Path

import pytest


class KilledError(BaseException):
    """Stands for a kill."""


def kill_after(steps: int, patch: pytest.MonkeyPatch) -> None:
    """Let only so many files be renamed or removed."""
    replace, unlink = os.replace, Path.unlink
    left = steps

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError

    def step_and_replace(source: Path, target: Path) -> None:
        step()
        replace(source, target)

    def step_and_unlink(path: Path, missing_ok: bool = False) -> None:
        if os.path.lexists(path):
            step()
        unlink(path, missing_ok)

    patch.setattr(os, "replace", step_and_replace)
    patch.setattr(Path, "unlink", step_and_unlink)
