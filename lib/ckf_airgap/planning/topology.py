"""What is not in the charms: which applications there are and how they are related.

One table, ``topology.yaml``, serves all releases: it holds what any of them has, and what does not
fit the charms at hand is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

OptionValue = str | int | float | bool


@dataclass(frozen=True)
class TopologyApplication:
    """An application that some release has.

    Attributes:
        name: Its name.
        charm: The charm that it is deployed from.
        options: Options to set; ``{model}`` in a value stands for the model's name.
        constraints: Juju constraints, or None.
    """

    name: str
    charm: str
    options: Mapping[str, OptionValue]
    constraints: str | None


@dataclass(frozen=True)
class Side:
    """One side of a relation: an application and its endpoint."""

    application: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.application}:{self.endpoint}"


Relation = tuple[Side, Side]


@dataclass(frozen=True)
class Topology:
    """The applications and relations of all releases."""

    applications: tuple[TopologyApplication, ...]
    relations: tuple[Relation, ...]


def load_topology() -> Topology:
    """Read the table that comes with this package."""
    text = files("ckf_airgap.planning").joinpath("topology.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return Topology(
        applications=tuple(
            TopologyApplication(
                name,
                details.get("charm", name),
                details.get("options", {}),
                details.get("constraints"),
            )
            for name, details in document["applications"].items()
        ),
        relations=tuple((_side(first), _side(second)) for first, second in document["relations"]),
    )


def _side(text: str) -> Side:
    application, _, endpoint = text.partition(":")
    return Side(application, endpoint)
