"""A registry in memory, as far as images get second names in it and are pruned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from ckf_airgap.images.oci import DOCKER_MANIFEST, Blob, is_digest
from ckf_airgap.registry.client import Manifest, Published, RegistryClient
from ckf_airgap.registry.registry_errors import RefusedError
from tests.support.sample_images import Document, digest_of, json_of


def manifest_of(word: str, **more: object) -> Manifest:
    """Make the manifest of an image that consists of a config alone."""
    config = {"mediaType": "config", "digest": digest_of(word.encode()), "size": 7}
    document: Document = {"schemaVersion": 2, "config": config, "layers": [], **more}
    return Manifest(DOCKER_MANIFEST, json_of(document))


def index_of(manifests: Sequence[Manifest]) -> Manifest:
    """Make an index."""
    listed = [
        {"mediaType": each.media_type, "digest": each.digest, "size": len(each.content)}
        for each in manifests
    ]
    return Manifest("index", json_of({"schemaVersion": 2, "manifests": listed}))


@dataclass(frozen=True)
class Habits:
    """What registries do differently.

    Attributes:
        deletes_tags: Whether it deletes a tag alone.
        deletes_tags_with_manifests: Whether it deletes the tags of a manifest with it.
        wants_tags_first: Whether it refuses to delete a manifest that has tags.
        loses_manifests: Whether it deletes the manifest where it was to delete a tag.
        lists_all_tags: Whether its list of tags is whole.
    """

    deletes_tags: bool = True
    deletes_tags_with_manifests: bool = True
    wants_tags_first: bool = False
    loses_manifests: bool = False
    lists_all_tags: bool = True


@dataclass
class RegistryModel:
    """A registry.

    Attributes:
        habits: What it does differently.
        tags_of: The digest of each tag of each repository.
        manifests: The manifests of each repository, by their digests.
        deletions: The requests to delete something.
    """

    habits: Habits = field(default_factory=Habits)
    tags_of: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    manifests: dict[str, dict[str, Manifest]] = field(
        default_factory=dict[str, dict[str, Manifest]]
    )
    deletions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def client(self) -> RegistryClient:
        """It, in the place of its client."""
        return cast(RegistryClient, self)

    def put(self, repository: str, manifest: Manifest, tag: str = "") -> None:
        self.manifests.setdefault(repository, {})[manifest.digest] = manifest
        tags = self.tags_of.setdefault(repository, {})
        if tag:
            tags[tag] = manifest.digest

    def tags(self, repository: str) -> tuple[str, ...]:
        tags = tuple(self.tags_of.get(repository, {}))
        return tags if self.habits.lists_all_tags else tags[::2]

    def stored_manifest(self, repository: str, reference: str) -> Manifest | None:
        digest = self.tags_of.get(repository, {}).get(reference, reference)
        return self.manifests.get(repository, {}).get(digest)

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        stored = self.stored_manifest(repository, tag)
        return stored and stored.digest

    def read_manifest(self, repository: str, tag: str) -> bytes | None:
        stored = self.stored_manifest(repository, tag)
        return stored and stored.content

    def mount_blob(self, blob: Blob, source: str, target: str) -> bool:
        return True

    def publish(self, repository: str, tag: str, manifests: Sequence[Manifest]) -> Published:
        self.put(repository, manifests[0], tag)
        return Published(manifests[0].digest, is_new=True)

    def restore(self, repository: str, reference: str, manifest: Manifest) -> None:
        self.put(repository, manifest, "" if is_digest(reference) else reference)

    def delete_manifest(self, repository: str, digest: str) -> None:
        self.deletions.append((repository, digest))
        tags = self.tags_of[repository]
        if self.habits.wants_tags_first and digest in tags.values():
            raise RefusedError("it has tags", "delete them first")
        self.manifests[repository].pop(digest, None)
        if self.habits.deletes_tags_with_manifests:
            self.tags_of[repository] = {tag: each for tag, each in tags.items() if each != digest}

    def delete_tag(self, repository: str, tag: str) -> bool:
        self.deletions.append((repository, tag))
        if self.habits.loses_manifests:
            self.delete_manifest(repository, self.tags_of[repository][tag])
            return True
        if self.habits.deletes_tags:
            self.tags_of[repository].pop(tag, None)
        return self.habits.deletes_tags
