"""Upgrades walked by the charm on a cluster: in one run of the action, or in several."""

import json
import subprocess
import time
from collections.abc import Callable, Collection
from typing import Any

import jubilant
import pytest

from testbed import Testbed
from tests.integration.faults import Task, kill_pod
from tests.support.documented_upgrade import WORKLOAD, changes_of, words_of_log
from tests.support.operator_steps import APPLICATION, UNIT, Operator

_ENDED = ("completed", "failed", "cancelled", "aborted", "error")
_LOOK_SECONDS = 2
# How long one run may take: only what hangs takes as long.
_RUN_SECONDS = 5400.0


class Upgrade:
    """An upgrade, and what was seen of it from outside.

    Attributes:
        runs: How many runs of the action it took.
        words: The words of the steps that the runs began, in their order.
        failed_units: The units that were seen in error meanwhile, but for the charm's own: Juju
            shows a unit in error while a pod that was deleted in an action is being replaced.
    """

    def __init__(self, operator: Operator, data_loss: Collection[str] = ()) -> None:
        """Prepare; nothing is begun.

        Args:
            operator: Who runs the action.
            data_loss: The applications whose data may be lost.
        """
        self.runs = 0
        self.words: list[str] = []
        self.failed_units: set[str] = set()
        self._operator = operator
        self._parameters = {"allow-data-loss": ",".join(sorted(data_loss))} if data_loss else {}

    @property
    def changes(self) -> list[str]:
        """What was changed, as ``documented`` lists it.

        A run that is killed between a refresh and the options that go with it, which Juju 4 takes
        one after the other, leaves it to the next one to set them.
        """
        return [each for each in changes_of(self.words) if not each.startswith("set ")]

    def run_to_end(self) -> dict[str, Any]:
        """Run the action until it is completed; gives its results."""
        task = self._run(lambda _: False)
        self._read(task)
        assert task.status == "completed", task.document
        return task.document["results"]

    def kill_at(self, words: str, testbed: Testbed) -> None:
        """Run the action, and delete the charm's pod as soon as it begins a step."""
        task = self._run(lambda begun: words in begun)
        self._kill(task, testbed)
        assert words in self.words, task.document
        assert task.status != "completed", task.document

    def kill_at_each_change(self, testbed: Testbed) -> None:
        """Run the action again and again, each run killed at the first change that is new.

        The last one is completed.
        """
        while True:
            before = set(self.changes)
            task = self._run(lambda begun, before=before: bool(set(changes_of(begun)) - before))
            if task.status in _ENDED:
                self._read(task)
                assert task.status == "completed", task.document
                return
            self._kill(task, testbed)

    def _run(self, is_enough: Callable[[list[str]], bool]) -> Task:
        """Run the action until it has ended, or has begun enough steps."""
        task = Task(self._operator, "refresh", **self._parameters)
        self.runs += 1
        deadline = time.monotonic() + _RUN_SECONDS
        while True:
            self._look_for_failures()
            if task.status in _ENDED or is_enough(_begun(task)):
                return task
            assert time.monotonic() < deadline, task.document
            time.sleep(_LOOK_SECONDS)

    def _kill(self, task: Task, testbed: Testbed) -> None:
        kill_pod(self._operator, testbed)
        # It may have begun further steps before its end.
        self._read(task)

    def _read(self, task: Task) -> None:
        self.words += _begun(task)

    def _look_for_failures(self) -> None:
        for application, status in self._operator.juju.status().apps.items():
            self.failed_units |= {
                name
                for name, unit in status.units.items()
                if unit.workload_status.current == "error" and application != APPLICATION
            }


def _begun(task: Task) -> list[str]:
    return words_of_log(map(str, task.document.get("log") or ()))


def refusal(operator: Operator, action: str, **parameters: object) -> str:
    """Run an action that has to fail; gives all that it says."""
    with pytest.raises(jubilant.TaskError) as raised:
        operator.juju.run(UNIT, action, parameters, wait=1800)
    task = raised.value.task
    return "\n".join([task.message, *map(str, task.results.values())])


def require_verified(operator: Operator, seconds: int = 1800) -> None:
    """Wait until all units are active, and let the charm look at everything."""
    report = operator.run("verify", wait=2 * seconds, timeout=seconds).results
    for key in ("not-active", "foreign-images", "failed-pulls", "not-as-planned"):
        assert report[key] == "none", report


def gateway_images(operator: Operator, testbed: Testbed) -> list[str]:
    """List the images of the gateway's Deployment; none where it is not there."""
    words = ["get", "deployments", "--namespace", operator.model, "--output", "json"]
    output = subprocess.run(
        [str(testbed.kubectl_wrapper), *words], check=True, capture_output=True, text=True
    ).stdout
    return [
        container["image"]
        for each in json.loads(output)["items"]
        if each["metadata"]["name"] == WORKLOAD
        for container in each["spec"]["template"]["spec"]["containers"]
    ]
