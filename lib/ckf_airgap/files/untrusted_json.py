"""Parses JSON of unknown origin within limits."""

import json
from collections import Counter
from typing import Any, cast

from ckf_airgap.errors import ArtifactError, printable

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""The maximum size of a document of an image, in bytes: the limit of registries for manifests."""
# Each value takes about 100 bytes of memory. The manifest.json of 500 images with 60 layers each
# has 32,000 values.
_MOST_VALUES = 250_000
_LONGEST_CAUSE = 100
# For a CPU architecture, an operating system or a media type.
_LONGEST_WORD = 255


def parse_json(content: bytes, what: str, cure: str, *, is_unique: bool = False) -> Any:
    """Parse a JSON document.

    Args:
        content: The document.
        what: Describes the document in messages.
        cure: What to do if the document is invalid.
        is_unique: Whether a repeated key is an error. If not, the last value is used: all tools
            read the documents of images this way, but Go merges two objects with one key.

    Returns:
        The result of ``json.loads``.

    Raises:
        ArtifactError: It is not JSON, or has too many values.
    """
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if values > _MOST_VALUES:
        raise ArtifactError(f"{what} has {values:,} values, which is too many", cure)
    try:
        return json.loads(content, object_pairs_hook=_unique if is_unique else None)
    except (ValueError, RecursionError) as error:
        cause = str(error)[:_LONGEST_CAUSE]
        raise ArtifactError(f"{what} is not valid JSON ({cause})", cure) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        raise ValueError(f"it has the key {keys.most_common(1)[0][0]} twice")
    return found


def parse_object(
    content: bytes, what: str, cure: str, *, is_unique: bool = False
) -> dict[str, Any]:
    """Parse a JSON document that must be an object.

    Args:
        content: The document.
        what: Describes the document in messages.
        cure: What to do if the document is invalid.
        is_unique: As for ``parse_json``.

    Raises:
        ArtifactError: As for ``parse_json``, or it is not an object.
    """
    document = parse_json(content, what, cure, is_unique=is_unique)
    if not isinstance(document, dict):
        raise ArtifactError(f"{what} is not a JSON object", cure)
    return cast(dict[str, Any], document)


def member_of(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under a key; an empty one if the value is anything else."""
    value = document.get(key)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def items_of(document: dict[str, Any], key: str) -> list[Any]:
    """Return the list under a key; an empty one if it is absent or null, as Go writes nil slices.

    Raises:
        TypeError: The value is not a list.
    """
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list")
    return cast(list[Any], value)


def text_of(document: dict[str, Any], key: str) -> str:
    """Return the string under a key; an empty one if the value is anything else."""
    value = document.get(key)
    return value if isinstance(value, str) else ""


def word_of(document: dict[str, Any], key: str) -> str:
    """Return the string under a key for a message: printable, at most 255 characters."""
    return printable(text_of(document, key)[:_LONGEST_WORD])
