"""The registry's HTTP API (OCI Distribution Specification v1.1), as far as it is needed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import RegistryError
from ckf_airgap.images.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Blob,
    is_digest,
    sha256_of,
)
from ckf_airgap.network.https import FEW_ATTEMPTS, Attempts
from ckf_airgap.registry.authentication import CredentialsError
from ckf_airgap.registry.blob_download import NotDownloadableError, download_blob
from ckf_airgap.registry.blob_upload import BlobUpload, UploadLostError
from ckf_airgap.registry.connection import LARGEST_BODY, STORED, RegistryConnection
from ckf_airgap.registry.deletion import delete_manifest, delete_tag, restore_manifest
from ckf_airgap.registry.listings import list_repositories, list_tags
from ckf_airgap.registry.registry_errors import (
    MissingBlobError,
    NoSpaceError,
    TagTakenError,
    wrong_content,
)

# The number of repositories from which to try to mount one blob.
_MOUNT_SOURCES = 4
# After this many failed mounts in a row, no more are tried.
_MOST_FAILED_MOUNTS = 20
_MANIFEST_TYPES = f"{DOCKER_MANIFEST}, {OCI_MANIFEST}"
_ALL_MANIFEST_TYPES = f"{_MANIFEST_TYPES}, {DOCKER_INDEX}, {OCI_INDEX}"
# Responses that can mean an unsupported media type: 415, or others from registries that try to
# parse the manifest and do not find a field.
_TYPE_REFUSED = (400, 406, 415, 422)
# Responses that may mean that the tag is immutable.
_TAG_TAKEN = (403, 409, 412)
# Anything but 201 means not mounted; 202 means that an upload was opened instead.
_MOUNT_ANSWERS = tuple(range(201, 500))


class SourceBlobMissingError(UploadLostError):
    """None of the source repositories has the blob any longer."""


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index.

    Attributes:
        media_type: Its media type.
        content: Its bytes.
    """

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """Its digest."""
        return sha256_of(self.content)


@dataclass(frozen=True)
class Published:
    """The result of a publication: the manifest that the tag points to.

    Attributes:
        digest: The digest of the manifest.
        is_new: Whether this call created or moved the tag.
    """

    digest: str
    is_new: bool


