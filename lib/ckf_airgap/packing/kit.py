"""The kit: the files that an operator carries into the air gap with the two archives.

They are the charm, the juju client, the command as one file, the documents in that file, the charm
of the controller if it is given, and a README.md with the next steps.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from ckf_airgap import __version__
from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.charms.charm_file import CharmFile, architectures_of
from ckf_airgap.errors import ArtifactError, ConfigurationError, disk_error
from ckf_airgap.files.new_files import new_file
from ckf_airgap.files.regular_files import open_regular
from ckf_airgap.files.zip_errors import ZIP_ERRORS
from ckf_airgap.juju.juju_images import default_repository
from ckf_airgap.juju.juju_version import JujuVersion
from ckf_airgap.packing.checksums import CHECKSUMS, CHECKSUMS_SIGNATURE

_COMMAND = "ckf-airgap"
_JUJU = "juju"
_README = "README.md"
_DOCUMENTS = "documents"
_CONTROLLER_CHARM = "juju-controller"
_NAME = re.compile(
    r"README\.md|kit\.json|juju|juju-controller\.charm|ckf-airgap|ckf-airgap_(?:amd64|arm64)\.charm"
    r"|documents/(?:[\w-][\w.-]*/)*[\w-][\w.-]*",
    re.ASCII,
)
# e_machine (ELF-64 Object File Format; the registry of machines in the gABI).
_MACHINES = {62: "amd64", 183: "arm64"}
_ELF = b"\x7fELF\x02\x01"
_ELF_HEADER_BYTES = 64
# The main package in the build information of a Go program (Go, package debug/buildinfo).
_JUJU_PROGRAM = b"path\tgithub.com/juju/juju/cmd/juju\n"
_READ_SIZE = 1024 * 1024
_VERSION = re.compile(rb'^__version__ = "([^"]+)"$', re.MULTILINE)
_JUJU_CURE = (
    "give --kit-juju the client of the juju snap, /snap/juju/current/bin/juju, from a machine "
    "with the nodes' architecture"
)
_CHARM_CURE = "give --kit-charm the file that charmcraft pack makes for the nodes' architecture"
_CONTROLLER_CURE = "give --kit-controller-charm the file that juju download juju-controller writes"
_COMMAND_CURE = "give --kit-command the file that make command builds, build/ckf-airgap"


def is_kit_name(name: str) -> bool:
    """Return whether a name, relative to the output directory, is one of a kit's file names."""
    return bool(_NAME.fullmatch(name))


@dataclass(frozen=True)
class Kit:
    """The checked source files of a kit.

    Attributes:
        charm: The charm ckf-airgap.
        juju: The juju client.
        command: The command as one file.
        architecture: The CPU architecture of the nodes.
        documents: The documents in the command's file, as ``documents/...``.
        size: The total size of the copied files and the documents, in bytes.
        controller_charm: The charm juju-controller, or None.
    """

    charm: Path
    juju: Path
    command: Path
    architecture: str
    documents: tuple[str, ...]
    size: int
    controller_charm: Path | None = None

    @classmethod
    def of(
        cls,
        charm: Path,
        juju: Path,
        command: Path,
        architecture: str,
        controller_charm: Path | None = None,
    ) -> "Kit":
        """Check the source files.

        Args:
            charm: The charm ckf-airgap.
            juju: The juju client.
            command: The command as one file, of this version.
            architecture: The CPU architecture of the nodes: ``amd64`` or ``arm64``.
            controller_charm: The charm juju-controller; None to leave it out.

        Returns:
            The kit.

        Raises:
            ConfigurationError: A file cannot be read, or is not what its option is for.
        """
        _require_charm(charm, _COMMAND, architecture, _CHARM_CURE)
        _require_juju(juju, architecture)
        if controller_charm:
            _require_charm(controller_charm, _CONTROLLER_CHARM, architecture, _CONTROLLER_CURE)
        with _command_file(command) as archive:
            infos = [
                info
                for info in archive.infolist()
                if info.filename.startswith(f"{_DOCUMENTS}/") and not info.is_dir()
            ]
        documents = tuple(info.filename for info in infos)
        if f"{_DOCUMENTS}/index.html" not in documents or not all(map(is_kit_name, documents)):
            raise _not_command(command, "its documents are missing or have unexpected names")
        copied = filter(None, (charm, juju, command, controller_charm))
        size = sum(path.stat().st_size for path in copied)
        size += sum(info.file_size for info in infos)
        return cls(charm, juju, command, architecture, documents, size, controller_charm)

    @property
    def names(self) -> tuple[str, ...]:
        """The files that ``write`` makes, relative to the directory of the kit."""
        return (_README, *(name for _, name, _ in self._copies), *self.documents)

    def write(self, folder: Path, contents: "KitContents") -> None:
        """Write the files.

        Args:
            folder: The directory for the files.
            contents: The description of the archives for the README.

        Raises:
            StorageError: A file cannot be written.
            ConfigurationError: The file of the command has changed since it was checked.
        """
        try:
            # Overwrite file by file, so that the leftovers of a killed pack do not matter.
            for path, name, mode in self._copies:
                with path.open("rb") as source, new_file(folder / name) as target:
                    shutil.copyfileobj(source, target)
                    os.fchmod(target.fileno(), mode)
            with _command_file(self.command) as archive:
                for name in self.documents:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    with new_file(folder / name) as target:
                        target.writelines(_document(archive, name, self.command))
            with new_file(folder / _README) as target:
                target.write(self._readme(contents).encode())
        except OSError as error:
            raise disk_error(folder, error) from error

    @property
    def _copies(self) -> Iterator[tuple[Path, str, int]]:
        """The files to copy: source, name in the kit, and mode."""
        yield self.command, _COMMAND, 0o755
        yield self.charm, self._charm, 0o644
        yield self.juju, _JUJU, 0o755
        if self.controller_charm:
            yield self.controller_charm, f"{_CONTROLLER_CHARM}.charm", 0o644

    @property
    def _charm(self) -> str:
        return f"ckf-airgap_{self.architecture}.charm"

    def _readme(self, contents: "KitContents") -> str:
        template = jinja2.Environment(  # noqa: S701 (Markdown, without HTML escapes)
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
        ).from_string(files("ckf_airgap.packing").joinpath("kit_readme.md.j2").read_text())
        juju = JujuVersion.of_option(contents.juju_version) if contents.juju_version else None
        repository = default_repository(juju) if juju else ""
        images, charms = contents.images_files, contents.charms_files
        return template.render(
            version=__version__,
            architecture=self.architecture,
            images=_whole(images),
            images_files=_shown(images),
            images_files_to_copy=_pattern(images),
            charms=_whole(charms),
            charms_files=_shown(charms),
            charms_files_to_copy=_pattern(charms),
            image_count=len(contents.manifest.images),
            charm_count=len(contents.manifest.charms),
            charm=self._charm,
            juju=_JUJU,
            command=_COMMAND,
            documents=_DOCUMENTS,
            checksums=CHECKSUMS,
            signature=CHECKSUMS_SIGNATURE if contents.key else "",
            verify=" --verify-key minisign.pub" if contents.key else "",
            artifact_key=" --config artifact-key=@minisign.pub" if contents.key else "",
            juju_path=repository.partition("/")[2],
            juju_major=juju.major if juju else 0,
            controller_charm=f"{_CONTROLLER_CHARM}.charm" if self.controller_charm else "",
        )


