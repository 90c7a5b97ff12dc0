"""What makes charms hostile: YAML that explodes, and zips whose records do not tell the truth."""

import re

# Nine levels of ten each, as in "billion laughs".
LAUGHS = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
)
"""Aliases that stand for a thousand million values."""
MERGES = "\n".join(
    [
        "a0: &a0 {" + ", ".join(f"k{n}: x" for n in range(100)) + "}",
        *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)),
    ]
)
"""The same by merge keys."""


def with_bytes(content: bytes, start: bytes, place: int, new: bytes) -> bytes:
    """Change bytes of each record of a zip that begins with some bytes.

    Args:
        content: The zip.
        start: What the records begin with.
        place: Where in each of them to write.
        new: What to write there.
    """
    changed = bytearray(content)
    for match in re.finditer(re.escape(start), content):
        position = match.start() + place
        changed[position : position + len(new)] = new
    return bytes(changed)
