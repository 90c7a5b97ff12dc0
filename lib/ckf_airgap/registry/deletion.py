"""Deletes manifests and tags (OCI Distribution Specification v1.1, "Deleting")."""

from ckf_airgap.registry.connection import RegistryConnection

# 404: it is gone already, perhaps by an earlier attempt whose response was lost.
_GONE = (200, 202, 204, 404)
# Responses of registries that cannot delete a tag without its manifest.
_NO_TAG_DELETION = (400, 405, 415, 501)


def delete_manifest(connection: RegistryConnection, repository: str, digest: str) -> None:
    """Delete a manifest with all tags that it has in its repository.

    Raises:
        DeletionDisabledError: The registry does not delete anything.
        RefusedError: It does not delete this.
        RegistryError: It fails.
    """
    connection.request("DELETE", f"/v2/{repository}/manifests/{digest}", expected=_GONE)


def delete_tag(connection: RegistryConnection, repository: str, tag: str) -> bool:
    """Delete a tag and leave its manifest.

    Returns:
        Whether the registry supports that.

    Raises:
        RefusedError: The registry does not delete this.
        RegistryError: It fails.
    """
    path = f"/v2/{repository}/manifests/{tag}"
    answer = connection.request("DELETE", path, expected=(*_GONE, *_NO_TAG_DELETION))
    return answer.status in _GONE
