"""Versions, what no refresh changes, and the table of what no charm says."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.charms.charm_version import Version, version_of
from ckf_airgap.charms.fixed_declarations import digest_of_fixed
from ckf_airgap.planning.topology import load_topology
from ckf_airgap.upgrades.rules import load_rules
from tests.sample_release import Charm
from tests.unit.upgrade_model import charm, istio_gateway, istio_pilot, read_charms

STORAGE = {"type": "filesystem", "location": "/data", "minimum-size": "10G"}


def digest(**storage: Any) -> str:
    return digest_of_fixed({"storage": {"data": {**STORAGE, **storage}}})


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.22.0", Version(1, 22)),
        ("v3.4.17-a0b1c2d", Version(3, 4, 17)),
        ("ckf-1.10-b40ac43", Version(1, 10)),
        ("docker.io-1.2", Version(1, 2)),
        ("RELEASE.2021-09-03T03-56-13Z", None),
        ("latest", None),
        ("9" * 100 + "." + "9" * 100, None),
        ("", None),
    ],
)
def test_a_version_in_a_tag(tag: str, version: Version | None) -> None:
    assert Version.find(tag) == version


@given(st.text())
def test_any_text_has_a_version_or_none(text: str) -> None:
    found = Version.find(text)
    assert found is None or Version.find(str(found)) == found


@pytest.mark.parametrize(
    ("made", "version"),
    [
        (istio_pilot("1.17.3"), Version(1, 17, 3)),
        (istio_gateway("1.28.0"), Version(1, 28, 0)),
        (charm("kfp-api", "2.0.5"), Version(2, 0, 5)),
        (charm("mysql-k8s", "latest"), None),
    ],
)
def test_the_version_of_a_charm(made: Charm, version: Version | None, tmp_path: Path) -> None:
    assert version_of(read_charms([made], tmp_path)[0]) == version


@pytest.mark.parametrize(
    "changed",
    [
        {"location": None},
        {"location": "/other"},
        {"type": "block"},
        {"minimum-size": "20G"},
        {"shared": "true"},
        {"read-only": "yes"},
        {"multiple": {"range": "2"}},
        {"description": "what it is for"},
        {"properties": ["transient"]},
    ],
)
def test_any_difference_in_storage_counts(changed: dict[str, Any]) -> None:
    assert digest(**changed) != digest()


@pytest.mark.parametrize(
    "same",
    [
        {"minimum-size": "10240M"},
        {"minimum-size": "10GiB"},
        {"shared": "false", "read-only": "false"},
        {"multiple": {"range": "1"}},
        {"description": ""},
        {"unknown": "key"},
    ],
)
def test_what_juju_reads_alike_is_the_same(same: dict[str, Any]) -> None:
    assert digest(**same) == digest()


def test_deployment_and_devices_count_as_well() -> None:
    several = {
        digest_of_fixed({}),
        digest(),
        digest_of_fixed({"deployment": {"type": "stateful"}}),
        digest_of_fixed({"deployment": {"type": "stateless"}}),
        digest_of_fixed({"devices": {"gpu": {"type": "nvidia.com/gpu"}}}),
    }
    assert len(several) == 5
    assert digest_of_fixed({"storage": {}}) == digest_of_fixed({}) == ""


@given(
    st.recursive(
        st.none() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_metadata_of_any_shape_is_read(document: Any) -> None:
    for key in ("storage", "deployment", "devices"):
        digest_of_fixed({key: document})
        digest_of_fixed({key: {"x": document}})


def test_the_rules_name_charms_that_there_are_and_their_sources() -> None:
    rules = load_rules()
    known = {item.charm for item in load_topology().applications}
    named = {charm for each in rules.releases for charm in each.versions}
    named |= {each.charm for each in (*rules.minors, *rules.backups)}
    named |= {charm for each in rules.minors for charm in each.without_units}
    named |= {*rules.mesh.removed, *rules.mesh.deployed}
    assert named <= known
    sources = [each.source for each in (*rules.releases, *rules.minors, *rules.backups)]
    assert all([*sources, rules.mesh.source])
    for first, second in pairwise(rules.releases):
        assert first.juju <= second.juju
        assert first.kubernetes <= second.kubernetes
        for name in set(first.versions) & set(second.versions):
            assert first.versions[name] < second.versions[name]


@given(st.integers(0, 40), st.integers(0, 40))
def test_between_two_versions_there_are_all_minor_ones(first: int, last: int) -> None:
    rule = load_rules().minors[0]
    between = list(rule.between(Version(1, first, 9), Version(1, last, 1)))
    assert between == [(1, minor) for minor in range(first + 1, last)]
