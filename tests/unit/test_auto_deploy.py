"""Deployment without being asked."""

import dataclasses
import errno

import ops
import pytest

from ckf_airgap.errors import RegistryError
from tests.unit.charm_unit import (
    MISSING,
    PLAN,
    FakeCore,
    FakeJujuModel,
    Unit,
)


class TestAutoDeploy:
    @pytest.fixture(autouse=True)
    def _auto(self, unit: Unit) -> None:
        unit.configure(auto_deploy=True)

    def test_it_waits_until_all_is_given(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        unit.paths["charms"].write_bytes(b"")
        assert "waiting for the resource charms" in unit.status().message
        assert core.calls == []

    def test_it_deploys_once(self, unit: Unit, core: FakeCore, model: FakeJujuModel) -> None:
        assert unit.status() == ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")
        assert core.calls == ["check_registry", "push", "plan", "refresh"]
        unit.status()
        assert len(core.calls) == 4

    def test_only_the_leader_deploys(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        unit.state = dataclasses.replace(unit.state, leader=False)
        unit.status()
        assert core.calls == []

    def test_it_deploys_again_when_an_input_changes(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        unit.status()
        unit.configure(overlay="applications: {kfp-api: {scale: 2}}")
        unit.status()
        assert len(core.calls) == 8

    def test_a_failure_that_may_pass_is_shown_and_tried_again(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        core.failures = {"push": RegistryError("it broke", "fix it")}
        assert unit.status() == ops.BlockedStatus("it broke: fix it")
        core.failures = {}
        assert unit.status() == ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")

    def test_a_full_disk_is_shown_and_tried_again(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        core.failures = {"push": OSError(errno.ENOSPC, "No space left on device")}
        status = unit.status()
        assert isinstance(status, ops.BlockedStatus)
        assert "the unit's disk cannot be written (No space left on device)" in status.message
        core.failures = {}
        assert unit.status() == ops.ActiveStatus("deployed: juju run ckf-airgap/0 verify")

    def test_a_failure_of_the_inputs_is_not_tried_again_with_the_same_ones(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        core.plan_ = dataclasses.replace(PLAN, missing=(MISSING,))
        assert "lacks 1 images" in unit.status().message
        calls = len(core.calls)
        assert "lacks 1 images" in unit.status().message
        assert len(core.calls) == calls


def test_nothing_is_deployed_by_itself_unless_wanted(
    unit: Unit, core: FakeCore, model: FakeJujuModel
) -> None:
    unit.status()
    assert core.calls == []
