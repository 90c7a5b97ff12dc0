"""Uploads each layer once, even if many images use it, and recognizes layers uploaded before."""

import re
import threading
from collections.abc import Iterator, Mapping
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
from ckf_airgap.registry.client import RegistryClient, SourceBlobMissingError
from ckf_airgap.registry.registry_errors import RefusedError

# How many of a known layer's recorded repositories to check, besides that of its image.
_MOST_REPOSITORIES = 4
_IDENTIFIER = re.compile(r"[0-9a-f]{32,64}")


@dataclass(eq=False)
class LayerUpload:
    """A layer that is in the registry, or is being uploaded.

    Attributes:
        path: Its path in its archive.
        name: Identifies it across archives: the hex ID in its path, and its size. None if it has
            no such ID, or if several layers share it.
        diff_id: Its diff ID, if this push has compressed it; otherwise empty.
        arrival: Resolves to the stored layer when the upload is complete.
        repository: The repository it is uploaded to; empty if the registry already had it.
        place: Its position in the archive (``LayerFile.place``); empty if it was recognized by its
            name alone, or if the archive leaves it out.
        is_confirmed: Whether this push or an earlier one has checked its content against the
            digest in its path or the diff ID in a config.
        is_last_resort: Whether it is sent to a repository that has refused pushes, because there
            is no other.
    """

    path: str
    name: str | None
    arrival: Future[StoredLayer] = field(repr=False)
    is_confirmed: bool
    repository: str = ""
    place: str = ""
    is_last_resort: bool = False
    diff_id: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether this push uploads it; if not, the registry already had it."""
        return bool(self.repository)


class LayerUploads:
    """Uploads the layers of one archive that the registry does not have yet."""

    def __init__(self, client: RegistryClient, state: PushState) -> None:
        """Store the arguments, without sending anything.

        Args:
            client: The registry.
            state: The journal of this and earlier pushes, which every layer is added to.
        """
        self._client = client
        self._state = state
        self._under_way: dict[tuple[Role, str], LayerUpload] = {}
        self._by_diff_id: dict[str, LayerUpload] = {}
        # (repository, blob digest) of each blob that this push has seen in the registry.
        self._verified: set[tuple[str, str]] = set()
        # The digests of blobs to read again, because their diff ID was never computed.
        self._to_read_again: set[str] = set()
        self._lock = threading.Lock()
        self._arrived_digests: set[str] = set()
        # The layers that the archive leaves out, by the digest that would name their file.
        self._left_out: dict[str, StoredLayer] = {}
        self.arrived_bytes = 0

    @property
    def arrived_contents(self) -> int:
        """The number of distinct layers uploaded; one that is uploaded again counts once."""
        return len(self._arrived_digests)

    def find(self, layer: LayerFile, repository: str | None) -> LayerUpload | None:
        """Find a layer that need not be sent: the registry has it, or it is being uploaded.

        Args:
            layer: The layer.
            repository: The repository of its image, if known. A blob that is not in the journal
                is looked up in this repository.

        Returns:
            The layer, stored or being uploaded; None if it has to be sent.

        Raises:
            RegistryError: The registry fails.
        """
        name = self._name(layer)
        # Look here before the journal: a layer is in the journal before it is removed here.
        if name and (under_way := self._under_way.get((layer.role, name))):
            return under_way
        if layer.role is Role.LAYER and (same := self._by_diff_id.get(layer.digest or "")):
            # A second upload could give a different blob: the compressed bytes depend on the
            # position in the archive.
            return replace(same, name=None, is_confirmed=True)
        known = self._known(layer)
        if known and not self._is_anywhere(known, repository):
            known = None
        if not known and layer.role is Role.BLOB and layer.digest and repository:
            known = self._look_up(layer, layer.digest, repository)
        if known:
            found = _finished_upload(layer.path, name, known, layer.place)
            if name:
                self._under_way[layer.role, name] = found
            return found
        named = self._state.layer_named(name) if name and not layer.digest else None
        if named and layer.role is Role.LAYER and self._is_anywhere(named, repository):
            return _finished_upload(layer.path, name, named, "")
        return None

    def send(
        self, layer: LayerFile, repository: str, uploads: Uploads, compressors: Executor
    ) -> LayerUpload:
        """Read a layer to its end and send it.

        Args:
            layer: The layer.
            repository: The repository to send it to.
            uploads: The threads that upload it.
            compressors: The threads that compress it. Compressed layers, and blobs of OCI layouts,
                are sent unchanged.

        Returns:
            The layer. Its ``arrival`` raises ArtifactError if it does not match the digest in its
            path, and RegistryError or StorageError if the upload fails.

        Raises:
            ArtifactError: Its content is damaged.
        """
        content = None if layer.role is Role.BLOB else HashedLayer(layer.path, layer.content)

        def before_commit(blob: Blob) -> None:
            # Record the layer before the registry commits it: if this push is killed in between,
            # the next one checks whether the registry has the layer.
            self._state.add_layer(_stored(layer, content, blob), layer.place, [repository])

        def arrive(blob: Blob) -> StoredLayer:
            self._verified.add((repository, blob.digest))
            with self._lock:
                self._arrived_digests.add(blob.digest)
                self.arrived_bytes += blob.size
            return _stored(layer, content, blob)

        pieces = content.stored_pieces(compressors) if content else _pieces(layer)
        arrival = uploads.send(repository, pieces, before_commit, arrive)
        name = self._name(layer)
        is_confirmed = layer.digest is not None
        upload = LayerUpload(layer.path, name, arrival, is_confirmed, repository, layer.place)
        if name:
            self._under_way[layer.role, name] = upload
        if content and content.is_compressed_here and content.diff_id:
            upload.diff_id = content.diff_id
            self._by_diff_id[content.diff_id] = upload
        return upload

    def rely_on(self, found: Mapping[str, tuple[StoredLayer, str]]) -> None:
        """Register layers that a difference (``pack --since``) leaves out and the registry has.

        Args:
            found: Each layer and a repository that has it, by the digest that would name its file
                in the archive (``find_left_out``).
        """
        for digest, (layer, repository) in found.items():
            self._left_out[digest] = layer
            self._verified.add((repository, layer.blob.digest))
            self._state.add_repository(layer.blob.digest, repository)

    def left_out(self, digest: str) -> LayerUpload:
        """Return a layer that a difference leaves out.

        Raises:
            ArtifactError: The layer was not registered with ``rely_on``.
        """
        if layer := self._left_out.get(digest):
            return _finished_upload(digest, None, layer, "")
        raise ArtifactError(
            f"the archive leaves out the layer {digest}, which its ckf-airgap.json does not list",
            "give the unchanged archive of ckf-airgap pack",
        )

    def confirm(self, upload: LayerUpload, diff_id: str, *, is_own: bool) -> None:
        """Wait for a layer, and check that it has the diff ID that an image config lists.

        Args:
            upload: The layer.
            diff_id: The digest of its uncompressed content according to the config.
            is_own: Whether it was read from the image's own file, not from another file with the
                same name.

        Raises:
            ArtifactError: The diff ID differs: the layer is damaged.
            UploadLostError: The image must be read again: two different layers share a name, or
                the layer is a blob whose diff ID is unknown.
        """
        stored = upload.arrival.result()
        if not stored.diff_id:
            self._to_read_again.add(stored.blob.digest)
            self.forget(upload)
            raise UploadLostError(
                f"layer {upload.path} is in the registry, but its diff ID is unknown",
                "run the push again",
            )
        if stored.diff_id == diff_id:
            upload.is_confirmed = True
            if upload.name:
                self._state.add_name(upload.name, stored)
            return
        if upload.name and not is_own:
            self._state.mark_ambiguous(upload.name)
            self.forget(upload)
            raise UploadLostError(
                f"layer {upload.path} has the same ID as another layer with other content",
                "run the push again",
            )
        raise ArtifactError(
            f"layer {upload.path} is damaged: its diff ID is {stored.diff_id}, but the config of "
            f"its image says {diff_id}",
            RESAVE,
        )

    def copy(self, layer: StoredLayer, repository: str, *, mounts: bool = True) -> None:
        """Mount or copy an uploaded layer into a repository.

        Args:
            layer: The layer.
            repository: The repository.
            mounts: Whether to try a cross-repository mount, and to do nothing if this push has
                already seen the layer there.

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
        except SourceBlobMissingError:
            self._verified -= {(source, digest) for source in (*sources, repository)}
            self._state.forget_layer(digest)
            raise
        self._verified.add((repository, digest))
        self._state.add_repository(digest, repository)

    def begin(self) -> None:
        """Start a pass over the archive: forget the uploads of the previous pass."""
        self._under_way.clear()
        self._by_diff_id.clear()

    def forget(self, upload: LayerUpload) -> None:
        """Forget an upload: the next layer with its name is looked up in the journal, or sent."""
        if self._by_diff_id.get(upload.diff_id) is upload:
            del self._by_diff_id[upload.diff_id]
        if upload.name:
            for role in (Role.LAYER, Role.BLOB):
                if self._under_way.get((role, upload.name)) is upload:
                    del self._under_way[role, upload.name]

    def _name(self, layer: LayerFile) -> str | None:
        """Return the name of a layer; None if it has none, or several layers share it."""
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
        """Find a stored blob without a diff ID; only images of OCI layouts can use it."""
        if digest is None or digest in self._to_read_again:
            return None
        found = self._state.blob(digest)
        return found if found and not found.diff_id else None

    def _is_anywhere(self, layer: StoredLayer, repository: str | None) -> bool:
        """Return whether a layer is in the given repository, or in one that the journal lists."""
        digest = layer.blob.digest
        recorded = self._state.repositories(digest)
        if any((each, digest) in self._verified for each in recorded):
            return True
        candidates = dict.fromkeys((repository, *recorded[:_MOST_REPOSITORIES]))
        return any(each and self._is_in(each, digest) for each in candidates)

    def _is_in(self, repository: str, digest: str) -> bool:
        if (repository, digest) in self._verified:
            return True
        try:
            is_there = self._client.has_blob(repository, digest)
        except RefusedError:
            # The upload to this repository reports the refusal.
            return False
        if is_there:
            self._verified.add((repository, digest))
            if self._state.blob(digest):
                self._state.add_repository(digest, repository)
        return is_there

    def _look_up(self, layer: LayerFile, digest: str, repository: str) -> StoredLayer | None:
        """Return a blob that is in a repository, and record it; None if it is not there."""
        if not self._is_in(repository, digest):
            return None
        found = _stored(layer, None, Blob(digest, layer.size))
        self._state.add_layer(found, layer.place, [repository])
        return found


