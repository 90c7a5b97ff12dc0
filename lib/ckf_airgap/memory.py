"""The memory arenas of the C library, which decide the size of a process with many threads."""

import ctypes

# malloc.h of glibc.
_ARENA_MAX = -8


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
