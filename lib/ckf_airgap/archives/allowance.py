"""Limits the memory that reading an archive takes."""

from ckf_airgap.errors import ArtifactError

# What is kept of all nested archives together. A release of 500 images in one docker save archive
# keeps 500 configs of some 20 kB each until its manifest.json comes by, at its end.
_MOST_BYTES = 64 * 1024 * 1024
# What Python needs for an entry beside the text in it.
_PER_ENTRY = 400


class Allowance:
    """Counts what is kept in memory while an archive is read, and stops the reading at a limit."""

    def __init__(self, limit: int = _MOST_BYTES) -> None:
        """Start with nothing kept.

        Args:
            limit: The most that may be kept at a time, in bytes.
        """
        self._limit = limit
        self._kept = 0

    def keep(self, size: int, archive: str) -> int:
        """Count an entry that is kept.

        Args:
            size: The size of what is in it, in bytes.
            archive: Where it stands, for messages.

        Returns:
            What to give back once it is kept no longer.

        Raises:
            ArtifactError: It is too much.
        """
        size += _PER_ENTRY
        self._kept += size
        if self._kept > self._limit:
            raise ArtifactError(
                f"{archive} holds more files and JSON documents than {self._limit >> 20} MiB of "
                "memory can list",
                "split it into several archives and give one after the other",
            )
        return size

    def give_back(self, size: int) -> None:
        """Release what ``keep`` counted."""
        self._kept -= size
