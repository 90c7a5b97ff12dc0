"""Documents that many images of an archive may have."""

from collections.abc import Callable
from typing import Generic, TypeVar

from ckf_airgap.errors import ArtifactError, without_traceback

Value = TypeVar("Value")


class ParsedOnce(Generic[Value]):
    """Parses each document once, however many images have it; damage is remembered too."""

    def __init__(self) -> None:
        """Begin with nothing parsed."""
        self._results: dict[str, Value | ArtifactError] = {}

    def get(self, key: str, parse: Callable[[], Value]) -> Value:
        """Return a document.

        Args:
            key: Tells it from the others: its path or its digest.
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
