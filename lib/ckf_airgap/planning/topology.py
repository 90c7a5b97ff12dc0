"""The topology: which applications are deployed and how they are related.

Charms do not declare this. The table ``topology.yaml`` has the applications and relations of all
releases; those that do not fit the available charms are omitted. An operator's own bundle replaces
the table, and an overlay changes either (``bundle_and_overlay.py``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ckf_airgap.charms.charm_reference import CharmReference
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side


@dataclass(frozen=True, kw_only=True)
class TopologyApplication:
    """The properties of an application that its charm does not declare.

    Attributes:
        name: Its name.
        charm: Its charm.
        is_expected: Whether a deployment without it is incomplete.
        expected_by: Why it is expected, in words.
        options: Options to set; ``{model}`` in a value means the model's name if ``is_template``.
            The image options of the plan take precedence.
        options_without: Options for charms that lack an endpoint: endpoint -> options.
        options_with_mesh: Options for one service mesh, which take precedence over ``options``:
            mesh -> options.
        mesh: Its service mesh, ``sidecar`` or ``ambient``; None for both.
        is_template: Whether ``{model}`` in a value means the model's name.
        constraints: Juju constraints, or None.
        base: The base to deploy it on if its charm supports several, or None.
        scale: The number of units.
        trust: Whether Juju gives it access to the cluster (``--trust``); unlike in Juju, an
            application of a bundle or an overlay without the key ``trust`` has it.
        settings: The keys of the application in a bundle that are passed on to Juju.
        resource_overrides: Images that the overlay or bundle sets for oci-image resources:
            resource -> reference.
        option_overrides: Options of an overlay, which take precedence over those of a bundle.
        reference: The charm and its revision in the operator's bundle or overlay; None if neither
            names it.
        channel: Its channel on Charmhub in the operator's bundle or overlay, or None.
    """

    name: str
    charm: str
    is_expected: bool = True
    expected_by: str = "every release has it"
    options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    options_without: Mapping[str, Mapping[str, OptionValue]] = field(
        default_factory=dict[str, Mapping[str, OptionValue]]
    )
    options_with_mesh: Mapping[str, Mapping[str, OptionValue]] = field(
        default_factory=dict[str, Mapping[str, OptionValue]]
    )
    mesh: str | None = None
    is_template: bool = False
    constraints: str | None = None
    base: str | None = None
    scale: int = 1
    trust: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resource_overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    option_overrides: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    reference: CharmReference | None = None
    channel: str | None = None

    @property
    def given_options(self) -> Mapping[str, OptionValue]:
        """The operator's options: an overlay takes precedence over a bundle."""
        return {**({} if self.is_template else self.options), **self.option_overrides}


@dataclass(frozen=True)
class Topology:
    """Applications and relations.

    Attributes:
        applications: The applications.
        relations: The relations.
        demanded: Relations from the bundle or overlay. If one does not fit the charms, that is an
            error; a table relation is just omitted.
        warnings: Warnings about entries without effect in the operator's bundle or overlay.
        relations_with_mesh: Further relations for one service mesh: mesh -> relations.
        remote: Offers of other models, whose relations are not planned.
        default_base: The base of applications that an overlay adds without one, or None.
    """

    applications: tuple[TopologyApplication, ...]
    relations: tuple[Relation, ...]
    demanded: frozenset[Relation] = frozenset()
    warnings: tuple[str, ...] = ()
    remote: frozenset[str] = frozenset()
    default_base: str | None = None
    relations_with_mesh: Mapping[str, tuple[Relation, ...]] = field(
        default_factory=dict[str, tuple[Relation, ...]]
    )

    def for_mesh_of(self, charms: Collection[str]) -> "Topology":
        """Keep the applications and relations of the service mesh of the available charms.

        Args:
            charms: The names of the available charms.

        Returns:
            The topology without the applications of the other mesh and their relations, except
            available applications whose options or images the overlay sets. The mesh is ambient
            if any of its charms is available and istio-pilot is not.
        """
        is_ambient = "istio-pilot" not in charms and any(
            item.mesh == "ambient" and item.charm in charms for item in self.applications
        )
        mesh = "ambient" if is_ambient else "sidecar"
        kept = [
            replace(item, options={**item.options, **item.options_with_mesh.get(mesh, {})})
            for item in self.applications
            if item.mesh in (None, mesh)
            # The operator wants an application whose options or images the overlay sets.
            or (item.charm in charms and (item.option_overrides or item.resource_overrides))
        ]
        names = {item.name for item in kept}
        return replace(
            self,
            applications=tuple(kept),
            relations=tuple(
                relation
                for relation in (*self.relations, *self.relations_with_mesh.get(mesh, ()))
                if all(side.application in names for side in relation)
            ),
        )


@cache
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
                options_with_mesh=details.get("options_with_mesh", {}),
                mesh=details.get("mesh"),
                is_template=True,
                constraints=details.get("constraints"),
            )
            for name, details in document["applications"].items()
        ),
        relations=_relations(document["relations"]),
        relations_with_mesh={
            mesh: _relations(pairs) for mesh, pairs in document["relations_with_mesh"].items()
        },
    )


def _relations(pairs: list[list[str]]) -> tuple[Relation, ...]:
    return tuple((Side.parse(first), Side.parse(second)) for first, second in pairs)


def charms_with_namespaces() -> frozenset[str]:
    """Return the charms with an option that names the namespace of their workload."""
    return frozenset(
        item.charm for item in load_topology().applications if "namespace" in item.options
    )
