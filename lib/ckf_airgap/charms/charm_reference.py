"""How charms are named: in bundles, and by their files."""

import re
from dataclasses import dataclass

SERIES = {"focal": "ubuntu@20.04", "jammy": "ubuntu@22.04", "noble": "ubuntu@24.04"}
"""The bases that older bundles call by a name."""
REVISION = re.compile("[0-9]{1,18}")
"""A revision on Charmhub: Juju's own limit is that of an int64."""


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
