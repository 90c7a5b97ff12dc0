"""Tar archives: written entry by entry, or by GNU tar from real files."""

import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One entry of a tar archive.

    Attributes:
        name: Its path.
        content: Its content; empty for anything but a file.
        kind: Its type flag.
        target: Where it leads, for a link.
    """

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""


def folder(name: str) -> Entry:
    return Entry(name, kind=tarfile.DIRTYPE)


def symbolic_link(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.SYMTYPE, target=target)


def hard_link(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.LNKTYPE, target=target)


def inside(path: str, entries: Iterable[Entry]) -> list[Entry]:
    """Put entries into a folder; ``.`` gives them the prefix that ``tar -C folder .`` writes."""
    moved: list[Entry] = []
    for entry in entries:
        # A hard link names its target from the root of the archive, a symbolic one from itself.
        target = f"{path}/{entry.target}" if entry.kind == tarfile.LNKTYPE else entry.target
        moved.append(replace(entry, name=f"{path}/{entry.name}", target=target))
    return moved


def tar(entries: Iterable[Entry], dialect: int = tarfile.PAX_FORMAT) -> bytes:
    """Write an archive.

    Args:
        entries: What is in it, in this order.
        dialect: ``tarfile.USTAR_FORMAT``, ``GNU_FORMAT`` or ``PAX_FORMAT``.
    """
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=dialect) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.name)
            header.size, header.type = len(entry.content), entry.kind
            header.linkname = entry.target
            archive.addfile(header, io.BytesIO(entry.content))
    return output.getvalue()


def tar_of(**members: bytes) -> bytes:
    """Write an archive of files that are named ``*.tar``."""
    return tar(Entry(f"{name}.tar", content) for name, content in members.items())


def gnu_tar(files: Mapping[str, bytes], work: Path, *options: str) -> bytes:
    """Let GNU tar archive files, which have holes where their content is zero.

    Args:
        files: The files by their names.
        work: An existing folder to write them to.
        options: For tar, for example ``-S``.
    """
    for name, content in files.items():
        with (work / name).open("wb") as file:
            for start in range(0, len(content), _BLOCK):
                block = content[start : start + _BLOCK]
                if any(block):
                    file.seek(start)
                    file.write(block)
            file.truncate(len(content))
    command = ["tar", "-C", str(work), *options, "-cf", "-", *files]
    return subprocess.run(command, check=True, capture_output=True).stdout


def is_sparse(archive: bytes, name: str) -> bool:
    """Tell whether a member is stored with holes, as Python's own reader sees it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return opened.getmember(name).issparse()


def header(entry: Entry, size: int | None = None, *, for_pax: bool = False) -> bytes:
    """Give the header of an entry alone.

    Args:
        entry: The entry.
        size: The size to state, where it is not that of the content.
        for_pax: Whether it is one of pax, and not one of GNU's own form.
    """
    info = tarfile.TarInfo(entry.name)
    info.size = len(entry.content) if size is None else size
    info.type, info.linkname = entry.kind, entry.target
    dialect = tarfile.USTAR_FORMAT if for_pax else tarfile.GNU_FORMAT
    return info.tobuf(dialect, "utf-8", "surrogateescape")


def padded(content: bytes) -> bytes:
    """Fill up the last block, as the content of an entry is."""
    return content + bytes(-len(content) % _BLOCK)


END = bytes(2 * _BLOCK)
"""What ends an archive."""
