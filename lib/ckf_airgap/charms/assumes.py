"""What a charm requires of the controller: ``assumes`` and ``min-juju-version`` in its metadata.

The grammar is in Juju's documentation, "metadata.yaml", key ``assumes``: a list whose entries must
all hold. An entry is a feature, with or without a version (``juju >= 3.4.3``), or ``any-of`` or
``all-of`` with a list.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.juju.juju_version import release_numbers

_FEATURE = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*)\s*(?:(?P<operator>>=|<)\s*(?P<version>[0-9][\w.+~-]*))?", re.ASCII
)
_LONGEST_FEATURE = 128
_OPERATORS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Assumption:
    """A requirement: a feature, or a combination of requirements.

    Attributes:
        any_of: Whether one of the parts is enough.
        parts: Its parts; empty for a feature, or for no requirement.
        feature: The text of the feature, for example ``juju >= 3.4``; an empty string for none.
    """

    any_of: bool = False
    parts: tuple["Assumption", ...] = ()
    feature: str = ""

    @classmethod
    def of_charm(cls, metadata: dict[str, Any]) -> "Assumption":
        """Read what a charm requires.

        Args:
            metadata: The content of its metadata.yaml, with every scalar as a string.

        Returns:
            The requirement, without invalid entries: Juju itself checks all of them.
        """
        parts = [_parse(item) for item in _list(metadata.get("assumes"))]
        if minimum := metadata.get("min-juju-version"):
            parts.append(_parse(f"juju >= {minimum}"))
        return cls(parts=tuple(parts))

    def holds(self, juju: str) -> bool:
        """Return whether a controller satisfies the requirement.

        Args:
            juju: The controller's version, for example ``3.6.8`` or ``4.1-beta2``. Features other
                than Juju's version count as met.
        """
        if self.parts:
            return (any if self.any_of else all)(part.holds(juju) for part in self.parts)
        match = _FEATURE.fullmatch(self.feature)
        if match is None or match["name"] != "juju" or not match["operator"]:
            return True
        return _OPERATORS[match["operator"]](
            release_numbers(juju), release_numbers(match["version"])
        )

    def problem(self, juju: str) -> str:
        """Describe why a controller does not satisfy the requirement; empty if it does.

        Args:
            juju: The controller's version.
        """
        return "" if self.holds(juju) else f"requires {self}, and this is Juju {juju}"

    def __str__(self) -> str:
        if not self.parts:
            return self.feature
        texts = [text for part in self.parts if (text := str(part))]
        joined = (" or " if self.any_of else " and ").join(texts)
        return f"({joined})" if len(texts) > 1 else joined


def _parse(item: object) -> Assumption:
    if isinstance(item, str):
        feature = item.strip()
        is_feature = len(feature) <= _LONGEST_FEATURE and _FEATURE.fullmatch(feature)
        return Assumption(feature=feature if is_feature else "")
    if isinstance(item, dict):
        body = cast(dict[object, object], item)
        for key, any_of in (("any-of", True), ("all-of", False)):
            if key in body:
                parts = tuple(_parse(part) for part in _list(body[key]))
                return Assumption(any_of=any_of and bool(parts), parts=parts)
    return Assumption()


def _list(value: object) -> list[object]:
    return cast(list[object], value) if isinstance(value, list) else []
