"""The walk from one release to the next: the documented sequence, and its rest from any point."""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.errors import AirgapError, JujuError
from ckf_airgap.juju.juju_values import Side
from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.rendering import in_words
from ckf_airgap.upgrades.start_and_target import Permissions, UpgradeTarget
from ckf_airgap.upgrades.walk_steps import Refresh, WaitActive
from tests.unit.upgrade_model import (
    NEW_BASE,
    OLD_BASE,
    WORKLOAD,
    KilledError,
    SimulatedModel,
    charm,
    istio_gateway,
    istio_pilot,
    read_charms,
    target_of,
)

MAY_LOSE = Permissions(data_loss=frozenset({"mlmd"}))
WITH_LOCATION = {"type": "filesystem", "location": "/data"}
LOKI = {"provides logging": "loki"}
WITHOUT_LOCATION = {"type": "filesystem"}
# As the guide from 1.8 to 1.9 has it, with the names of the applications that are here.
DOCUMENTED = [
    "scale istio-ingressgateway 0",
    "refresh istio-pilot 1.18.7",
    "refresh istio-pilot 1.19.10",
    "refresh istio-pilot 1.20.6",
    "refresh istio-pilot 1.21.2",
    "refresh istio-pilot 1.22.0",
    "refresh istio-ingressgateway",
    "scale istio-ingressgateway 1",
    "unrelate mlmd:grpc envoy:grpc",
    "unrelate mlmd:grpc kfp-metadata-writer:grpc",
    "remove mlmd --destroy-storage",
    "deploy mlmd",
    "scale envoy 0",
    "scale katib-controller 0",
    "refresh envoy",
    "refresh katib-controller",
    "scale envoy 1",
    "scale katib-controller 1",
    "refresh dex-auth",
    "refresh kfp-metadata-writer --base ubuntu@24.04",
    "refresh minio",
    "deploy oidc-gatekeeper",
    "integrate dex-auth:oidc-client oidc-gatekeeper:oidc-client",
    "integrate mlmd:grpc envoy:grpc",
    "integrate mlmd:grpc kfp-metadata-writer:grpc",
]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> UpgradeTarget:
    return target_of(
        read_charms(
            [
                istio_pilot("1.17.3"),
                istio_gateway("1.17.3"),
                charm("mlmd", podspec=True, storage=WITH_LOCATION, ends={"provides grpc": "grpc"}),
                charm("envoy", podspec=True, ends={"requires grpc": "grpc"}),
                charm("katib-controller", podspec=True),
                charm("kfp-metadata-writer", ends={"requires grpc": "grpc"}),
                charm("dex-auth", "2.36.0", ends={"provides oidc-client": "oidc-client"}),
                charm("minio", podspec=True, storage=WITH_LOCATION),
            ],
            tmp_path_factory.mktemp("before"),
        )
    )


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> UpgradeTarget:
    versions = ("1.18.7", "1.19.10", "1.20.6", "1.21.2")
    return target_of(
        read_charms(
            [
                istio_pilot("1.22.0"),
                istio_gateway("1.22.0"),
                charm("mlmd", storage=WITHOUT_LOCATION, ends={"provides grpc": "k8s-service"}),
                charm("envoy", ends={"requires grpc": "k8s-service"}),
                charm("katib-controller"),
                charm("kfp-metadata-writer", ends={"requires grpc": "k8s-service"}),
                charm("dex-auth", "2.39.1", ends={"provides oidc-client": "oidc-client"}),
                charm("oidc-gatekeeper", ends={"requires oidc-client": "oidc-client"}),
                charm("minio", "2.0.0", podspec=True, storage=WITH_LOCATION),
            ],
            tmp_path_factory.mktemp("after"),
            {"kfp-metadata-writer": [NEW_BASE], "oidc-gatekeeper": [NEW_BASE]},
        ),
        read_charms(map(istio_pilot, versions), tmp_path_factory.mktemp("between")),
    )


@pytest.fixture(scope="module")
def undisturbed(before: UpgradeTarget, after: UpgradeTarget) -> dict[str, Any]:
    """What counts in the end of an upgrade that nothing interrupts."""
    model = SimulatedModel(before)
    model.upgrade(after, permissions=MAY_LOSE)
    return model.picture()


