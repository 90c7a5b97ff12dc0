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
        items: The items.
        do: The function; called in several threads.
        at_once: The number of threads.
        failed: What the message says after the number of failures.

    Returns:
        The results, in the order of the items.

    Raises:
        AirgapError: The function raised it for some items; see ``join_errors``.
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


def use_one_malloc_arena() -> None:
    """Make all threads of this process allocate from one arena, if the C library is glibc.

    By default it has one arena per thread (mallopt(3), "M_ARENA_MAX"). A push passes large blocks
    between threads; no thread can reuse memory that is free in another arena, so the process would
    grow throughout the push.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_ARENA_MAX, 1)
