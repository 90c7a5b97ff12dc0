"""The parts of a model as values: applications, charms, options and relations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OptionValue = str | int | float | bool


@dataclass(frozen=True)
class Side:
    """One side of a relation: an application and its endpoint.

    In a topology the endpoint may be empty: it is the only endpoint that fits the other side.
    """

    application: str
    endpoint: str

    @classmethod
    def parse(cls, text: str) -> "Side":
        """Read ``application:endpoint`` or ``application``."""
        application, _, endpoint = text.partition(":")
        return cls(application, endpoint)

    def __str__(self) -> str:
        return f"{self.application}:{self.endpoint}" if self.endpoint else self.application


Relation = tuple[Side, Side]


@dataclass(frozen=True)
class DeployedCharm:
    """The charm that an application runs.

    Attributes:
        name: The charm's name.
        revision: Its revision; for a local charm Juju assigns it, unique within a model.
    """

    name: str
    revision: int


@dataclass(frozen=True, kw_only=True)
class LocalApplication:
    """A planned application with a charm from a file.

    Attributes:
        name: The application's name.
        file: The ``.charm`` file.
        base: The base to deploy it on, for example ``ubuntu@24.04``; None for the charm's.
        resources: For each oci-image resource, the image reference, or the path of a file with
            the reference and the account to pull with.
        options: The options to set.
        constraints: Juju constraints, for example ``mem=2G cores=2``, or None.
        scale: The number of units.
        trust: Whether it gets access to the cluster (``juju deploy --trust``).
        storage: Storage constraints by storage name, or None.
    """

    name: str
    file: Path
    base: str | None = None
    resources: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    constraints: str | None = None
    scale: int = 1
    trust: bool = True
    storage: Mapping[str, str] | None = None
