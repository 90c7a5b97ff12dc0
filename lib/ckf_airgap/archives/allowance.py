"""Limits the memory for reading an archive."""

from ckf_airgap.errors import AirgapError

# For an archive and all archives nested in it. A docker save archive of 500 images has 500 configs
# of about 20 kB each, which are kept until the manifest.json at its end.
_MOST_BYTES = 64 * 1024 * 1024
# Python's overhead for an entry, in bytes.
_PER_ENTRY = 400


class ArchiveLimitError(AirgapError):
    """An archive exceeds a limit.

    Not an ``ArtifactError``: the code that reports one damaged image and goes on with the next
    must not catch it. ``ImageReader`` turns it into one for the whole archive.
    """


class Allowance:
    """Counts the memory that an archive takes while it is read, and enforces a limit."""

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
            ArchiveLimitError: The limit is exceeded.
        """
        size += _PER_ENTRY
        self._reserved += size
        if self._reserved > self._limit:
            raise ArchiveLimitError(
                f"the list of files and JSON documents in {archive} needs more than "
                f"{self._limit >> 20} MiB of memory",
                "split it into several archives, and push one after the other",
            )
        return size

    def release(self, size: int) -> None:
        """Release what ``reserve`` returned."""
        self._reserved -= size
