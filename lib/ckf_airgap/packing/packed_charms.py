"""Charms, downloaded or read from a directory, and written into charms.tar.gz."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.gzip_codec import StoredMember, padded_member, stored_size
from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.pack_manifest import PackedCharm, PackManifest
from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm
from ckf_airgap.charms.charm_version import CharmVersions
from ckf_airgap.concurrency import map_concurrently
from ckf_airgap.errors import (
    AirgapError,
    ArtifactError,
    ConfigurationError,
    DownloadError,
    join_errors,
)
from ckf_airgap.files.digests import file_sha256
from ckf_airgap.files.temporary_files import removed_on_exit
from ckf_airgap.juju.charm_download import CharmOrigin, download_charm
from ckf_airgap.packing.assembly import PlainPart, PlainPartWriter, record_part
from ckf_airgap.packing.part_files import PartFiles, with_archive_size
from ckf_airgap.packing.skopeo import retried

_AT_ONCE = 4


@dataclass(frozen=True)
class FetchedCharm:
    """A charm that is available as a file.

    Attributes:
        file: The charm.
        packed: Its entry in the record of the archive.
    """

    file: CharmFile
    packed: PackedCharm


class CharmDownloads:
    """Downloads charms into a directory, each once."""

    def __init__(
        self,
        folder: Path,
        *,
        client: str,
        architecture: str,
        charmhub_url: str,
        known: Mapping[str, Mapping[str, Any]],
        remember: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Store the arguments; nothing is downloaded yet.

        Args:
            folder: The directory for the charms. It must exist.
            client: The juju client.
            architecture: The CPU architecture.
            charmhub_url: The address of another Charmhub; empty for the public one.
            known: The records of earlier downloads, by the text of their origins.
            remember: Called with the record of a download; in any thread.
        """
        self._folder = folder
        self._client = client
        self._architecture = architecture
        self._charmhub_url = charmhub_url
        self._known = known
        self._remember = remember

    def fetch(
        self, origins: Sequence[CharmOrigin], on_fetched: Callable[[FetchedCharm], None]
    ) -> list[FetchedCharm]:
        """Download charms.

        Args:
            origins: The charms.
            on_fetched: Called with each downloaded charm; in another thread.

        Returns:
            The charms, in the same order.

        Raises:
            AirgapError: Some cannot be downloaded; the message names all of these.
        """

        def fetch(origin: CharmOrigin) -> FetchedCharm:
            charm = self._fetch(origin)
            on_fetched(charm)
            return charm

        return map_concurrently(
            origins, fetch, at_once=_AT_ONCE, failed="charms cannot be downloaded"
        )

    def _fetch(self, origin: CharmOrigin) -> FetchedCharm:
        if known := self._known.get(str(origin)):
            path = self._folder / str(known["file"])
            if path.exists():
                charm = fetched_charm(path, known["revision"], origin.channel)
                if charm.packed.sha256 == known["sha256"]:
                    return charm
        # Several versions of one charm may be downloaded at the same time.
        origin_hash = hashlib.sha256(str(origin).encode()).hexdigest()[:7]
        incoming = self._folder / f"{origin.name}_{origin_hash}.incoming"
        with removed_on_exit(incoming):
            revision = retried(
                lambda: download_charm(
                    self._client,
                    origin,
                    incoming,
                    architecture=self._architecture,
                    charmhub_url=self._charmhub_url,
                )
            )
            charm = CharmFile.read(incoming, str(origin))
            if charm.name != origin.name:
                raise DownloadError(
                    f"charm {origin}",
                    f"cannot be used: the download of this name is the charm {charm.name}",
                    "look for the right name with juju info, and correct it",
                )
            version = f"r{revision}" if revision is not None else origin_hash
            path = self._folder / f"{origin.name}_{version}.charm"
            os.replace(incoming, path)
        fetched = fetched_charm(path, revision, origin.channel)
        self._remember(
            {
                "charm": str(origin),
                "file": path.name,
                "sha256": fetched.packed.sha256,
                "revision": revision,
            }
        )
        return fetched


