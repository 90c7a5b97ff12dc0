"""Decides what may be deleted: only what nothing that stays refers to."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from ckf_airgap.errors import AirgapError
from ckf_airgap.pruning.stored_images import Repository, StoredManifest

# The tag of what is attached to a manifest, for example by cosign (its "Signature spec"; OCI
# Distribution Specification v1.1, "Referrers Tag Schema").
_ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\..*)?")


@dataclass(frozen=True)
class UsedImages:
    """What a cluster uses.

    Attributes:
        tags: The user of each used tag, by whole repository and tag.
        digests: The user of each used digest, of a manifest or a config.
    """

    tags: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    digests: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Removal:
    """A manifest to delete.

    Attributes:
        digest: Its digest.
        tags: All of its tags; none if only a deleted index lists it.
    """

    digest: str
    tags: tuple[str, ...]

    def images(self, repository: str) -> tuple[str, ...]:
        """Name what is deleted: each tag, or the digest if there is none."""
        tagged = tuple(f"{repository}:{tag}" for tag in self.tags)
        return tagged or (f"{repository}@{self.digest}",)


@dataclass(frozen=True)
class RepositoryPlan:
    """What is to be deleted in one repository.

    Attributes:
        name: Its whole name.
        removals: The manifests to delete, each index before what it lists.
        shared: The tags to delete whose manifests stay, with the digests.
        staying: The tags that stay, with their digests.
        in_use: The user of each tag that no archive names and that stays because of it.
    """

    name: str
    removals: tuple[Removal, ...]
    shared: Mapping[str, str]
    staying: Mapping[str, str]
    in_use: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be deleted."""
        return not self.removals and not self.shared

    @property
    def images(self) -> tuple[str, ...]:
        """What is to be deleted, by whole repository and tag or digest."""
        removed = (image for each in self.removals for image in each.images(self.name))
        return (*removed, *(f"{self.name}:{tag}" for tag in self.shared))


@dataclass(frozen=True)
class PrunePlan:
    """What is to be deleted.

    Attributes:
        repositories: The repositories, also those in which everything stays.
        unknown: Why some repositories are left alone, by their names.
        freed_bytes: The size of the blobs that nothing below the prefix refers to afterwards.
    """

    repositories: tuple[RepositoryPlan, ...]
    unknown: Mapping[str, AirgapError]
    freed_bytes: int


def make_plan(
    repositories: Iterable[Repository],
    kept: Mapping[str, Collection[str]],
    used: UsedImages,
) -> PrunePlan:
    """Decide what is to be deleted.

    Args:
        repositories: The repositories below the prefix.
        kept: The tags that stay, by whole repository.
        used: What the cluster uses.
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
    """Decide what is to be deleted in one repository.

    A manifest stays if a tag that stays has it or the cluster uses it, and with it everything
    that it refers to and that refers to it: what an index lists, indexes, subjects, signatures.

    Args:
        repository: The repository.
        kept: Its tags that stay.
        used: What the cluster uses.
    """
    tags, manifests = repository.tags, repository.manifests
    users = {tag: user for tag in tags if (user := _user(repository, tag, used))}
    staying = {tag for tag in tags if tag in kept or tag in users}
    roots = {tags[tag] for tag in staying}
    roots |= {digest for digest, each in manifests.items() if _digest_user(each, used)}
    relatives = _relatives(repository)
    protected = _reached(roots, relatives)
    # Named after what stays, whatever tool has named it.
    staying |= {
        tag for tag, digest in tags.items() if digest in protected and _ATTACHED.fullmatch(tag)
    }
    others: dict[str, list[str]] = {}
    for tag, digest in tags.items():
        if tag not in staying:
            others.setdefault(digest, []).append(tag)
    gone = _listed_by(others.keys() - protected, manifests) - protected
    return RepositoryPlan(
        repository.name,
        tuple(
            Removal(digest, tuple(sorted(others.get(digest, ()))))
            for digest in _in_order(gone, manifests)
        ),
        {tag: tags[tag] for tag in sorted(tags) if tag not in staying and tags[tag] in protected},
        {tag: tags[tag] for tag in sorted(staying)},
        {tag: user for tag, user in users.items() if tag not in kept},
    )


def _user(repository: Repository, tag: str, used: UsedImages) -> str:
    found = used.tags.get((repository.name, tag))
    return found or _digest_user(repository.manifests[repository.tags[tag]], used)


def _digest_user(manifest: StoredManifest, used: UsedImages) -> str:
    # Some container runtimes name an image by its config.
    return used.digests.get(manifest.digest) or used.digests.get(manifest.config, "")


def _relatives(repository: Repository) -> dict[str, set[str]]:
    """Map each manifest to those that must not go without it, in both directions."""
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
    reached: set[str] = set()
    rest = list(roots)
    while rest:
        digest = rest.pop()
        if digest not in reached:
            reached.add(digest)
            rest += relatives.get(digest, ())
    return reached


def _listed_by(digests: Iterable[str], manifests: Mapping[str, StoredManifest]) -> set[str]:
    """Add what indexes list, as far as it is there."""
    children = {digest: manifest.children for digest, manifest in manifests.items()}
    return _reached(digests, children) & manifests.keys()


def _in_order(digests: set[str], manifests: Mapping[str, StoredManifest]) -> Iterable[str]:
    """Sort manifests so that none is deleted before what refers to it, which some refuse."""
    order: TopologicalSorter[str] = TopologicalSorter()
    for digest in sorted(digests):
        order.add(digest)
        manifest = manifests[digest]
        for other in (*manifest.children, manifest.subject):
            if other in digests:
                order.add(other, digest)
    return order.static_order()
