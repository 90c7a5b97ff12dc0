"""How the C library keeps memory: what decides the size of a program of many threads."""

import ctypes

# malloc.h of glibc.
_ARENA_MAX = -8


def use_one_arena() -> None:
    """Let all threads of this process take memory from one arena, where the C library is glibc.

    It would keep one for each thread (mallopt(3), "M_ARENA_MAX"). A push hands large blocks from
    thread to thread; with an arena for each, what is free in one is of no use to the others, and
    the process grows for as long as the push lasts.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_ARENA_MAX, 1)