def charms_in(folder: Path) -> tuple[list[FetchedCharm], list[UnreadableCharm]]:
    """Read the charms of a directory.

    Args:
        folder: The directory; only ``.charm`` files directly in it count.

    Returns:
        The charms, sorted by name, and the unreadable files.

    Raises:
        ConfigurationError: The directory does not exist, or has no charm.
        ArtifactError: No charm is readable, or two have the same name, and the same version or
            none; the message names all of these.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"{folder} is not a directory",
            "give with --charms the directory of the .charm files",
        )
    found: list[FetchedCharm] = []
    versions = CharmVersions(str(folder))
    failures: list[AirgapError] = []
    unreadable: list[UnreadableCharm] = []
    for path in sorted(folder.glob("*.charm")):
        try:
            charm = fetched_charm(path, None, None)
        except ArtifactError as error:
            unreadable.append(UnreadableCharm.of(path, path.name, error))
            continue
        try:
            versions.add(charm.file)
        except ArtifactError as error:
            failures.append(error)
        found.append(charm)
    if failures:
        raise join_errors(failures, "charms cannot be used")
    if not found and unreadable:
        raise join_errors([charm.error for charm in unreadable], f"charms in {folder}")
    if not found:
        raise ConfigurationError(
            f"{folder} contains no .charm file", "download some: juju download CHARM"
        )
    return sorted(found, key=lambda charm: (charm.file.name, charm.packed.file)), unreadable


def fetched_charm(path: Path, revision: int | None, channel: str | None) -> FetchedCharm:
    """Read a charm and hash it.

    Args:
        path: The ``.charm`` file.
        revision: Its revision, if known.
        channel: Its channel, if known.

    Raises:
        ArtifactError: It is not a charm, damaged or unreadable.
    """
    charm = CharmFile.read(path)
    try:
        with path.open("rb") as file:
            digest = file_sha256(file)
            size = file.tell()
    except OSError as error:
        raise _unreadable(path, error) from error
    return FetchedCharm(charm, PackedCharm(charm.name, path.name, digest, size, revision, channel))


def write_charm_archive(
    path: Path,
    charms: Sequence[FetchedCharm],
    manifest: PackManifest,
    part_size: int = 0,
    key: SecretKey | None = None,
) -> tuple[str, ...]:
    """Write charms.tar.gz, uncompressed, because charms are already compressed.

    Args:
        path: The file to write.
        charms: The charms, in order.
        manifest: The record of the content; its size is filled in.
        part_size: The size of the files that it is split into, in bytes; 0 for one file.
        key: Signs the record; None for no signature.

    Returns:
        The names of the files.

    Raises:
        ConfigurationError: The size of the files is too small.
        StorageError: It cannot be written.
        ArtifactError: A charm can no longer be read.
    """

    def size_of(record: PackManifest) -> int:
        return sum(map(_length, _parts(charms, record, key)))

    manifest = with_archive_size(manifest, part_size, size_of)
    files = PartFiles(path, manifest.archive_size, part_size)
    files.require_record_fits(_length(next(_parts(charms, manifest, key))))
    files.remove_others()
    with files.open() as file:
        offset = 0
        for part in _parts(charms, manifest, key):
            for piece in _encoded(part):
                file.write(offset, piece)
                offset += len(piece)
        record = record_part(replace(manifest, part_starts=tuple(file.starts())), key)
        file.write(0, b"".join(_encoded(record)))
        file.flush()
    return files.names


def _length(part: PlainPart | FetchedCharm) -> int:
    return part.length if isinstance(part, PlainPart) else stored_size(part.packed.size)


def _encoded(part: PlainPart | FetchedCharm) -> Iterator[bytes]:
    if isinstance(part, PlainPart):
        yield padded_member(part.content, part.length)
    else:
        yield from _stored_charm(part)


def _parts(
    charms: Iterable[FetchedCharm], manifest: PackManifest, key: SecretKey | None
) -> Iterator[PlainPart | FetchedCharm]:
    yield record_part(manifest, key)
    text = PlainPartWriter()
    for charm in charms:
        text.add_header(charm.packed.file, charm.packed.size)
        yield text.take()
        yield charm
        text.add_padding(charm.packed.size)
    text.add_end()
    yield text.take()


def _stored_charm(charm: FetchedCharm) -> Iterator[bytes]:
    member = StoredMember(charm.packed.size)
    digest = hashlib.sha256()
    try:
        with charm.file.path.open("rb") as file:
            while data := file.read(READ_SIZE):
                digest.update(data)
                yield member.add(data)
    except OSError as error:
        raise _unreadable(charm.file.path, error) from error
    if digest.hexdigest() != charm.packed.sha256:
        raise ArtifactError(f"{charm.file.path} was changed while it was packed", "run pack again")
    yield member.finish()


def _unreadable(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{path} cannot be read ({error.strerror})", "download the charm again")
