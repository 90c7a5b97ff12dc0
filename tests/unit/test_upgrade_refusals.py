"""What is refused before anything is changed, each time with a cure."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.errors import AirgapError
from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.start_and_target import Permissions, UpgradeTarget
from ckf_airgap.upgrades.walk_steps import Remove
from tests.sample_release import Charm
from tests.unit.upgrade_model import (
    KilledError,
    SimulatedModel,
    charm,
    istio_gateway,
    istio_pilot,
    read_charms,
    target_of,
)

DATA = {"type": "filesystem", "location": "/data"}
NO_PLACE = {"type": "filesystem"}
KFP = {"1.8": "2.0.5", "1.9": "2.2.0", "1.10": "2.5.0", "1.11": "2.15.0"}


def refusal(
    before: Sequence[Charm],
    after: Sequence[Charm],
    folder: Path,
    *,
    intermediate: Sequence[Charm] = (),
    permissions: Permissions | None = None,
    **changed: Any,
) -> AirgapError:
    """Plan an upgrade that is refused; whatever is refused, nothing has been done."""
    model = SimulatedModel(target_of(read_charms(before, folder / "before")))
    for name, value in changed.items():
        setattr(model, name, value)
    target = target_of(
        read_charms(after, folder / "after"), read_charms(intermediate, folder / "intermediate")
    )
    with pytest.raises(AirgapError) as caught:
        model.upgrade(target, permissions=permissions)
    assert model.commands == []
    assert model.memory is None
    assert caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "1.8",
            "1.10",
            "runs Charmed Kubeflow 1.8, and the archive is of 1.10: .* upgrade to 1.9",
        ),
        ("1.8", "1.11", "upgrade to 1.9 first"),
        ("1.10", "1.9", "and the archive is of 1.9: charms cannot be downgraded"),
    ],
)
def test_a_jump_over_a_release_and_a_step_back(
    before: str, after: str, words: str, tmp_path: Path
) -> None:
    error = refusal([charm("kfp-api", KFP[before])], [charm("kfp-api", KFP[after])], tmp_path)
    assert re.search(words, str(error))


def test_a_release_that_was_left_in_the_middle_is_finished_first(tmp_path: Path) -> None:
    """Istio is at 1.9 already, the pipelines are not: that is still an upgrade from 1.8."""
    error = refusal(
        [istio_pilot("1.22.0"), charm("kfp-api", KFP["1.8"])],
        [istio_pilot("1.24.2"), charm("kfp-api", KFP["1.10"])],
        tmp_path,
        intermediate=[istio_pilot("1.23.4")],
    )
    assert "the model runs Charmed Kubeflow 1.8" in error.problem


@pytest.mark.parametrize(
    ("held", "lacking"),
    [((), "1.18, 1.19"), (("1.18.7",), "1.19"), (("1.17.9", "1.19.10"), "1.18")],
)
def test_a_version_in_between_that_the_archive_lacks(
    held: Sequence[str], lacking: str, tmp_path: Path
) -> None:
    error = refusal(
        [istio_pilot("1.17.3")],
        [istio_pilot("1.20.6")],
        tmp_path,
        intermediate=[istio_pilot(version) for version in held],
    )
    assert error.problem.endswith(f"charms.tar.gz lacks istio-pilot {lacking}")
    first = lacking.partition(",")[0]
    assert f"juju download istio-pilot --channel {first}/stable" in error.cure


@pytest.mark.parametrize(("before", "after"), [("1.22.0", "1.21.2"), ("1.22.0", "2.0.0")])
def test_istio_goes_neither_back_nor_to_another_major_version(
    before: str, after: str, tmp_path: Path
) -> None:
    error = refusal([istio_pilot(before)], [istio_pilot(after)], tmp_path)
    assert f"istio-pilot runs {before}, and the archive has {after}" in error.problem


def test_a_version_that_nothing_tells(tmp_path: Path) -> None:
    error = refusal([charm("istio-pilot", "latest")], [istio_pilot("1.22.0")], tmp_path)
    assert "the running charm does not report its version" in error.problem


def test_storage_is_destroyed_with_the_operators_word_alone(tmp_path: Path) -> None:
    before = [charm("mlmd", "1.14.0", podspec=True, storage=DATA), charm("minio", storage=DATA)]
    after = [charm("mlmd", "1.14.1", storage=NO_PLACE), charm("minio", storage=NO_PLACE)]
    error = refusal(before, after, tmp_path)
    assert error.problem.startswith("minio, mlmd must be removed with its storage")
    assert error.cure.endswith("allow-data-loss=minio,mlmd")
    allowed = Permissions(data_loss=frozenset({"mlmd"}))
    error = refusal(before, after, tmp_path, permissions=allowed)
    assert error.cure.endswith("allow-data-loss=minio")


def test_storage_of_an_unknown_charm_counts_as_lost(tmp_path: Path) -> None:
    error = refusal(
        [charm("minio", podspec=True, storage=DATA)],
        [charm("minio", storage=NO_PLACE)],
        tmp_path,
        knows_charms=False,
    )
    assert "loses its data" in error.problem


def test_what_has_no_storage_is_replaced_without_a_word(tmp_path: Path) -> None:
    before = charm("dex-auth", podspec=True, details={"deployment": {"type": "stateless"}})
    model = SimulatedModel(target_of(read_charms([before], tmp_path / "before")))
    model.upgrade(target_of(read_charms([charm("dex-auth")], tmp_path / "after")))
    assert model.commands == ["remove dex-auth", "deploy dex-auth"]


def test_another_charm_under_the_same_name_is_deployed_in_its_place(tmp_path: Path) -> None:
    bundle = "applications: {kfp-db: {charm: NAME}}"

    def target(name: str) -> UpgradeTarget:
        charms = read_charms([charm(name, storage=DATA)], tmp_path / name)
        return target_of(charms, bundle=bundle.replace("NAME", name))

    model = SimulatedModel(target("mariadb-k8s"))
    with pytest.raises(AirgapError, match="it cannot be refreshed to the charm mysql-k8s"):
        model.upgrade(target("mysql-k8s"))
    model.upgrade(target("mysql-k8s"), permissions=Permissions(data_loss=frozenset({"kfp-db"})))
    assert model.commands == ["remove kfp-db --destroy-storage", "deploy kfp-db"]


def test_a_sidecar_charm_does_not_become_a_podspec_charm(tmp_path: Path) -> None:
    error = refusal([charm("envoy")], [charm("envoy", podspec=True)], tmp_path)
    assert "back from a sidecar charm to a podspec charm" in error.problem


def test_a_kubernetes_that_is_too_old(tmp_path: Path) -> None:
    error = refusal(
        [charm("kfp-api", KFP["1.10"])],
        [charm("kfp-api", KFP["1.11"])],
        tmp_path,
        kubernetes=Version(1, 31, 4),
    )
    assert "needs Kubernetes 1.32 or newer, and the oldest node has 1.31.4" in error.problem


def test_within_a_release_the_needs_of_a_release_do_not_count(tmp_path: Path) -> None:
    model = SimulatedModel(
        target_of(read_charms([charm("kfp-api", "2.15.0")], tmp_path / "before")), "3.4.0"
    )
    model.upgrade(target_of(read_charms([charm("kfp-api", "2.15.1")], tmp_path / "after")))
    assert model.commands == ["refresh kfp-api"]


def test_all_reasons_are_named_at_once(tmp_path: Path) -> None:
    error = refusal(
        [istio_pilot("1.17.3"), charm("mlmd", podspec=True, storage=DATA)],
        [istio_pilot("1.28.0"), charm("mlmd", storage=NO_PLACE)],
        tmp_path,
        juju="3.5.0",
    )
    assert error.problem.startswith("4 reasons why this upgrade is not possible: ")
    for part in (
        "upgrade goes only from one",
        "needs Juju 3.6.0",
        "lacks istio-pilot",
        "loses its",
    ):
        assert part in error.problem


def sidecar_mesh() -> list[Charm]:
    return [
        istio_pilot("1.28.0"),
        istio_gateway("1.28.0"),
        charm("knative-serving"),
        charm("knative-operator"),
        charm("kfp-api", KFP["1.11"]),
    ]


def ambient_mesh() -> list[Charm]:
    return [
        charm("istio-k8s", "1.29.0"),
        charm("istio-beacon-k8s"),
        charm("istio-ingress-k8s"),
        charm("kfp-api", "2.15.1"),
    ]


def test_another_mesh_only_where_it_is_asked_for_by_name(tmp_path: Path) -> None:
    error = refusal(sidecar_mesh(), ambient_mesh(), tmp_path)
    assert (
        "has the ambient mesh, and moving to it removes istio-ingressgateway, istio-pilot, "
        "knative-serving, knative-operator"
    ) in error.problem
    assert "to-mesh=ambient" in error.cure


def test_the_way_to_another_mesh(tmp_path: Path) -> None:
    before = target_of(read_charms(sidecar_mesh(), tmp_path / "before"))
    after = target_of(read_charms(ambient_mesh(), tmp_path / "after"))
    documented = [
        "unrelate istio-pilot:istio-pilot istio-ingressgateway:istio-pilot",
        "remove istio-ingressgateway",
        "remove istio-pilot",
        "remove knative-serving",
        "remove knative-operator",
        "deploy istio-k8s istio-beacon-k8s",
        "deploy istio-ingress-k8s",
        "refresh kfp-api",
    ]
    asked = Permissions(to_mesh="ambient")
    model = SimulatedModel(before)
    walk = plan_walk(model.running(after), after, permissions=asked)
    assert sum(isinstance(step, Remove) for _, step in walk.steps) == 4
    model.upgrade(after, permissions=asked)
    assert model.commands == documented


@pytest.mark.parametrize("number", range(1, 9))
def test_the_way_to_another_mesh_goes_on_where_it_was_killed(number: int, tmp_path: Path) -> None:
    after = target_of(read_charms(ambient_mesh(), tmp_path / "after"))
    asked = Permissions(to_mesh="ambient")
    model = SimulatedModel(target_of(read_charms(sidecar_mesh(), tmp_path / "before")))
    model.kill_after = number
    with pytest.raises(KilledError):
        model.upgrade(after, permissions=asked)
    model.kill_after = None
    model.upgrade(after, permissions=asked)
    assert sorted(model.applications) == sorted(after.applications)
    assert model.upgrade(after).steps == ()
    removed = [command for command in model.commands if command.startswith("remove ")]
    assert len(removed) == 4


def test_the_way_to_another_mesh_begins_at_its_release(tmp_path: Path) -> None:
    before = [istio_pilot("1.24.2"), charm("kfp-api", KFP["1.10"])]
    error = refusal(before, ambient_mesh(), tmp_path, permissions=Permissions(to_mesh="ambient"))
    assert "requires Charmed Kubeflow 1.11, and the model runs 1.10" in error.problem


def test_no_way_leads_back_to_the_other_mesh(tmp_path: Path) -> None:
    error = refusal(ambient_mesh(), sidecar_mesh(), tmp_path)
    assert "the model has the ambient mesh (istio-k8s)" in error.problem
