"""Manifests as any registry may give them: what they refer to, or one error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.pruning.stored_images import (
    is_below,
    parse_manifest,
    read_repositories,
    read_repository,
)
from ckf_airgap.registry.client import Manifest
from tests.unit.registry_model import Habits, RegistryModel, index_of, manifest_of

DIGEST = f"sha256:{'1' * 64}"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DIGEST),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["digest", "size", "mediaType"]), inner, max_size=3)
    ),
)
KEYS = ["manifests", "layers", "blobs", "config", "subject"]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_document_is_read_or_refused(document: dict[str, object]) -> None:
    content = json.dumps({"schemaVersion": 2, **document}).encode()
    try:
        manifest = parse_manifest(content, "it")
    except ArtifactError:
        return
    for digest in (*manifest.children, manifest.subject, manifest.config, *manifest.blobs):
        assert digest in ("", DIGEST)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"schemaVersion": 1, "fsLayers": []}',
        b'{"schemaVersion": 2, "manifests": [{"digest": "../../../other/manifests/1"}]}',
        b'{"schemaVersion": 2, "manifests": [{"digest": "sha512:1"}]}',
        b'{"schemaVersion": 2, "manifests": [], "manifests": []}',
        b'{"schemaVersion": 2, "manifests": ' + b"[" * 100_000,
        b'{"schemaVersion": 2, "layers": [%s]}' % b",".join([b"{}"] * 2000),
    ],
)
def test_what_is_not_known_leaves_the_repository_alone(content: bytes) -> None:
    registry = RegistryModel()
    registry.put("ckf/a", manifest_of("a"), "1")
    registry.put("ckf/a", Manifest("any", content), "2")
    found = read_repository(registry.client, "ckf/a")
    assert found.problem
    assert found.tags == {}


def test_what_indexes_list_is_read_to_the_end() -> None:
    registry = RegistryModel()
    first, second = manifest_of("a"), manifest_of("b")
    inner = index_of([first])
    outer = index_of([inner, second, manifest_of("not there")])
    for manifest in (first, second, inner):
        registry.put("ckf/a", manifest)
    registry.put("ckf/a", outer, "1")
    found = read_repository(registry.client, "ckf/a")
    assert found.tags == {"1": outer.digest}
    assert found.manifests.keys() == {each.digest for each in (first, second, inner, outer)}


def test_what_is_known_is_read_without_a_list() -> None:
    registry = RegistryModel(Habits(lists_all_tags=False))
    one, child = manifest_of("a"), manifest_of("b")
    index = index_of([child])
    for tag in ("1", "2"):
        registry.put("ckf/a", one, tag)
    for manifest in (child, index):
        registry.put("ckf/a", manifest)
    known = {"ckf/a": {"2", "3", index.digest, manifest_of("not there").digest}}
    (found,) = read_repositories(registry.client, ["ckf/a", "ckf/b"], known, lambda: None)
    assert found.tags == {"1": one.digest, "2": one.digest}
    assert found.manifests.keys() == {each.digest for each in (one, child, index)}


@pytest.mark.parametrize(
    ("prefix", "repository", "expected"),
    [
        ("r:1/ckf", "ckf/a", True),
        ("r:1/ckf", "ckf", False),
        ("r:1/ckf", "ckfother/a", False),
        ("r:1/ckf", "other/ckf/a", False),
        ("r:1/ckf/x", "ckf/a", False),
        ("r:1/ckf/x", "ckf/x/a", True),
        ("r:1", "any/thing", True),
    ],
)
def test_what_is_below_a_prefix(prefix: str, repository: str, expected: bool) -> None:
    assert is_below(repository, RegistryLocation.parse(prefix)) is expected


@pytest.mark.parametrize("size", [-5, True])
def test_a_size_that_is_none_counts_as_nothing(size: object) -> None:
    document = {"schemaVersion": 2, "layers": [{"digest": DIGEST, "size": size}]}
    assert parse_manifest(json.dumps(document).encode(), "it").blobs == {DIGEST: 0}
