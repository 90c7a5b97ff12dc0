"""Documents that several images of an archive may share."""

from collections.abc import Callable
from typing import Generic, TypeVar

from ckf_airgap.errors import ArtifactError, without_traceback

Value = TypeVar("Value")


class ParsedOnce(Generic[Value]):
    """Parses each document once, and caches the result or the error."""

    def __init__(self) -> None:
        """Start empty."""
        self._results: dict[str, Value | ArtifactError] = {}

    def get(self, key: str, parse: Callable[[], Value]) -> Value:
        """Return a parsed document; parse it on the first call.

        Args:
            key: The path or the digest of the document.
            parse: Parses it.

        Raises:
            ArtifactError: It is damaged.
        """
        if key not in self._results:
            try:
                self._results[key] = parse()
            except ArtifactError as error:
                self._results[key] = without_traceback(error)
        found = self._results[key]
        if isinstance(found, ArtifactError):
            raise found
        return found
