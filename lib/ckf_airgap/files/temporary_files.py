"""Files that are written under another name until they are complete."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def removed_on_exit(path: Path) -> Generator[None]:
    """Remove a file on exit, if it still exists under this name; renaming it keeps it."""
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
