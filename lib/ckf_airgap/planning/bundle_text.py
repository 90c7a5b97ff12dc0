"""Splits a bundle into its YAML documents."""

import re

LARGEST_BUNDLE = 1024 * 1024
"""The maximum size of a bundle, in characters and in bytes."""
# Three hyphens at the beginning of a line always begin a document (YAML 1.2.2, 9.1.2).
_DOCUMENT_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_CONTENT = re.compile(r"^(?!---[^\S\n]*(?:#|$))[^\S\n]*[^\s#%]", re.MULTILINE)
_MOST_DOCUMENTS = 100


def bundle_documents(text: str) -> list[str]:
    """Split a bundle into its YAML documents: the base, and overlays (Juju's "Bundle").

    Args:
        text: The bundle.

    Returns:
        The documents, with leading empty lines that keep the line numbers. A text that is too
        large, or has too many documents, is returned whole: ``BundleReader`` refuses it.
    """
    # A byte order mark, which some editors write, is not content.
    text = text.removeprefix("\N{BYTE ORDER MARK}")
    starts = [0, *(match.start() for match in _DOCUMENT_START.finditer(text))]
    if len(text) > LARGEST_BUNDLE or len(starts) > _MOST_DOCUMENTS:
        return [text]
    parts = [
        "\n" * text.count("\n", 0, start) + text[start:end]
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]
    # A part with nothing but comments and directives is not a document.
    return [part for part in parts if _CONTENT.search(part)] or [text]
