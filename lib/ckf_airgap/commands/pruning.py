"""The output of ``ckf-airgap prune``: the plan and its result."""

from collections.abc import Iterable, Iterator
from typing import Any

from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.pruning.prune_plan import PrunePlan
from ckf_airgap.pruning.removal import RemovalResult

_FREED = "the garbage collection of the registry frees at most"
_TAGS_LEFT = (
    "TAGS NOT DELETED: a kept image has the same manifest, so they take no space, and this "
    "registry cannot delete a tag alone"
)


def prune_document(
    plan: PrunePlan, location: RegistryLocation, result: RemovalResult | None = None
) -> dict[str, Any]:
    """Return the output as a document.

    Args:
        plan: The plan.
        location: The registry prefix.
        result: The result; None if the plan was not carried out.
    """
    host = location.host
    document: dict[str, Any] = {
        "registry": str(location),
        "staying_tags": sum(len(repository.staying) for repository in plan.repositories),
        "in_use": _in_use(plan, host),
        "to_delete": [
            f"{host}/{image}" for repository in plan.repositories for image in repository.images
        ],
        "only_tags": [f"{host}/{image}" for image in _shared(plan)],
        "not_read": {f"{host}/{name}": str(error) for name, error in plan.unknown.items()},
        "freed_bytes": plan.freed_bytes,
    }
    if result:
        document["deleted"] = [f"{host}/{image}" for image in result.deleted]
        document["left"] = {f"{host}/{image}": why for image, why in result.left.items()}
        document["tags_left"] = [f"{host}/{image}" for image in result.tags_left]
    return document


def prune_text(
    plan: PrunePlan, location: RegistryLocation, result: RemovalResult | None = None
) -> str:
    """Return the output as text.

    Args:
        plan: The plan.
        location: The registry prefix.
        result: The result; None if the plan was not carried out.
    """
    document = prune_document(plan, location, result)
    shared = set(document["only_tags"])
    parts = [
        _section(
            "KEPT: in use by the cluster, but in no kept archive", _reasons(document["in_use"])
        ),
        _section("KEPT: could not be read", _reasons(document["not_read"])),
    ]
    if result is None:
        listed = (
            f"{image} (only the tag)" if image in shared else image
            for image in document["to_delete"]
        )
        parts.append(_section("TO DELETE", listed))
    else:
        parts.append(_section("DELETED", document["deleted"]))
        parts.append(_section("NOT DELETED", _reasons(document["left"])))
        parts.append(_section(_TAGS_LEFT, document["tags_left"]))
    parts.append(_total_line(document))
    return "\n".join(filter(None, parts))


def _in_use(plan: PrunePlan, host: str) -> dict[str, str]:
    return {
        f"{host}/{repository.name}:{tag}": user
        for repository in plan.repositories
        for tag, user in repository.in_use.items()
    }


def _shared(plan: PrunePlan) -> Iterator[str]:
    for repository in plan.repositories:
        yield from (f"{repository.name}:{tag}" for tag in repository.shared)


def _reasons(reasons: dict[str, str]) -> Iterable[str]:
    return (f"{image}: {reason}" for image, reason in reasons.items())


def _section(title: str, lines: Iterable[str]) -> str:
    text = "".join(f"  {line}\n" for line in lines)
    return f"{title}\n{text}" if text else ""


def _total_line(document: dict[str, Any]) -> str:
    prefix, staying = document["registry"], document["staying_tags"]
    if not document["to_delete"]:
        return f"{prefix}: nothing to delete, {staying} tags kept\n"
    freed = f"{_FREED} {document['freed_bytes'] / 1e9:.2f} GB"
    if "deleted" in document:
        return f"{prefix}: {len(document['deleted'])} deleted, {staying} tags kept; {freed}\n"
    count = len(document["to_delete"])
    return f"{prefix}: {count} to delete with --yes, {staying} tags kept; {freed}\n"
