"""The YAML documents that a bundle consists of."""

import re

LARGEST_BUNDLE = 1024 * 1024
"""How many characters a bundle may have, and how many bytes."""
# Three hyphens at the beginning of a line always begin a document (YAML 1.2.2, 9.1.2).
_DOCUMENT_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_CONTENT = re.compile(r"^(?!---[^\S\n]*(?:#|$))[^\S\n]*[^\s#%]", re.MULTILINE)
_MOST_DOCUMENTS = 100


def bundle_documents(text: str) -> list[str]:
    """Part a bundle into its YAML documents: the base, and overlays (Juju's "Bundle").

    Args:
        text: The bundle.

    Returns:
        The documents, each with empty lines in front, so that line numbers stay. One that is too
        large, or of too many documents to be a bundle, stays whole.
    """
    # The mark of a byte order, which editors write in front, is no content.
    text = text.removeprefix("\N{BYTE ORDER MARK}")
    starts = [0, *(match.start() for match in _DOCUMENT_START.finditer(text))]
    if len(text) > LARGEST_BUNDLE or len(starts) > _MOST_DOCUMENTS:
        return [text]
    parts = [
        "\n" * text.count("\n", 0, start) + text[start:end]
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]
    # Comments and directives alone make none.
    return [part for part in parts if _CONTENT.search(part)] or [text]
