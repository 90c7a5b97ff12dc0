"""The parts of a charm's metadata that Juju cannot change in a refresh.

On Kubernetes, Juju refuses a refresh if ``deployment``, ``storage`` or ``devices`` of the old and
the new charm differ (Juju 3.6, ``apiserver/facades/client/application``,
``setCharmWithAgentValidation``). It compares them as parsed (github.com/juju/charm, ``meta.go``):
with defaults filled in, sizes in MiB.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([MGTPEZY]?)(?:i?B)?", re.ASCII)
_UNITS = "MGTPEZY"
_ONCE = "1"
_Entry = Mapping[str, Any]


def digest_of_fixed(metadata: _Entry) -> str:
    """Return a digest of the parts that a refresh cannot change.

    Args:
        metadata: The content of metadata.yaml, with every scalar as a string.

    Returns:
        The SHA-256 in hexadecimal, equal if Juju sees no difference; empty if the charm declares
        none of these.
    """
    declared = {
        "deployment": _filled(
            metadata.get("deployment"), ("type", "mode", "service", "min-version")
        ),
        "storage": _entries(metadata.get("storage"), _storage),
        "devices": _entries(metadata.get("devices"), _device),
    }
    found = {key: value for key, value in declared.items() if value}
    if not found:
        return ""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _entries(section: object, read: Callable[[_Entry], dict[str, Any]]) -> dict[str, Any]:
    if not isinstance(section, dict):
        return {}
    entries = cast(dict[str, object], section).items()
    return {
        name: read(cast(_Entry, entry) if isinstance(entry, dict) else {})
        for name, entry in entries
    }


def _storage(entry: _Entry) -> dict[str, Any]:
    multiple = entry.get("multiple")
    times = cast(_Entry, multiple).get("range") if isinstance(multiple, dict) else None
    return {
        **_filled(entry, ("type", "location", "description")),
        "shared": is_true(entry.get("shared")),
        "read-only": is_true(entry.get("read-only")),
        "range": _range(str(times or _ONCE)),
        "minimum-size": _mebibytes(str(entry.get("minimum-size") or "0")),
        "properties": entry.get("properties") or [],
    }


def _device(entry: _Entry) -> dict[str, Any]:
    counts = {key: str(entry.get(key) or _ONCE) for key in ("countmin", "countmax")}
    return {**_filled(entry, ("type", "description")), **counts}


def _filled(section: object, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the given keys that have a value; for Juju an empty text is no value."""
    if not isinstance(section, dict):
        return {}
    return {key: value for key in keys if (value := cast(_Entry, section).get(key))}


def is_true(value: object) -> bool:
    """Return whether a scalar, read as a string, is true in YAML 1.1, which Juju reads."""
    return str(value).lower() in ("true", "yes", "on", "y")


def _range(text: str) -> str:
    """Normalize a count: ``3``, ``0-``, ``1-3``; ``m+`` and ``m-`` mean the same."""
    return text.strip().replace("+", "-")


def _mebibytes(text: str) -> float | str:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return text
    return float(match[1]) * 1024 ** (_UNITS.index(match[2]) if match[2] else 0)
