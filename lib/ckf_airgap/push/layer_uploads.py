"""Sends each layer once, however many images have it, and recognises it by its name."""

import itertools
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.decoding import compression_of
from ckf_airgap.archives.docker_manifest import RESAVE
from ckf_airgap.archives.image_sink import LayerFile, Role
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.oci import Blob
from ckf_airgap.push.layer_content import HashedLayer
from ckf_airgap.push.push_records import StoredLayer
from ckf_airgap.push.push_state import PushState
from ckf_airgap.push.uploads import Uploads
from ckf_airgap.registry.blob_upload import UploadLostError
from ckf_airgap.registry.client import BlobGoneError, RegistryClient
from ckf_airgap.registry.registry_errors import RefusedError

# The number of repositories in which a known layer is looked for.
_MOST_PLACES = 4
_IDENTIFIER = re.compile(r"[0-9a-f]{32,64}")


@dataclass(eq=False)
class LayerUpload:
    """A layer in the registry, or on its way there.

    Attributes:
        path: Its path in its archive.
        name: The name that identifies it in several archives; None if it has none.
        content_name: The name that a path with the digest of its content would give it; None if
            the archive has it compressed.
        arrival: The stored layer, when it has arrived.
        repository: The repository it is sent to; empty if it was recognised.
        place: Its location in the archive; empty if only its name is known.
        is_confirmed: Whether its content is known to match its name.
        is_last_resort: Whether only repositories that refuse pushes were left.
    """

    path: str
    name: str | None
    arrival: Future[StoredLayer] = field(repr=False)
    is_confirmed: bool
    repository: str = ""
    place: str = ""
    is_last_resort: bool = False
    content_name: str | None = None

    @property
    def is_sent(self) -> bool:
        """Whether this push sends it; otherwise it was recognised."""
        return bool(self.repository)