def _stored(layer: LayerFile, content: HashedLayer | None, blob: Blob) -> StoredLayer:
    """Describe a stored layer; raise ArtifactError if it does not match the digest in its path."""
    if content:
        source = content.diff_id if content.is_compressed_here else blob.digest
        stored = StoredLayer(blob, source, content.diff_id, content.stored_as)
    else:
        stored = StoredLayer.unread(blob, compression_of(layer.content.head))
    if layer.digest not in (None, stored.diff_id, blob.digest):
        raise ArtifactError(
            f"layer {layer.path} is damaged: it does not match the digest in its path", RESAVE
        )
    return stored


def _finished_upload(path: str, name: str | None, layer: StoredLayer, place: str) -> LayerUpload:
    """Return the finished upload of a layer that the registry already has."""
    arrival: Future[StoredLayer] = Future()
    arrival.set_result(layer)
    return LayerUpload(path, name, arrival, is_confirmed=True, place=place)


def _pieces(layer: LayerFile) -> Iterator[bytes]:
    while data := layer.content.read(READ_SIZE):
        yield data


def shared_name(layer: LayerFile) -> str | None:
    """Return the name of a layer: the last ID in its path, with its size.

    Layers with equal names are usually, but not always, the same.

    Args:
        layer: The layer.

    Returns:
        The name, or None if nothing in its path identifies it.
    """
    # The last match: a parent directory may have an ID that all layers share.
    identifiers = _IDENTIFIER.findall(layer.path)
    return f"{identifiers[-1]}:{layer.size}" if identifiers else None
