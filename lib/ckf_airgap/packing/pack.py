"""Fetches charms and images, and writes charms.tar.gz and images.tar.gz.

The working directory is ``partial`` in the output directory. Finished files are moved out of it. A
pack that was killed continues there: it does not fetch the same charm or layer again, and resolves
each tag only once, even if the tag has moved since.
"""

import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ckf_airgap.archives.inventory import ArchivedImage, Inventory
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm, wanted_images
from ckf_airgap.charms.charm_version import CharmVersions
from ckf_airgap.errors import (
    ConfigurationError,
    PlanError,
    StorageError,
    disk_error,
)
from ckf_airgap.files.journal import Journal
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.charm_download import CharmOrigin
from ckf_airgap.packing.archive_writers import FetchProgress, ImageArchiveWriter
from ckf_airgap.packing.assembly import assemble
from ckf_airgap.packing.conversion import convert_layers
from ckf_airgap.packing.directory_lock import locked
from ckf_airgap.packing.kit import KitContents
from ckf_airgap.packing.pack_request import PackRequest
from ckf_airgap.packing.packed import Packed, intermediate_charms
from ckf_airgap.packing.packed_charms import (
    CharmDownloads,
    FetchedCharm,
    charms_in,
    write_charm_archive,
)
from ckf_airgap.packing.previous_pack import left_out_text
from ckf_airgap.packing.publication import CHARMS, IMAGES, Publication
from ckf_airgap.packing.remote_images import RemoteImage, RemoteImages
from ckf_airgap.packing.skopeo import Skopeo
from ckf_airgap.packing.wanted_images import distinct_images, juju_images
from ckf_airgap.planning.charm_selection import require_readable
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings

_FORMAT = 1
_PARTIAL = "partial"
# The registry is not known yet: messages show this placeholder.
_REGISTRY = RegistryLocation("REGISTRY")


@dataclass(frozen=True)
class PackSteps:
    """Callbacks for the progress.

    Attributes:
        say: Called with a line of text for each step, charm and converted layer; in any thread.
        fetched: Called regularly with the progress of the layers.
    """

    say: Callable[[str], None] = lambda _: None
    fetched: Callable[[FetchProgress], None] = lambda _: None


@dataclass
class _EarlierRuns:
    """The downloads and lookups of earlier runs of the same request."""

    charms: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    images: dict[str, str] = field(default_factory=dict[str, str])

    def apply(self, record: Mapping[str, Any]) -> None:
        if "charm" in record:
            self.charms[str(record["charm"])] = record
        else:
            self.images[str(record["image"])] = str(record["digest"])