def test_the_sequence_is_the_documented_one(before: UpgradeTarget, after: UpgradeTarget) -> None:
    model = SimulatedModel(before)
    walk = model.upgrade(after, permissions=MAY_LOSE)
    assert model.commands == DOCUMENTED
    assert (walk.before and walk.before.release, walk.after and walk.after.release) == (
        "1.8",
        "1.9",
    )
    words = [in_words(step) for _, step in walk.steps]
    assert words[:4] == [
        "scale istio-ingressgateway to 0 (it has 1)",
        f"wait until istio-ingressgateway has no unit and the Deployment {WORKLOAD} is gone",
        "refresh istio-pilot from 1.17.3 to 1.18.7",
        "wait until istio-pilot is active at 1.18.7",
    ]
    assert all(item.is_active and item.units for item in model.applications.values())
    assert model.memory is None


def test_at_the_end_nothing_is_left_to_do(before: UpgradeTarget, after: UpgradeTarget) -> None:
    model = SimulatedModel(before)
    model.upgrade(after, permissions=MAY_LOSE)
    assert model.upgrade(after).steps == ()
    assert model.commands == DOCUMENTED


@pytest.mark.parametrize("moment", ["kill_before", "kill_after"])
@pytest.mark.parametrize("number", range(len(DOCUMENTED) + 1))
def test_killed_anywhere_the_next_run_goes_on_there(
    before: UpgradeTarget,
    after: UpgradeTarget,
    undisturbed: dict[str, Any],
    number: int,
    moment: str,
) -> None:
    model = SimulatedModel(before)
    setattr(model, moment, number)
    try:
        model.upgrade(after, permissions=MAY_LOSE)
    except KilledError:
        assert len(model.commands) == number
    setattr(model, moment, None)
    model.upgrade(after, permissions=MAY_LOSE)
    assert model.commands == DOCUMENTED
    assert model.picture() == undisturbed
    assert model.upgrade(after).steps == ()


@pytest.mark.parametrize("moment", ["kill_before", "kill_after"])
@pytest.mark.parametrize("number", range(len(DOCUMENTED) + 12))
def test_a_controller_that_takes_no_options_with_a_refresh_gets_them_after_it(
    before: UpgradeTarget,
    after: UpgradeTarget,
    undisturbed: dict[str, Any],
    number: int,
    moment: str,
) -> None:
    """Also where the pod is killed between the two: without them istio-pilot waits for ever."""
    model = SimulatedModel(before)
    model.refresh_sets_options = False
    setattr(model, moment, number)
    with suppress(KilledError):
        model.upgrade(after, permissions=MAY_LOSE)
    setattr(model, moment, None)
    model.upgrade(after, permissions=MAY_LOSE)
    assert [line for line in model.commands if not line.startswith("config ")] == DOCUMENTED
    assert model.picture() == undisturbed
    assert model.upgrade(after).steps == ()


@pytest.mark.parametrize("number", range(len(DOCUMENTED)))
def test_without_its_memory_it_comes_to_the_same_end(
    before: UpgradeTarget, after: UpgradeTarget, undisturbed: dict[str, Any], number: int
) -> None:
    model = SimulatedModel(before)
    model.kill_before = number
    with pytest.raises(KilledError):
        model.upgrade(after, permissions=MAY_LOSE)
    model.kill_before = model.memory = None
    model.upgrade(after, permissions=MAY_LOSE)
    ends = model.picture(), dict(undisturbed)
    for name in ("istio-ingressgateway", "envoy", "katib-controller"):
        # Whether the operator or the walk has taken its units, nothing tells any more.
        for end in ends:
            end.pop(name)
    assert ends[0] == ends[1]


