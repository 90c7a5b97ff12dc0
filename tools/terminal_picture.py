"""Draws the output of a program as a terminal: make demo | python3 -m tools.terminal_picture FILE.

FILE is an SVG; the README shows docs/demo.svg. Its text can be searched, and needs no font from
elsewhere.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

_COLUMNS = 118
_LINE_PIXELS, _MARGIN = 17, 16
_CHARACTER_PIXELS = 7.83
_BAR_PIXELS = 30
# Sections of more lines than this are shortened: those of juju status have a hundred.
_SECTION_LINES = 19
# The time of a line in an action's log, as Juju writes it.
_TIME = re.compile(r"\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d)\.\d+ \+0000 UTC")
_TITLE = ' class="t"'


def shortened(lines: Iterable[str]) -> list[str]:
    """Cut lines and sections that are too long; a section begins with ``===``."""
    found: list[str] = []
    in_section = 0
    for original in lines:
        line = _TIME.sub(r"\1", original)
        in_section = 0 if line.startswith("===") else in_section + 1
        if in_section == _SECTION_LINES:
            found.append("  …")
        if in_section < _SECTION_LINES:
            found.append(line if len(line) <= _COLUMNS else f"{line[: _COLUMNS - 1]}…")
    return found


def picture(lines: list[str]) -> str:
    """Return the SVG."""
    width = round(_COLUMNS * _CHARACTER_PIXELS) + 2 * _MARGIN
    height = _BAR_PIXELS + len(lines) * _LINE_PIXELS + 2 * _MARGIN
    rows = "\n".join(
        f'<text x="{_MARGIN}" y="{_BAR_PIXELS + _MARGIN + number * _LINE_PIXELS}"'
        f"{_TITLE if line.startswith('===') else ''}>{escape(line)}</text>"
        for number, line in enumerate(lines, 1)
        if line
    )
    dots = "".join(
        f'<circle cx="{18 + 18 * number}" cy="16" r="5" fill="{color}"/>'
        for number, color in enumerate(("#e0604e", "#e3b341", "#57ab5a"))
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>The output of make demo</title>
<style>text{{font:13px "Ubuntu Mono","DejaVu Sans Mono",monospace;fill:#d6dbe1;white-space:pre}}
.t{{fill:#7fc8f8;font-weight:bold}}</style>
<rect width="{width}" height="{height}" rx="8" fill="#1d2229"/>{dots}
{rows}
</svg>
"""


def main() -> None:
    """Read standard input, and write the file."""
    lines = sys.stdin.read().splitlines()
    Path(sys.argv[1]).write_text(picture(shortened(lines)))


if __name__ == "__main__":
    main()
