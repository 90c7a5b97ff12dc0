"""Decides what to delete: manifests and tags that are neither kept nor related to kept ones."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from ckf_airgap.errors import AirgapError
from ckf_airgap.pruning.stored_images import Repository, StoredManifest

# The tag of an attachment to a manifest, for example a cosign signature (cosign, "Signature spec";
# OCI Distribution Specification v1.1, "Referrers Tag Schema").
_ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\..*)?")


@dataclass(frozen=True)
class UsedImages:
    """The images that a cluster uses.

    Attributes:
        tags: What uses each tag, by full repository name and tag.
        digests: What uses each digest of a manifest or a config.
        pulled: Those of the digests that each repository may contain, by its full name.
    """

    tags: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    digests: Mapping[str, str] = field(default_factory=dict[str, str])
    pulled: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])


@dataclass(frozen=True)
class Removal:
    """A manifest to delete.

    Attributes:
        digest: Its digest.
        tags: All of its tags; empty for a manifest that is deleted because a deleted index lists
            it.
    """

    digest: str
    tags: tuple[str, ...]

    def images(self, repository: str) -> tuple[str, ...]:
        """Return the references to delete: one for each tag, or the digest if there is no tag.

        Args:
            repository: The full name of its repository.
        """
        tagged = tuple(f"{repository}:{tag}" for tag in self.tags)
        return tagged or (f"{repository}@{self.digest}",)


@dataclass(frozen=True)
class RepositoryPlan:
    """The manifests and tags to delete in one repository.

    Attributes:
        name: Its full name.
        removals: The manifests to delete, each index before the manifests that it lists.
        shared: The tags to delete whose manifests are kept, with their digests.
        staying: The kept tags, with their digests.
        manifests: The digests of the kept manifests; each comes after those that it refers to.
        in_use: The tags that are kept only because the cluster uses them, with what uses each.
    """

    name: str
    removals: tuple[Removal, ...]
    shared: Mapping[str, str]
    staying: Mapping[str, str]
    manifests: tuple[str, ...]
    in_use: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not self.removals and not self.shared

    @property
    def images(self) -> tuple[str, ...]:
        """The references to delete, with full repository name and tag or digest."""
        removed = (image for each in self.removals for image in each.images(self.name))
        return (*removed, *(f"{self.name}:{tag}" for tag in self.shared))


@dataclass(frozen=True)
class PrunePlan:
    """The manifests and tags to delete in all repositories below the registry prefix.

    Attributes:
        repositories: The repositories, including those with nothing to delete.
        unknown: The error of each repository that cannot be read, by its name. Nothing is deleted
            there.
        freed_bytes: The size of the blobs that no manifest below the prefix refers to afterwards.
    """

    repositories: tuple[RepositoryPlan, ...]
    unknown: Mapping[str, AirgapError]
    freed_bytes: int


def known_references(
    kept: Mapping[str, Collection[str]], used: UsedImages
) -> dict[str, frozenset[str]]:
    """Collect the tags and digests to keep in each repository, even if it does not list them.

    Args:
        kept: The tags of the kept archives, by full repository name.
        used: The images that the cluster uses.

    Returns:
        The tags and digests, by full repository name.
    """
    found: dict[str, set[str]] = {}
    for by_repository in (kept, used.pulled):
        for repository, references in by_repository.items():
            found.setdefault(repository, set()).update(references)
    for repository, tag in used.tags:
        found.setdefault(repository, set()).add(tag)
    return {repository: frozenset(references) for repository, references in found.items()}


def make_plan(
    repositories: Iterable[Repository],
    kept: Mapping[str, Collection[str]],
    used: UsedImages,
) -> PrunePlan:
    """Decide what to delete below the prefix.

    Args:
        repositories: The repositories below the prefix.
        kept: The tags of the kept archives, by full repository name.
        used: The images that the cluster uses.

    Returns:
        The plan.
    """
    plans: list[RepositoryPlan] = []
    unknown: dict[str, AirgapError] = {}
    removed: dict[str, int] = {}
    staying: set[str] = set()
    for repository in repositories:
        if repository.problem:
            unknown[repository.name] = repository.problem
            continue
        plan = plan_repository(repository, kept.get(repository.name, ()), used)
        plans.append(plan)
        gone = {removal.digest for removal in plan.removals}
        for digest, manifest in repository.manifests.items():
            if digest in gone:
                removed |= manifest.blobs
            else:
                staying |= manifest.blobs.keys()
    freed = sum(size for blob, size in removed.items() if blob not in staying)
    return PrunePlan(tuple(plans), unknown, freed)


def plan_repository(
    repository: Repository, kept: Collection[str], used: UsedImages
) -> RepositoryPlan:
    """Decide what to delete in one repository.

    A manifest is kept if a kept tag points to it, if the cluster uses it, or if it is related to a
    kept manifest: it lists the kept manifest, is listed by it, is its subject, or is attached to
    it.

    Args:
        repository: The repository.
        kept: The tags of this repository in the kept archives.
        used: The images that the cluster uses.

    Returns:
        The plan of the repository.
    """
    tags, manifests = repository.tags, repository.manifests
    users = {tag: user for tag in tags if (user := _user(repository, tag, used))}
    staying = {tag for tag in tags if tag in kept or tag in users}
    # The cluster may use a manifest without a tag, such as one platform of a tagged index. Keep
    # the manifest and the index.
    roots = {*(tags[tag] for tag in staying), *used.digests}
    roots |= {digest for digest, manifest in manifests.items() if _digest_user(manifest, used)}
    protected = _reached(roots, _relatives(repository))
    # Keep the tags of attachments to kept manifests, whichever tool made them.
    staying |= {
        tag for tag, digest in tags.items() if digest in protected and _ATTACHED.fullmatch(tag)
    }
    tags_to_delete: dict[str, list[str]] = {}
    for tag, digest in tags.items():
        if tag not in staying:
            tags_to_delete.setdefault(digest, []).append(tag)
    removed = _with_listed(tags_to_delete.keys() - protected, manifests) - protected
    return RepositoryPlan(
        repository.name,
        tuple(
            Removal(digest, tuple(sorted(tags_to_delete.get(digest, ()))))
            for digest in _in_order(removed, manifests)
        ),
        {tag: tags[tag] for tag in sorted(tags) if tag not in staying and tags[tag] in protected},
        {tag: tags[tag] for tag in sorted(staying)},
        tuple(reversed(list(_in_order(manifests.keys() - removed, manifests)))),
        {tag: user for tag, user in users.items() if tag not in kept},
    )


def _user(repository: Repository, tag: str, used: UsedImages) -> str:
    """Return what uses a tag or its manifest in the cluster; empty if nothing does."""
    found = used.tags.get((repository.name, tag))
    return found or _digest_user(repository.manifests[repository.tags[tag]], used)


def _digest_user(manifest: StoredManifest, used: UsedImages) -> str:
    # Some container runtimes identify an image by the digest of its config.
    return used.digests.get(manifest.digest) or used.digests.get(manifest.config, "")


def _relatives(repository: Repository) -> dict[str, set[str]]:
    """Map each digest to the digests that are kept if it is kept."""
    relatives: dict[str, set[str]] = {}

    def relate(one: str, other: str) -> None:
        relatives.setdefault(one, set()).add(other)
        relatives.setdefault(other, set()).add(one)

    for manifest in repository.manifests.values():
        for other in (*manifest.children, *filter(None, (manifest.subject,))):
            relate(manifest.digest, other)
    for tag, digest in repository.tags.items():
        if match := _ATTACHED.fullmatch(tag):
            relate(digest, f"sha256:{match[1]}")
    return relatives


def _reached(roots: Iterable[str], relatives: Mapping[str, Collection[str]]) -> set[str]:
    """Add to some digests their relatives, the relatives of those, and so on."""
    reached: set[str] = set()
    rest = list(roots)
    while rest:
        digest = rest.pop()
        if digest not in reached:
            reached.add(digest)
            rest += relatives.get(digest, ())
    return reached


def _with_listed(digests: Iterable[str], manifests: Mapping[str, StoredManifest]) -> set[str]:
    """Add the manifests that indexes among them list, if the repository has these."""
    children = {digest: manifest.children for digest, manifest in manifests.items()}
    return _reached(digests, children) & manifests.keys()


def _in_order(digests: Collection[str], manifests: Mapping[str, StoredManifest]) -> Iterable[str]:
    """Sort manifests: each comes before those that it refers to.

    Some registries refuse to delete a manifest while another refers to it.
    """
    order: TopologicalSorter[str] = TopologicalSorter()
    for digest in sorted(digests):
        order.add(digest)
        manifest = manifests[digest]
        for other in (*manifest.children, manifest.subject):
            if other in digests:
                order.add(other, digest)
    return order.static_order()