class LayerUploads:
    """Sends the layers of one archive, those that the registry does not have."""

    def __init__(self, client: RegistryClient, state: PushState) -> None:
        """Prepare.

        Args:
            client: The registry.
            state: The layers that it is known to have; records new ones.
        """
        self._client = client
        self._state = state
        self._under_way: dict[tuple[Role, str], LayerUpload] = {}
        # By repository and digest of the blob: one content may be stored as several blobs.
        self._verified: set[tuple[str, str]] = set()
        # The blobs that must be decoded, because their content is unknown.
        self._to_be_read: set[str] = set()
        self._lock = threading.Lock()
        self._arrived: set[str] = set()
        self.arrived_bytes = 0

    @property
    def arrived_contents(self) -> int:
        """The number of different layers that have arrived; one that is sent again counts once."""
        return len(self._arrived)

    def find(self, layer: LayerFile, repository: str | None) -> LayerUpload | None:
        """Recognise a layer before it is read.

        Args:
            layer: The layer.
            repository: The repository of its image, if known; an unknown blob is looked for
                there.

        Returns:
            The layer in the registry or on its way there; None if it has to be sent.
        """
        name = self._name(layer)
        # In this order: the state knows a layer before it stops being under way.
        if name and (under_way := self._under_way.get((layer.role, name))):
            return under_way
        known = self._known(layer)
        if known and not self._is_anywhere(known, repository):
            known = None
        if not known and layer.role is Role.BLOB and layer.digest and repository:
            known = self._look_up(layer, layer.digest, repository)
        if known:
            found = _arrived(layer.path, name, known, layer.place)
            if name:
                self._under_way[layer.role, name] = found
            return found
        named = self._state.layer_named(name) if name and not layer.digest else None
        if named and layer.role is Role.LAYER and self._is_anywhere(named, repository):
            return _arrived(layer.path, name, named, "")
        return None

    def send(
        self, layer: LayerFile, repository: str, uploads: Uploads, compressors: Executor
    ) -> LayerUpload:
        """Read a layer to its end and send it.

        Args:
            layer: The layer.
            repository: The repository to send it to.
            uploads: Sends it.
            compressors: The threads that compress it, unless it is compressed or a blob.

        Raises:
            ArtifactError: Its content is damaged.
        """
        content = None if layer.role is Role.BLOB else HashedLayer(layer.path, layer.content)

        def expect(blob: Blob) -> None:
            # Recorded before it arrives: a push that is killed in between looks for it.
            self._state.add_layer(_stored(layer, content, blob), layer.place, [repository])

        def arrive(blob: Blob) -> StoredLayer:
            self._verified.add((repository, blob.digest))
            with self._lock:
                self._arrived.add(blob.digest)
                self.arrived_bytes += blob.size
            return _stored(layer, content, blob)

        pieces = content.stored_pieces(compressors) if content else _pieces(layer)
        arrival = uploads.send(repository, pieces, expect, arrive)
        name = self._name(layer)
        is_confirmed = layer.digest is not None
        upload = LayerUpload(layer.path, name, arrival, is_confirmed, repository, layer.place)
        if name:
            self._under_way[layer.role, name] = upload
        if content and content.is_compressed_here and content.diff_id:
            # The same content, named by its digest, may follow before this one has arrived. Sent
            # again it could be another blob: how it is compressed depends on its place in the
            # archive.
            same = f"{content.diff_id.removeprefix('sha256:')}:{layer.size}"
            upload.content_name = same
            known = replace(upload, name=same, is_confirmed=True)
            self._under_way.setdefault((layer.role, same), known)
        return upload

    def confirm(self, upload: LayerUpload, diff_id: str, *, is_own: bool) -> None:
        """Check that an arrived layer is the one that an image's config states.

        Args:
            upload: The layer.
            diff_id: The digest of its uncompressed content according to the config.
            is_own: Whether it was read from the image's own file; otherwise from one of the same
                name.

        Raises:
            ArtifactError: It is another layer.
            UploadLostError: It was recognised by a name that another image uses for another
                layer, or as a blob that was never decoded: the image has to be read again.
        """
        stored = upload.arrival.result()
        if not stored.diff_id:
            self._to_be_read.add(stored.blob.digest)
            self.forget(upload)
            raise UploadLostError(
                f"layer {upload.path} is in the registry, but its content is unknown",
                "run it again",
            )
        if stored.diff_id == diff_id:
            upload.is_confirmed = True
            if upload.name:
                self._state.add_name(upload.name, stored)
            return
        if upload.name and not is_own:
            self._state.forget_name(upload.name)
            self.forget(upload)
            raise UploadLostError(
                f"layer {upload.path} has the name of another layer", "run it again"
            )
        raise ArtifactError(
            f"layer {upload.path} is damaged: its content is {stored.diff_id}, and the config of "
            f"its image says {diff_id}",
            RESAVE,
        )

    def copy(self, layer: StoredLayer, repository: str, *, mounts: bool = True) -> None:
        """Bring a layer that has arrived into a repository.

        Args:
            layer: The layer.
            repository: The repository.
            mounts: Whether to ask the registry for a mount, and to trust its answer.

        Raises:
            UploadLostError: The registry has lost it, or copying it failed: the image has to be
                read again.
            RegistryError: The registry fails or refuses.
        """
        digest = layer.blob.digest
        if mounts and (repository, digest) in self._verified:
            return
        sources = self._state.repositories(digest)
        try:
            self._client.copy_blob(layer.blob, sources, repository, mounts=mounts)
        except BlobGoneError:
            self._verified -= {(source, digest) for source in (*sources, repository)}
            self._state.forget_layer(digest)
            raise
        self._verified.add((repository, digest))
        self._state.add_repository(digest, repository)

    def begin(self) -> None:
        """Forget the uploads of an earlier pass over the archive that were lost."""
        self._under_way.clear()

    def forget(self, upload: LayerUpload) -> None:
        """Send the next layer of this name again, unless it is known by then."""
        names = [name for name in (upload.name, upload.content_name) if name]
        for key in itertools.product((Role.LAYER, Role.BLOB), names):
            found = self._under_way.get(key)
            if found and found.arrival is upload.arrival:
                del self._under_way[key]

    def _name(self, layer: LayerFile) -> str | None:
        name = shared_name(layer)
        return None if name and self._state.is_ambiguous(name) else name

    def _known(self, layer: LayerFile) -> StoredLayer | None:
        """Find a layer that this or an earlier push has recorded."""
        if layer.role is Role.BLOB:
            return self._state.blob(layer.digest or "")
        at_place = self._state.layer_at(layer.place)
        known = self._state.layer_of(layer.digest) if layer.digest else None
        return (
            known
            or (at_place if at_place and at_place.diff_id else None)
            or self._unread_blob(layer.digest)
        )

    def _unread_blob(self, digest: str | None) -> StoredLayer | None:
        """Find a compressed blob that was never decoded; only a layout can use it."""
        if digest is None or digest in self._to_be_read:
            return None
        found = self._state.blob(digest)
        return found if found and not found.diff_id else None

    def _is_anywhere(self, layer: StoredLayer, repository: str | None) -> bool:
        """Return whether the given repository or another known one has a layer."""
        digest = layer.blob.digest
        known = self._state.repositories(digest)
        if any((each, digest) in self._verified for each in known):
            return True
        places = dict.fromkeys((repository, *known[:_MOST_PLACES]))
        return any(place and self._is_there(place, digest) for place in places)

    def _is_there(self, repository: str, digest: str) -> bool:
        if (repository, digest) in self._verified:
            return True
        try:
            is_there = self._client.has_blob(repository, digest)
        except RefusedError:
            # The upload to this repository reports it.
            return False
        if is_there:
            self._verified.add((repository, digest))
            if self._state.blob(digest):
                self._state.add_repository(digest, repository)
        return is_there

    def _look_up(self, layer: LayerFile, digest: str, repository: str) -> StoredLayer | None:
        if not self._is_there(repository, digest):
            return None
        found = _stored(layer, None, Blob(digest, layer.size))
        self._state.add_layer(found, layer.place, [repository])
        return found


def _stored(layer: LayerFile, content: HashedLayer | None, blob: Blob) -> StoredLayer:
    """Describe a stored layer; raises ArtifactError if it differs from the digest it claims."""
    if content:
        source = content.diff_id if content.is_compressed_here else blob.digest
        stored = StoredLayer(blob, source, content.diff_id, content.stored_as)
    else:
        stored = StoredLayer.unread(blob, compression_of(layer.content.head))
    if layer.digest not in (None, stored.diff_id, blob.digest):
        raise ArtifactError(
            f"layer {layer.path} is damaged: its content is not that of its name", RESAVE
        )
    return stored


def _arrived(path: str, name: str | None, layer: StoredLayer, place: str) -> LayerUpload:
    arrival: Future[StoredLayer] = Future()
    arrival.set_result(layer)
    return LayerUpload(path, name, arrival, is_confirmed=True, place=place)


def _pieces(layer: LayerFile) -> Iterator[bytes]:
    while data := layer.content.read(READ_SIZE):
        yield data


def shared_name(layer: LayerFile) -> str | None:
    """Name a layer whose path contains an identifier: equal names then mean equal layers.

    Args:
        layer: The layer.

    Returns:
        The name, or None if nothing in its path identifies it.
    """
    # The last one: a directory before it may have an identifier common to all.
    identifiers = _IDENTIFIER.findall(layer.path)
    return f"{identifiers[-1]}:{layer.size}" if identifiers else None
