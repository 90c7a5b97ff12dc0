"""Carries out a plan, and checks that the registry still has the kept tags and manifests."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ckf_airgap.errors import RegistryError, listed
from ckf_airgap.images.oci import is_digest
from ckf_airgap.pruning.prune_plan import PrunePlan, Removal, RepositoryPlan
from ckf_airgap.registry.client import Manifest, RegistryClient
from ckf_airgap.registry.registry_errors import RefusedError


@dataclass
class RemovalResult:
    """The result of carrying out a plan.

    Attributes:
        deleted: The deleted references: ``REPOSITORY:TAG``, or ``REPOSITORY@DIGEST`` without tags.
        left: The references that were not deleted, and the repositories in which nothing was
            deleted, each with the reason.
        tags_left: The references whose manifests are kept, and whose tags the registry cannot
            delete alone.
    """

    deleted: list[str] = field(default_factory=list[str])
    left: dict[str, str] = field(default_factory=dict[str, str])
    tags_left: list[str] = field(default_factory=list[str])


def carry_out(
    client: RegistryClient, plan: PrunePlan, on_deleted: Callable[[str], None]
) -> RemovalResult:
    """Delete what a plan lists, one manifest at a time, so that an interrupt stops at once.

    Args:
        client: The registry.
        plan: The plan.
        on_deleted: Called with each reference after it was deleted.

    Returns:
        What was deleted, and what was not.

    Raises:
        DeletionDisabledError: The registry does not allow deletion.
        RegistryError: The registry fails, or has deleted a kept tag or manifest.
    """
    result = RemovalResult()
    for repository in plan.repositories:
        if not repository.is_empty:
            _RepositoryRemoval(client, repository, result, on_deleted).carry_out()
    return result


class _RepositoryRemoval:
    def __init__(
        self,
        client: RegistryClient,
        plan: RepositoryPlan,
        result: RemovalResult,
        on_deleted: Callable[[str], None],
    ) -> None:
        self._client = client
        self._plan = plan
        self._result = result
        self._on_deleted = on_deleted

    def carry_out(self) -> None:
        """Delete what the plan of the repository lists."""
        name = self._plan.name
        expected = {**{digest: digest for digest in self._plan.manifests}, **self._plan.staying}
        kept = {reference: self._client.stored_manifest(name, reference) for reference in expected}
        found = {reference: manifest.digest for reference, manifest in kept.items() if manifest}
        if found != expected or self._has_more_tags():
            self._result.left[name] = "its tags changed after prune had read them: run prune again"
            return
        try:
            for removal in self._plan.removals:
                self._remove(removal)
            for tag, digest in self._plan.shared.items():
                self._remove_tag(tag, digest)
        finally:
            self._require_kept(kept)

    def _has_more_tags(self) -> bool:
        plan = self._plan
        removed = (tag for removal in plan.removals for tag in removal.tags)
        known = {*plan.staying, *plan.shared, *removed}
        new = (tag for tag in self._client.tags(plan.name) if tag not in known)
        # The plan leaves out listed tags without a manifest.
        return any(self._client.stored_manifest(plan.name, tag) for tag in new)

    def _remove(self, removal: Removal) -> None:
        images = removal.images(self._plan.name)
        try:
            self._delete(removal)
        except RefusedError as error:
            # Some of the tags may have been deleted.
            left = [tag for tag in removal.tags if self._has(tag, removal.digest)]
            remaining = dataclasses.replace(removal, tags=tuple(left)).images(self._plan.name)
            self._result.left |= dict.fromkeys(remaining, str(error))
            images = tuple(image for image in images if image not in remaining)
        self._note(images)

    def _delete(self, removal: Removal) -> None:
        """Delete a manifest and its tags.

        Raises:
            RefusedError: The registry refuses to delete it.
        """
        name, refusal = self._plan.name, None
        try:
            self._client.delete_manifest(name, removal.digest)
        except RefusedError as error:
            # Some registries delete a manifest only once its tags are deleted.
            refusal = error
        # Most registries delete the tags with the manifest.
        left = [tag for tag in removal.tags if self._has(tag, removal.digest)]
        for tag in left:
            self._client.delete_tag(name, tag)
        if any(self._has(tag, removal.digest) for tag in left):
            raise refusal or RefusedError(
                f"the registry has deleted {removal.digest} of {name}, but not its tags",
                "check the registry's log, then run prune again",
            )
        if refusal:
            self._client.delete_manifest(name, removal.digest)

    def _remove_tag(self, tag: str, digest: str) -> None:
        """Delete a tag of a manifest that is kept."""
        image = f"{self._plan.name}:{tag}"
        if not self._has(tag, digest):
            self._result.left[image] = "it changed after prune had read it: run prune again"
            return
        try:
            self._client.delete_tag(self._plan.name, tag)
        except RefusedError as error:
            self._result.left[image] = str(error)
            return
        if self._has(tag, digest):
            self._result.tags_left.append(image)
        else:
            self._note((image,))

    def _note(self, images: Iterable[str]) -> None:
        for image in images:
            self._result.deleted.append(image)
            self._on_deleted(image)

    def _has(self, reference: str, digest: str) -> bool:
        stored = self._client.stored_manifest(self._plan.name, reference)
        return stored is not None and stored.digest == digest

    def _require_kept(self, kept: Mapping[str, Manifest | None]) -> None:
        """Restore kept manifests and tags that the registry has deleted.

        Args:
            kept: The manifest of each kept digest and tag, in the order to restore them.

        Raises:
            RegistryError: Some had to be restored, or the registry fails.
        """
        name, lost = self._plan.name, list[str]()
        for reference, manifest in kept.items():
            if manifest and not self._has(reference, manifest.digest):
                self._client.restore(name, reference, manifest)
                lost.append(f"{name}{'@' if is_digest(reference) else ':'}{reference}")
        if lost:
            raise RegistryError(
                f"the registry has also deleted {listed(lost, separator=', ')}, which prune had "
                "to keep and has restored",
                "do not prune this registry again until you know why; check that its garbage "
                "collection does not run at the same time",
            )
