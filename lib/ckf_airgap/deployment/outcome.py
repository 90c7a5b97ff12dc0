"""What a deployment or a refresh has done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a deployment or a refresh has done.

    Attributes:
        changes: What was changed in the model, in words; empty where all was there.
        outdated: The applications that still run other charms or images than planned.
    """

    changes: tuple[str, ...]
    outdated: tuple[str, ...] = ()
