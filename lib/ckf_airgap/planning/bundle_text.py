"""What the readers of bundles share: documents, references of charms, names of series."""

import re
from dataclasses import dataclass

LARGEST_BUNDLE = 1024 * 1024
"""How many characters a bundle may have."""
SERIES = {"focal": "ubuntu@20.04", "jammy": "ubuntu@22.04", "noble": "ubuntu@24.04"}
"""The bases that older bundles call by a name."""
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


@dataclass(frozen=True)
class CharmReference:
    """What a bundle gives as ``charm``.

    Attributes:
        name: The charm's name, which is still to be checked.
        is_file: Whether it is a file, not a charm of Charmhub.
        base: The base by the series in it, or None.
        revision: The revision on Charmhub in it, or None.
    """

    name: str
    is_file: bool = False
    base: str | None = None
    revision: int | None = None

    @classmethod
    def parse(cls, text: str) -> "CharmReference":
        """Read a reference.

        Args:
            text: ``minio``, ``ch:amd64/focal/minio-57``, ``./minio_r57.charm``, ``/path/minio``.
        """
        parts = text.rstrip("/").split("/")
        if text.startswith(("ch:", "cs:", "local:")):
            match = re.fullmatch(r"(.*?)(?:-([0-9]{1,9}))?", parts[-1].rpartition(":")[2])
            name, revision = match.groups() if match else (parts[-1], None)
            # The revisions of the charm store, cs:, were others than those of Charmhub.
            is_charmhub = text.startswith("ch:")
            return cls(
                name,
                text.startswith("local:"),
                next((SERIES[part] for part in parts[:-1] if part in SERIES), None),
                int(revision) if revision and is_charmhub else None,
            )
        # No charm's name has an underscore, which parts it from revision, digest or base.
        name = parts[-1].removesuffix(".charm").partition("_")[0]
        return cls(name, text.startswith((".", "/")))
