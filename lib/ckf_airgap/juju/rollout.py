"""Deploys many applications, a few at a time.

Juju sends only a few requests per second to Kubernetes for each model, and every starting
application polls through Juju. So all applications run sooner if a few are deployed at a time than
if all are deployed at once.
"""

import time
from collections.abc import Callable, Collection, Sequence

AT_ONCE = 2
"""The default number of applications that may be starting at a time."""
PATIENCE = 180.0
"""The default time in seconds after which an application no longer counts as starting."""
NO_AGENT = f"continuing; no agent runs after {PATIENCE:.0f} s"
"""The start of the message about the applications that ``roll_out`` returns."""
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
        running = set(since).difference(starting()) if since else set[str]()
        overdue = {name for name, start in since.items() if clock() - start >= patience} - running
        late |= overdue
        since = {name: start for name, start in since.items() if name not in running | overdue}
        following = waiting[: max(at_once, 1) - len(since)]
        if following:
            deploy(following)
            waiting = waiting[len(following) :]
            since |= dict.fromkeys(following, clock())
        elif since:
            sleep(_POLL_SECONDS)
    return frozenset(late)
