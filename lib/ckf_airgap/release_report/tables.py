"""The tables of a release, and their forms as CSV and Markdown.

The texts come from archives of unknown origin, so each form escapes them.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ckf_airgap.errors import printable
from ckf_airgap.release_report.release_content import ReleaseContent

Cell = str | int | tuple[str, ...]
"""A text, a number or a list of texts."""

# Spreadsheets treat a cell that begins with one of these as a formula (OWASP, "CSV Injection").
# The last four are the same characters in full width.
_FORMULA = (
    *"=+-@",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)
# The characters with a meaning in Markdown or HTML. Underscores inside words have none.
_MARKUP = re.compile(
    r"[&<>|\\`*\[\]~!#$^{}]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])|:(?=//)|(?i:(?<=www)\.)"
)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: The name of its files, without the suffix.
        title: Its title.
        heads: The headings of its columns.
        rows: Its rows, with a cell for each column.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def images_table(content: ReleaseContent) -> Table:
    """List the images of a release."""
    heads = (
        *("image", "kind", "CPU", "manifest digest", "image ID", "layers", "layer bytes"),
        *("shared layers", "shared bytes", "source", "wanted by"),
    )

    def rows() -> Iterator[tuple[Cell, ...]]:
        for image in content.images:
            shared = content.shared(image)
            yield (
                *(image.label, image.kind, image.architecture, image.digest, image.image_id),
                *(len(image.layers), image.size),
                *(len(shared), sum(layer.size for layer in shared)),
                *(image.source, image.wanted_by),
            )

    return Table("images", "Images", heads, tuple(rows()))


def charms_table(content: ReleaseContent) -> Table:
    """List the charms of a release."""
    heads = ("charm", "revision", "channel", "bases", "SHA-256", "file", "note")
    rows = (
        (
            charm.name,
            "" if charm.revision is None else charm.revision,
            charm.channel,
            charm.bases,
            charm.sha256,
            charm.file,
            charm.note,
        )
        for charm in content.charms
    )
    return Table("charms", "Charms", heads, tuple(rows))


def texts_of(cell: Cell) -> tuple[str, ...]:
    """Return the texts in a cell, without non-printable characters."""
    texts = cell if isinstance(cell, tuple) else (str(cell),)
    return tuple(printable(text).strip() for text in texts)


def as_csv(table: Table) -> str:
    """Write a table as CSV (RFC 4180).

    Texts that a spreadsheet would treat as a formula get a leading apostrophe, so that it shows
    them as text.
    """
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(table.heads)
    for row in table.rows:
        writer.writerow(
            cell if isinstance(cell, int) else ", ".join(map(_no_formula, texts_of(cell)))
            for cell in row
        )
    return file.getvalue()


def as_markdown(table: Table, notes: tuple[str, ...] = ()) -> str:
    """Write a table as Markdown (GitHub Flavored Markdown, "Tables").

    Args:
        table: The table.
        notes: The texts of a list "Not pushed" below the table.
    """
    lines = [
        f"# {table.title}",
        "",
        _markdown_row(table.heads),
        _markdown_row(
            tuple(
                "---:" if any(isinstance(row[column], int) for row in table.rows) else "---"
                for column in range(len(table.heads))
            )
        ),
        *(_markdown_row(tuple(map(_markdown_cell, row))) for row in table.rows),
    ]
    if notes:
        lines += ["", "## Not pushed", "", *(f"- {_markdown_cell(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _markdown_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    # A character reference is plain text at any position.
    return ", ".join(
        _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text) for text in texts_of(cell)
    )
