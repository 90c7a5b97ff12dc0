"""``prune`` deletes what its plan lists and nothing else, whatever the registry does."""

from collections.abc import Mapping

import pytest

from ckf_airgap.errors import RegistryError
from ckf_airgap.pruning.prune_plan import PrunePlan, UsedImages, make_plan
from ckf_airgap.pruning.removal import carry_out
from ckf_airgap.pruning.stored_images import read_repositories
from ckf_airgap.registry.registry_errors import RefusedError
from tests.unit.registry_model import Habits, RegistryModel, index_of, manifest_of

ONE, OTHER = manifest_of("one"), manifest_of("other")


def planned(registry: RegistryModel, kept: Mapping[str, set[str]]) -> PrunePlan:
    repositories = read_repositories(registry.client, kept.keys(), kept, lambda: None)
    return make_plan(repositories, kept, UsedImages())


@pytest.mark.parametrize("depth", [1, 2])
def test_what_a_kept_index_lists_is_restored(depth: int) -> None:
    """A registry deletes the manifest of a tag, which an index with another tag lists."""
    registry = RegistryModel(Habits(loses_manifests=True))
    index = ONE
    registry.put("ckf/a", ONE, "1-amd64")
    for _ in range(depth):
        index = index_of([index])
        registry.put("ckf/a", index)
    registry.put("ckf/a", index, "1")
    before = registry.manifests["ckf/a"].copy()
    plan = planned(registry, {"ckf/a": {"1"}})
    with pytest.raises(RegistryError, match=f"also deleted ckf/a@{ONE.digest}, which .* restored"):
        carry_out(registry.client, plan, lambda _: None)
    assert registry.manifests["ckf/a"] == before
    assert registry.tags_of["ckf/a"] == {"1": index.digest}


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "deleted"])
def test_a_tag_that_changed_after_the_plan_is_left(moved: bool) -> None:
    registry = RegistryModel()
    for tag in ("old", "kept"):
        registry.put("ckf/a", ONE, tag)
    plan = planned(registry, {"ckf/a": {"kept"}})
    if moved:
        registry.put("ckf/a", OTHER, "old")
    else:
        del registry.tags_of["ckf/a"]["old"]
    result = carry_out(registry.client, plan, lambda _: None)
    assert result.deleted == []
    assert "run prune again" in result.left["ckf/a:old"]
    assert registry.deletions == []


def test_a_manifest_that_was_lost_after_the_plan_leaves_its_repository_alone() -> None:
    registry = RegistryModel()
    registry.put("ckf/a", ONE)
    registry.put("ckf/a", index_of([ONE]), "kept")
    registry.put("ckf/a", OTHER, "old")
    plan = planned(registry, {"ckf/a": {"kept"}})
    del registry.manifests["ckf/a"][ONE.digest]
    result = carry_out(registry.client, plan, lambda _: None)
    assert (result.deleted, result.left.keys()) == ([], {"ckf/a"})
    assert registry.deletions == []


class _Protecting(RegistryModel):
    """A registry that refuses to delete manifests, and some tags."""

    protected: tuple[str, ...] = ()

    def delete_manifest(self, repository: str, digest: str) -> None:
        raise RefusedError("it is protected", "ask its owner")

    def delete_tag(self, repository: str, tag: str) -> bool:
        if tag in self.protected:
            raise RefusedError("it is protected", "ask its owner")
        return super().delete_tag(repository, tag)


@pytest.mark.parametrize(("protected", "left"), [(("3",), "ckf/a:3"), ((), f"ckf/a@{ONE.digest}")])
def test_what_is_deleted_before_a_refusal_is_not_left(
    protected: tuple[str, ...], left: str
) -> None:
    registry = _Protecting()
    registry.protected = protected
    for tag in ("1", "2", "3"):
        registry.put("ckf/a", ONE, tag)
    plan = planned(registry, {"ckf/a": set()})
    told: list[str] = []
    result = carry_out(registry.client, plan, told.append)
    deleted = [f"ckf/a:{tag}" for tag in ("1", "2", "3") if tag not in protected]
    assert result.deleted == told == deleted
    assert result.left.keys() == {left}
    assert "it is protected" in result.left[left]
    assert tuple(registry.tags_of["ckf/a"]) == protected
