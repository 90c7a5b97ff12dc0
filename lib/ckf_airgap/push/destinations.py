"""Chooses the repository of each layer, always one of the archive's own images.

A layer may be read before its image is known. It is then uploaded to the repository of another
image, and mounted into its own later.
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
        refused: Those that the registry refuses pushes to.
        is_exhausted: Whether looking ahead finds no more.
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
        # Copied in one step: another thread may add some.
        known = tuple(self.known)[::-1]
        for repository in known:
            if repository not in self.refused:
                return repository
        # Refused repositories only increase: a search that found none finds none later.
        found = None if self.is_exhausted else self.look_ahead(self.refused)
        self.is_exhausted = found is None
        if found:
            self.add(found)
        # If all refuse, one of them may report it.
        return found or next(iter(known), None)
