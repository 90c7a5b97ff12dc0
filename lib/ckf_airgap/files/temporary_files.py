"""Files that are written under another name until they are whole."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def removed_in_the_end(path: Path) -> Generator[None]:
    """Remove a file in the end, whatever happens, unless it has got its final name by then.

    Args:
        path: The file, which need not be there.
    """
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
