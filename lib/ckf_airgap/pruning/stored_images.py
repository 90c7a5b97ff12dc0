"""Reads the repositories below the prefix: tags, manifests, and what these refer to."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from ckf_airgap.archives.image_config import MOST_LAYERS
from ckf_airgap.errors import AirgapError, ArtifactError, without_traceback
from ckf_airgap.files.untrusted_json import items_of, member_of, parse_object, text_of
from ckf_airgap.images.oci import is_digest
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.registry.client import Manifest, RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests
from ckf_airgap.registry.registry_errors import RefusedError, UnreadableError

_SCHEMA = 2
_MOST_MANIFESTS = 50_000
_UNREADABLE_CURE = "inspect it with skopeo inspect --raw"


@dataclass(frozen=True)
class StoredManifest:
    """A manifest or an index, and the digests that it refers to.

    Attributes:
        digest: Its own digest.
        children: The manifests that an index lists.
        subject: The manifest that it is attached to, for example as a signature; empty if none.
        config: The config of an image; empty for an index.
        blobs: The sizes of the config and the layers, in bytes, by digest.
    """

    digest: str
    children: tuple[str, ...] = ()
    subject: str = ""
    config: str = ""
    blobs: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Repository:
    """The content of a repository.

    Attributes:
        name: Its full name, without the host.
        tags: The digest that each tag points to.
        manifests: By digest: the manifests of the tags, those that were requested by digest, and
            those that indexes list.
        problem: Why its content cannot be read, or None.
    """

    name: str
    tags: Mapping[str, str]
    manifests: Mapping[str, StoredManifest]
    problem: AirgapError | None = None


def is_below(repository: str, location: RegistryLocation) -> bool:
    """Return whether a repository is below the prefix: ``a/bc`` is not below ``a/b``."""
    return not location.path or repository.startswith(f"{location.path}/")


def read_repositories(
    client: RegistryClient,
    names: Collection[str],
    known: Mapping[str, Collection[str]],
    on_step: Callable[[], None],
) -> list[Repository]:
    """Read the content of repositories.

    Args:
        client: The registry.
        names: The repositories.
        known: For each repository, tags and digests to read even if it does not list them.
        on_step: Called after each repository.

    Returns:
        The repositories that have tags or a problem, sorted by name.

    Raises:
        RegistryError: The registry fails.
    """
    found: list[Repository] = []
    ordered = sorted(names)
    references = (known.get(name, ()) for name in ordered)
    with concurrent_requests() as map_requests:
        for repository in map_requests(partial(read_repository, client), ordered, references):
            on_step()
            if repository.tags or repository.problem:
                found.append(repository)
    return found


def read_repository(client: RegistryClient, name: str, known: Collection[str] = ()) -> Repository:
    """Read the content of a repository.

    Args:
        client: The registry.
        name: The repository.
        known: Tags and digests to read even if it does not list them: the list of tags may be
            outdated or incomplete, and has no digests.

    Returns:
        The repository. If the registry refuses to show it, or its content is damaged, it has a
        ``problem`` and no tags and manifests.

    Raises:
        RegistryError: The registry fails.
    """
    tags: dict[str, str] = {}
    manifests: dict[str, StoredManifest] = {}
    try:
        for reference in dict.fromkeys((*client.tags(name), *sorted(known))):
            # A registry may list a tag whose manifest it no longer has.
            if stored := client.stored_manifest(name, reference):
                if not is_digest(reference):
                    tags[reference] = stored.digest
                _add(client, name, stored, manifests)
    except (RefusedError, UnreadableError, ArtifactError) as error:
        return Repository(name, {}, {}, without_traceback(error))
    return Repository(name, tags, manifests)


def _add(
    client: RegistryClient, name: str, stored: Manifest, manifests: dict[str, StoredManifest]
) -> None:
    """Add a manifest and, level by level, those that it lists.

    Raises:
        ArtifactError: One of them is damaged, or there are too many.
    """
    level = [stored]
    while level:
        digests: dict[str, None] = {}
        for manifest in level:
            digest = manifest.digest
            if digest not in manifests:
                manifests[digest] = parse_manifest(manifest.content, f"{name}@{digest}")
                digests |= dict.fromkeys(manifests[digest].children)
        if len(manifests) + len(digests) > _MOST_MANIFESTS:
            raise ArtifactError(f"{name} has too many manifests", _UNREADABLE_CURE)
        # An index may list manifests that its repository does not have.
        new = (digest for digest in digests if digest not in manifests)
        level = list(filter(None, (client.stored_manifest(name, digest) for digest in new)))


def parse_manifest(content: bytes, what: str) -> StoredManifest:
    """Parse a manifest or an index.

    Args:
        content: Its bytes.
        what: Its name in messages.

    Returns:
        The manifest.

    Raises:
        ArtifactError: It is damaged, or its format is unknown (schema 1).
    """
    cure = _UNREADABLE_CURE
    document = parse_object(content, what, cure, is_unique=True)
    if document.get("schemaVersion") != _SCHEMA:
        raise ArtifactError(f"{what} is a manifest in an unknown format", cure)
    try:
        children = tuple(_digest(each) for each in items_of(document, "manifests"))
        layers = [*items_of(document, "layers"), *items_of(document, "blobs")]
        if len(layers) > MOST_LAYERS:
            raise TypeError(f"{len(layers)} layers are too many")
        subject = document.get("subject")
        config = document.get("config")
        return StoredManifest(
            Manifest("", content).digest,
            children,
            _digest(subject) if subject else "",
            _digest(config) if config else "",
            dict(_blobs([*layers, *([config] if config else [])])),
        )
    except TypeError as error:
        raise ArtifactError(f"{what} is damaged ({error})", cure) from error


def _digest(descriptor: object) -> str:
    fields: dict[str, Any] = (
        cast(dict[str, Any], descriptor) if isinstance(descriptor, dict) else {}
    )
    digest = text_of(fields, "digest")
    if not is_digest(digest):
        raise TypeError(f"{str(fields)[:100]} is not a descriptor")
    return digest


def _blobs(descriptors: Iterable[object]) -> Iterable[tuple[str, int]]:
    for descriptor in descriptors:
        size = member_of({"it": descriptor}, "it").get("size")
        if not isinstance(size, int) or isinstance(size, bool):
            size = 0
        yield _digest(descriptor), max(0, size)
