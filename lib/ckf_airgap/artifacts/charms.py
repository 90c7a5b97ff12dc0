"""charms.tar.gz: the ``.charm`` files of a release."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ckf_airgap.artifacts.byte_stream import READ_SIZE, drain, open_archive
from ckf_airgap.artifacts.sources import Source
from ckf_airgap.artifacts.tar_stream import MemberKind, TarMember, read_members
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.errors import ArtifactError, StorageError

# macOS puts a file with attributes beside each file, named alike but for "._" in front.
_CHARM = re.compile(r"(?:^|/)(?!\._)[^/]+\.charm$")


def unpack_charms(archive: Source, folder: Path) -> tuple[CharmFile, ...]:
    """Unpack charms.tar.gz, for the juju client, which takes charms only as files.

    Args:
        archive: charms.tar.gz. Its members may stand in folders; only the ``.charm`` files count.
        folder: Where to put the charms; made if need be. What another archive left there is
            removed. A file is named by charm and content, so that a new one never stands under
            the name of an old one.

    Returns:
        The charms, sorted by name.

    Raises:
        ArtifactError: The archive is damaged, holds no charm, a damaged one, or two of one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    charms: dict[str, tuple[str, CharmFile]] = {}
    with open_archive(archive) as stream:
        for member in read_members(stream, archive.name):
            if member.kind is not MemberKind.FILE or not _CHARM.search(member.name):
                continue
            charm = _unpack(member, folder)
            if charm.name in charms:
                raise ArtifactError(
                    f"{archive.name} holds the charm {charm.name} twice: in "
                    f"{charms[charm.name][0]} and in {member.name}",
                    "leave out one of them and make the archive again",
                )
            charms[charm.name] = member.name, charm
        drain(stream)
    if not charms:
        raise ArtifactError(
            f"{archive.name} holds no .charm file", "make it with tar -czf from the .charm files"
        )
    found = tuple(charm for _, (_, charm) in sorted(charms.items()))
    _remove_others(folder, found)
    return found


def _unpack(member: TarMember, folder: Path) -> CharmFile:
    """Write one charm under its final name, whole or not at all."""
    digest = hashlib.sha256()
    temporary = folder / "incoming"
    try:
        with temporary.open("wb") as file:
            while data := member.read(READ_SIZE):
                digest.update(data)
                file.write(data)
    except OSError as error:
        raise StorageError(
            f"{member.name} cannot be unpacked ({error.strerror})",
            f"make space: {member.size / 1e6:.0f} MB are needed for it",
        ) from error
    charm = CharmFile.read(temporary, member.name)
    path = folder / f"{charm.name}_{digest.hexdigest()[:7]}.charm"
    os.replace(temporary, path)
    return dataclasses.replace(charm, path=path)


def _remove_others(folder: Path, charms: Iterable[CharmFile]) -> None:
    kept = {charm.path for charm in charms}
    for path in folder.glob("*.charm"):
        if path not in kept:
            path.unlink()