class Packer:
    """Carries out one request."""

    def __init__(self, request: PackRequest, skopeo: Skopeo, steps: PackSteps) -> None:
        """Store the arguments; nothing is fetched yet.

        Args:
            request: What to pack.
            skopeo: Reaches the registries.
            steps: Receives the progress.
        """
        self._request = request
        self._skopeo = skopeo
        self._steps = steps
        self._folder = request.output / _PARTIAL
        self._publication = Publication(self._folder, request.output)
        self._earlier_runs = _EarlierRuns()
        self._unreadable: list[UnreadableCharm] = []

    def pack(self, *, dry_run: bool = False) -> Packed:
        """Pack, or only determine what would be packed.

        Args:
            dry_run: Whether to stop before the archives are written. Only the working directory
                changes. It keeps the charms (they determine the list of images), the journal of
                the lookups, manifests and configs. With ``docker``, it also keeps the converted
                layers that were not gzip, because their size is needed.

        Returns:
            The result.

        Raises:
            AirgapError: A step fails. What was fetched is kept for the next run.
        """
        self._skopeo.check()
        if not dry_run:
            with locked(self._folder):
                self._publication.resume()
        with locked(self._folder), self._opened_journal() as journal:
            charms = self._charms(journal)
            versions = _versions(charms)
            manifest, images, warnings = self._look_up(charms, versions, journal)
            added = self._added_images([charm.file for charm in charms])
            intermediate = intermediate_charms(versions, added, manifest)
            if intermediate.charms or self._request.upgrade_from:
                self._steps.say(f"for the upgrade: {intermediate}")
            writer = self._prepare(images, manifest)
            packed = Packed(
                manifest,
                writer.size,
                sum(charm.packed.size for charm in charms),
                writer.layer_bytes,
                writer.fetched_bytes,
                warnings,
                intermediate,
            )
            is_there = self._publication.holds(
                manifest, self._request.part_size, self._request.key
            )
            if is_there:
                self._steps.say(f"{self._request.output} already has these archives")
            names: list[str] = []
            kit = self._request.kit
            try:
                # After an interrupted publication, which a dry run does not finish, the output
                # directory has files of two packs.
                if not self._publication.is_interrupted:
                    if kit:
                        self._publication.require_kit_place(kit.names)
                    if not is_there:
                        self._publication.require_place(writer.files.names)
                self._require_space(packed, None if is_there else writer, dry_run=dry_run)
                if not (dry_run or is_there):
                    names = [*self._write(charms, images, manifest, writer), *writer.files.names]
            finally:
                writer.close()
            if not dry_run:
                self._publish(names, manifest, is_there=is_there)
        return packed

    def _publish(self, names: list[str], manifest: PackManifest, *, is_there: bool) -> None:
        """Publish new archives, and the kit if one is requested.

        Args:
            names: The files of the new archives; empty if there are none.
            manifest: The record of the archives.
            is_there: Whether the output directory already has the archives.
        """
        request = self._request
        added: list[str] = []
        if request.kit:
            files = {
                archive: self._publication.files_of(archive)
                if is_there
                else sorted(name for name in names if name.startswith(archive))
                for archive in (IMAGES, CHARMS)
            }
            self._steps.say("writing the kit")
            contents = KitContents(
                files[IMAGES], files[CHARMS], manifest, request.juju_version, request.key
            )
            request.kit.write(self._folder, contents)
            added += request.kit.names
        if added or not is_there:
            self._steps.say("computing the checksums")
        if is_there:
            self._publication.keep(added, request.key)
        else:
            self._publication.publish([*names, *added], request.key)

    def _write(
        self,
        charms: Sequence[FetchedCharm],
        images: Sequence[RemoteImage],
        manifest: PackManifest,
        writer: ImageArchiveWriter,
    ) -> tuple[str, ...]:
        """Write both archives, and return the names of the files of charms.tar.gz."""
        part_size, key = self._request.part_size, self._request.key
        # Check that charms.tar.gz can be published before anything large is fetched.
        names = write_charm_archive(self._folder / CHARMS, charms, manifest, part_size, key)
        self._publication.require_place(names)
        self._steps.say(f"fetching {len(images)} images")
        writer.fetch(self._skopeo, self._steps.fetched)
        writer.finish(
            lambda starts: assemble(
                self._request.layout,
                images,
                replace(manifest, part_starts=starts),
                writer.sizes,
                part_size,
                key,
            )
        )
        return names

    def _charms(self, journal: Journal) -> list[FetchedCharm]:
        """Download or read the charms."""
        origins, start = self._request.origins, self._request.upgrade_from
        if self._request.folder:
            found, self._unreadable = charms_in(self._request.folder)
            if origins:
                found = _only(found, origins, self._unreadable)
            if start:
                start.require_next(charm.file for charm in found)
                if lacking := start.origins_between(charm.file for charm in found):
                    raise ConfigurationError(
                        f"the directory of --charms lacks {', '.join(map(str, lacking))}, which "
                        f"the upgrade from {start.name} passes through",
                        "download these into it (juju download CHARM --channel CHANNEL)",
                    )
            return found
        found = self._download(origins, journal)
        if start:
            start.require_next(charm.file for charm in found)
            found += self._download(start.origins_between(charm.file for charm in found), journal)
            if lacking := start.origins_between(charm.file for charm in found):
                raise ConfigurationError(
                    f"Charmhub has another version of {', '.join(map(str, lacking))} than its "
                    "channel specifies",
                    "look for the version with juju info, and give the charms with --charms "
                    "DIRECTORY",
                )
        return sorted(found, key=lambda charm: (charm.file.name, charm.packed.file))

    def _download(self, origins: Sequence[CharmOrigin], journal: Journal) -> list[FetchedCharm]:
        self._steps.say(f"downloading {len(origins)} charms")
        folder = self._subfolder("charms")
        downloads = CharmDownloads(
            folder,
            client=self._request.juju,
            architecture=self._request.architecture,
            charmhub_url=self._request.charmhub_url,
            known=self._earlier_runs.charms,
            remember=journal.add,
        )
        return downloads.fetch(
            origins, lambda charm: self._steps.say(f"downloaded {charm.packed.file}")
        )

    def _look_up(
        self, charms: Sequence[FetchedCharm], versions: CharmVersions, journal: Journal
    ) -> tuple[PackManifest, list[RemoteImage], tuple[str, ...]]:
        """List the images to pack, and look up their manifests."""
        files = [charm.file for charm in charms]
        user_images = self._request.user_images.for_release(files)
        wanted = distinct_images((*wanted_images(files), *self._added_images(files)))
        warnings = self._check_plan(versions, wanted)
        self._steps.say(f"looking up {len(wanted)} images")
        lookup = RemoteImages(self._skopeo, self._request.architecture, self._subfolder("blobs"))

        def found(image: RemoteImage) -> None:
            digest = image.pull.rpartition("@")[2]
            if self._earlier_runs.images.get(str(image.reference)) != digest:
                journal.add({"image": str(image.reference), "digest": digest})

        images = lookup.find(wanted, dict(self._earlier_runs.images), found)
        # An image with several spellings of its reference is packed under one of them.
        names = {image.reference.upstream: image.name for image in images}
        manifest = PackManifest(
            self._request.layout,
            self._request.architecture,
            tuple(image.packed for image in images),
            tuple(charm.packed for charm in charms),
            self._request.bundle,
            upgrade_from=self._request.upgrade_from.name if self._request.upgrade_from else "",
            user_images={
                purpose: tuple(names[image.upstream] for image in references)
                for purpose, references in user_images.images.items()
            },
        )
        if self._request.since:
            manifest = self._request.since.difference(manifest)
            self._steps.say(f"left out, because --since has them: {left_out_text(manifest)}")
        return manifest, images, warnings

    def _added_images(self, charms: Sequence[CharmFile]) -> tuple[ImageReference, ...]:
        """Return the images to pack that no charm needs: the operator's, users', and Juju's."""
        version = self._request.juju_version
        return (
            *self._request.images,
            *self._request.user_images.for_release(charms).references,
            *(juju_images(version, charms) if version else ()),
        )

    def _check_plan(
        self, charms: CharmVersions, wanted: Sequence[ImageReference]
    ) -> tuple[str, ...]:
        """Plan a deployment of these charms and images, to find missing ones; return warnings."""
        settings = PlanSettings.parse(location=_REGISTRY, bundle=self._request.bundle)
        inventory = Inventory(
            tuple(ArchivedImage("", (reference,), "", "") for reference in wanted)
        )
        try:
            plan = make_plan(
                charms.newest, inventory, settings, self._unreadable, charms.intermediate
            )
        except PlanError as error:
            return (error.problem,)
        if not self._request.allow_missing:
            _require_complete(plan)
        return tuple(str(item) for item in (*plan.missing_charms, *plan.missing, *plan.warnings))

    def _prepare(self, images: list[RemoteImage], manifest: PackManifest) -> ImageArchiveWriter:
        """Convert the layers in ``images`` if necessary, and prepare to write images.tar.gz."""
        if self._request.layout == "docker":
            folder, say = self._subfolder("blobs"), self._steps.say
            images[:] = convert_layers(images, self._skopeo, folder, say, manifest.left_out)
        part_size = self._request.part_size
        parts = assemble(self._request.layout, images, manifest, {}, part_size, self._request.key)
        return ImageArchiveWriter(self._folder / IMAGES, parts, part_size)

    def _require_space(
        self, packed: Packed, writer: ImageArchiveWriter | None, *, dry_run: bool
    ) -> None:
        """Say how much space is needed, and require it unless this is a dry run.

        Args:
            packed: What is packed.
            writer: Writes images.tar.gz; None if the output directory already has the archives.
            dry_run: Whether nothing is written.
        """
        kit = self._request.kit
        needed = kit.size if kit else 0
        to_fetch = 0
        if writer:
            if not dry_run:
                writer.files.remove_others()
            needed += writer.needed_bytes + packed.charm_bytes
            to_fetch = packed.layer_bytes - packed.fetched_bytes
        if not needed:
            return
        free = shutil.disk_usage(self._folder).free
        self._steps.say(
            f"{to_fetch:,} bytes to fetch; "
            f"{needed:,} bytes of disk space needed in {self._request.output}, {free:,} free"
        )
        if needed > free and not dry_run:
            is_docker = self._request.layout == "docker"
            hint = "; --format oci needs less" if writer and is_docker else ""
            raise StorageError(
                f"{self._request.output} has {free:,} bytes free, but {needed:,} are needed",
                f"free some space, or choose another directory with --output{hint}",
            )

    def _subfolder(self, name: str) -> Path:
        folder = self._folder / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise disk_error(folder, error) from error
        return folder

    @contextmanager
    def _opened_journal(self) -> Generator[Journal]:
        head = {"format": _FORMAT, "request": self._request.identity}
        journal = Journal(
            self._folder / "journal", head, self._earlier_runs.apply, "what has been looked up"
        )
        if self._earlier_runs.charms or self._earlier_runs.images:
            self._steps.say(f"continuing an earlier run; to start over, remove {self._folder}")
        try:
            yield journal
        finally:
            journal.close()


