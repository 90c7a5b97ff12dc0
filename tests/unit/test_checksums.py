"""SHA256SUMS, as the program that checks it has it."""

import errno
import hashlib
import subprocess
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from ckf_airgap.errors import StorageError
from ckf_airgap.packing import checksums
from ckf_airgap.packing.checksums import (
    CHECKSUMS,
    checksum_line,
    checksum_lines,
    write_checksums,
)

NAMES = (
    "images.tar.gz",
    "two words",
    " leading",
    "trailing ",
    "back\\slash",
    "line\nfeed",
    "carriage\rreturn",
    "\\n",
    "*star",
    "-dash",
    "na\u00efve",
    "\\\\double",
)


def test_the_program_writes_and_takes_the_same(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text(f"content of {name}")
    write_checksums(tmp_path, NAMES)
    written = (tmp_path / "SHA256SUMS").read_bytes()
    words = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(words, cwd=tmp_path, check=True)
    expected = subprocess.run(
        ["sha256sum", "--", *NAMES], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert written == expected


def test_the_lines_of_a_file(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    assert checksum_lines(tmp_path) == {}
    lines = [checksum_line(digest, "a"), checksum_line(digest, "b\\c"), "# a comment\n"]
    (tmp_path / CHECKSUMS).write_text("".join(lines))
    names = ["a", "b\\\\c", "# a comment"]
    assert checksum_lines(tmp_path) == dict(zip(names, lines, strict=True))
    (tmp_path / CHECKSUMS).write_text(f"{digest} *binary")
    assert list(checksum_lines(tmp_path)) == ["binary"]


def test_blank_lines_and_carriage_returns_are_ignored(tmp_path: Path) -> None:
    line = checksum_line("0" * 64, "a")
    (tmp_path / CHECKSUMS).write_bytes(f"\n{line} \n\r\n".replace("a\n", "a\r\n").encode())
    assert checksum_lines(tmp_path) == {"a": line}


def test_lines_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    line = checksum_line("0" * 64, "b")
    write_checksums(tmp_path, ["a"], [line])
    assert list(checksum_lines(tmp_path)) == ["a", "b"]
    assert (tmp_path / CHECKSUMS).read_text().endswith(line)


@pytest.mark.parametrize("name", ["none", "directory"])
def test_a_file_that_cannot_be_opened_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "directory").mkdir()
    with pytest.raises(StorageError, match=f"^{tmp_path / name} cannot be read"):
        write_checksums(tmp_path, ["a", name])


def test_a_file_on_a_broken_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: BinaryIO, stopped: threading.Event) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checksums, "file_sha256", fail)
    (tmp_path / "a").write_text("a")
    with pytest.raises(StorageError, match=f"^{tmp_path / 'a'} cannot be read"):
        write_checksums(tmp_path, ["a"])


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / CHECKSUMS).mkdir()
    with pytest.raises(StorageError, match="SHA256SUMS cannot be read"):
        checksum_lines(tmp_path)