@dataclass(frozen=True)
class KitContents:
    """The description of the archives for the README.

    Attributes:
        images_files: The names of the files of images.tar.gz, sorted.
        charms_files: Likewise for charms.tar.gz.
        manifest: The record of the archives.
        juju_version: The version of Juju whose images are packed; empty for none.
        key: The key that signs the archives; None for no signature.
    """

    images_files: Sequence[str]
    charms_files: Sequence[str]
    manifest: PackManifest
    juju_version: str
    key: SecretKey | None


def _whole(names: Sequence[str]) -> str:
    """Return the name of an archive from its file names; a part's also has a dot and a number."""
    return names[0] if len(names) == 1 else names[0].rpartition(".")[0]


def _shown(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"`{names[0]}`"
    return f"`{names[0]}` to `{names[-1]}` ({len(names)} parts of one file)"


def _pattern(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{_whole(names)}.*"


def _require_charm(path: Path, expected: str, architecture: str, cure: str) -> None:
    try:
        name, architectures = CharmFile.read(path).name, architectures_of(path)
    except ArtifactError as error:
        raise ConfigurationError(error.problem, cure) from error
    if name != expected:
        raise ConfigurationError(f"{path} is the charm {name}, not {expected}", cure)
    if architectures and architecture not in architectures:
        found = ", ".join(sorted(architectures))
        raise ConfigurationError(f"{path} is for {found}, not for {architecture}", cure)


def _require_juju(path: Path, architecture: str) -> None:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            header = file.read(_ELF_HEADER_BYTES)
            machine = _MACHINES.get(int.from_bytes(header[18:20], "little"), "another CPU")
            is_juju = header.startswith(_ELF) and _contains(file.read, _JUJU_PROGRAM)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror})", _JUJU_CURE
        ) from error
    if not is_juju:
        raise ConfigurationError(f"{path} is not the juju client", _JUJU_CURE)
    if machine != architecture:
        raise ConfigurationError(f"{path} is for {machine}, not for {architecture}", _JUJU_CURE)


def _contains(read: Callable[[int], bytes], text: bytes) -> bool:
    """Return whether a file of any size contains a text."""
    tail = b""
    while data := read(_READ_SIZE):
        if text in tail + data:
            return True
        tail = data[-len(text) :]
    return False


@contextmanager
def _command_file(path: Path) -> Generator[zipfile.ZipFile]:
    """Open the command's file, and check that it is of this version."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(os.fdopen(open_regular(path), "rb"))
            archive = opened.enter_context(zipfile.ZipFile(file))
            match = _VERSION.search(archive.read("ckf_airgap/__init__.py"))
        except OSError as error:
            raise _not_command(path, f"it cannot be read: {error.strerror}") from error
        except (KeyError, *ZIP_ERRORS) as error:
            raise _not_command(path, "it contains no code of the command") from error
        version = match[1].decode() if match else "unknown"
        if version != __version__:
            raise _not_command(path, f"its version is {version}, not {__version__}")
        yield archive


def _document(archive: zipfile.ZipFile, name: str, command: Path) -> Iterator[bytes]:
    try:
        with archive.open(name) as source:
            while piece := source.read(_READ_SIZE):
                yield piece
    except (KeyError, *ZIP_ERRORS) as error:
        raise _not_command(command, f"{name} in it is damaged") from error


def _not_command(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not the command ckf-airgap as one file ({reason})", _COMMAND_CURE
    )
