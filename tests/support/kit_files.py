"""The files that go into a kit, and stand-ins for them."""

import zipfile
from pathlib import Path

import yaml

from ckf_airgap import __version__
from tests.support.operator_steps import PROJECT

COMMAND = PROJECT / "build" / "ckf-airgap"
"""The command as one file, of tox -e docs,command."""
# ELF-64 Object File Format: the machines in e_machine.
AMD64, ARM64, RISCV = 62, 183, 243
PROGRAM = "path\tgithub.com/juju/juju/cmd/juju\n"


def write_charm(path: Path, name: str = "ckf-airgap", *architectures: str) -> Path:
    """Write a charm without code; with the metadata of this project if it has its name."""
    metadata = yaml.safe_load(PROJECT.joinpath("charmcraft.yaml").read_text())
    base: dict[str, str | list[str]] = {"name": "ubuntu", "channel": "24.04"}
    if architectures:
        base["architectures"] = list(architectures)
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in (
            ("metadata.yaml", metadata | {"name": name}),
            ("manifest.yaml", {"bases": [base]}),
        ):
            # Without the time, the same charm is the same bytes.
            archive.writestr(zipfile.ZipInfo(file), yaml.safe_dump(content))
    return path


def write_program(path: Path, machine: int = AMD64, text: str = PROGRAM) -> Path:
    """Write what looks like a program of Go."""
    header = b"\x7fELF\x02\x01".ljust(18, b"\0") + machine.to_bytes(2, "little")
    # The text is where two reads of a megabyte meet.
    path.write_bytes(header.ljust(64 + 1024 * 1024 - 10, b"\0") + text.encode() + bytes(100))
    return path


def write_command(path: Path, version: str = __version__, *documents: str) -> Path:
    """Write what looks like the command as one file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ckf_airgap/__init__.py", f'"""A text."""\n\n__version__ = "{version}"\n')
        for name in documents or ("index.html", "docs/how-to.html"):
            archive.writestr(f"documents/{name}", f"the document {name}")
    return path
