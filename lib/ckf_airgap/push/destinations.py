"""Chooses the repository to upload a layer to: always that of an image of the archive.

A layer may be read before its image is known. It is then uploaded to the repository of another
image, and later mounted into the repository of its own image.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field


@dataclass
class Destinations:
    """The known repositories of the archive's images.

    Attributes:
        look_ahead: Finds the repository of the first image in the archive whose repository is
            not among the given ones; returns None if there is none.
        known: The repositories, the latest last.
        refused: The repositories that the registry refuses pushes to.
        is_exhausted: Whether ``look_ahead`` has found no repository, and is not called again.
    """

    look_ahead: Callable[[Collection[str]], str | None]
    known: dict[str, None] = field(default_factory=dict[str, None])
    refused: set[str] = field(default_factory=set[str])
    is_exhausted: bool = False

    def add(self, repository: str) -> None:
        """Remember the repository of an image of the archive."""
        # Move it to the end: it is the latest now.
        self.known.pop(repository, None)
        self.known[repository] = None

    def any(self) -> str | None:
        """Return a repository for a layer that may belong to any image; None if none is known."""
        # Copied in one step: another thread may add repositories.
        known = tuple(self.known)[::-1]
        for repository in known:
            if repository not in self.refused:
                return repository
        # Repositories are only ever added to ``refused``: a search that found none never will.
        found = None if self.is_exhausted else self.look_ahead(self.refused)
        self.is_exhausted = found is None
        if found:
            self.add(found)
        # If pushes to all of them are refused, the upload to one reports the refusal.
        return found or next(iter(known), None)
