"""Work in several threads: on many items concurrently, and in one memory arena."""

import ctypes
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ckf_airgap.errors import AirgapError, join_errors

# malloc.h of glibc.
_ARENA_MAX = -8

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_concurrently(
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


def use_one_arena() -> None:
    """Make all threads of this process allocate from one arena, if the C library is glibc.

    It would keep one for each thread (mallopt(3), "M_ARENA_MAX"). A push hands large blocks from
    thread to thread; with an arena for each, what is free in one is of no use to the others, and
    the process grows for as long as the push lasts.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_ARENA_MAX, 1)
