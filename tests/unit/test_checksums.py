"""SHA256SUMS, as the program that checks it has it."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from ckf_airgap.errors import StorageError
from ckf_airgap.packing.checksums import checksum_line, listed_names, write_checksums

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


def test_the_names_in_a_file() -> None:
    digest = hashlib.sha256(b"").hexdigest()
    text = checksum_line(digest, "a") + checksum_line(digest, "b\\c") + "# a comment\n"
    assert listed_names(text) == ["a", "b\\\\c", "# a comment"]
    assert listed_names(f"{digest} *binary\n") == ["binary"]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="SHA256SUMS cannot be written"):
        write_checksums(tmp_path, ["none"])
