"""The registry's HTTP API (OCI Distribution Specification v1.1), as far as a push needs it."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import urllib3
from urllib3.exceptions import HTTPError

from ckf_airgap import https
from ckf_airgap.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.registry.authentication import CredentialsError
from ckf_airgap.registry.connection import RegistryConnection, error_detail

# What is sent again from memory where a connection breaks.
CHUNK_SIZE = 4 * 1024 * 1024
_FEW_ATTEMPTS = 4
_MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    )
)
_OCTETS = "application/octet-stream"
# What a registry, or a proxy in front of it, answers to a way of sending that it does not take.
_NOT_THIS_WAY = (400, 405, 411, 413, 415, 416, 501)


class UploadLostError(RegistryError):
    """The registry no longer knows an upload: the blob has to be sent again from its start."""


@dataclass(frozen=True)
class Blob:
    """A blob of a registry.

    Attributes:
        digest: ``sha256:`` and 64 hexadecimal digits, of the blob's bytes.
        size: Its size in bytes.
    """

    digest: str
    size: int


class RegistryClient:
    """One registry. Every method raises RegistryError where the registry fails or refuses.

    Transient failures (connection lost, 429, 5xx) are tried again, a few times and with a growing
    random pause.
    """

    def __init__(
        self, host: str, *, ca: str | None = None, credentials: Credentials | None = None
    ) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            host: ``host[:port]``. HTTPS always.
            ca: PEM certificates of the authorities to trust beside those of the system.
            credentials: Of the account to use, or None.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self._connection = RegistryConnection(host, ca=ca, credentials=credentials)
        self._takes_streams = True
        self._takes_chunks = True

    def check(self) -> None:
        """See that the registry answers, speaks this API and accepts the credentials."""
        response = self._connection.request("GET", "/v2/", expected=(200,), attempts=_FEW_ATTEMPTS)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise RegistryError(
                f"registry {self._connection.host} is not a registry (API v2): it answers with a "
                "page",
                "check the host and the path of the option registry",
            )

    def check_write(self, repository: str) -> None:
        """See that the account may push, by an upload that is given up at once.

        Args:
            repository: Where to.
        """
        self._close_upload(self._open_upload(repository))

    def allows_anonymous_pull(self, repository: str, tag: str) -> bool:
        """Tell whether an image can be looked up without credentials.

        Args:
            repository: The image's repository.
            tag: Its tag. The image need not be there.
        """
        try:
            response = self._connection.request(
                "HEAD",
                f"/v2/{repository}/manifests/{tag}",
                expected=(200, 401, 403, 404),
                headers={"Accept": _MANIFEST_TYPES},
                anonymous=True,
            )
        except CredentialsError:
            return False
        return response.status in (200, 404)

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        """Look up a tag.

        Returns:
            The digest of its manifest, or None where there is no such tag.
        """
        for method in ("HEAD", "GET"):
            response = self._connection.request(
                method,
                f"/v2/{repository}/manifests/{tag}",
                expected=(200, 404),
                headers={"Accept": _MANIFEST_TYPES},
            )
            if response.status == 404:
                return None
            # Registries should tell it, and need not.
            if digest := response.headers.get("Docker-Content-Digest"):
                return digest
        return f"sha256:{hashlib.sha256(response.data).hexdigest()}"

    def has_blob(self, repository: str, digest: str) -> bool:
        """Tell whether a repository holds a blob."""
        path = f"/v2/{repository}/blobs/{digest}"
        return self._connection.request("HEAD", path, expected=(200, 404)).status == 200

    def upload_blob(
        self, repository: str, pieces: Iterable[bytes], *, carefully: bool = False
    ) -> Blob:
        """Upload a blob; its digest is worked out on the way.

        A small blob goes in one request. A larger one is streamed in one request, as Docker does
        it, which costs a registry about half as much as chunks; or it goes in chunks, which are
        sent again where the connection breaks.

        Args:
            repository: Where to.
            pieces: Its bytes.
            carefully: Whether to send a large blob in chunks.

        Returns:
            The blob, which the registry has confirmed to have that digest.

        Raises:
            UploadLostError: The upload broke off where it cannot go on.
        """
        rest = iter(pieces)
        first = _chunk(rest)
        if len(first) < CHUNK_SIZE:
            return self._upload_at_once(repository, first)
        location = self._open_upload(repository)
        if self._takes_chunks and (carefully or not self._takes_streams):
            content = _Hashed(chain([first], iter(lambda: _chunk(rest), b"")))
            location = self._upload_chunks(repository, location, content)
        else:
            content = _Hashed(chain([first], rest))
            location = self._upload_stream(location, content)
        return self._close_with_digest(repository, location, content.blob)

    def copy_blob(self, blob: Blob, source: str, target: str) -> None:
        """Bring a blob of one repository into another, through this machine only if need be.

        Args:
            blob: The blob.
            source: The repository that holds it.
            target: The repository that is to hold it.
        """
        if source == target:
            return
        mount = f"/v2/{target}/blobs/uploads/?mount={blob.digest}&from={source}"
        response = self._connection.request("POST", mount, expected=(201, 202))
        if response.status == 201:
            return
        # 202: the registry does not mount across repositories and opened an upload instead.
        self._close_upload(self._location(response))
        if self.has_blob(target, blob.digest):
            return
        copied = self.upload_blob(target, self._download(source, blob))
        if copied != blob:
            raise RegistryError(
                f"registry {self._connection.host} returned other bytes for {blob.digest} of "
                f"{source}",
                "check the registry's storage, then run it again",
            )

    def put_manifest(self, repository: str, tag: str, content: bytes, media_type: str) -> str:
        """Publish a manifest under a tag.

        Args:
            repository: Where to.
            tag: The tag.
            content: The manifest.
            media_type: Its media type.

        Returns:
            The digest of the manifest.
        """
        self._connection.request(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            expected=(201,),
            headers={"Content-Type": media_type},
            body=content,
        )
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _download(self, repository: str, blob: Blob) -> Iterator[bytes]:
        path = f"/v2/{repository}/blobs/{blob.digest}"
        response = self._connection.request("GET", path, expected=(200, 307), stream=True)
        if response.status == 307:
            response.close()
            location = self._location(response)
            response = self._connection.request("GET", location, expected=(200,), stream=True)
        try:
            yield from response.stream(CHUNK_SIZE)
        except HTTPError as error:
            raise UploadLostError(
                f"registry {self._connection.host} broke off sending {blob.digest} ({error})",
                "see that the connection to it is reliable, then run it again",
            ) from error
        finally:
            response.release_conn()

    def _open_upload(self, repository: str) -> str:
        path = f"/v2/{repository}/blobs/uploads/"
        return self._location(self._connection.request("POST", path, expected=(202,)))

    def _close_upload(self, location: str) -> None:
        """Give an upload up; a registry that does not take that back forgets it by itself."""
        expected = (200, 202, 204, 400, 401, 403, 404, 405, 501)
        self._connection.request("DELETE", location, expected=expected)

    def _close_with_digest(self, repository: str, location: str, blob: Blob) -> Blob:
        response = self._connection.request(
            "PUT", _with_digest(location, blob), expected=(201, 404)
        )
        # 404: unknown by now, which it also is where the answer to a first PUT was lost.
        if response.status == 404 and not self.has_blob(repository, blob.digest):
            raise self._lost(error_detail(response.data))
        return blob

    def _upload_at_once(self, repository: str, data: bytes) -> Blob:
        """Send a blob that is at hand, from its start each time that it fails."""
        blob = Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        for attempt in range(https.ATTEMPTS):
            asked = None
            location = self._open_upload(repository)
            try:
                response = self._connection.send(
                    "PUT",
                    _with_digest(location, blob),
                    headers={"Content-Type": _OCTETS},
                    body=data,
                )
            except HTTPError as error:
                self._connection.give_up(error, attempt)
            else:
                if response.status == 201:
                    return blob
                is_lost = response.status == 404 and _is_unknown_upload(response.data)
                if attempt == https.ATTEMPTS - 1 or not (
                    is_lost or self._connection.may_pass(response)
                ):
                    raise self._connection.refused("PUT", response)
                asked = response.headers.get("Retry-After")
            https.pause(attempt, asked)
            # The answer to what arrived may have been lost.
            if self.has_blob(repository, blob.digest):
                return blob
        raise AssertionError

    def _upload_stream(self, location: str, content: "_Hashed") -> str:
        """Send a blob in one request, of a length that is not known before it ends."""
        try:
            response = self._connection.send(
                "PATCH", location, headers={"Content-Type": _OCTETS}, body=content
            )
        except HTTPError as error:
            if https.Failure.of(error).is_final:
                self._connection.give_up(error, 0)
            raise self._lost(f" ({error})") from error
        if response.status == 202 and content.is_at_end:
            return self._location(response)
        if self._takes_streams and self._is_not_this_way(response):
            self._takes_streams = False
        elif self._connection.may_pass(response):
            https.pause(0, response.headers.get("Retry-After"))
        elif response.status not in (202, 401, 404):
            raise self._connection.refused("PATCH", response)
        raise self._lost(error_detail(response.data))

    def _is_not_this_way(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Tell whether another way of sending may be taken."""
        is_said = self._connection.is_out_of_space(response)
        return response.status in _NOT_THIS_WAY and not is_said

    def _upload_chunks(self, repository: str, location: str, content: "_Hashed") -> str:
        for chunk in content:
            offset = content.size - len(chunk)
            try:
                location = self._upload_chunk(location, chunk, offset)
            except UploadLostError:
                if offset or not self._takes_chunks:
                    raise
                # All that was sent is still at hand.
                location = self._upload_chunk(self._open_upload(repository), chunk, 0)
        return location

    def _upload_chunk(self, location: str, chunk: bytes, offset: int) -> str:
        """Send one chunk, going on where the registry stopped if the connection breaks."""
        sent = 0
        for attempt in range(https.ATTEMPTS):
            asked = None
            try:
                response = self._connection.send(
                    "PATCH",
                    location,
                    headers={
                        "Content-Type": _OCTETS,
                        "Content-Range": f"{offset + sent}-{offset + len(chunk) - 1}",
                    },
                    body=chunk[sent:],
                )
            except HTTPError as error:
                self._connection.give_up(error, attempt)
            else:
                if response.status == 202:
                    return self._location(response)
                if response.status == 404 and _is_unknown_upload(response.data):
                    raise self._lost(error_detail(response.data))
                if not sent and self._takes_chunks and self._is_not_this_way(response):
                    self._takes_chunks = False
                    raise self._lost(error_detail(response.data))
                if not self._connection.may_pass(response) or attempt == https.ATTEMPTS - 1:
                    raise self._connection.refused("PATCH", response)
                asked = response.headers.get("Retry-After")
            https.pause(attempt, asked)
            state = self._connection.request("GET", location, expected=(204, 202, 200, 404))
            if state.status == 404:
                # docker-registry gives an upload up where a chunk arrived in part, or its answer
                # was lost: the offset in its location is then not that of its file.
                raise self._lost(error_detail(state.data))
            location = self._location(state)
            sent = max(0, min(_received(state) - offset, len(chunk)))
            if sent == len(chunk):
                return location
        raise AssertionError

    def _location(self, response: urllib3.BaseHTTPResponse) -> str:
        location = response.headers.get("Location")
        if not location:
            raise RegistryError(
                f"registry {self._connection.host} opened an upload without saying where",
                "check that the address is that of a registry (API v2), not of its web page",
            )
        return self._connection.url(location)

    def _lost(self, detail: str) -> UploadLostError:
        return UploadLostError(
            f"registry {self._connection.host} gave up an upload that was interrupted{detail}",
            "see that the connection to it is reliable, then run it again: it continues",
        )


class _Hashed:
    """The pieces of a blob, hashed and counted as they are taken: once."""

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
    """Join pieces to CHUNK_SIZE bytes or a little more, fewer only at the end."""
    buffer: list[bytes] = []
    size = 0
    for piece in pieces:
        buffer.append(piece)
        size += len(piece)
        if size >= CHUNK_SIZE:
            break
    return b"".join(buffer)


def _with_digest(location: str, blob: Blob) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={blob.digest}"


def _received(response: urllib3.BaseHTTPResponse) -> int:
    """Read from ``Range: 0-N`` how many bytes of an upload have arrived."""
    _, _, last = response.headers.get("Range", "").partition("-")
    # Registries write 0-0 for an upload that holds nothing yet.
    return int(last) + 1 if last.isdecimal() and last != "0" else 0


def _is_unknown_upload(body: bytes) -> bool:
    """Tell an upload that the registry gave up from a repository that it does not have."""
    return b"BLOB_UPLOAD_" in body
