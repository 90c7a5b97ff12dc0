"""The kit, made from a small pack, and the command in it, alone without a network."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap import __version__
from ckf_airgap.commands.main import main
from testbed.pki import Authority
from testbed.registry import Registry
from tests.functional.packs import Captured, words
from tests.functional.running_registry import RunningRegistry
from tests.sample_release import Release
from tests.support.kit_files import COMMAND, write_charm
from tests.support.operator_steps import PROJECT
from tests.support.outside import Outside

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ARCHITECTURES = ("x86_64", "aarch64")


def interpreters() -> list[Path]:
    """Find a Python of each of these versions that this machine has, whoever installed it."""
    folders = [Path(each) for each in os.environ["PATH"].split(":")]
    folders += Path.home().glob(".pyenv/versions/*/bin")
    found: dict[str, Path] = {}
    for path in (folder / f"python{version}" for folder in folders for version in PYTHONS):
        if path.exists():
            # A shim may be there without its Python.
            script = "import sys; print(sys.executable)"
            done = subprocess.run([path, "-I", "-c", script], capture_output=True, text=True)
            if done.returncode == 0:
                found.setdefault(path.name, Path(done.stdout.strip()))
    return list(found.values())


def chosen() -> list[Any]:
    """Give the oldest and the newest of these Pythons; those between are for tox -e thorough."""
    found = sorted(interpreters(), key=lambda path: int(path.name.rpartition(".")[2]))
    between = found[1:-1]
    return [
        pytest.param(path, id=path.name, marks=[pytest.mark.thorough] * (path in between))
        for path in found
    ]


@pytest.fixture(scope="module")
def command() -> Path:
    """The command as one file, of the code that is tested."""
    cure = "tox run -e docs,command builds it"
    assert COMMAND.exists(), f"{COMMAND} is not there: {cure}"
    with zipfile.ZipFile(COMMAND) as archive:
        names = {name for name in archive.namelist() if name.startswith("ckf_airgap/")}
        found = {name: archive.read(name) for name in names if not name.endswith("/")}
    paths = [path for path in PROJECT.joinpath("lib").rglob("*") if path.is_file()]
    code = {
        str(path.relative_to(PROJECT / "lib")): path.read_bytes()
        for path in paths
        if "__pycache__" not in path.parts
    }
    assert found == code, f"{COMMAND} is of other code: {cure}"
    return COMMAND


class Gap:
    """A network namespace with nothing but a loopback interface."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self._home = home

    def inside(self, args: Sequence[str | Path]) -> list[str]:
        """Give the command that runs a command inside."""
        return ["ip", "netns", "exec", self.name, *map(str, args)]

    def run(self, python: Path, *args: str | Path, status: int = 0) -> str:
        """Run the command of a kit with a Python that has nothing else; gives its output."""
        clean = ("env", "-i", f"HOME={self._home}", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8")
        done = subprocess.run(
            self.inside([*clean, python, "-I", *args]), capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        return done.stdout


@pytest.fixture
def gap(tmp_path: Path) -> Generator[Gap]:
    name = f"ckf-airgap-kit-{os.getpid()}"
    # Two at once would both set up the directory of the namespaces.
    with Path("/tmp/ckf-airgap-netns.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        home = tmp_path / "empty-home"
        home.mkdir()
        gap = Gap(name, home)
        subprocess.run(gap.inside(["ip", "link", "set", "lo", "up"]), check=True)
        yield gap
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture
def inner_registry(gap: Gap, authority: Authority, tmp_path: Path) -> Generator[RunningRegistry]:
    """An empty registry in the namespace."""
    process = replace(Registry.on_loopback(tmp_path / "inner", authority), wrap=gap.inside)
    process.start()
    yield RunningRegistry(process)
    process.stop()


def pack_words(outside: Outside, folder: Path, client: Path, *more: str) -> list[str]:
    charm = write_charm(folder / "charm", "ckf-airgap", "amd64")
    kit = ("--kit", "--kit-charm", str(charm), "--kit-juju", str(client))
    return words(outside, folder, "--format", "oci", *kit, *more)


def carry(folder: Path) -> Path:
    """Move the kit away from all that was there when it was made."""
    kit = folder / "carried"
    shutil.move(folder / "packed", kit)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=kit, check=True
    )
    return kit


def listed(kit: Path) -> set[str]:
    return {line[66:] for line in (kit / "SHA256SUMS").read_text().splitlines()}


def files(kit: Path) -> set[str]:
    return {str(path.relative_to(kit)) for path in kit.rglob("*") if path.is_file()}


@pytest.mark.parametrize("python", chosen())
def test_from_the_kit_alone(
    python: Path,
    release: Release,
    outside: Outside,
    command: Path,
    juju_client: Path,
    gap: Gap,
    inner_registry: RunningRegistry,
    tmp_path: Path,
) -> None:
    arguments = pack_words(outside, tmp_path, juju_client)
    # The file packs itself.
    subprocess.run([python, "-I", command, *arguments], check=True)
    kit = carry(tmp_path)
    assert files(kit) == {"SHA256SUMS", *listed(kit)}
    assert (kit / "ckf-airgap").read_bytes() == command.read_bytes()
    readme = (kit / "README.md").read_text()
    for name in os.listdir(kit):
        assert name == "README.md" or re.search(rf"^\| `{re.escape(name)}/?`", readme, re.M), name

    program = kit / "ckf-airgap"
    archives = ("--images", kit / "images.tar.gz", "--charms", kit / "charms.tar.gz")
    assert gap.run(python, program, "--version") == f"ckf-airgap {__version__}\n"
    found = yaml.safe_load(gap.run(python, program, "inspect", *archives, "--format", "yaml"))
    assert len(found["charms"]) == len(release.charms)
    place = ("--registry", str(inner_registry.location))
    ca = ("--registry-ca", inner_registry.process.ca)
    pushed = yaml.safe_load(gap.run(python, program, "push", *archives, *place, *ca))
    assert len(pushed["pushed"]) == len(release.images)
    assert inner_registry.uploads()
    planned = yaml.safe_load(gap.run(python, program, "plan", *archives, *place))
    assert planned
    assert "cannot be reached" in refusal(gap, python, program, archives)
    # Nothing is written beside the kit but the journal of the push.
    assert files(kit) == {"SHA256SUMS", "images.tar.gz.pushed", *listed(kit)}


def refusal(gap: Gap, python: Path, program: Path, archives: Sequence[str | Path]) -> str:
    """Push to another place: there is no way there."""
    arguments = ("push", *archives, "--registry", "192.0.2.1/ckf")
    done = subprocess.run(
        gap.inside([python, "-I", program, *arguments]), capture_output=True, text=True
    )
    assert done.returncode == 2
    return done.stderr


def test_packed_again(
    release: Release,
    outside: Outside,
    command: Path,
    juju_client: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert release
    more = ("--kit-command", str(command))
    packed = tmp_path / "packed"
    # First without a kit: the checksums of the archives are not computed again for it.
    plain = words(outside, tmp_path, "--format", "oci")
    assert main(plain) == 0
    before = (packed / "SHA256SUMS").read_text().splitlines()
    assert main(pack_words(outside, tmp_path, juju_client, *more)) == 0
    assert "already" in capsys.readouterr().err
    assert files(packed) == {"SHA256SUMS", *listed(packed)}
    assert set(before) < set((packed / "SHA256SUMS").read_text().splitlines())
    with_kit = {path.name: path.read_bytes() for path in packed.iterdir() if path.is_file()}
    # The same again gives the same, also in parts and signed.
    assert main(pack_words(outside, tmp_path, juju_client, *more)) == 0
    again = {path.name: path.read_bytes() for path in packed.iterdir() if path.is_file()}
    assert again == with_kit
    key, public = tmp_path / "key", tmp_path / "key.pub"
    subprocess.run(["minisign", "-G", "-W", "-s", key, "-p", public], check=True)
    parts = ("--part-size", "150kB", "--sign", str(key))
    assert main(pack_words(outside, tmp_path, juju_client, *more, *parts)) == 0
    assert files(packed) == {"SHA256SUMS", "SHA256SUMS.minisig", *listed(packed)}
    check = ["minisign", "-V", "-p", public, "-m", "SHA256SUMS"]
    subprocess.run(check, cwd=packed, check=True)
    readme = (packed / "README.md").read_text()
    for name in listed(packed) | {"SHA256SUMS.minisig"}:
        top = name.partition("/")[0]
        shown = f"`{top}" in readme or re.sub(r"\d+$", "001", top) in readme
        assert shown or top == "README.md", name
    assert "--verify-key minisign.pub" in readme
    # Packed otherwise and without a kit, nothing of it is left.
    assert main(plain) == 0
    assert files(packed) == {"SHA256SUMS", "images.tar.gz", "charms.tar.gz"}


def test_another_file_of_this_name(
    release: Release,
    outside: Outside,
    command: Path,
    juju_client: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert release
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "README.md").write_text("mine")
    more = ("--kit-command", str(command))
    assert main(pack_words(outside, tmp_path, juju_client, *more)) == 2
    assert "README.md, not written by ckf-airgap pack --kit" in capsys.readouterr().err
    assert (tmp_path / "packed" / "README.md").read_text() == "mine"
    assert not (tmp_path / "packed" / "images.tar.gz").exists()


def locked() -> dict[str, str]:
    """Give the SHA-256 of each wheel in uv.lock, by its name."""
    lock: dict[str, Any] = tomllib.loads(PROJECT.joinpath("uv.lock").read_text())
    return {
        wheel["url"].rpartition("/")[2]: wheel["hash"].removeprefix("sha256:")
        for package in lock["package"]
        for wheel in package.get("wheels", ())
    }


def wheels(command: Path) -> dict[str, str]:
    """Give the SHA-256 of each wheel in the command's file, by its name."""
    with zipfile.ZipFile(command) as archive:
        names = [name for name in archive.namelist() if name.endswith(".whl")]
        return {
            name.removeprefix(".deps/"): hashlib.sha256(archive.read(name)).hexdigest()
            for name in names
        }


def test_its_wheels_are_those_of_the_lock(command: Path) -> None:
    hashes = locked()
    found = wheels(command)
    assert found
    assert found == {name: hashes[name] for name in found}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_has_its_wheels(python: str, architecture: str, command: Path) -> None:
    minor = int(python.partition(".")[2])

    def fits(name: str) -> bool:
        # NAME-VERSION-PYTHON-ABI-PLATFORM.whl (PEP 427)
        tag, abi, platform = name.removesuffix(".whl").split("-")[2:]
        if platform == "any":
            return True
        lowest = int(tag.removeprefix("cp3"))
        right = lowest == minor if abi != "abi3" else lowest <= minor
        glibc = [int(each) for each in re.findall(r"manylinux_2_(\d+)_", platform)]
        # Ubuntu 22.04 has glibc 2.35.
        return right and platform.endswith(architecture) and min(glibc) <= 35

    names = [name for name in wheels(command) if fits(name)]
    needed = {"backports_zstd", "cffi", "cryptography", "isal", "markupsafe", "msgspec", "pyyaml"}
    assert needed < {name.partition("-")[0] for name in names}
    with zipfile.ZipFile(command) as archive:
        assert json.loads(archive.read("PEX-INFO"))["deps_are_wheel_files"]


def test_what_has_no_address_outside(command: Path) -> None:
    """A page of the documents loads nothing from elsewhere."""
    with zipfile.ZipFile(command) as archive:
        pages = [name for name in archive.namelist() if name.endswith(".html")]
        assert "documents/README.html" in pages
        for name in pages:
            text = archive.read(name).decode()
            assert not re.search(r"<(?:script|img|iframe)[^>]*\ssrc=.(?:https?:)?//", text), name
            assert not re.search(r"<link[^>]*rel=.(?:stylesheet|icon)[^>]*href=.https?:", text), (
                name
            )
            for target in re.findall(r'<a [^>]*href="([^"#:?]+)["#]', text):
                with suppress(KeyError):
                    archive.getinfo(os.path.normpath(f"{os.path.dirname(name)}/{target}"))
                    continue
                raise AssertionError(f"{name} leads to {target}, which is not there")