def _only(
    charms: Iterable[FetchedCharm],
    origins: Iterable[CharmOrigin],
    unreadable: Iterable[UnreadableCharm],
) -> list[FetchedCharm]:
    """Select the charms of these origins; the newest of each gets the channel of its origin."""
    charms = list(charms)
    wanted = {origin.name: origin for origin in origins}
    available = {charm.file.name for charm in charms}
    require_readable([charm for charm in unreadable if charm.name in wanted.keys() - available])
    if lacking := sorted(wanted.keys() - available):
        raise ConfigurationError(
            f"the directory of --charms lacks {', '.join(lacking)}",
            "download them (juju download CHARM --channel CHANNEL), or leave --charms out",
        )
    newest = {charm.path for charm in _versions(charms).newest}
    return [
        replace(charm, packed=replace(charm.packed, channel=wanted[charm.file.name].channel))
        if charm.file.path in newest
        else charm
        for charm in charms
        if charm.file.name in wanted
    ]


def _versions(charms: Iterable[FetchedCharm]) -> CharmVersions:
    versions = CharmVersions("what is packed")
    for charm in charms:
        versions.add(charm.file)
    return versions


def _require_complete(plan: Plan) -> None:
    problems: Collection[object] = (*plan.missing_charms, *plan.missing)
    if problems:
        raise PlanError(
            f"{len(problems)} charms or images are missing: " + "; ".join(map(str, problems)),
            "add them (--charms, --bundle, --add-image), or continue without them "
            "(--allow-missing)",
        )
