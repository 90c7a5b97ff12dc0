"""Makes several requests to a registry at the same time."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

_AT_ONCE = 8

Result = TypeVar("Result")


class RequestMap(Protocol):
    """Like the built-in function ``map``, but makes the calls in several threads."""

    def __call__(self, do: Callable[..., Result], /, *items: Iterable[Any]) -> Iterator[Result]:
        """Call a function for each item; the results come in the order of the items."""
        ...


@contextmanager
def concurrent_requests() -> Generator[RequestMap]:
    """Make calls in several threads; on exit, also after an interrupt, drop those not yet begun.

    Yields:
        The function that makes them.
    """
    executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="request")
    try:
        yield executor.map
    finally:
        executor.shutdown(cancel_futures=True)
