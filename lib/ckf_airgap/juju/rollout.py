"""Deploys many applications, a few at a time.

Juju sends few requests a second to Kubernetes for a model, and every starting application polls
through it: deployed a few at a time, all of them run sooner than deployed at once.
"""

import time
from collections.abc import Callable, Collection, Sequence

AT_ONCE = 2
PATIENCE = 180.0
_POLL_SECONDS = 2.0


def roll_out(
    applications: Sequence[str],
    deploy: Callable[[Sequence[str]], None],
    starting: Callable[[], Collection[str]],
    *,
    at_once: int = AT_ONCE,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> frozenset[str]:
    """Deploy applications so that only a limited number is starting at any time.

    The next ones follow as soon as the agents of earlier ones run. Whether a workload is active
    does not count: it may wait for a relation that comes later.

    Args:
        applications: Their names, in the order in which to deploy them.
        deploy: Deploys some of them.
        starting: Returns the applications of the model without a running agent.
        at_once: How many may be starting at a time; at least one.
        patience: The time in seconds after which an application no longer counts as starting.
        clock: Returns the time in seconds.
        sleep: Sleeps for a number of seconds.

    Returns:
        The applications that had no running agent when their time was up.
    """
    waiting = list(applications)
    since: dict[str, float] = {}
    late: set[str] = set()
    while waiting or since:
        up = set(since).difference(starting()) if since else set[str]()
        overdue = {name for name, start in since.items() if clock() - start >= patience} - up
        late |= overdue
        since = {name: start for name, start in since.items() if name not in up | overdue}
        following = waiting[: max(at_once, 1) - len(since)]
        if following:
            deploy(following)
            waiting = waiting[len(following) :]
            since |= dict.fromkeys(following, clock())
        elif since:
            sleep(_POLL_SECONDS)
    return frozenset(late)
