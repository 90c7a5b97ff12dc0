"""Several requests at the same time: their order, their errors, and an interrupt."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ckf_airgap.registry import concurrent_requests as module
from ckf_airgap.registry.concurrent_requests import concurrent_requests

_LONG = 60.0
_MANY = range(100)


def test_results_come_in_order() -> None:
    has_begun_all = threading.Event()

    def call(number: int) -> int:
        if number == _MANY[-1]:
            has_begun_all.set()
        # The first one ends after almost all others.
        assert number or has_begun_all.wait(_LONG)
        return number

    with concurrent_requests() as map_requests:
        assert list(map_requests(call, _MANY)) == list(_MANY)


def test_an_error_of_a_call_is_raised() -> None:
    def call(number: int) -> int:
        return 1 // number

    with pytest.raises(ZeroDivisionError), concurrent_requests() as map_requests:
        list(map_requests(call, [1, 0]))


def test_an_interrupt_drops_the_calls_that_have_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    is_ending = threading.Event()

    class Executor(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            is_ending.set()
            super().shutdown(wait=wait)

    def call(number: int) -> None:
        begun.append(number)
        assert is_ending.wait(_LONG)

    monkeypatch.setattr(module, "ThreadPoolExecutor", Executor)
    with pytest.raises(KeyboardInterrupt), concurrent_requests() as map_requests:
        map_requests(call, _MANY)
        raise KeyboardInterrupt
    assert len(begun) < len(_MANY)
