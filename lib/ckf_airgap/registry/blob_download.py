"""Reads blobs as streams (OCI Distribution Specification v1.1, "Pulling blobs")."""

from collections.abc import Iterator

from urllib3.exceptions import HTTPError

from ckf_airgap.images.oci import Blob
from ckf_airgap.network.https import FEW_ATTEMPTS, Attempts
from ckf_airgap.registry.blob_upload import UploadLostError
from ckf_airgap.registry.connection import RegistryConnection
from ckf_airgap.registry.registry_errors import wrong_content


class NotDownloadableError(Exception):
    """A blob cannot be downloaded from a repository."""


def download_blob(connection: RegistryConnection, repository: str, blob: Blob) -> Iterator[bytes]:
    """Download a blob.

    Args:
        connection: The registry.
        repository: The full name of a repository that has the blob.
        blob: The blob.

    Yields:
        Its bytes, in pieces. The caller checks the digest.

    Raises:
        NotDownloadableError: The repository does not return it.
        UnreadableError: The registry returns more bytes than the blob has.
        UploadLostError: The download broke off.
        RegistryError: The registry fails.
    """
    path = f"/v2/{repository}/blobs/{blob.digest}"
    attempts = Attempts(FEW_ATTEMPTS)
    try:
        while True:
            with connection.stream(path) as (answer, pieces):
                if answer.status == 200:
                    yield from _limited(connection, pieces, repository, blob)
                    return
                if not answer.is_transient:
                    raise NotDownloadableError
                if attempts.is_last:
                    raise connection.refused("GET", answer, path)
            attempts.wait(answer.retry_after)
    except HTTPError as error:
        raise UploadLostError(
            f"registry {connection.host} stopped sending {blob.digest} "
            f"({connection.shown(str(error))})",
            "check the network connection, then push again",
        ) from error


def _limited(
    connection: RegistryConnection, pieces: Iterator[bytes], repository: str, blob: Blob
) -> Iterator[bytes]:
    """Yield the pieces; raise UnreadableError if there are more bytes than the blob has."""
    size = 0
    for piece in pieces:
        yield piece
        size += len(piece)
        if size > blob.size:
            raise wrong_content(connection.host, repository, blob.digest)
