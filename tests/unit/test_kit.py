"""What is taken for the kit, and its README."""

import errno
import os
import zipfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from ckf_airgap import __version__
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.commands.main import main
from ckf_airgap.errors import ConfigurationError, StorageError
from ckf_airgap.packing import kit as packing_kit
from ckf_airgap.packing.kit import Kit, KitContents
from tests.support.kit_files import ARM64, RISCV, write_charm, write_command, write_program

Change = Callable[[Path], object]
MANIFEST = PackManifest("oci", "amd64", (), (), "")


def kit_in(folder: Path, change: Change | None = None) -> Kit:
    write_charm(folder / "charm", "ckf-airgap", "amd64")
    write_program(folder / "juju")
    write_command(folder / "command")
    if change:
        change(folder)
    return Kit.of(folder / "charm", folder / "juju", folder / "command", "amd64")


def written(kit: Kit, folder: Path, images: Sequence[str], juju_version: str = "") -> str:
    folder.mkdir()
    kit.write(folder, KitContents(images, ["charms.tar.gz"], MANIFEST, juju_version, None))
    return (folder / "README.md").read_text()


def test_what_is_written(tmp_path: Path) -> None:
    kit = kit_in(tmp_path)
    readme = written(kit, tmp_path / "kit", ["images.tar.gz"], "3.6.25")
    files = {
        str(path.relative_to(tmp_path / "kit"))
        for path in (tmp_path / "kit").rglob("*")
        if path.is_file()
    }
    assert files == set(kit.names)
    for name in kit.names:
        assert f"`{name.partition('/')[0]}" in readme or name == "README.md", name
    assert (tmp_path / "kit/juju").read_bytes() == (tmp_path / "juju").read_bytes()
    assert (tmp_path / "kit/documents/docs/how-to.html").read_text().endswith("docs/how-to.html")
    for name in ("juju", "ckf-airgap"):
        assert os.access(tmp_path / "kit" / name, os.X_OK)
    assert not os.access(tmp_path / "kit" / "ckf-airgap_amd64.charm", os.X_OK)
    assert "caas-image-repo=registry.corp:5000/ckf/juju" in readme
    assert "minisig" not in readme
    assert kit.size == sum(
        (tmp_path / "kit" / name).stat().st_size for name in kit.names if name != "README.md"
    )


def test_the_charm_of_the_controller(tmp_path: Path) -> None:
    charm = write_charm(tmp_path / "controller", "juju-controller")
    plain = kit_in(tmp_path)
    kit = Kit.of(plain.charm, plain.juju, plain.command, "amd64", charm)
    assert kit.size == plain.size + charm.stat().st_size
    readme = written(kit, tmp_path / "kit", ["images.tar.gz"], "4.0.1")
    assert set(kit.names) - set(plain.names) == {"juju-controller.charm"}
    assert (tmp_path / "kit" / "juju-controller.charm").read_bytes() == charm.read_bytes()
    assert "ckf/juju \\\n       --controller-charm-path juju-controller.charm\n" in readme
    assert "Juju 3 fetches" not in readme
    assert "Juju 3 fetches" in written(plain, tmp_path / "plain", ["images.tar.gz"], "3.6.25")


def test_another_charm_as_that_of_the_controller(tmp_path: Path) -> None:
    kit = kit_in(tmp_path)
    with pytest.raises(ConfigurationError, match="is the charm ckf-airgap, not juju-controller"):
        Kit.of(kit.charm, kit.juju, kit.command, "amd64", kit.charm)


def test_the_readme_of_parts(tmp_path: Path) -> None:
    parts = [f"images.tar.gz.{number:03}" for number in range(1, 13)]
    readme = written(kit_in(tmp_path), tmp_path / "kit", parts)
    assert "`images.tar.gz.001` to `images.tar.gz.012` (12 parts of one file)" in readme
    assert "push --images images.tar.gz --charms charms.tar.gz" in readme
    assert "juju scp images.tar.gz.* charms.tar.gz" in readme
    assert "ckf-airgap/0:/var/lib/juju/storage/artifacts/0/\n" in readme
    assert "With Juju 4, the path of the volume is `/var/lib/juju/storage/artifacts-0/`." in readme
    assert "caas-image-repo" not in readme


