"""Run a function on many items concurrently, and report all failures together."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ckf_airgap.errors import AirgapError, join_errors

Item = TypeVar("Item")
Result = TypeVar("Result")


def all_of(
    items: Iterable[Item], do: Callable[[Item], Result], *, at_once: int, failed: str
) -> list[Result]:
    """Run a function on each of several items, several at a time.

    Args:
        items: The things.
        do: What to do; called in several threads.
        at_once: How many are done at a time.
        failed: What to say of those that failed, in words that follow their number.

    Returns:
        The results, in the order of the things.

    Raises:
        AirgapError: It failed for some; the message names all of these.
    """
    results: list[Result] = []
    failures: list[AirgapError] = []
    with ThreadPoolExecutor(at_once) as executor:
        for future in [executor.submit(do, item) for item in items]:
            try:
                results.append(future.result())
            except AirgapError as error:
                failures.append(error)
    if failures:
        raise join_errors(sorted(failures, key=str), failed)
    return results
