"""Deploying a few applications at a time."""

from collections.abc import Callable, Collection, Sequence

import pytest

from ckf_airgap.juju.rollout import roll_out

NEVER = float("inf")


class FakeModel:
    """A model whose agents come up some time after their application is deployed.

    Attributes:
        now: The time.
        calls: What was deployed at once, call by call.
        times: When each application was deployed.
    """

    def __init__(self, seconds: Callable[[str], float], deploying: float = 0.0) -> None:
        self.now = 0.0
        self.calls: list[list[str]] = []
        self.times: dict[str, float] = {}
        self.most_starting = 0
        self._seconds = seconds
        self._deploying = deploying

    def deploy(self, applications: Sequence[str]) -> None:
        assert applications
        self.now += self._deploying
        self.calls.append(list(applications))
        self.times |= dict.fromkeys(applications, self.now)
        self.most_starting = max(self.most_starting, len(self.starting()))

    def starting(self) -> frozenset[str]:
        return frozenset(
            name for name, time in self.times.items() if self.now - time < self._seconds(name)
        )

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        assert self.now < 10_000, "it does not end"
        self.now += seconds

    def roll_out(
        self, applications: Sequence[str], *, at_once: int, patience: float = 100.0
    ) -> frozenset[str]:
        return roll_out(
            applications,
            self.deploy,
            self.starting,
            at_once=at_once,
            patience=patience,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    @property
    def deployed(self) -> list[str]:
        return [name for call in self.calls for name in call]


def names(count: int) -> list[str]:
    # The order of the list is not the order of the alphabet.
    return [f"application-{number}" for number in reversed(range(count))]


@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_no_more_than_so_many_are_starting_at_any_time(at_once: int, count: int) -> None:
    model = FakeModel(lambda name: 3.0 + int(name[-1]) * 5.0)
    assert model.roll_out(names(count), at_once=at_once) == frozenset()
    assert model.most_starting == min(at_once, count)


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("seconds", [0.0, 1.0, 11.0])
def test_the_order_is_kept(at_once: int, seconds: float) -> None:
    model = FakeModel(lambda name: seconds * (int(name[-1]) % 3))
    model.roll_out(names(9), at_once=at_once)
    assert model.deployed == names(9)


def test_the_next_one_follows_as_soon_as_one_agent_runs() -> None:
    model = FakeModel(lambda name: {"slow": 50.0}.get(name, 5.0))
    assert model.roll_out(["slow", "a", "b", "c"], at_once=2) == frozenset()
    assert model.calls == [["slow", "a"], ["b"], ["c"]]
    assert model.times["slow"] == model.times["a"] == 0
    assert 5 <= model.times["b"] < 10
    assert 10 <= model.times["c"] < 20


def test_it_returns_when_the_last_agent_runs() -> None:
    model = FakeModel(lambda _: 40.0)
    model.roll_out(["a", "b", "c"], at_once=2)
    assert 80 <= model.now < 90
    assert model.starting() == frozenset()


def test_a_late_one_gives_its_place_up_and_is_told() -> None:
    model = FakeModel(lambda name: NEVER if name == "stuck" else 1.0)
    assert model.roll_out(["stuck", "a", "b"], at_once=1, patience=60.0) == {"stuck"}
    assert model.deployed == ["stuck", "a", "b"]
    assert 60 <= model.times["a"] < 70
    # Those after it do not wait for it once more.
    assert model.times["b"] < 80


def test_a_late_one_at_the_end_is_waited_for_no_longer_than_patience() -> None:
    model = FakeModel(lambda name: NEVER if name == "stuck" else 1.0)
    assert model.roll_out(["a", "b", "stuck"], at_once=3, patience=60.0) == {"stuck"}
    assert 60 <= model.now < 70


def test_all_that_are_late_are_told() -> None:
    model = FakeModel(lambda name: NEVER if int(name[-1]) % 2 else 1.0)
    late = model.roll_out(names(6), at_once=2, patience=30.0)
    assert late == {"application-1", "application-3", "application-5"}
    assert model.deployed == names(6)


def test_one_that_comes_up_within_patience_is_not_late() -> None:
    model = FakeModel(lambda _: 59.0)
    assert model.roll_out(["a", "b"], at_once=1, patience=60.0) == frozenset()


def test_one_whose_agent_runs_when_its_time_is_up_is_not_late() -> None:
    model = FakeModel(lambda _: 60.0)
    assert model.roll_out(["a"], at_once=1, patience=60.0) == frozenset()


def test_patience_begins_after_the_deployment() -> None:
    # Deploying itself takes longer than the patience.
    model = FakeModel(lambda _: 10.0, deploying=100.0)
    assert model.roll_out(["a", "b"], at_once=1, patience=60.0) == frozenset()
    assert model.times == {"a": 100.0, "b": 210.0}


def test_others_that_are_starting_in_the_model_take_no_place() -> None:
    calls: list[list[str]] = []

    def starting() -> Collection[str]:
        return {"stranger", "another"}

    late = roll_out(
        ["a", "b"],
        lambda some: calls.append(list(some)),
        starting,
        at_once=1,
        clock=lambda: 0.0,
        sleep=lambda _: pytest.fail("nothing to wait for"),
    )
    assert (calls, late) == ([["a"], ["b"]], frozenset())


def test_without_anything_to_deploy_it_returns_at_once() -> None:
    def unexpected() -> Collection[str]:
        pytest.fail("nothing was deployed")

    late = roll_out(
        [],
        lambda _: pytest.fail("nothing to deploy"),
        unexpected,
        clock=lambda: 0.0,
        sleep=lambda _: pytest.fail("nothing to wait for"),
    )
    assert late == frozenset()


@pytest.mark.parametrize("at_once", [4, 5, 1000])
def test_with_places_for_all_there_is_one_call(at_once: int) -> None:
    model = FakeModel(lambda _: 20.0)
    model.roll_out(names(4), at_once=at_once)
    assert model.calls == [names(4)]


def test_the_list_that_is_given_is_left_as_it_is() -> None:
    applications = names(5)
    FakeModel(lambda _: 1.0).roll_out(applications, at_once=2)
    assert applications == names(5)
