"""JSON that others wrote, parsed within bounds."""

import json
from typing import Any, cast

from ckf_airgap.errors import ArtifactError

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""The most bytes that a document of an image has: what registries take of a manifest."""
# What a document becomes in memory is bounded by the number of its values, about 100 bytes each.
# The manifest.json of 500 images with 60 layers each has 32,000.
_MOST_VALUES = 250_000
_LONGEST_CAUSE = 100


def parse_json(content: bytes, what: str, cure: str) -> Any:
    """Parse a JSON document.

    Args:
        content: The document.
        what: What to call it in messages.
        cure: What to do where it is not one.

    Returns:
        What ``json.loads`` gives.

    Raises:
        ArtifactError: It is not JSON, or has more values than any sound document.
    """
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if values > _MOST_VALUES:
        raise ArtifactError(f"{what} has {values:,} values, too many for what it is", cure)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        cause = str(error)[:_LONGEST_CAUSE]
        raise ArtifactError(f"{what} is not valid JSON ({cause})", cure) from error


def parse_object(content: bytes, what: str, cure: str) -> dict[str, Any]:
    """Parse a JSON document that has to be an object.

    Args:
        content: The document.
        what: What to call it in messages.
        cure: What to do where it is not one.

    Raises:
        ArtifactError: It is not JSON, or not an object.
    """
    document = parse_json(content, what, cure)
    if not isinstance(document, dict):
        raise ArtifactError(f"{what} is not a JSON object", cure)
    return cast(dict[str, Any], document)


def member_of(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Give the object under a key; an empty one where there is none."""
    value = document.get(key)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def items_of(document: dict[str, Any], key: str) -> list[Any]:
    """Give the list under a key; an empty one where it is absent or null, as Go writes it.

    Raises:
        TypeError: Something else stands there.
    """
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list")
    return cast(list[Any], value)


def text_of(document: dict[str, Any], key: str) -> str:
    """Give the text under a key; an empty one where there is none."""
    value = document.get(key)
    return value if isinstance(value, str) else ""
