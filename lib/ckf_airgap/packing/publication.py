"""Moves finished archives to the output directory, where they replace earlier ones.

Archives and kits that an earlier pack wrote there are removed; ``keep`` leaves the archives. Other
files stay, and so do changed files of a kit; but a new archive that is a single file replaces a
file with its name. The next run finishes an interrupted publication.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.pack_manifest import (
    PackManifest,
    first_record,
    read_pack_manifest,
    read_record,
)
from ckf_airgap.archives.parts import find_archive, part_start, parts_beside
from ckf_airgap.archives.signed_images import require_signed
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.errors import ArtifactError, ConfigurationError, disk_error, listed
from ckf_airgap.files.new_files import new_file
from ckf_airgap.packing.checksums import (
    CHECKSUMS,
    CHECKSUMS_SIGNATURE,
    checksum_line,
    checksum_lines,
    parse_checksums,
    sha256_of_files,
    write_checksums,
)
from ckf_airgap.packing.kit import is_kit_name
from ckf_airgap.packing.kit_record import (
    KIT_RECORD,
    encode_kit_record,
    foreign_files,
    is_unchanged,
    recorded_files,
)

IMAGES = "images.tar.gz"
CHARMS = "charms.tar.gz"
ARCHIVES = (CHARMS, IMAGES)
"""The archives, in the order of their lines in SHA256SUMS."""
_MOVE = "move {} elsewhere, or choose another directory with --output"
_MOVE_FILES = _MOVE.format("these files")
_MOVE_CHECKSUMS = _MOVE.format(CHECKSUMS)
_ARCHIVE_NAME = re.compile(r"(?:images|charms)\.tar\.gz(?:\.[0-9]{3})?")
_MARK = "complete"


class Publication:
    """Moves archives from the working directory to the output directory."""

    def __init__(self, partial: Path, output: Path) -> None:
        """Store both directories.

        Args:
            partial: The working directory, in which archives are made.
            output: The output directory.
        """
        self._partial = partial
        self._output = output

    @property
    def is_interrupted(self) -> bool:
        """Whether there is an interrupted publication, which ``resume`` finishes."""
        return bool(_read_mark(self._partial / _MARK)[0])

    def holds(self, manifest: PackManifest, part_size: int, key: SecretKey | None) -> bool:
        """Return whether the output directory already has these archives.

        Args:
            manifest: What ``ckf-airgap.json`` in the archives must contain.
            part_size: The size of their parts, in bytes; 0 for one file.
            key: The key that must have signed the archives and SHA256SUMS; None if the archives
                must not be signed.
        """
        found: list[PackManifest | None] = []
        try:
            for name in ARCHIVES:
                archive = find_archive(self._output / name)
                if key:
                    found.append(require_signed(archive, key.public))
                    continue
                start = read_record(archive)
                found.append(None if start and start.signature else read_pack_manifest(archive))
        except (ArtifactError, ConfigurationError):
            return False
        is_same = all(
            record
            and record.content == manifest
            and record.part_size == (part_size if record.archive_size > part_size else 0)
            for record in found
        )
        return is_same and (key is None or bool(self._signed_lines(key)))

    def require_place(self, names: Sequence[str]) -> None:
        """Require that no file that pack did not write has the name of this archive or of a part.

        An archive that is a single file may replace a foreign file with its name, but no
        directory.

        Args:
            names: The file names of one new archive: its own or those of its parts.

        Raises:
            ConfigurationError: There are such files, or a foreign SHA256SUMS.
        """
        self._require_own_checksums()
        path = self._output / _archive_name(names[0])
        own = set(_own_files(path))
        foreign = [
            file.name
            for file in (path, *parts_beside(path).values())
            if file.exists()
            and file not in own
            # One file replaces another one, but not a directory.
            and (list(names) != [file.name] or (file.is_dir() and not file.is_symlink()))
        ]
        if foreign:
            raise ConfigurationError(
                f"{self._output} has {listed(foreign, separator=', ')}, not written by ckf-airgap "
                "pack, or damaged",
                _MOVE_FILES,
            )

    def require_kit_place(self, names: Sequence[str]) -> None:
        """Require that no foreign file in the output directory has the name of a file of a kit.

        Args:
            names: The files of the kit.

        Raises:
            ConfigurationError: There are such files, or a foreign SHA256SUMS.
        """
        self._require_own_checksums()
        foreign = foreign_files(self._output, [*names, KIT_RECORD])
        # Refuse a directory, for example documents/, that no earlier kit made.
        known = {name.partition("/")[0] for name in recorded_files(self._output)}
        directories = {name.partition("/")[0] for name in names if "/" in name} - known
        foreign += sorted(name for name in directories if os.path.lexists(self._output / name))
        self._refuse_kit_files(foreign)

    def _refuse_kit_files(self, foreign: Iterable[str]) -> None:
        if foreign := list(dict.fromkeys(foreign)):
            raise ConfigurationError(
                f"{self._output} has {listed(foreign, separator=', ')}, not written by ckf-airgap "
                "pack --kit, or changed since",
                _MOVE_FILES,
            )

    def files_of(self, archive: str) -> list[str]:
        """List the files of one of ``ARCHIVES`` in the output directory, sorted."""
        return sorted(path.name for path in _own_files(self._output / archive))

    def keep(self, added: Sequence[str] = (), key: SecretKey | None = None) -> None:
        """Keep the published archives; add missing checksums and the files of a kit; clean up.

        Args:
            added: Finished files of a kit to publish with the archives.
            key: The key that signed SHA256SUMS; it also signs the new SHA256SUMS with the kit's
                lines. None to leave it unsigned.

        Raises:
            ArtifactError: The checksums are not signed with the key, or lack an archive.
            ConfigurationError: A foreign file is in the place of a file of the kit, or SHA256SUMS
                is foreign.
            StorageError: A file cannot be read, written or moved.
        """
        files = self._files
        # Never sign a line that this key has not signed before: somebody may have changed it.
        lines = self._signed_lines(key) if key else checksum_lines(self._output)
        missing = [name for name in files if name not in lines]
        if key and missing:
            raise ArtifactError(
                f"{CHECKSUMS} in {self._output} was changed while pack was running",
                "run pack again",
            )
        staying = set(files) if added else {*files, *recorded_files(self._output)}
        kept = {name: line for name, line in lines.items() if name in staying}
        for name, digest in sha256_of_files(self._output, missing).items():
            kept[name] = checksum_line(digest, name)
        if added or missing:
            self.publish(added, key, kept)
        else:
            self.clean_up()

    @property
    def _files(self) -> list[str]:
        """The files of both archives in the output directory."""
        return [name for archive in ARCHIVES for name in self.files_of(archive)]

    def _signed_lines(self, key: SecretKey) -> dict[str, str]:
        """Read the lines of SHA256SUMS; none if it is not signed, or an archive is not listed."""
        try:
            content = (self._output / CHECKSUMS).read_bytes()
            signature = (self._output / CHECKSUMS_SIGNATURE).read_bytes()
            key.public.require(content, signature, CHECKSUMS)
        except (OSError, ArtifactError):
            return {}
        lines = parse_checksums(content)
        return lines if lines.keys() >= set(self._files) else {}

    def _require_own_checksums(self) -> None:
        path = self._output / CHECKSUMS
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise ConfigurationError(
                f"{path.name} in {self._output} is not a regular file",
                _MOVE_CHECKSUMS,
            )
        if not path.exists() and path.with_name(CHECKSUMS_SIGNATURE).exists():
            raise ConfigurationError(
                f"{self._output} has {CHECKSUMS_SIGNATURE} without {CHECKSUMS}",
                _MOVE.format(CHECKSUMS_SIGNATURE),
            )
        known = recorded_files(self._output)
        foreign = [
            name
            for name in checksum_lines(self._output)
            if not (_ARCHIVE_NAME.fullmatch(name) or name in known)
        ]
        if foreign:
            raise ConfigurationError(
                f"{path.name} in {self._output} lists {listed(foreign, separator=', ')}, which "
                "ckf-airgap pack did not write",
                _MOVE_CHECKSUMS,
            )

    def publish(
        self,
        names: Sequence[str],
        key: SecretKey | None = None,
        present: Mapping[str, str] | None = None,
    ) -> None:
        """Move the finished files to the output directory, and remove files of earlier packs.

        This reads every file once more, to write the checksums.

        Args:
            names: The files.
            key: Signs the checksums; None to leave them unsigned.
            present: File in the output directory that stays -> its line in SHA256SUMS.

        Raises:
            ConfigurationError: A foreign file is in the place of a file of the kit, or SHA256SUMS
                is foreign.
            StorageError: A file cannot be read, written or moved.
        """
        present = present or {}
        kit = [name for name in names if is_kit_name(name)]
        archives = [name for name in names if name not in kit]
        lines: list[str] = []
        # pack checked this at its start, and runs long: foreign files may have appeared since.
        if kit:
            self.require_kit_place(kit)
            lines = self._write_kit_record(kit)
            # resume moves the files in reverse order, so it moves the record after the other files
            # of the kit: until then, the old record lists the old files.
            kit.insert(0, KIT_RECORD)
        else:
            self._require_own_checksums()
        write_checksums(self._partial, archives, [*lines, *present.values()])
        new = [CHECKSUMS, *archives, *kit]
        if key:
            new.insert(0, _sign_checksums(self._partial, key))
        self._mark_complete(new, list(present))
        self.resume()

    def _mark_complete(self, new: Sequence[str], present: Sequence[str]) -> None:
        """Record for ``resume`` which files to move, and which to keep where they are.

        The working directory may have files of another pack with the names of the latter.
        """
        mark = self._partial / _MARK
        try:
            with new_file(mark) as file:
                file.write(json.dumps({"new": new, "present": present}).encode())
        except OSError as error:
            raise disk_error(mark, error) from error

    def _write_kit_record(self, names: Sequence[str]) -> list[str]:
        """Write the record of a kit; return the lines of its files in SHA256SUMS."""
        digests = sha256_of_files(self._partial, names)
        path, content = self._partial / KIT_RECORD, encode_kit_record(digests)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise disk_error(path, error) from error
        digests[KIT_RECORD] = hashlib.sha256(content).hexdigest()
        return [checksum_line(digest, name) for name, digest in digests.items()]

    def resume(self) -> None:
        """Finish an interrupted publication, if there is one.

        Raises:
            ConfigurationError: A foreign file is in the place of a file of the kit.
            StorageError: A file cannot be moved or removed.
        """
        new, present = _read_mark(self._partial / _MARK)
        if not new:
            return
        names = {*new, *present}
        moving = [name for name in reversed(new) if (self._partial / name).exists()]
        kit = [name for name in moving if is_kit_name(name)]
        self._refuse_kit_files(foreign_files(self._output, kit))
        try:
            for archive in ARCHIVES:
                # Remove the first part last: its record identifies the others.
                for path in reversed(_own_files(self._output / archive)):
                    if path.name not in names:
                        path.unlink()
            self._remove_kit_files(names)
            if CHECKSUMS_SIGNATURE not in names:
                # An old signature would not match the new checksums.
                (self._output / CHECKSUMS_SIGNATURE).unlink(missing_ok=True)
            for name in moving:
                if "/" in name:
                    (self._output / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._partial / name, self._output / name)
        except OSError as error:
            raise disk_error(self._output, error) from error
        self.clean_up()

    def _remove_kit_files(self, staying: Collection[str]) -> None:
        """Remove the unchanged files of an earlier kit, and its record last."""
        known = recorded_files(self._output)
        for name in sorted(known.keys() - staying, key=lambda name: (name == KIT_RECORD, name)):
            if not is_unchanged(self._output, name, known[name]):
                continue
            path = self._output / name
            path.unlink(missing_ok=True)
            with suppress(OSError):
                # Remove directories that are now empty.
                os.removedirs(path.parent)

    def clean_up(self) -> None:
        """Remove the working directory, with everything in it.

        Raises:
            StorageError: The directory cannot be removed.
        """
        try:
            shutil.rmtree(self._partial)
        except OSError as error:
            raise disk_error(self._partial, error) from error


def _sign_checksums(folder: Path, key: SecretKey) -> str:
    """Sign the checksums in a directory, and return the name of the signature file."""
    signature = folder / CHECKSUMS_SIGNATURE
    try:
        signature.write_bytes(key.sign((folder / CHECKSUMS).read_bytes(), CHECKSUMS))
    except OSError as error:
        raise disk_error(signature, error) from error
    return signature.name


def _archive_name(name: str) -> str:
    return next(archive for archive in ARCHIVES if name.startswith(archive))


def _read_mark(mark: Path) -> tuple[list[str], list[str]]:
    """Read which files to move, and which to keep; both empty if nothing is to be published."""
    try:
        document: Any = json.loads(mark.read_text())
        new, present = _own_names(document["new"]), _own_names(document["present"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], []
    return new, present


def _own_names(names: list[str]) -> list[str]:
    return [name for name in names if _is_own_name(name)]


def _is_own_name(name: str) -> bool:
    is_archive = bool(_ARCHIVE_NAME.fullmatch(name))
    return is_archive or name in (CHECKSUMS, CHECKSUMS_SIGNATURE) or is_kit_name(name)


def _own_files(path: Path) -> list[Path]:
    """Find the files of an archive that ``pack`` wrote: the single file, the parts, or both."""
    found: list[Path] = []
    with suppress(ArtifactError):
        if first_record(FileSource(path)):
            found.append(path)
    parts = parts_beside(path)
    with suppress(ArtifactError):
        record = first_record(FileSource(parts[1])) if 1 in parts else None
        if record and record.part_size:
            found.append(parts[1])
            found += _recorded(parts.values(), record.part_starts)
    return found


def _recorded(parts: Iterable[Path], starts: Sequence[str]) -> Iterator[Path]:
    """Find the parts whose start has the digest that the first part records."""
    for part in parts:
        number = int(part.name.rpartition(".")[2])
        with suppress(ArtifactError):
            if (
                1 < number <= len(starts) + 1
                and part_start(FileSource(part)) == starts[number - 2]
            ):
                yield part
