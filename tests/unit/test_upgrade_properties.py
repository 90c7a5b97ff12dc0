"""Upgrades of charms of any kind to any kind, killed anywhere: one end, by the same commands."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ckf_airgap.upgrades.start_and_target import Permissions, UpgradeTarget
from tests.sample_release import Charm
from tests.unit.upgrade_model import (
    NEW_BASE,
    OLD_BASE,
    KilledError,
    SimulatedModel,
    charm,
    istio_gateway,
    istio_pilot,
    read_charms,
    target_of,
)

# Their roles in a relation with each other; none has a rule of its own but for the backup of mlmd.
ROLES = {
    "mlmd": "provides",
    "envoy": "requires",
    "kfp-metadata-writer": "requires",
    "katib-controller": "",
}


@dataclass(frozen=True)
class Kind:
    """What matters of a charm to an upgrade."""

    podspec: bool
    storage: str | None
    base: str


kinds = st.builds(
    Kind,
    podspec=st.booleans(),
    storage=st.sampled_from([None, "/data", ""]),
    base=st.sampled_from([OLD_BASE, NEW_BASE]),
)


def made(name: str, kind: Kind, version: str, interface: str) -> Charm:
    role = ROLES[name]
    location = {"location": kind.storage} if kind.storage else {}
    return charm(
        name,
        version,
        podspec=kind.podspec,
        storage=None if kind.storage is None else {"type": "filesystem", **location},
        ends={f"{role} grpc": interface} if role else {},
    )


def release(
    chosen: dict[str, Kind], version: str, interface: str, pilot: str, folder: Path
) -> UpgradeTarget:
    charms = [made(name, kind, version, interface) for name, kind in chosen.items()]
    bases = {name: [kind.base] for name, kind in chosen.items()}
    between = [istio_pilot("1.18.7"), istio_pilot("1.19.10")]
    return target_of(
        read_charms([istio_pilot(pilot), istio_gateway(pilot), *charms], folder / "charms", bases),
        read_charms(between, folder / "between"),
    )


chosen_kinds = st.fixed_dictionaries(dict.fromkeys(ROLES, kinds))


@settings(max_examples=40)
@given(
    before=chosen_kinds,
    after=chosen_kinds,
    interfaces=st.tuples(*[st.sampled_from(["grpc", "k8s-service"])] * 2),
    pilot=st.sampled_from(["1.17.3", "1.17.9", "1.18.7", "1.20.6"]),
    killed_at=st.integers(1, 30),
    units=st.integers(1, 3),
)
def test_whatever_changes_the_end_is_the_planned_one(
    before: dict[str, Kind],
    after: dict[str, Kind],
    interfaces: tuple[str, str],
    pilot: str,
    killed_at: int,
    units: int,
) -> None:
    # No charm goes back to podspec: that is refused.
    after = {
        name: Kind(kind.podspec and before[name].podspec, kind.storage, kind.base)
        for name, kind in after.items()
    }
    allowed = Permissions(data_loss=frozenset(ROLES))
    with tempfile.TemporaryDirectory() as name:
        old = release(before, "1.0.0", interfaces[0], "1.17.3", Path(name, "old"))
        new = release(after, "2.0.0", interfaces[1], pilot, Path(name, "new"))

        def upgraded(killed_at: int | None) -> SimulatedModel:
            model = SimulatedModel(old)
            model.applications["envoy"].scale = units
            model.pass_time()
            model.kill_after = killed_at
            try:
                model.upgrade(new, permissions=allowed)
            except KilledError:
                model.kill_after = None
                model.upgrade(new, permissions=allowed)
            return model

        undisturbed, killed = upgraded(None), upgraded(killed_at)
        assert killed.commands == undisturbed.commands
        assert killed.picture() == undisturbed.picture()
        assert killed.upgrade(new).steps == ()
        for item in new.applications.values():
            running = killed.applications[item.name]
            assert (running.target.digest, running.is_active) == (item.digest, True)
            assert running.units
        assert {frozenset(pair) for pair in new.relations} == {
            each.key for each in killed.relations
        }
