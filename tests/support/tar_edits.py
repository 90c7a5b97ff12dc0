"""Archives that are written again with other files."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path


def repack(path: Path, change: Callable[[str, bytes], Iterator[tuple[str, bytes]]]) -> None:
    """Write an archive again, with other members."""
    output = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=output, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            for name, content in change(member.name, file.read() if file else b""):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    path.write_bytes(gzip.compress(output.getvalue(), 1))


def edited(saved: bytes, edit: Callable[[str, bytes], bytes | None]) -> bytes:
    """Write a ``docker save`` archive again, with other files; None leaves one out."""
    output = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(saved)) as old,
        tarfile.open(fileobj=output, mode="w") as new,
    ):
        for member in old:
            file = old.extractfile(member) if member.isreg() else None
            content = edit(member.name, file.read()) if file else b""
            if content is None:
                continue
            if file:
                member.size = len(content)
            new.addfile(member, io.BytesIO(content) if file else None)
    return output.getvalue()
