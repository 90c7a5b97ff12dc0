"""charms.tar.gz: the ``.charm`` files of a release."""

import dataclasses
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE, open_archive
from ckf_airgap.archives.minisign import NOT_AS_PACKED_CURE
from ckf_airgap.archives.pack_manifest import PACK_MANIFEST, PackManifest, decode_member
from ckf_airgap.archives.sources import Source
from ckf_airgap.archives.tar_stream import MemberKind, TarMember, read_end, read_members
from ckf_airgap.charms.charm_file import (
    CharmFile,
    UnreadableCharm,
    size_of_documents,
    wanted_images,
)
from ckf_airgap.charms.charm_version import CharmVersions
from ckf_airgap.errors import ArtifactError, StorageError, disk_error, join_errors, listed
from ckf_airgap.files.untrusted_yaml import Budget
from ckf_airgap.images.reference import ImageReference

# For each file, macOS adds another one with its attributes, whose name begins with "._".
_CHARM = re.compile(r"(?:^|/)(?!\._)[^/]+\.charm$")
# The largest releases have some 40 charms, with 6,000 values in all.
_MOST_CHARMS = 1_000
_MOST_VALUES = 100_000
# No name of a charm begins with these characters.
_INCOMING = ".incoming-"


@dataclass(frozen=True)
class UnpackedCharms:
    """The content of charms.tar.gz.

    Attributes:
        charms: The newest version of each charm, sorted by name.
        unreadable: The ``.charm`` files that cannot be read, in the order of the archive.
        intermediate: The older versions, through which an upgrade passes, sorted by name and
            version.
        digests: The SHA-256 of each file, by its name in the archive.
    """

    charms: tuple[CharmFile, ...]
    unreadable: tuple[UnreadableCharm, ...] = ()
    intermediate: tuple[CharmFile, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def readable(self) -> tuple[CharmFile, ...]:
        """All readable charms, of any version."""
        return (*self.charms, *self.intermediate)

    @property
    def wanted_images(self) -> tuple[ImageReference, ...]:
        """The images that the readable charms use."""
        return wanted_images(self.readable)


def unpack_charms(
    archive: Source, folder: Path, signed: PackManifest | None = None
) -> UnpackedCharms:
    """Unpack charms.tar.gz for the juju client, which accepts charms only as files.

    Args:
        archive: charms.tar.gz. Its members may be in directories; only ``.charm`` files count.
        folder: The directory for the charms; created if missing. ``.charm`` files there that are
            not from this archive are removed. A file is named after the charm and the beginning
            of its SHA-256, so that a charm with another content gets another name.
        signed: The record, its signature already verified; every charm must match it. None if no
            signature is required.

    Returns:
        The charms. An unreadable charm does not affect the others.

    Raises:
        ArtifactError: One of these:

            - The archive is damaged, or does not have the size in its record.
            - It contains no readable charm, or more charms than any release has.
            - It contains two charms of one name with the same or an unknown version.
            - A charm in its record is missing or different (further charms are accepted).
            - Its charms are not exactly those of ``signed``.
        StorageError: The directory is not writable or has no space.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    found = _Found(archive.name)
    manifest: PackManifest | None = None
    try:
        written: list[_Written] = []
        with open_archive(archive) as stream:
            for member in read_members(stream, archive.name):
                if member.name == PACK_MANIFEST:
                    manifest = decode_member(member, archive.name)
                    if manifest:
                        manifest.require_size(archive.size, archive.name)
                elif member.kind is MemberKind.FILE and _CHARM.search(member.name):
                    found.require_room(len(written))
                    written.append(_write(member, folder / f"{_INCOMING}{len(written)}"))
            read_end(stream, archive.name)
        if signed:
            _require_signed(signed, written, archive.name)
        for file, charm in zip(written, _read(written), strict=True):
            found.add(file.member, charm, file.digest)
    finally:
        for path in folder.glob(f"{_INCOMING}*"):
            with suppress(OSError):
                path.unlink()
    unpacked = found.require_any()
    if manifest:
        _require_packed(manifest, found)
    _remove_others(folder, unpacked.readable)
    return unpacked


@dataclass(frozen=True)
class _Written:
    """A charm that was written under a temporary name.

    Attributes:
        member: Its name in the archive.
        path: The file.
        digest: Its SHA-256.
    """

    member: str
    path: Path
    digest: str


class _Found:
    """Collects the charms of an archive."""

    def __init__(self, archive: str) -> None:
        self.archive = archive
        self.digests: dict[str, str] = {}
        self.charms = CharmVersions(archive)
        self.unreadable: dict[str, UnreadableCharm] = {}

    def require_room(self, count: int) -> None:
        """Refuse an archive of more charms than any release has.

        Args:
            count: The number of charms so far.
        """
        if count == _MOST_CHARMS:
            raise ArtifactError(
                f"{self.archive} contains more than {_MOST_CHARMS} .charm files",
                "make it from the charms of one release",
            )

    def add(self, member: str, charm: CharmFile | UnreadableCharm, digest: str) -> None:
        """Add the charm of a member.

        Raises:
            ArtifactError: As for ``CharmVersions.add``.
        """
        self.digests[member] = digest
        if isinstance(charm, UnreadableCharm):
            self.unreadable[member] = charm
            return
        self.charms.add(charm)

    def require_any(self) -> UnpackedCharms:
        """Return the charms; refuse an archive without any."""
        unreadable = tuple(self.unreadable.values())
        if not self.charms and unreadable:
            raise join_errors([charm.error for charm in unreadable], f"charms in {self.archive}")
        if not self.charms:
            raise ArtifactError(
                f"{self.archive} contains no .charm file",
                "make it with tar -czf from the .charm files",
            )
        return UnpackedCharms(
            self.charms.newest, unreadable, self.charms.intermediate, self.digests
        )


def _require_packed(manifest: PackManifest, found: _Found) -> None:
    """Refuse an archive that lacks charms of its own record, or has others of the same name."""
    wrong = [
        charm.file
        for charm in manifest.charms
        if found.digests.get(charm.file) != charm.sha256 and charm.file not in found.unreadable
    ]
    if wrong:
        raise ArtifactError(
            f"{found.archive} does not contain {listed(wrong, separator=', ')} as packed",
            f"copy it again; if you made it again with other charms, leave out {PACK_MANIFEST}",
        )


def _require_signed(signed: PackManifest, written: Sequence[_Written], archive: str) -> None:
    """Refuse charms that are not exactly those of the record."""
    found = [(file.member, file.digest) for file in written]
    expected = [(charm.file, charm.sha256) for charm in signed.charms]
    if sorted(found) != sorted(expected):
        wrong = sorted({name for name, _ in {*found} ^ {*expected}} or {name for name, _ in found})
        raise ArtifactError(
            f"{listed(wrong, separator=', ')} in {archive} does not match the signed record",
            NOT_AS_PACKED_CURE,
        )


def _write(member: TarMember, path: Path) -> _Written:
    """Write one charm."""
    digest = hashlib.sha256()
    free = shutil.disk_usage(path.parent).free
    if member.size > free:
        raise _no_space(member, f"{free / 1e6:.0f} MB are free")
    try:
        with path.open("wb") as file:
            while data := member.read(READ_SIZE):
                digest.update(data)
                file.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(member, str(error.strerror)) from error
        raise disk_error(path.parent, error) from error
    return _Written(member.name, path, digest.hexdigest())


def _read(written: Sequence[_Written]) -> list[CharmFile | UnreadableCharm]:
    """Read the charms, and give the readable ones their final names.

    Returns:
        The charms, in the same order.
    """
    budget = Budget(_MOST_VALUES)
    found: dict[Path, CharmFile | UnreadableCharm] = {}
    # The smallest first: a charm with very many values must not use up the budget of the others.
    for file in sorted(written, key=lambda item: size_of_documents(item.path)):
        try:
            charm = CharmFile.read(file.path, file.member, budget)
        except ArtifactError as error:
            found[file.path] = UnreadableCharm.of(file.path, file.member, error, budget)
            continue
        path = file.path.with_name(f"{charm.name}_{file.digest[:7]}.charm")
        try:
            os.replace(file.path, path)
        except OSError as error:
            raise disk_error(path, error) from error
        found[file.path] = dataclasses.replace(charm, path=path)
    return [found[file.path] for file in written]


def _no_space(member: TarMember, why: str) -> StorageError:
    return StorageError(
        f"{member.name} cannot be unpacked ({why})",
        f"make space: {member.size / 1e6:.0f} MB are needed for it",
    )


def _remove_others(folder: Path, charms: Iterable[CharmFile]) -> None:
    kept = {charm.path for charm in charms}
    for path in folder.glob("*.charm"):
        if path not in kept:
            try:
                path.unlink()
            except OSError as error:
                raise disk_error(path, error) from error
