"""Carries out a plan, and sees that what stays is still there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ckf_airgap.errors import RegistryError
from ckf_airgap.pruning.prune_plan import PrunePlan, Removal, RepositoryPlan
from ckf_airgap.registry.client import Manifest, RegistryClient
from ckf_airgap.registry.registry_errors import RefusedError


@dataclass
class RemovalResult:
    """What became of a plan.

    Attributes:
        deleted: The tags that were deleted, and the digests without tags, with their repository.
        left: Why the registry has not deleted something, likewise.
        tags_left: The tags of manifests that stay which it cannot delete on their own.
    """

    deleted: list[str] = field(default_factory=list[str])
    left: dict[str, str] = field(default_factory=dict[str, str])
    tags_left: list[str] = field(default_factory=list[str])


def carry_out(
    client: RegistryClient, plan: PrunePlan, on_deleted: Callable[[str], None]
) -> RemovalResult:
    """Delete what a plan says, one after the other, so that an interrupt stops at once.

    Args:
        client: The registry.
        plan: The plan.
        on_deleted: Called with each deleted image, after it was deleted.

    Raises:
        DeletionDisabledError: The registry does not delete anything.
        RegistryError: The registry fails, or has lost something that was to stay.
    """
    result = RemovalResult()
    for repository in plan.repositories:
        if not repository.is_empty:
            _Repository(client, repository, result, on_deleted).carry_out()
    return result


class _Repository:
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
        """Delete what the plan says."""
        name = self._plan.name
        staying = {tag: self._client.stored_manifest(name, tag) for tag in self._plan.staying}
        found = {tag: each.digest for tag, each in staying.items() if each}
        if found != self._plan.staying or self._has_more_tags():
            self._result.left[name] = "its tags have changed since it was read: run it again"
            return
        try:
            for removal in self._plan.removals:
                self._remove(removal)
            for tag, digest in self._plan.shared.items():
                self._remove_tag(tag, digest)
        finally:
            self._require_staying(staying)

    def _has_more_tags(self) -> bool:
        plan = self._plan
        removed = (tag for removal in plan.removals for tag in removal.tags)
        known = {*plan.staying, *plan.shared, *removed}
        new = (tag for tag in self._client.tags(plan.name) if tag not in known)
        # Tags without a manifest are in no plan.
        return any(self._client.stored_manifest(plan.name, tag) for tag in new)

    def _remove(self, removal: Removal) -> None:
        images = removal.images(self._plan.name)
        try:
            self._delete(removal)
        except RefusedError as error:
            self._result.left |= dict.fromkeys(images, str(error))
        else:
            self._note(images)

    def _delete(self, removal: Removal) -> None:
        """Delete a manifest and its tags.

        Raises:
            RefusedError: The registry does not delete it.
        """
        name, refusal = self._plan.name, None
        try:
            self._client.delete_manifest(name, removal.digest)
        except RefusedError as error:
            # Some registries delete a manifest only after its tags.
            refusal = error
        # Most have deleted the tags with it.
        left = [tag for tag in removal.tags if self._has(tag, removal.digest)]
        for tag in left:
            self._client.delete_tag(name, tag)
        if any(self._has(tag, removal.digest) for tag in left):
            raise refusal or RefusedError(
                f"the registry has deleted {removal.digest} of {name} and not its tags",
                "look into the registry's log, then run it again",
            )
        if refusal:
            self._client.delete_manifest(name, removal.digest)

    def _remove_tag(self, tag: str, digest: str) -> None:
        image = f"{self._plan.name}:{tag}"
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

    def _has(self, tag: str, digest: str) -> bool:
        stored = self._client.stored_manifest(self._plan.name, tag)
        return stored is not None and stored.digest == digest

    def _require_staying(self, staying: Mapping[str, Manifest | None]) -> None:
        """Put back what the registry has deleted although it was to stay.

        Raises:
            RegistryError: It has.
        """
        lost: list[str] = []
        for tag, manifest in staying.items():
            if manifest and not self._has(tag, manifest.digest):
                self._client.publish(self._plan.name, tag, [manifest])
                lost.append(f"{self._plan.name}:{tag}")
        if lost:
            raise RegistryError(
                f"the registry has deleted {', '.join(lost)} too, which was to stay and was put "
                "back",
                "do not prune this registry; look whether its garbage collection runs meanwhile",
            )
