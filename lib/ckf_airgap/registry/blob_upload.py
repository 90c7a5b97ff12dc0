"""Uploads of blobs (OCI Distribution Specification v1.1, "Pushing blobs").

After a POST that opens the upload, a small blob is sent in one PUT. A larger one is streamed in
one PATCH, as Docker does, which costs a registry about half as much as chunks; or it is sent in
chunks, one PATCH each, which can be sent again if the connection breaks. A PUT commits the blob.
A method that the registry does not support is not tried again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain

from urllib3.exceptions import HTTPError

from ckf_airgap.errors import RegistryError
from ckf_airgap.images.oci import OCTETS, Blob, blob_of
from ckf_airgap.network import https
from ckf_airgap.network.addresses import Address
from ckf_airgap.network.https import Attempts
from ckf_airgap.registry.connection import Answer, RegistryConnection
from ckf_airgap.registry.registry_errors import is_out_of_space

CHUNK_SIZE = 4 * 1024 * 1024
"""The minimum size of a chunk, in bytes; only the last may be smaller. A chunk is kept in memory,
to be sent again if the connection breaks.
"""
# The responses of a registry, or of a proxy in front of it, to an unsupported method.
_UNSUPPORTED = (400, 405, 411, 413, 415, 416, 501)
_ANY_STATUS = tuple(range(200, 600))
# The responses if the state of an upload is unknown, or cannot be requested.
_NO_STATE = (400, 404, 405, 416, 501)
_MOST_DIGITS = 18


class UploadLostError(RegistryError):
    """An upload cannot be continued: the blob has to be sent again from its start."""


class BlobUpload:
    """Sends blobs to one registry.

    Every method but ``give_up`` raises RegistryError if the registry fails or refuses.

    Args:
        connection: The registry.
        has_blob: Returns whether a repository (first argument) has the blob of a digest.
    """

    def __init__(
        self, connection: RegistryConnection, has_blob: Callable[[str, str], bool]
    ) -> None:
        self._connection = connection
        self._has_blob = has_blob
        self._takes_streams = True
        self._takes_chunks = True

    def send(
        self,
        repository: str,
        pieces: Iterable[bytes],
        before_commit: Callable[[Blob], None],
        *,
        in_chunks: bool,
    ) -> Blob:
        """Send a blob, and compute its digest on the way.

        Args:
            repository: The repository to send it to.
            pieces: Its bytes.
            before_commit: Called with the blob just before the registry commits it.
            in_chunks: Whether to prefer chunks to a stream for a large blob. If the registry turns
                out not to support the preferred method, the upload fails, and later calls use the
                other one.

        Returns:
            The blob, whose digest the registry has confirmed.

        Raises:
            UploadLostError: The upload failed and cannot be resumed: send the blob again.
        """
        rest = iter(pieces)
        first = _chunk(rest)
        if len(first) < CHUNK_SIZE:
            blob = blob_of(first)
            before_commit(blob)
            return self._send_at_once(repository, first, blob)
        location = self._open(repository)
        if self._takes_chunks and (in_chunks or not self._takes_streams):
            content = _HashedPieces(chain([first], iter(lambda: _chunk(rest), b"")))
            location = self._send_chunks(repository, location, content)
        else:
            content = _HashedPieces(chain([first], rest))
            location = self._send_stream(repository, location, content)
        before_commit(content.blob)
        return self._close(repository, location, content.blob)

    def try_out(self, repository: str) -> None:
        """Begin an upload and cancel it."""
        path = _path(repository)
        self.give_up(self._connection.request("POST", path, expected=(202,)))

    def give_up(self, opened: Answer) -> None:
        """Cancel an upload. A registry that does not support DELETE lets it expire.

        Args:
            opened: The response that opened the upload.
        """
        with suppress(RegistryError):
            location = self._location(opened)
            self._connection.request("DELETE", location, expected=_ANY_STATUS, attempts=1)

    def _open(self, repository: str) -> Address:
        return self._location(self._connection.request("POST", _path(repository), expected=(202,)))

    def _location(self, answer: Answer) -> Address:
        return self._connection.location_in(answer, "opened an upload")

    def _close(self, repository: str, location: Address, blob: Blob) -> Blob:
        answer = self._connection.request(
            "PUT",
            _with_digest(location, blob),
            expected=(200, 201, 204, 404),
            about=_path(repository),
        )
        # 404: unknown upload. An earlier PUT may have committed it, and its response was lost.
        if answer.status == 404 and not self._has_blob(repository, blob.digest):
            raise self._lost(self._connection.words(answer))
        return blob

    def _send_at_once(self, repository: str, data: bytes, blob: Blob) -> Blob:
        """Send a blob that is in memory; each attempt sends all of it."""
        attempts = Attempts()
        while True:
            answer = None
            location = self._open(repository)
            try:
                answer = self._connection.send(
                    "PUT",
                    _with_digest(location, blob),
                    headers={"Content-Type": OCTETS},
                    body=data,
                    about=_path(repository),
                )
            except HTTPError as error:
                self._connection.give_up(error, attempts, location)
            else:
                if answer.status in (200, 201, 204):
                    return blob
                is_lost = answer.status == 404 and _is_unknown_upload(answer.body)
                if attempts.is_last or not (is_lost or answer.is_transient):
                    raise self._connection.refused("PUT", answer, _path(repository))
            attempts.wait(answer and answer.retry_after)
            # The response to a complete upload may have been lost.
            if self._has_blob(repository, blob.digest):
                return blob

    def _send_stream(
        self, repository: str, location: Address, content: "_HashedPieces"
    ) -> Address:
        """Send a blob of unknown length in one request."""
        # Another thread may find out in the meantime that this method is not supported.
        seemed_supported = self._takes_streams
        try:
            answer = self._connection.send(
                "PATCH",
                location,
                headers={"Content-Type": OCTETS},
                body=content,
                about=_path(repository),
            )
        except HTTPError as error:
            if https.Failure.of(error).is_final:
                self._connection.give_up(error, Attempts(), location)
            raise self._lost(f" ({self._connection.shown(str(error))})") from error
        if answer.status in (202, 204) and content.is_at_end:
            return self._location(answer)
        if seemed_supported and _is_unsupported(answer):
            self._takes_streams = False
        elif answer.is_transient:
            https.pause(0, answer.retry_after)
        elif answer.status not in (202, 401, 404):
            raise self._connection.refused("PATCH", answer, _path(repository))
        raise self._lost(self._connection.words(answer))

    def _send_chunks(
        self, repository: str, location: Address, content: "_HashedPieces"
    ) -> Address:
        for chunk in content:
            offset = content.size - len(chunk)
            try:
                location = self._send_chunk(repository, location, chunk, offset)
            except UploadLostError:
                if offset or not self._takes_chunks:
                    raise
                # All bytes that were sent are still in memory.
                location = self._send_chunk(repository, self._open(repository), chunk, 0)
        return location

    def _send_chunk(
        self, repository: str, location: Address, chunk: bytes, offset: int
    ) -> Address:
        """Send one chunk; if the connection breaks, resume where the registry stopped."""
        sent = 0
        attempts = Attempts()
        seemed_supported = self._takes_chunks
        while True:
            answer = None
            content_range = f"{offset + sent}-{offset + len(chunk) - 1}"
            try:
                answer = self._connection.send(
                    "PATCH",
                    location,
                    headers={"Content-Type": OCTETS, "Content-Range": content_range},
                    body=chunk[sent:],
                    about=_path(repository),
                )
            except HTTPError as error:
                self._connection.give_up(error, attempts, location)
            else:
                if answer.status in (202, 204):
                    return self._location(answer)
                is_lost = answer.status == 404 and _is_unknown_upload(answer.body)
                is_first = not (sent or attempts.failures)
                if is_first and seemed_supported and _is_unsupported(answer):
                    self._takes_chunks = False
                    is_lost = True
                # 416: the bytes had already arrived, so they are out of order when sent again.
                if is_lost or (attempts.failures and answer.status == 416):
                    raise self._lost(self._connection.words(answer))
                if not answer.is_transient or attempts.is_last:
                    raise self._connection.refused("PATCH", answer, _path(repository))
            attempts.wait(answer and answer.retry_after)
            state = self._connection.request(
                "GET",
                location,
                expected=(200, 202, 204, *_NO_STATE),
                about=_path(repository),
            )
            if state.status in _NO_STATE:
                # docker-registry cancels an upload if a chunk arrived in part or the response to
                # it was lost: the offset in the upload's URL then differs from the size of the
                # stored file.
                raise self._lost(self._connection.words(state))
            location = self._location(state)
            sent = max(0, min(_received(state) - offset, len(chunk)))
            if sent == len(chunk):
                return location

    def _lost(self, detail: str) -> UploadLostError:
        return UploadLostError(
            f"registry {self._connection.host} cancelled an upload that was interrupted{detail}",
            "check that the connection to it is reliable, then run it again: it continues",
        )


class _HashedPieces:
    """Hashes and counts the pieces of a blob while they are iterated, which works only once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._digest = hashlib.sha256()
        self.size = 0
        self.is_at_end = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            self.size += len(piece)
            yield piece
        self.is_at_end = True

    @property
    def blob(self) -> Blob:
        return Blob(f"sha256:{self._digest.hexdigest()}", self.size)


