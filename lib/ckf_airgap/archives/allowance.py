"""Limits the memory for reading an archive."""

from ckf_airgap.errors import ArtifactError

# For all nested archives together. A release of 500 images in one docker save archive needs 500
# configs of some 20 kB each until the manifest.json at its end.
_MOST_BYTES = 64 * 1024 * 1024
# Python's overhead for an entry.
_PER_ENTRY = 400


class Allowance:
    """Counts the memory that an archive takes while it is read, and stops at a limit."""

    def __init__(self, limit: int = _MOST_BYTES) -> None:
        """Start at zero, with a limit in bytes."""
        self._limit = limit
        self._reserved = 0

    def reserve(self, size: int, archive: str) -> int:
        """Reserve memory for an entry.

        Args:
            size: The size of its content, in bytes.
            archive: The archive that contains it, for messages.

        Returns:
            The bytes to release later.

        Raises:
            ArtifactError: The limit is exceeded.
        """
        size += _PER_ENTRY
        self._reserved += size
        if self._reserved > self._limit:
            raise ArtifactError(
                f"{archive} contains more files and JSON documents than {self._limit >> 20} MiB "
                "of memory can list",
                "split it into several archives, and push one after the other",
            )
        return size

    def release(self, size: int) -> None:
        """Release what ``reserve`` returned."""
        self._reserved -= size
