"""Names to choose from, for messages about an unknown one."""

import difflib
from collections.abc import Iterable

# Nobody reads all of 190 names.
_MOST_NAMES = 20


def to_choose_from(wanted: str, names: Iterable[str]) -> str:
    """List names for a message, those first that resemble an unknown one.

    Args:
        wanted: The name that is none of them.
        names: The names.

    Returns:
        As ``minio, mlmd, argo-controller and 35 more``; ``none`` where there are none.
    """
    known = sorted(names)
    plain = [name.replace("_", "-").lower() for name in known]
    near = difflib.get_close_matches(wanted.replace("_", "-").lower(), plain)
    nearest = [known[plain.index(name)] for name in near]
    ordered = list(dict.fromkeys([*nearest, *known]))
    shown = ", ".join(ordered[:_MOST_NAMES])
    rest = len(ordered) - _MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown or "none"
