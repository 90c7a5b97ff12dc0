"""Looks up images in the archive: by full name, by repository, or by its last component."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.errors import listed
from ckf_airgap.images.naming import archived_paths, image_path
from ckf_airgap.images.reference import ImagePath, ImageReference

_MOST_LIST_BYTES = 400
"""The maximum size of the list of candidates in a note, in bytes."""


class Match(Enum):
    """How an image was found in the archive."""

    EXACT = "exact"
    REPOSITORY = "repository"
    NAME = "name"


@dataclass(frozen=True)
class Resolution:
    """The result for one image.

    Attributes:
        image: The image as the charm names it.
        by: How it was found; None if it is missing.
        path: Its path below the registry prefix; None if it is missing.
        note: Why no similar image was chosen, or an empty string.
    """

    image: str
    by: Match | None = None
    path: ImagePath | None = None
    note: str = ""


class Resolver:
    """Resolves images against an inventory.

    Tries the whole name, then the repository with any tag, then the last component of the
    repository. The last two count only if exactly one image fits: it never guesses.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._by_path: dict[ImagePath, ImagePath] = {}
        self._by_repository: defaultdict[str, set[ImagePath]] = defaultdict(set)
        self._by_name: defaultdict[str, set[ImagePath]] = defaultdict(set)
        self._notes: dict[tuple[Match, str], str] = {}
        for image in inventory.images:
            for name in image.names:
                target = image_path(name)
                self._by_name[target.last_component].add(target)
                for path in archived_paths(name):
                    self._by_repository[path.repository].add(target)
                    # Of two names with this path, the image pushed to it takes precedence.
                    if path == target:
                        self._by_path[path] = target
                    else:
                        self._by_path.setdefault(path, target)

    def resolve(self, image: str) -> Resolution:
        """Find an image.

        Args:
            image: The image as the charm names it.

        Returns:
            Its path, or why no candidate was chosen.
        """
        reference = ImageReference.parse(image)
        if reference is None:
            return Resolution(image, note="not a valid image reference")
        path = image_path(reference)
        if path in self._by_path:
            return Resolution(image, Match.EXACT, self._by_path[path])
        for match, key, groups in (
            (Match.REPOSITORY, path.repository, self._by_repository),
            (Match.NAME, path.last_component, self._by_name),
        ):
            candidates = groups.get(key, set[ImagePath]())
            if len(candidates) == 1:
                return Resolution(image, match, next(iter(candidates)))
            if candidates:
                # Cached, because many images may share a long list of candidates.
                if (match, key) not in self._notes:
                    self._notes[match, key] = _ambiguous_note(candidates)
                return Resolution(image, note=self._notes[match, key])
        return Resolution(image)

    def resolve_tail(self, tail: str) -> Resolution:
        """Find an image by the last components of its repository.

        Args:
            tail: The components, for example ``knative.dev/serving/cmd/activator``.

        Returns:
            Its path, or why no candidate was chosen.
        """
        targets = {target for group in self._by_name.values() for target in group}
        found = {path for path in targets if f"/{path.repository}".endswith(f"/{tail}")}
        if len(found) == 1:
            return Resolution(tail, Match.REPOSITORY, found.pop())
        return Resolution(tail, note=_ambiguous_note(found) if found else "")


def _ambiguous_note(candidates: Collection[ImagePath]) -> str:
    shown = listed(sorted(map(str, candidates)), most_bytes=_MOST_LIST_BYTES, separator=", ")
    return f"several images could be meant: {shown}"
