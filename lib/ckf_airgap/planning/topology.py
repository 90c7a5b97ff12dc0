"""What is not in the charms: which applications there are and how they are related.

One table, ``topology.yaml``, serves all releases: it holds what any of them has, and what does not
fit the charms at hand is left out. An operator's own bundle takes its place, an overlay changes
either: see ``operator_bundle.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

OptionValue = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class TopologyApplication:
    """An application, as far as its charm does not tell.

    Attributes:
        name: Its name.
        charm: The charm that it is deployed from.
        is_expected: Whether a deployment without it is incomplete.
        expected_by: What shows that it is expected, in words.
        options: Options to set; ``{model}`` in a value stands for the model's name where
            ``is_template``. What the plan finds out about images goes before them.
        options_without: Options for charms that lack an endpoint: endpoint -> options.
        is_template: Whether ``{model}`` in a value stands for the model's name.
        constraints: Juju constraints, or None.
        base: The base to deploy it on where its charm has several, or None.
        scale: The number of units.
        trust: Whether it may use the cluster.
        settings: Further keys of the application in a bundle, which are passed on.
        own_resources: Images that the operator demands: resource -> reference.
        own_options: Options that the operator demands: these go before everything else.
    """

    name: str
    charm: str
    is_expected: bool = True
    expected_by: str = "every release has it"
    options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    options_without: Mapping[str, Mapping[str, OptionValue]] = field(
        default_factory=dict[str, Mapping[str, OptionValue]]
    )
    is_template: bool = False
    constraints: str | None = None
    base: str | None = None
    scale: int = 1
    trust: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    own_resources: Mapping[str, str] = field(default_factory=dict[str, str])
    own_options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])


@dataclass(frozen=True)
class Side:
    """One side of a relation: an application and its endpoint.

    The endpoint may be empty in a topology: then the only one that fits the other side is meant.
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
class Topology:
    """Applications and relations.

    Attributes:
        applications: The applications.
        relations: The relations.
        demanded: Those of the relations that the operator names: they must fit the charms. A
            union of releases has some that do not fit all of them.
        warnings: What in the operator's bundle or overlay has no effect.
    """

    applications: tuple[TopologyApplication, ...]
    relations: tuple[Relation, ...]
    demanded: frozenset[Relation] = frozenset()
    warnings: tuple[str, ...] = ()


def load_topology() -> Topology:
    """Read the table that comes with this package."""
    text = files("ckf_airgap.planning").joinpath("topology.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return Topology(
        applications=tuple(
            TopologyApplication(
                name=name,
                charm=details.get("charm", name),
                is_expected=not details.get("not_in_every_release", False),
                options=details.get("options", {}),
                options_without=details.get("options_without", {}),
                is_template=True,
                constraints=details.get("constraints"),
            )
            for name, details in document["applications"].items()
        ),
        relations=tuple(
            (Side.parse(first), Side.parse(second)) for first, second in document["relations"]
        ),
    )


def charms_with_namespaces() -> frozenset[str]:
    """Give the charms that run their workload in a namespace that an option of theirs names."""
    return frozenset(
        item.charm for item in load_topology().applications if "namespace" in item.options
    )
