"""Deletes manifests and tags (OCI Distribution Specification v1.1, "Deleting"); restores them."""

from ckf_airgap.registry.connection import STORED, RegistryConnection

# 404: already deleted, perhaps by an attempt whose response was lost.
_GONE = (200, 202, 204, 404)
# Responses of registries that cannot delete a tag without its manifest.
_NO_TAG_DELETION = (400, 405, 415, 501)


def delete_manifest(connection: RegistryConnection, repository: str, digest: str) -> None:
    """Delete a manifest and all its tags in a repository.

    Args:
        connection: The registry.
        repository: The full name of the repository.
        digest: The digest of the manifest.

    Raises:
        DeletionDisabledError: The registry does not allow deletion.
        RefusedError: The registry refuses to delete this manifest.
        RegistryError: The registry fails.
    """
    connection.request("DELETE", f"/v2/{repository}/manifests/{digest}", expected=_GONE)


def delete_tag(connection: RegistryConnection, repository: str, tag: str) -> bool:
    """Delete a tag, but not its manifest.

    Args:
        connection: The registry.
        repository: The full name of the repository.
        tag: The tag.

    Returns:
        Whether the registry supports that. If so, the tag is gone.

    Raises:
        DeletionDisabledError: The registry does not allow deletion.
        RefusedError: The registry refuses to delete this tag.
        RegistryError: The registry fails.
    """
    path = f"/v2/{repository}/manifests/{tag}"
    answer = connection.request("DELETE", path, expected=(*_GONE, *_NO_TAG_DELETION))
    return answer.status in _GONE


def restore_manifest(
    connection: RegistryConnection,
    repository: str,
    reference: str,
    media_type: str,
    content: bytes,
) -> None:
    """Store a manifest or an index again, by its digest or under a tag.

    Args:
        connection: The registry.
        repository: The repository.
        reference: The digest or the tag.
        media_type: The manifest's media type.
        content: The manifest's bytes.

    Raises:
        RegistryError: The registry fails or refuses the manifest.
    """
    connection.request(
        "PUT",
        f"/v2/{repository}/manifests/{reference}",
        expected=STORED,
        headers={"Content-Type": media_type},
        body=content,
    )