REFUSED: list[tuple[Change, str]] = [
    (lambda folder: write_charm(folder / "charm", "minio"), "is the charm minio, not ckf"),
    (lambda folder: write_charm(folder / "charm", "ckf-airgap", "arm64"), "for arm64, not"),
    (lambda folder: (folder / "charm").write_text("no zip"), "charm is not a readable charm"),
    (lambda folder: (folder / "charm").unlink(), "charm is not a readable charm"),
    (lambda folder: write_program(folder / "juju", ARM64), "juju is for arm64, not for amd64"),
    (lambda folder: write_program(folder / "juju", RISCV), "juju is for another CPU, not"),
    (
        lambda folder: write_program(folder / "juju", text="path\tgithub.com/other/juju\n"),
        "juju is not the juju client",
    ),
    (
        lambda folder: (folder / "juju").write_text("#!/bin/sh\n"),
        "juju is not the juju client",
    ),
    (lambda folder: (folder / "juju").write_bytes(b""), "juju is not the juju client"),
    (lambda folder: (folder / "juju").unlink(), "juju cannot be read"),
    (lambda folder: os.truncate(folder / "command", 100), "as one file .it contains no code"),
    (lambda folder: (folder / "command").unlink(), "as one file .it cannot be read: No such"),
    (
        lambda folder: write_command(folder / "command", "9.9"),
        f"its version is 9.9, not {__version__}",
    ),
    (
        lambda folder: write_command(folder / "command", __version__, "other.html"),
        "its documents are missing or have unexpected names",
    ),
    (
        lambda folder: write_command(folder / "command", __version__, "index.html", "../x"),
        "its documents are missing or have unexpected names",
    ),
    (lambda folder: write_charm(folder / "command"), "it contains no code"),
]


@pytest.mark.parametrize(("change", "problem"), REFUSED)
def test_what_is_refused(change: Change, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        kit_in(tmp_path, change)
    assert "--kit-" in caught.value.cure


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is about the directory, not about the command whose documents are copied."""
    found = kit_in(tmp_path)

    @contextmanager
    def full(path: Path) -> Generator[BinaryIO]:
        if path.suffix == ".html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with path.open("wb") as file:
            yield file

    monkeypatch.setattr(packing_kit, "new_file", full)
    with pytest.raises(StorageError, match=r"No space left on device"):
        written(found, tmp_path / "kit", ["images.tar.gz"])


def test_a_command_file_of_another_compression(tmp_path: Path) -> None:
    kit_in(tmp_path)
    with zipfile.ZipFile(tmp_path / "command", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ckf_airgap/__init__.py", "x")
    data = (tmp_path / "command").read_bytes()
    # Another method: 99 stands for none that zipfile knows.
    (tmp_path / "command").write_bytes(data.replace(b"\x0e\x00\x00\x00", b"\x63\x00\x00\x00"))
    with pytest.raises(ConfigurationError, match="as one file"):
        Kit.of(tmp_path / "charm", tmp_path / "juju", tmp_path / "command", "amd64")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--kit-charm", "x"], "require --kit"),
        (["--kit-controller-charm", "x"], "require --kit"),
        (["--kit-juju", "x"], "require --kit"),
        (["--kit"], "--kit requires the charm"),
        (["--kit", "--kit-charm", "x"], "--kit requires the command as one file"),
        (["--kit", "--kit-charm", "x", "--kit-command", "y"], "x is not a readable charm"),
    ],
)
def test_options(
    options: list[str],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PEX", raising=False)
    assert main(["pack", "--charms", str(tmp_path), *options]) == 2
    assert problem in capsys.readouterr().err
