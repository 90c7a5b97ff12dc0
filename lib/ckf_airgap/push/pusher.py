"""The push: images.tar.gz into the registry, as a stream, nothing unpacked to disk.

A layer passes once: read, hashed, compressed and uploaded in pieces. Which image it belongs to is
often known only at the end of its archive; so it goes to the repository that the file name of the
archive suggests, or to that of another image, and is mounted into the right one afterwards. An
image gets its manifest and its tag only when each of its layers has been found to have the digest
that its config says.
"""

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.inventory import Inventory, read_into
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import join_errors
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.destinations import Destinations, first_paths
from ckf_airgap.push.layer_content import make_compressors
from ckf_airgap.push.layer_uploads import LayerUploads
from ckf_airgap.push.mirror_names import publish_mirror_names
from ckf_airgap.push.progress import Meter, Progress
from ckf_airgap.push.push_sink import Pipeline, PushSink
from ckf_airgap.push.push_state import PushState
from ckf_airgap.push.push_target import LOOKUPS_AT_ONCE, Outcomes, Target
from ckf_airgap.push.recall import has_images, recall
from ckf_airgap.push.uploads import Finisher, Uploads
from ckf_airgap.registry.client import RegistryClient

# How often the archive is read again without anything more arriving in the registry.
_FRUITLESS_PASSES = 4


@dataclass(frozen=True)
class PushResult:
    """The result of a push.

    Attributes:
        inventory: What the archive holds.
        pushed: The references that were made, in order.
        present: How many images the registry had already.
        uploaded_bytes: The size of the layers that were sent.
        notices: What the operator should know besides, a line each.
    """

    inventory: Inventory
    pushed: tuple[str, ...]
    present: int
    uploaded_bytes: int
    notices: tuple[str, ...] = ()


class ImagePusher:
    """Pushes one archive into one registry."""

    def __init__(
        self,
        client: RegistryClient,
        location: RegistryLocation,
        state_file: Path,
        on_progress: Callable[[Progress], None] = lambda _: None,
        *,
        architecture: str = "",
        key: bytes = b"",
        for_mirrors: bool = False,
    ) -> None:
        """Prepare a push.

        Args:
            client: The registry.
            location: The prefix under which the images are to stand.
            state_file: Where to remember what is done. Its folder must exist.
            on_progress: Called twice a second at the most, in the calling thread.
            architecture: The CPU architecture to take where an image is there for several; empty
                where none is preferred.
            key: Of the seals of what is remembered (``journal.sealing_key``).
            for_mirrors: Whether images get the names by which mirrors find them, too.
        """
        self._client = client
        self._location = location
        self._state_file = state_file
        self._on_progress = on_progress
        self._architecture = architecture
        self._key = key
        self._for_mirrors = for_mirrors

    def push(self, archive: Source, wanted: Iterable[ImageReference] = ()) -> PushResult:
        """Push every image of the archive that the registry does not have.

        Args:
            archive: images.tar.gz.
            wanted: The images that the charms take: they name the images without names.

        Returns:
            What was done. Damaged members are listed in its inventory; the rest is pushed.

        Raises:
            ArtifactError: The archive itself is damaged or ends in the middle.
            RegistryError: The registry fails. What is pushed by then is remembered.
            StorageError: What is pushed cannot be remembered.
        """
        state = self._load_state(archive)
        notices = (state.notice,) if state.notice else ()
        wanted = tuple(wanted)
        names = MemberNames(wanted)
        meter = Meter(archive.size, self._on_progress)
        look_ahead = _LookAhead(archive, names, self._location, self._architecture, meter)
        target = Target(
            self._client,
            self._location,
            state,
            names,
            LayerUploads(self._client, state),
            Destinations(look_ahead.repository),
        )
        try:
            if state.is_complete and _is_all_there(target):
                count = sum(bool(pushed.manifests) for pushed in state.images.values())
                result = PushResult(state.inventory, (), count, 0)
            else:
                if not state.has_layers:
                    look_ahead.recall(target)
                result = _Run(target, archive, meter, self._architecture).push()
            if self._for_mirrors:
                images = state.images.values()
                notices += publish_mirror_names(
                    self._client, self._location, images, wanted, meter.tick
                )
            return replace(result, notices=notices)
        finally:
            state.close()

    def known_inventory(self, archive: Source) -> Inventory | None:
        """Return what an earlier push found in this archive, if it read it to the end."""
        state = self._load_state(archive)
        return state.inventory if state.is_complete else None

    def _load_state(self, archive: Source) -> PushState:
        version = f"{archive.version} {self._architecture}"
        return PushState(self._state_file, str(self._location), version, key=self._key)


