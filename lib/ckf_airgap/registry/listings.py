"""Lists the repositories of a registry and the tags of a repository, over all pages."""

import json
import re
from collections.abc import Callable, Iterable
from typing import cast
from urllib.parse import urljoin, urlsplit

from ckf_airgap.images.reference import is_repository
from ckf_airgap.registry.authentication import CredentialsError
from ckf_airgap.registry.connection import LARGEST_DOCUMENT, Answer, RegistryConnection
from ckf_airgap.registry.registry_errors import UnreadableError

# More names than any registry of releases has. Limits a list whose pages never end.
_MOST_NAMES = 200_000
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# The address of the next page, in the header Link (RFC 8288).
_NEXT = re.compile(r'<([^>]*)>[^,]*;\s*rel="?next"?')
# Responses that mean: there is no such list, or the account may not read it.
_NO_LIST = (401, 403, 404, 405, 501)


def list_repositories(connection: RegistryConnection) -> tuple[tuple[str, ...], str]:
    """List the repositories in the registry's catalog (distribution, "Listing Repositories").

    Args:
        connection: The registry.

    Returns:
        The names, and the reason why there is no catalog. At least one of the two is empty.

    Raises:
        RegistryError: The registry fails, or its catalog is damaged or too long.
    """
    try:
        return _listed(connection, "/v2/_catalog", "repositories", is_repository), ""
    except CredentialsError:
        return (), "may not be read by this account"
    except _NoListError as error:
        return (), f"answered {error.status}"


def list_tags(connection: RegistryConnection, repository: str) -> tuple[str, ...]:
    """List all tags of a repository (OCI Distribution Specification v1.1, "Listing Tags").

    Args:
        connection: The registry.
        repository: The full name of the repository.

    Returns:
        Its tags; empty if there is no such repository.

    Raises:
        RegistryError: The registry fails or refuses, or its list is damaged or too long.
    """
    path = f"/v2/{repository}/tags/list"
    try:
        return _listed(connection, path, "tags", lambda text: bool(_TAG.fullmatch(text)))
    except _NoListError as error:
        if error.status == 404:
            return ()
        raise connection.refused("GET", error.answer, path) from error


class _NoListError(Exception):
    """The registry has no such list, or refuses to return it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.status = answer.status


def _listed(
    connection: RegistryConnection, path: str, key: str, is_name: Callable[[str], bool]
) -> tuple[str, ...]:
    # Do not request a page size: some registries then cut the list at that size, without a link to
    # the next page.
    found: dict[str, None] = {}
    next_path = path
    while next_path:
        answer = connection.request("GET", next_path, expected=(200, *_NO_LIST))
        if answer.status != 200:
            raise _NoListError(answer)
        before = len(found)
        found |= dict.fromkeys(filter(is_name, _names(connection, answer, path, key)))
        next_path = _next_page(connection, answer, path, next_path)
        if next_path and (len(found) == before or len(found) > _MOST_NAMES):
            raise _unreadable(connection, path, "does not end")
    return tuple(found)


def _names(connection: RegistryConnection, answer: Answer, path: str, key: str) -> Iterable[str]:
    if len(answer.body) > LARGEST_DOCUMENT:
        raise _unreadable(connection, path, f"has more than {LARGEST_DOCUMENT:,} bytes")
    try:
        # Go encodes an empty list as null.
        listed: object = json.loads(answer.body)[key] or []
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _unreadable(connection, path, f"has no {key}") from None
    if not isinstance(listed, list):
        raise _unreadable(connection, path, f"has no {key}")
    return (name for name in cast(list[object], listed) if isinstance(name, str))


def _next_page(connection: RegistryConnection, answer: Answer, path: str, page: str) -> str:
    """Return the path of the next page, always on this registry; empty after the last page.

    Args:
        connection: The registry.
        answer: The present page.
        path: The path of the first page.
        page: The path of the present page.
    """
    found = _NEXT.search(answer.headers.get("Link") or "")
    if not found:
        return ""
    try:
        parts = urlsplit(urljoin(page, found[1]))
        # The connection sends every path to this registry, over HTTPS.
        next_page = f"{parts.path}?{parts.query}"
        connection.address(next_page)
    except ValueError:
        next_page = ""
    if not next_page.startswith("/v2/"):
        raise _unreadable(connection, path, "names no next page of the registry's API in its Link")
    return next_page


def _unreadable(connection: RegistryConnection, path: str, problem: str) -> UnreadableError:
    return UnreadableError(
        f"the list at {path} of registry {connection.host} {problem}",
        "check the registry's log, and the proxy in front of it",
    )
