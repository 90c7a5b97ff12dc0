"""The commands in the documents."""

import re
from dataclasses import dataclass
from pathlib import Path

_DOCUMENTS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(
    r"^```sh(?P<attributes>[^\n]*)\n(?P<commands>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """Commands of a document.

    Attributes:
        commands: Lines of a shell.
        tested_by: The test that runs these or the like elsewhere, or None.
    """

    commands: str
    tested_by: str | None


def blocks(document: str) -> list[Block]:
    """List the commands of a document, in their order."""
    return [
        Block(match["commands"], match["attributes"].partition("tested-by=")[2].strip() or None)
        for match in _BLOCK.finditer(_DOCUMENTS.joinpath(document).read_text())
    ]