def _chunk(pieces: Iterator[bytes]) -> bytes:
    """Join the next pieces to one chunk of at least CHUNK_SIZE bytes; only the last is smaller."""
    buffer: list[bytes] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            break
    return b"".join(buffer)


def _path(repository: str) -> str:
    return f"/v2/{repository}/blobs/uploads/"


def _with_digest(location: Address, blob: Blob) -> Address:
    separator = "&" if "?" in location.url else "?"
    return Address.parse(f"{location.url}{separator}digest={blob.digest}")


def _received(answer: Answer) -> int:
    """Read from the header ``Range: 0-N`` how many bytes have arrived."""
    _, _, last = answer.headers.get("Range", "").partition("-")
    # Registries write 0-0 for an empty upload.
    is_number = last.isdecimal() and last.isascii() and len(last) <= _MOST_DIGITS
    return int(last) + 1 if is_number and last != "0" else 0


def _is_unsupported(answer: Answer) -> bool:
    """Return whether a method of sending is not supported, so that another may work."""
    return answer.status in _UNSUPPORTED and not is_out_of_space(
        answer.status, answer.body, answer.address.url
    )


def _is_unknown_upload(body: bytes) -> bool:
    """Return whether a 404 is about a cancelled upload, not about a missing repository."""
    return b"BLOB_UPLOAD_" in body
