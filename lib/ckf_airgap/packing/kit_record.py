"""kit.json: the record of the files of a kit that ``pack`` wrote to a directory.

Neither a name nor a line of SHA256SUMS shows that ``pack`` wrote a file: other programs write such
lines too. ``pack`` wrote a file if kit.json and SHA256SUMS list it with the same SHA-256, and the
file still has it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.digests import file_sha256
from ckf_airgap.files.regular_files import open_regular, read_regular
from ckf_airgap.files.untrusted_json import LARGEST_DOCUMENT, member_of, parse_object
from ckf_airgap.packing.checksums import checksum_line, checksum_lines
from ckf_airgap.packing.kit import is_kit_name

KIT_RECORD = "kit.json"
"""The name of the record, which is a file of the kit itself."""
_MADE_BY = "ckf-airgap pack --kit"
_FORMAT = 1


def encode_kit_record(digests: Mapping[str, str]) -> bytes:
    """Return the record of a kit.

    Args:
        digests: The SHA-256 of each of its files, 64 hexadecimal digits, by its name.
    """
    document = {"format": _FORMAT, "made_by": _MADE_BY, "files": dict(digests)}
    return f"{json.dumps(document, indent=1)}\n".encode()


def recorded_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the kit in a directory, by its name.

    The record is valid if SHA256SUMS has its checksum. A file counts if the record and SHA256SUMS
    have the same checksum for it; its content is not read.

    Args:
        folder: The directory.

    Returns:
        The files, the record itself among them; none if no kit was written there.

    Raises:
        StorageError: SHA256SUMS cannot be read.
    """
    lines = checksum_lines(folder)
    content = _read(folder / KIT_RECORD)
    digests = {**_decode(content), KIT_RECORD: hashlib.sha256(content).hexdigest()}
    found = {
        name: digest
        for name, digest in digests.items()
        if lines.get(name) == checksum_line(digest, name)
    }
    return found if KIT_RECORD in found else {}


def is_unchanged(folder: Path, name: str, digest: str) -> bool:
    """Return whether a file is regular and has this SHA-256, and no parent is a link."""
    if link_above(folder, name):
        return False
    with (
        suppress(OSError),
        os.fdopen(open_regular(folder / name, follows_link=False), "rb") as file,
    ):
        return file_sha256(file) == digest
    return False


def link_above(folder: Path, name: str) -> str:
    """Return the first parent of a file that is not a directory, for example a link; or ''."""
    parents = [parent.as_posix() for parent in reversed(Path(name).parents) if parent.name]
    for parent in parents:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat(folder / parent).st_mode):
                return parent
    return ""


def foreign_files(folder: Path, names: Iterable[str]) -> list[str]:
    """List files that have the name of a file of a kit, and that ``pack`` did not write.

    Args:
        folder: The directory.
        names: The names of the files of a kit.

    Returns:
        Their names, sorted, including files that were changed since, and parents of the names
        that are not directories.
    """
    known = recorded_files(folder)
    found: set[str] = set()
    for name in names:
        if link := link_above(folder, name):
            found.add(link)
        elif os.path.lexists(folder / name) and not (
            name in known and is_unchanged(folder, name, known[name])
        ):
            found.add(name)
    return sorted(found)


def _read(path: Path) -> bytes:
    """Read a regular file; nothing if it is missing or anything else."""
    with suppress(OSError):
        return read_regular(path, LARGEST_DOCUMENT, follows_link=False)
    return b""


def _decode(content: bytes) -> dict[str, str]:
    """Read the files from a record; none if it is no record."""
    try:
        document = parse_object(content, KIT_RECORD, "")
    except ArtifactError:
        return {}
    if (document.get("format"), document.get("made_by")) != (_FORMAT, _MADE_BY):
        return {}
    files = member_of(document, "files").items()
    return {name: str(digest) for name, digest in files if is_kit_name(name)}
