"""What tests of all kinds share."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def facts() -> Path | None:
    """The folder with the metadata of real releases, where there is one beside the project."""
    folder = Path(os.environ.get("CKF_FACTS", PROJECT.parent / "shared" / "ckf"))
    return folder if folder.is_dir() else None
