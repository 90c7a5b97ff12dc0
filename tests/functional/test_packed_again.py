"""``ckf-airgap pack`` where it has packed already: what it reads, signs and leaves as it is."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from ckf_airgap.commands.main import main
from ckf_airgap.packing.publication import Publication
from tests.functional.packs import Captured, words
from tests.support.kit_files import write_charm, write_command, write_program
from tests.support.outside import Outside

pytestmark = pytest.mark.usefixtures("release")


def kit_words(folder: Path) -> list[str]:
    """Make stand-ins for the files of a kit; gives the options that pack them."""
    charm = write_charm(folder / "charm", "ckf-airgap", "amd64")
    juju, command = write_program(folder / "juju"), write_command(folder / "command")
    options = {"--kit-charm": charm, "--kit-juju": juju, "--kit-command": command}
    return ["--kit", *(word for option in options.items() for word in map(str, option))]


def content(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, but those of the working directory."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if not name.startswith("partial/")
    }


def verify(folder: Path, public: Path) -> None:
    """Check the signature and the checksums, as they are checked in the air gap."""
    subprocess.run(["minisign", "-V", "-p", public, "-m", "SHA256SUMS"], cwd=folder, check=True)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=folder, check=True)


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` returns."""

    total: int
    used: int
    free: int


def full_disk(_: Path) -> Usage:
    return Usage(10**12, 10**12, 100)


def test_no_checksum_is_signed_that_was_not_computed(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    public, secret, packed = tmp_path / "key.pub", tmp_path / "key", tmp_path / "packed"
    subprocess.run(["minisign", "-G", "-W", "-s", secret, "-p", public], check=True)
    arguments = words(outside, tmp_path, "--format", "oci", "--sign", str(secret))
    kit = kit_words(tmp_path)
    assert main([*arguments, *kit]) == 0
    verify(packed, public)
    genuine = content(packed)

    # Nothing changes where nothing has changed, and what was signed is not read again.
    assert main(arguments) == 0
    assert content(packed) == genuine

    # Somebody changes a file of the kit, and its checksum.
    (packed / "juju").write_text("evil")
    sums = packed / "SHA256SUMS"
    evil = hashlib.sha256(b"evil").hexdigest()
    sums.write_text(re.sub(r"(?m)^\w+  juju$", f"{evil}  juju", sums.read_text()))
    changed = content(packed)
    for more in ([], kit):
        assert main([*arguments, *more]) == 2
        assert "SHA256SUMS in" in capsys.readouterr().err
        assert content(packed) == changed

    # Somebody changes the checksum of an archive: both are made again.
    (packed / "juju").write_bytes(genuine["juju"])
    text = genuine["SHA256SUMS"].decode()
    sums.write_text(re.sub(r"(?m)^\w+  images", f"{evil}  images", text))
    assert main([*arguments, *kit]) == 0
    assert "already" not in capsys.readouterr().err
    verify(packed, public)
    assert content(packed) == genuine


def test_a_dry_run_changes_nothing(
    outside: Outside, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what an interrupted pack has left to publish."""
    packed = tmp_path / "packed"
    kit = kit_words(tmp_path)
    assert main([*words(outside, tmp_path, "--format", "oci"), *kit]) == 0
    before = content(packed)
    arguments = words(outside, tmp_path, "--format", "docker")
    resume = Publication.resume

    def interrupted(publication: Publication) -> None:
        if publication.is_interrupted:
            raise KeyboardInterrupt
        resume(publication)

    with monkeypatch.context() as patch:
        patch.setattr(Publication, "resume", interrupted)
        assert main(arguments) == 130
    assert (packed / "partial" / "complete").exists()
    for more in ([], kit):
        assert main([*arguments, "--dry-run", *more]) == 0
        assert content(packed) == before
        assert (packed / "partial" / "complete").exists()
    capsys.readouterr()
    assert main(arguments) == 0
    assert "already" in capsys.readouterr().err
    assert content(packed).keys() == {"SHA256SUMS", "images.tar.gz", "charms.tar.gz"}


def test_a_kit_for_which_there_is_no_space(
    outside: Outside, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = words(outside, tmp_path)
    assert main(arguments) == 0
    before = content(tmp_path / "packed")
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    kit = kit_words(tmp_path)
    assert main([*arguments, *kit]) == 2
    assert "has 100 bytes free, " in capsys.readouterr().err
    assert content(tmp_path / "packed") == before
    # Without a kit, nothing is written.
    assert main(arguments) == 0
