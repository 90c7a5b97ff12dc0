"""Layers on their way: found again by their names, sent once however many images have them."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from ckf_airgap.archives.byte_stream import READ_SIZE
from ckf_airgap.archives.saved_images import LayerContent
from ckf_airgap.errors import ArtifactError
from ckf_airgap.registry.client import Blob, RegistryClient
from ckf_airgap.registry.layer_content import HashedLayer
from ckf_airgap.registry.push_state import PushState, StoredLayer
from ckf_airgap.registry.uploads import Uploads

_IDENTIFIER = re.compile(r"[0-9a-f]{32,64}")
_DIGEST_PATH = re.compile(r"(?:.*/)?blobs/sha256/([0-9a-f]{64})")


@dataclass(eq=False)
class LayerUpload:
    """A layer that is being sent.

    Attributes:
        path: Its path in the ``docker save`` archive.
        name: The name by which it is known again in other members; None where it has none.
        arrival: What it is stored as, once it is there.
        is_confirmed: Whether it is known to be what its name says.
    """

    path: str
    name: str | None
    arrival: Future[StoredLayer] = field(repr=False)
    is_confirmed: bool


class LayerUploads:
    """Sends the layers of one archive, those that the registry does not have."""

    def __init__(self, client: RegistryClient, state: PushState) -> None:
        """Prepare.

        Args:
            client: The registry.
            state: What it is known to have, and where to remember what it gets.
        """
        self._client = client
        self._state = state
        self._under_way: dict[str, LayerUpload] = {}
        # By repository and digest of the blob: what a layer holds may be stored as several blobs.
        self._verified: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.arrived_layers = 0
        self.arrived_bytes = 0

    def find(self, layer: LayerContent, place: str) -> LayerUpload | StoredLayer | None:
        """Recognise a layer by its name alone, before anything of it is read.

        Args:
            layer: The layer.
            place: Where in the whole archive it stands.

        Returns:
            The layer in the registry or on its way there; None where it has to be sent.
        """
        name = shared_name(layer)
        # In this order: what arrives is known to the state before it is no longer under way.
        if name and name in self._under_way:
            return self._under_way[name]
        digest = _digest_in(layer.path)
        known = (
            (self._state.layer_of(digest) if digest else None)
            or self._state.layer_at(place)
            or (self._state.layer_named(name) if name else None)
        )
        if known is None or (known.repository, known.blob.digest) in self._verified:
            return known
        if not self._client.has_blob(known.repository, known.blob.digest):
            return None
        self._verified.add((known.repository, known.blob.digest))
        return known

    def find_blob(
        self, layer: LayerContent, digest: str, repository: str
    ) -> LayerUpload | StoredLayer | None:
        """Recognise a layer that is stored as it stands in the archive, under the same digest.

        Args:
            layer: The layer.
            digest: Its digest.
            repository: Where it would be sent to.

        Returns:
            As for ``find``: what is not remembered is looked for in that repository, too.
        """
        found = self.find(layer, digest)
        if found is None and self._client.has_blob(repository, digest):
            found = StoredLayer(digest, digest, Blob(digest, layer.size), repository)
            self._state.add_layer(found, digest)
            self._verified.add((repository, digest))
        return found

    def send(
        self,
        layer: LayerContent,
        place: str,
        repository: str,
        uploads: Uploads,
        compressors: Executor,
        *,
        as_it_is: bool = False,
    ) -> LayerUpload:
        """Read a layer to its end and send it.

        Args:
            layer: The layer.
            place: Where in the whole archive it stands.
            repository: Where to.
            uploads: Sends it.
            compressors: Compress it, unless it is compressed.
            as_it_is: Whether it is a blob already, with a digest for its name; nobody looks into
                it then.

        Raises:
            ArtifactError: Its content is damaged.
        """
        content = None if as_it_is else HashedLayer(layer)
        digest = _digest_in(layer.path)

        def arrive(blob: Blob) -> StoredLayer:
            diff_id = content.diff_id if content else blob.digest
            source_digest = content.source_digest if content else blob.digest
            if digest and digest not in (diff_id, source_digest):
                raise ArtifactError(
                    f"layer {layer.path} is damaged: its content is not that of its name",
                    "save this image again (docker save) and make the archive again",
                )
            is_zstd = bool(content and content.is_zstd)
            stored = StoredLayer(diff_id, source_digest, blob, repository, is_zstd)
            self._state.add_layer(stored, place)
            self._verified.add((repository, blob.digest))
            with self._lock:
                self.arrived_layers += 1
                self.arrived_bytes += blob.size
            return stored

        pieces = content.stored_pieces(compressors) if content else _pieces(layer)
        arrival = uploads.send(repository, pieces, arrive)
        name = shared_name(layer)
        upload = LayerUpload(layer.path, name, arrival, is_confirmed=digest is not None)
        if name:
            self._under_way[name] = upload
        return upload

    def trust(self, name: str | None, layer: StoredLayer) -> None:
        """Trust the name of a layer that has arrived: the config of an image says the same."""
        if name:
            self._state.add_name(name, layer.diff_id)

    def forget(self, upload: LayerUpload) -> None:
        """Send the next layer of that name anew, unless it is known by now."""
        if upload.name:
            self._under_way.pop(upload.name, None)


def _pieces(layer: LayerContent) -> Iterator[bytes]:
    while data := layer.read(READ_SIZE):
        yield data


def _digest_in(path: str) -> str | None:
    """Read the digest that a layer's path claims (OCI Image Layout, "Blobs")."""
    match = _DIGEST_PATH.fullmatch(path)
    return f"sha256:{match[1]}" if match else None


def shared_name(layer: LayerContent) -> str | None:
    """Name a layer that stands under an identifier: equal names then mean equal layers.

    Args:
        layer: The layer.

    Returns:
        The name, or None where nothing in its path identifies it.
    """
    identifier = _IDENTIFIER.search(layer.path)
    return f"{identifier[0]}:{layer.size}" if identifier else None
