"""References to charms: in bundles, and as file names."""

import re
from dataclasses import dataclass

SERIES = {"focal": "ubuntu@20.04", "jammy": "ubuntu@22.04", "noble": "ubuntu@24.04"}
"""Series in older bundles -> base."""
REVISION = re.compile("[0-9]{1,18}")
"""A revision on Charmhub, within the limit of Juju, an int64."""


@dataclass(frozen=True)
class CharmReference:
    """The value of ``charm`` in a bundle.

    Attributes:
        name: The charm's name, unchecked.
        is_file: Whether it is a file, not a charm on Charmhub.
        base: The base of the series in the reference, or None.
        revision: The revision on Charmhub in the reference, or None.
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
            match = re.fullmatch(r"(.*?)(?:-([0-9]{1,18}))?", parts[-1].rpartition(":")[2])
            name, revision = match.groups() if match else (parts[-1], None)
            # Revisions of the old charm store, cs:, differ from those of Charmhub.
            is_charmhub = text.startswith("ch:")
            return cls(
                name,
                text.startswith("local:"),
                next((SERIES[part] for part in parts[:-1] if part in SERIES), None),
                int(revision) if revision and is_charmhub else None,
            )
        # An underscore separates the name, which has none, from revision, digest or base.
        name = parts[-1].removesuffix(".charm").partition("_")[0]
        return cls(name, text.startswith((".", "/")))
