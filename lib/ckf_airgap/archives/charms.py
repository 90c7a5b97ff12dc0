"""charms.tar.gz: the ``.charm`` files of a release."""

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ckf_airgap.archives.byte_stream import READ_SIZE, open_archive
from ckf_airgap.archives.pack_manifest import PACK_MANIFEST, PackManifest, decode_member
from ckf_airgap.archives.sources import Source
from ckf_airgap.archives.tar_stream import MemberKind, TarMember, read_end, read_members
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
    digests: dict[str, str] = {}
    manifest: PackManifest | None = None
    with open_archive(archive) as stream:
        for member in read_members(stream, archive.name):
            if member.name == PACK_MANIFEST:
                manifest = decode_member(member, archive.name)
                if manifest:
                    manifest.require_size(archive.size, archive.name)
            if member.kind is not MemberKind.FILE or not _CHARM.search(member.name):
                continue
            charm, digests[member.name] = _unpack(member, folder)
            if charm.name in charms:
                raise ArtifactError(
                    f"{archive.name} holds the charm {charm.name} twice: in "
                    f"{charms[charm.name][0]} and in {member.name}",
                    "leave out one of them and make the archive again",
                )
            charms[charm.name] = member.name, charm
        read_end(stream, archive.name)
    if not charms:
        raise ArtifactError(
            f"{archive.name} holds no .charm file", "make it with tar -czf from the .charm files"
        )
    if manifest:
        _require_packed(manifest, digests, archive.name)
    found = tuple(charm for _, (_, charm) in sorted(charms.items()))
    _remove_others(folder, found)
    return found


def _require_packed(manifest: PackManifest, digests: Mapping[str, str], archive: str) -> None:
    """Compare the charms with what their archive says of them."""
    wrong = [charm.file for charm in manifest.charms if digests.get(charm.file) != charm.sha256]
    if wrong:
        raise ArtifactError(
            f"{archive} does not hold {', '.join(wrong)} as packed",
            f"copy it again; where it was made anew with other charms, leave {PACK_MANIFEST} out",
        )


def _unpack(member: TarMember, folder: Path) -> tuple[CharmFile, str]:
    """Write one charm under its final name, whole or not at all; gives its SHA-256, too."""
    digest = hashlib.sha256()
    temporary = folder / "incoming"
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise _no_space(member, f"{free / 1e6:.0f} MB are free")
    try:
        with temporary.open("wb") as file:
            while data := member.read(READ_SIZE):
                digest.update(data)
                file.write(data)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise _no_space(member, str(error.strerror)) from error
    charm = CharmFile.read(temporary, member.name)
    path = folder / f"{charm.name}_{digest.hexdigest()[:7]}.charm"
    os.replace(temporary, path)
    return dataclasses.replace(charm, path=path), digest.hexdigest()


def _no_space(member: TarMember, why: str) -> StorageError:
    return StorageError(
        f"{member.name} cannot be unpacked ({why})",
        f"make space: {member.size / 1e6:.0f} MB are needed for it",
    )


def _remove_others(folder: Path, charms: Iterable[CharmFile]) -> None:
    kept = {charm.path for charm in charms}
    for path in folder.glob("*.charm"):
        if path not in kept:
            path.unlink()