@dataclass(frozen=True)
class _LookAhead:
    """Reads ahead in the archive if something must be known early."""

    archive: Source
    names: MemberNames
    location: RegistryLocation
    architecture: str
    meter: Meter

    def repository(self, refused: Collection[str]) -> str | None:
        """Find the repository of the first image that has one, except some."""
        return next(iter(self._tags(refused)), None)

    def _tags(self, refused: Collection[str]) -> dict[str, set[str]]:
        """Find repositories of the archive, except some, each with tags of it."""
        paths = first_paths(
            self.archive,
            self.names,
            lambda path: (
                self.location.repository(path) not in refused
                and not self.location.length_problem(path)
            ),
            architecture=self.architecture,
            on_step=self.meter.tick,
        )
        tags: dict[str, set[str]] = {}
        for path in paths:
            tags.setdefault(self.location.repository(path), set()).add(path.tag)
        return tags

    def recall(self, target: Target) -> None:
        """Look up which parts of the archive the registry has, if any."""
        known = self._tags(())
        # So that it is not looked for once more.
        target.destinations.is_exhausted = not known
        for repository in list(known)[:1]:
            target.destinations.add(repository)
        if any(has_images(target.client, *each) for each in known.items()):
            recall(target, self.archive, architecture=self.architecture, on_step=self.meter.tick)


def _is_all_there(target: Target) -> bool:
    """Return whether the registry still has everything in the state under wanted names."""
    images = list(target.state.images.values())
    if any(target.is_named_otherwise(pushed.image) for pushed in images):
        return False
    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as executor:
        return all(executor.map(target.is_there, images))


class _Run:
    """One push: reads the archive, and reads it again where the stream cannot go back."""

    def __init__(self, target: Target, archive: Source, meter: Meter, architecture: str) -> None:
        self._target = target
        self._archive = archive
        self._meter = meter
        self._architecture = architecture
        self._outcomes = Outcomes()
        self._readings = Readings(archive.name)

    def push(self) -> PushResult:
        """Read the archive until every image has an outcome."""
        inventory = self._read(carefully=False)
        fruitless = 0
        while self._outcomes.lost and fruitless < _FRUITLESS_PASSES:
            before = self._progress
            inventory = self._read(carefully=True)
            fruitless = 0 if self._progress > before else fruitless + 1
        if self._outcomes.lost:
            raise self._outcomes.lost
        if self._outcomes.refused:
            raise join_errors(list(self._outcomes.refused.values()), "images are refused")
        if not (inventory.damaged or inventory.conflicts):
            self._target.state.complete(inventory.passed_over)
        return PushResult(
            inventory,
            tuple(self._outcomes.references),
            self._outcomes.present,
            self._target.layers.arrived_bytes,
        )

    @property
    def _progress(self) -> int:
        refused = len(self._target.destinations.refused)
        return self._target.layers.arrived_contents + len(self._outcomes) + refused

    def _read(self, *, carefully: bool) -> Inventory:
        """Read the archive, and read it again at once if files were read as the wrong thing."""
        while True:
            # What a reading has lost that was not settled may be there after the next.
            self._outcomes.lost = None
            sink, is_settled = self._read_once(carefully=carefully)
            if is_settled:
                return sink.inventory()

    def _read_once(self, *, carefully: bool) -> tuple[PushSink, bool]:
        """Push the images that have no outcome yet.

        Five things go on at once: the archive is decoded; layers are found in it and hashed; they
        are compressed; what was compressed before is sent; and the images whose layers are there
        get their tags.
        """
        archive, meter = self._archive, self._meter
        with (
            open_archive(archive, meter.read, with_segments=True) as stream,
            make_compressors() as compressors,
            Uploads(
                self._target.client, carefully=carefully, on_sent=meter.sent, on_step=meter.tick
            ) as uploads,
            Finisher(meter.tick) as finisher,
        ):
            self._target.layers.begin()
            pipeline = Pipeline(uploads, compressors, finisher, meter)
            sink = PushSink(self._target, self._outcomes, pipeline)
            is_settled = read_into(
                sink, sink.builder, archive, stream, self._readings, self._architecture
            )
        meter.tick(now=True)
        return sink, is_settled
