"""Suggests known names in messages about an unknown name."""

import difflib
from collections.abc import Iterable

# Longer lists, of up to 190 names, are not readable.
_MOST_NAMES = 20


def to_choose_from(wanted: str, names: Iterable[str]) -> str:
    """List names for a message, the most similar ones first.

    Args:
        wanted: The unknown name.
        names: The known names.

    Returns:
        For example ``minio, mlmd, argo-controller and 35 more``; ``none`` if there are none.
    """
    known = sorted(names)
    plain = [name.replace("_", "-").lower() for name in known]
    near = difflib.get_close_matches(wanted.replace("_", "-").lower(), plain)
    nearest = [known[plain.index(name)] for name in near]
    ordered = list(dict.fromkeys([*nearest, *known]))
    shown = ", ".join(ordered[:_MOST_NAMES])
    rest = len(ordered) - _MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown or "none"
