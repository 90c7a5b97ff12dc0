"""Pushes images.tar.gz into the registry as a stream; nothing is unpacked to disk.

Each layer is read, hashed, compressed and uploaded once, in pieces. Its image is often known only
at the end of the archive, so the layer goes to the repository that the file name suggests, or to
that of another image, and is mounted into the right one afterwards. An image gets its manifest and
its tag only after each of its layers was checked against the digest in the image's config or, in
an OCI layout, in its manifest.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ckf_airgap.archives.byte_stream import open_archive
from ckf_airgap.archives.image_reader import Readings
from ckf_airgap.archives.inventory import Inventory, read_into
from ckf_airgap.archives.pack_manifest import PackManifest, first_record
from ckf_airgap.archives.sources import Source
from ckf_airgap.errors import join_errors
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.destinations import Destinations
from ckf_airgap.push.image_outcomes import Outcomes
from ckf_airgap.push.layer_content import make_compressors
from ckf_airgap.push.layer_uploads import LayerUploads
from ckf_airgap.push.left_out_layers import find_left_out
from ckf_airgap.push.look_ahead import LookAhead
from ckf_airgap.push.mirror_names import publish_mirror_names
from ckf_airgap.push.progress import Meter, Progress
from ckf_airgap.push.push_sink import Pipeline, PushSink
from ckf_airgap.push.push_state import PushState
from ckf_airgap.push.push_target import Target
from ckf_airgap.push.uploads import Finisher, Uploads
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests

# The push ends after so many passes in a row over the archive without progress.
_FRUITLESS_PASSES = 4


@dataclass(frozen=True)
class PushResult:
    """The result of a push.

    Attributes:
        inventory: The content of the archive.
        pushed: The references that were created or moved, in order.
        present: The number of images that the registry had already.
        uploaded_bytes: The size of the layers that were sent.
        notices: Further lines for the operator.
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
            location: The registry prefix of the images.
            state_file: The journal. Its directory must exist.
            on_progress: Called in the thread that calls ``push``, at most twice a second and after
                each pass over the archive.
            architecture: The CPU architecture to choose if an image has several; empty for any.
            key: The key of the journal's seals (``journal.sealing_key``).
            for_mirrors: Whether images also get the names by which mirrors find them.
        """
        self._client = client
        self._location = location
        self._state_file = state_file
        self._on_progress = on_progress
        self._architecture = architecture
        self._key = key
        self._for_mirrors = for_mirrors

    def push(
        self,
        archive: Source,
        wanted: Iterable[ImageReference] = (),
        signed: PackManifest | None = None,
    ) -> PushResult:
        """Push every image of the archive that the registry does not have.

        Args:
            archive: images.tar.gz.
            wanted: The images that the charms use; they name images that the archive does not.
            signed: The record that all images must agree with, if its signature was checked.

        Returns:
            The result. Damaged members are listed in its inventory; the rest is pushed.

        Raises:
            ArtifactError: The archive itself cannot be read, is damaged or incomplete, or does not
                match ``signed``.
            RegistryError: The registry fails (the next push continues), lacks layers that a
                difference leaves out (nothing is sent), or refuses some images (the others are
                pushed).
            StorageError: The journal cannot be written.
            ConfigurationError: The journal is not a regular file of this user.
        """
        state = self._load_state(archive)
        notices = (state.notice,) if state.notice else ()
        wanted = tuple(wanted)
        names = MemberNames(wanted)
        meter = Meter(archive.size, self._on_progress)
        look_ahead = LookAhead(archive, names, self._location, self._architecture, meter)
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
                if record := signed or first_record(archive):
                    target.layers.rely_on(
                        find_left_out(
                            self._client, self._location, record, archive.name, meter.tick
                        )
                    )
                if not state.has_layers:
                    look_ahead.recall(target)
                result = _Run(target, archive, meter, self._architecture, signed).push()
            if self._for_mirrors:
                images = state.images.values()
                notices += publish_mirror_names(
                    self._client, self._location, images, wanted, meter.tick
                )
            return replace(result, notices=notices)
        finally:
            state.close()

    def known_inventory(self, archive: Source) -> Inventory | None:
        """Return the inventory of an earlier complete push of this archive, if there was one.

        Raises:
            ArtifactError: The archive cannot be opened.
            ConfigurationError: The journal is not a regular file of this user.
        """
        state = self._load_state(archive)
        return state.inventory if state.is_complete else None

    def _load_state(self, archive: Source) -> PushState:
        version = f"{archive.version} {self._architecture}"
        return PushState(self._state_file, str(self._location), version, key=self._key)


def _is_all_there(target: Target) -> bool:
    """Return whether the registry still has all images of the state, under their present names."""
    images = list(target.state.images.values())
    if any(target.is_named_otherwise(pushed.image) for pushed in images):
        return False
    with concurrent_requests() as map_requests:
        return all(map_requests(target.is_there, images))


class _Run:
    """One push: reads the archive, and reads it again for images that were lost on the way."""

    def __init__(
        self,
        target: Target,
        archive: Source,
        meter: Meter,
        architecture: str,
        signed: PackManifest | None,
    ) -> None:
        self._signed = signed
        self._target = target
        self._archive = archive
        self._meter = meter
        self._architecture = architecture
        self._outcomes = Outcomes()
        self._readings = Readings(archive.name)

    def push(self) -> PushResult:
        """Read the archive until every image has an outcome, or passes make no progress."""
        inventory = self._read(in_chunks=False)
        fruitless = 0
        while self._outcomes.lost and fruitless < _FRUITLESS_PASSES:
            before = self._progress
            inventory = self._read(in_chunks=True)
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
        """A number that grows as long as passes over the archive make progress."""
        refused = len(self._target.destinations.refused)
        return self._target.layers.arrived_contents + len(self._outcomes) + refused

    def _read(self, *, in_chunks: bool) -> Inventory:
        """Read the archive, and read it again if files were read in the wrong role."""
        while True:
            # Images that this pass lost may arrive in the next one.
            self._outcomes.lost = None
            sink, is_settled = self._read_once(in_chunks=in_chunks)
            if is_settled:
                return sink.inventory()

    def _read_once(self, *, in_chunks: bool) -> tuple[PushSink, bool]:
        """Push the images that have no outcome yet.

        Five things run in parallel: decoding the archive; finding and hashing layers; compressing
        them; sending them; and tagging the images whose layers have arrived.

        Returns:
            The sink, and whether all files were read in the right role.
        """
        archive, meter = self._archive, self._meter
        with (
            open_archive(archive, meter.read, with_segments=True) as stream,
            make_compressors() as compressors,
            Uploads(
                self._target.client, in_chunks=in_chunks, on_sent=meter.sent, on_step=meter.tick
            ) as uploads,
            Finisher(meter.tick) as finisher,
        ):
            self._target.layers.begin()
            pipeline = Pipeline(uploads, compressors, finisher, meter)
            sink = PushSink(self._target, self._outcomes, pipeline)
            is_settled = read_into(
                sink,
                sink.builder,
                archive,
                stream,
                self._readings,
                self._architecture,
                self._signed,
            )
        meter.tick(now=True)
        return sink, is_settled