class RegistryClient:
    """One registry.

    Every method raises RegistryError if the registry fails. If the registry refuses a request, a
    method raises RegistryError unless its return value tells the refusal. Requests are retried a
    few times after transient failures (connection lost, 429, 5xx), with exponential backoff and
    jitter.
    """

    def __init__(
        self, host: str, *, ca: str | None = None, credentials: Credentials | None = None
    ) -> None:
        """Store the arguments; nothing is sent yet.

        Args:
            host: ``host[:port]``. Always HTTPS.
            ca: CA certificates (PEM) to trust in addition to the system's.
            credentials: The account, or None.

        Raises:
            ConfigurationError: ``ca`` is not a PEM certificate.
        """
        self._connection = RegistryConnection(host, ca=ca, credentials=credentials)
        self._upload = BlobUpload(self._connection, self.has_blob)
        self._refused_types: set[str] = set()
        self._failed_mounts = 0

    def check(self) -> None:
        """Check that the registry answers, speaks this API and accepts the credentials."""
        answer = self._connection.request("GET", "/v2/", expected=(200,), attempts=FEW_ATTEMPTS)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise RegistryError(
                f"registry {self._connection.host} is not a registry (API v2): it answers with "
                "an HTML page",
                "check the host and the path of the option registry",
            )

    def check_write(self, repository: str) -> None:
        """Check that the account may push, with an upload that is cancelled at once.

        Args:
            repository: The repository to push to.
        """
        self._upload.try_out(repository)

    def allows_anonymous_pull(self, repository: str, tag: str) -> bool:
        """Return whether an image can be looked up without credentials.

        Args:
            repository: The image's repository.
            tag: Its tag. The image need not exist.
        """
        try:
            answer = self._connection.request(
                "HEAD",
                f"/v2/{repository}/manifests/{tag}",
                expected=(200, 401, 403, 404),
                headers={"Accept": _MANIFEST_TYPES},
                anonymous=True,
            )
        except CredentialsError:
            return False
        return answer.status in (200, 404)

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        """Look up a manifest by tag or digest.

        Returns:
            The digest of the manifest, or None if there is no such tag or digest.
        """
        path = f"/v2/{repository}/manifests/{tag}"
        headers = {"Accept": _MANIFEST_TYPES}
        answer = self._connection.request("HEAD", path, expected=(200, 404), headers=headers)
        # Registries should send the digest, but need not.
        if answer.status == 200 and not _digest_in(answer.headers.get("Docker-Content-Digest")):
            answer = self._connection.request("GET", path, expected=(200, 404), headers=headers)
        if answer.status == 404:
            return None
        from_header = _digest_in(answer.headers.get("Docker-Content-Digest"))
        return from_header or sha256_of(answer.body)

    def repositories(self) -> tuple[tuple[str, ...], str]:
        """List all repositories, or say why that is impossible; see ``list_repositories``."""
        return list_repositories(self._connection)

    def tags(self, repository: str) -> tuple[str, ...]:
        """List the tags of a repository; none if there is no such repository."""
        return list_tags(self._connection, repository)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether a repository has a blob."""
        path = f"/v2/{repository}/blobs/{digest}"
        return self._connection.request("HEAD", path, expected=(200, 404)).status == 200

    def read_blob(self, repository: str, digest: str) -> bytes | None:
        """Read a small blob.

        Returns:
            Its bytes; None if it does not exist, is larger than ``LARGEST_BODY``, or differs from
            its digest.
        """
        path = f"/v2/{repository}/blobs/{digest}"
        content = self._connection.request("GET", path, expected=(200, 404)).body
        return content if sha256_of(content) == digest else None

    def read_manifest(self, repository: str, reference: str) -> bytes | None:
        """Read a manifest by tag or digest; None if it does not exist or is too large."""
        answer = self._connection.request(
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            expected=(200, 404),
            headers={"Accept": _MANIFEST_TYPES},
        )
        return answer.body if answer.status == 200 and len(answer.body) < LARGEST_BODY else None

    def stored_manifest(self, repository: str, reference: str) -> Manifest | None:
        """Read a manifest or an index by tag or digest.

        Returns:
            The manifest or the index; None if it does not exist.

        Raises:
            UnreadableError: It is damaged, or larger than ``LARGEST_BODY``.
        """
        path = f"/v2/{repository}/manifests/{reference}"
        headers = {"Accept": _ALL_MANIFEST_TYPES}
        answer = self._connection.request("GET", path, expected=(200, 404), headers=headers)
        if answer.status == 404:
            return None
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        manifest = Manifest(media_type, answer.body)
        requested = reference if is_digest(reference) else None
        expected = requested or _digest_in(answer.headers.get("Docker-Content-Digest"))
        # A truncated body has a wrong digest, too. Without an expected one, only its size tells.
        if manifest.digest != (expected or manifest.digest) or len(answer.body) >= LARGEST_BODY:
            raise self._wrong_content(repository, expected or reference)
        return manifest

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest with all of its tags; see ``deletion.delete_manifest``."""
        delete_manifest(self._connection, repository, digest)

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Delete a tag but not its manifest; return whether the registry supports that."""
        return delete_tag(self._connection, repository, tag)

    def restore(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a deleted manifest or index again, by its digest or under a tag."""
        media_type, content = manifest.media_type, manifest.content
        restore_manifest(self._connection, repository, reference, media_type, content)
        self._require_stored(repository, reference, manifest.digest, self._stored_digest)

    def _stored_digest(self, repository: str, reference: str) -> str | None:
        stored = self.stored_manifest(repository, reference)
        return stored and stored.digest

    def upload_blob(
        self,
        repository: str,
        pieces: Iterable[bytes],
        before_commit: Callable[[Blob], None] = lambda _: None,
        *,
        in_chunks: bool = False,
    ) -> Blob:
        """Upload a blob, and compute its digest on the way.

        Args:
            repository: The repository to send it to.
            pieces: Its bytes.
            before_commit: Called with the blob just before the registry commits it.
            in_chunks: Whether to prefer chunks for a large blob: they can be sent again if the
                connection breaks.

        Returns:
            The blob, whose digest the registry has confirmed.

        Raises:
            UploadLostError: The upload failed and cannot be resumed: upload the blob again.
        """
        return self._upload.send(repository, pieces, before_commit, in_chunks=in_chunks)

    def copy_blob(
        self, blob: Blob, sources: Sequence[str], target: str, *, mounts: bool = True
    ) -> None:
        """Copy a blob to another repository: mount it, or download and upload it.

        Args:
            blob: The blob.
            sources: Repositories that have the blob, or had it.
            target: The repository to copy it to.
            mounts: Whether to try to mount it.

        Raises:
            SourceBlobMissingError: None of the sources has the blob any longer.
            UnreadableError: A source returned other content than the blob.
            UploadLostError: The download or the upload broke off.
        """
        target_may_have_it = target in sources
        if target_may_have_it and self.has_blob(target, blob.digest):
            return
        if mounts and any(
            self.mount_blob(blob, source, target) for source in sources[:_MOUNT_SOURCES]
        ):
            return
        if not target_may_have_it and self.has_blob(target, blob.digest):
            return
        for source in sources:
            try:
                pieces = download_blob(self._connection, source, blob)
                copied = self.upload_blob(target, pieces, in_chunks=True)
            except NotDownloadableError:
                continue
            if copied == blob:
                return
            raise self._wrong_content(source, blob.digest)
        raise SourceBlobMissingError(
            f"registry {self._connection.host} has lost the layer {blob.digest}",
            "check the registry's disk and log, then push again: it continues",
        )

    def publish(self, repository: str, tag: str, manifests: Sequence[Manifest]) -> Published:
        """Publish an image under a tag, unless the tag already points to it.

        Args:
            repository: The repository to publish to.
            tag: The tag.
            manifests: Its possible manifests; the first that the registry accepts is published.

        Returns:
            The manifest that the tag points to.

        Raises:
            MissingBlobError: The registry lacks a blob of the image.
            RefusedError: The registry accepts none of the manifests, or the tag is immutable and
                points to another image.
        """
        present = self.manifest_digest(repository, tag)
        if present and present in {manifest.digest for manifest in manifests}:
            return Published(present, is_new=False)
        candidates = [
            manifest for manifest in manifests if manifest.media_type not in self._refused_types
        ]
        refusal: RegistryError | None = None
        for manifest in candidates or manifests:
            refusal = self._put(repository, tag, manifest, present)
            if refusal is None:
                return Published(manifest.digest, is_new=True)
            self._refused_types.add(manifest.media_type)
        assert refusal
        raise refusal

    def _put(
        self, repository: str, tag: str, manifest: Manifest, present: str | None
    ) -> RegistryError | None:
        """Publish a manifest. Return the error if its media type is refused, otherwise None.

        Raises:
            RegistryError: The registry refuses the manifest for another reason.
        """
        path = f"/v2/{repository}/manifests/{tag}"
        answer = self._connection.request(
            "PUT",
            path,
            expected=(*STORED, *_TYPE_REFUSED, *_TAG_TAKEN),
            headers={"Content-Type": manifest.media_type},
            body=manifest.content,
        )
        if answer.status in STORED:
            self._require_stored(repository, tag, manifest.digest, self.manifest_digest)
            return None
        refusal = self._connection.refused("PUT", answer, path, present=present or "")
        is_taken = isinstance(refusal, TagTakenError)
        if is_taken and self.manifest_digest(repository, tag) == manifest.digest:
            # An earlier PUT succeeded, and its response was lost.
            return None
        is_about_type = answer.status in _TYPE_REFUSED
        if isinstance(refusal, TagTakenError | MissingBlobError) or not is_about_type:
            raise refusal
        return refusal

    def _require_stored(
        self, repository: str, tag: str, digest: str, look_up: Callable[[str, str], str | None]
    ) -> None:
        """Read back the manifest that the registry confirmed.

        Raises:
            RegistryError: The registry returns another manifest or none.
        """
        attempts = Attempts(FEW_ATTEMPTS)
        # With several servers on shared storage, one may not yet see what another has stored.
        while (stored := look_up(repository, tag)) != digest:
            if attempts.is_last:
                raise RegistryError(
                    f"registry {self._connection.host} confirmed {digest} as {repository}:{tag}, "
                    f"but returns {stored or 'nothing'}",
                    "check its log, and whether another program writes to this tag",
                )
            attempts.wait()

    def mount_blob(self, blob: Blob, source: str, target: str) -> bool:
        """Ask the registry to mount a blob from another repository.

        Args:
            blob: The blob.
            source: A repository that has it.
            target: The repository to mount it in.

        Returns:
            Whether the blob was mounted; False after an error. Many registries never mount.

        Raises:
            NoSpaceError: The registry is out of space.
        """
        if source == target or self._failed_mounts >= _MOST_FAILED_MOUNTS:
            return False
        self._failed_mounts += 1
        query = f"mount={quote(blob.digest, safe=':')}&from={quote(source, safe='/')}"
        path = f"/v2/{target}/blobs/uploads/?{query}"
        try:
            answer = self._connection.request(
                "POST", path, expected=_MOUNT_ANSWERS, attempts=FEW_ATTEMPTS
            )
            if answer.status == 202:
                self._upload.give_up(answer)
        except NoSpaceError:
            # Report this now: a later lookup of the blob may fail for another reason.
            raise
        except RegistryError:
            # Ignore the reason: if it matters, the upload that replaces the mount fails, too.
            return False
        if answer.status != 201:
            return False
        self._failed_mounts = 0
        return True

    def _wrong_content(self, repository: str, digest: str) -> RegistryError:
        return wrong_content(self._connection.host, repository, digest)


def _digest_in(header: str | None) -> str | None:
    return header if header and is_digest(header) else None
