"""Damage to files, for tests of what notices it."""

import enum
import os
from pathlib import Path


class Damage(enum.Enum):
    """What can be wrong with one ``docker save`` archive inside images.tar.gz."""

    EMPTY = "empty"
    """Nothing in it: what an unchecked ``docker save`` leaves when it fails at once."""
    TRUNCATED = "truncated"
    """Its second half is missing: what is left where the disk was full."""
    MISSING_LAYER = "missing-layer"
    """The manifest names a layer that is not there."""
    FLIPPED_BIT = "flipped-bit"
    """The content of a layer no longer has the digest that the image's config states."""


def truncate(path: Path, keep_fraction: float) -> None:
    """Cut off the end of a file.

    Args:
        path: The file.
        keep_fraction: How much to keep of it, from 0 to 1.
    """
    os.truncate(path, int(path.stat().st_size * keep_fraction))


def flip_bit(path: Path, position: int) -> None:
    """Change one bit in a file.

    Args:
        path: The file.
        position: The byte to change it in; counted from the end where negative.
    """
    with path.open("r+b") as file:
        file.seek(position, os.SEEK_END if position < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
