"""Finds archives on the storage volume, and computes a fingerprint of archives."""

import hashlib
from pathlib import Path

from ckf_airgap.archives.parts import ARCHIVE_SUFFIXES, find_archive, parse_part_name
from ckf_airgap.archives.sources import FileSource, read_at
from ckf_airgap.errors import ArtifactError, ConfigurationError

# Enough to distinguish archives of equal size: both ends contain names and checksums.
_COMPARED_BYTES = 64 * 1024


def archive_in(folder: Path, name: str) -> FileSource | None:
    """Find an archive on the volume, as one file or in parts.

    Args:
        folder: Where the volume is mounted.
        name: ``images`` or ``charms``.

    Returns:
        The archive; None if there is none.

    Raises:
        ConfigurationError: There are several, or one cannot be read.
    """
    paths = filter(_is_archive, folder.glob(f"{name}.t*"))
    found = sorted({_archive_path(path) for path in paths})
    if len(found) > 1:
        raise ConfigurationError(
            f"the volume has several {name} archives: {', '.join(path.name for path in found)}",
            "remove all but one of them",
        )
    return find_archive(found[0]) if found else None


def _is_archive(path: Path) -> bool:
    """Return whether a file of the volume is a non-empty archive, judged by its name.

    Raises:
        ConfigurationError: It cannot be read, for example because it is a dangling or circular
            link.
    """
    if _archive_path(path).suffix not in ARCHIVE_SUFFIXES:
        return False
    try:
        return path.stat().st_size > 0
    except OSError as error:
        raise ConfigurationError(
            f"{path.name} on the volume cannot be read ({error.strerror})",
            "remove it, or replace the link by the archive itself",
        ) from error


def _archive_path(path: Path) -> Path:
    """Return the path of the archive that a file belongs to."""
    part = parse_part_name(path.name)
    return path.with_name(part[0]) if part else path


def identity_of(source: FileSource) -> str:
    """Identify a file by its size and a hash of its first and last bytes, whatever its path.

    Args:
        source: The file.

    Returns:
        The fingerprint; empty if the file cannot be read.
    """
    try:
        size = source.size
        offsets = (0, max(size - _COMPARED_BYTES, 0))
        ends = b"".join(read_at(source, offset, _COMPARED_BYTES) for offset in offsets)
    except ArtifactError:
        return ""
    return f"{size} {hashlib.sha256(ends).hexdigest()}"