def test_the_units_come_back_as_many_as_they_were(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    model = SimulatedModel(before)
    model.applications["istio-ingressgateway"].scale = 3
    model.pass_time()
    model.kill_before = 4
    with pytest.raises(KilledError):
        model.upgrade(after, permissions=MAY_LOSE)
    model.kill_before = None
    model.upgrade(after, permissions=MAY_LOSE)
    assert model.applications["istio-ingressgateway"].units == 3


def test_what_the_operator_has_scaled_down_stays_so(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    model = SimulatedModel(before)
    model.applications["dex-auth"].scale = 0
    model.pass_time()
    model.upgrade(after, permissions=MAY_LOSE)
    assert model.applications["dex-auth"].scale == 0


def test_deployments_that_cannot_be_read_are_waited_for(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    """A gateway without units may still have one, from a run that was killed."""
    model = SimulatedModel(before)
    model.applications["istio-ingressgateway"].scale = 0
    model.pass_time()

    def waits(deployments: frozenset[str] | None) -> bool:
        running = dataclasses.replace(model.running(after), deployments=deployments)
        walk = plan_walk(running, after, permissions=MAY_LOSE)
        assert any(isinstance(step, Refresh) for _, step in walk.steps)
        return walk.needs_cluster

    assert not waits(frozenset())
    assert waits(frozenset({WORKLOAD}))
    assert waits(None)


def test_istio_pilot_that_is_not_active_is_waited_for_before_anything(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    model = SimulatedModel(before)
    model.applications["istio-pilot"].problem = "error: hook failed"
    model.pass_time()
    lines: list[str] = []
    walk = plan_walk(model.running(after), after, permissions=MAY_LOSE)
    with pytest.raises(JujuError) as caught:
        model.walker(lines.append).walk(walk)
    assert caught.value.problem.startswith(
        f"step 1 of {len(walk.steps)} (wait until istio-pilot is active at 1.17.3) is not done "
        "after 20 minutes: error: hook failed"
    )
    assert "juju debug-log --include istio-pilot" in caught.value.cure
    assert model.commands == []
    assert lines[-1].startswith(f"step 1 of {len(walk.steps)}, 19 min 55 s: wait until")


def test_a_version_that_does_not_come_up_stops_the_walk(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    model = SimulatedModel(before)
    walk = plan_walk(model.running(after), after, permissions=MAY_LOSE)
    # The charm of 1.19 goes missing from the walk: the stand-in fails as the real one does.
    missing = Version(1, 19, 10)
    jump = [
        (phase, step)
        for phase, step in walk.steps
        if not (isinstance(step, Refresh) and step.target.version == missing)
        and not (isinstance(step, WaitActive) and step.version == missing)
    ]
    jumping = type(walk)(steps=tuple(jump), memory=walk.memory)
    with pytest.raises(JujuError, match=r"active at 1\.20\.6\) is not done.*upgrade-charm"):
        model.walker().walk(jumping)
    assert model.commands[-1] == "refresh istio-pilot 1.20.6"


def test_what_the_operator_has_related_with_a_replaced_application_is_related_again(
    tmp_path: Path,
) -> None:
    ends = {"provides grpc": "k8s-service", "requires logging": "loki"}
    old = [charm("mlmd", "1", storage=WITH_LOCATION, ends=ends), charm("loki", ends=LOKI)]
    new = [charm("mlmd", "2", storage=WITHOUT_LOCATION, ends=ends), charm("loki", ends=LOKI)]
    bundle = "applications: {mlmd: {charm: mlmd}, loki: {charm: loki}}"
    own = (Side("mlmd", "logging"), Side("loki", "logging"))
    model = SimulatedModel(target_of(read_charms(old, tmp_path / "old"), bundle=bundle))
    model.relate(own)
    model.commands.clear()
    target = target_of(read_charms(new, tmp_path / "new"), bundle=bundle)
    model.kill_before = 3
    with pytest.raises(KilledError):
        model.upgrade(target, permissions=MAY_LOSE)
    model.kill_before = None
    model.upgrade(target)
    assert model.commands == [
        "unrelate mlmd:logging loki:logging",
        "remove mlmd --destroy-storage",
        "deploy mlmd",
        "integrate mlmd:logging loki:logging",
    ]


def test_a_model_that_nobody_recorded_goes_the_same_way(
    before: UpgradeTarget, after: UpgradeTarget
) -> None:
    model = SimulatedModel(before)
    model.knows_charms = False
    model.upgrade(after, permissions=MAY_LOSE)
    assert model.commands == DOCUMENTED


@pytest.mark.parametrize(
    ("juju", "problem"),
    [
        ("4.1-beta2", r"kfp-metadata-writer \(on ubuntu@20\.04, its new charm runs on"),
        ("3.4.2", r"1\.9 needs Juju 3\.4\.3 or newer, and this is 3\.4\.2"),
    ],
)
def test_a_juju_that_cannot_is_refused(
    before: UpgradeTarget, after: UpgradeTarget, juju: str, problem: str
) -> None:
    model = SimulatedModel(before, juju)
    with pytest.raises(AirgapError, match=problem):
        model.upgrade(after, permissions=MAY_LOSE)
    assert model.commands == []
    assert OLD_BASE in {item.base for item in model.applications.values()}
