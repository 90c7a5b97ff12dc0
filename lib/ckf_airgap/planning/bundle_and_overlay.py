"""The operator's own bundle and overlay, which define or change the topology.

Both are Juju bundles (documentation, "Bundle"). This module parses them, not the juju client,
because applications are deployed a few at a time, with image references filled in. ``pack`` reads
them to learn which charms to download.
"""

import dataclasses

from ckf_airgap.errors import OWN_APPLICATION
from ckf_airgap.juju.juju_values import Relation
from ckf_airgap.planning.bundle_reader import BundleReader
from ckf_airgap.planning.bundle_text import bundle_documents
from ckf_airgap.planning.nearest_names import to_choose_from
from ckf_airgap.planning.topology import Topology, TopologyApplication


def read_bundle(
    text: str,
    what: str = "the bundle",
    cure: str = f"correct it (juju attach-resource {OWN_APPLICATION} bundle=FILE; on a "
    "workstation the file of --bundle)",
) -> Topology:
    """Read an operator's own bundle.

    Args:
        text: The bundle. Whether it names charms on Charmhub or files, the plan uses the
            charms of the same name in charms.tar.gz, and fills in the images.
        what: The name of the bundle in messages.
        cure: What to do if it is not valid.

    Returns:
        The topology: all of its applications are expected.

    Raises:
        ConfigurationError: It is not a valid bundle.
    """
    first, *overlays = bundle_documents(text)
    topology = _read_first(first, BundleReader(what, cure))
    for overlay in overlays:
        topology = _changed(topology, overlay, BundleReader(what, cure))
    return topology


def _read_first(text: str, reader: BundleReader) -> Topology:
    document = reader.document(text)
    base = reader.default_base(document)
    bodies = reader.applications(document)
    if not bodies:
        raise reader.error("names no applications")
    applications: list[TopologyApplication] = []
    for name, body in bodies.items():
        if body is None:
            raise reader.error(f"has the application {name} without a charm")
        item = reader.application(name, body)
        item = dataclasses.replace(item, expected_by="the bundle has it", base=item.base or base)
        applications.append(item)
    relations = reader.relations(document)
    topology = Topology(
        tuple(applications),
        relations,
        demanded=frozenset(relations),
        remote=frozenset(reader.remote_applications(document)),
        default_base=base,
    )
    return _with_local_relations(topology, reader)


def apply_overlay(topology: Topology, text: str) -> Topology:
    """Apply an overlay to a topology.

    Args:
        topology: The topology.
        text: The overlay: a bundle with additions and changes. An application without a body is
            removed.

    Returns:
        The changed topology.

    Raises:
        ConfigurationError: It is not a valid overlay, or names an unknown application without its
            charm.
    """
    for document in bundle_documents(text):
        reader = BundleReader(
            "the overlay",
            f"correct it (juju config {OWN_APPLICATION} overlay=@overlay.yaml; on a workstation "
            "the file of --overlay)",
        )
        topology = _changed(topology, document, reader)
    return topology


def _changed(topology: Topology, text: str, reader: BundleReader) -> Topology:
    document = reader.document(text)
    applications = {item.name: item for item in topology.applications}
    removed: set[str] = set()
    base = reader.default_base(document) or topology.default_base
    for name, body in reader.applications(document).items():
        if name not in applications:
            if body is None or "charm" not in body:
                raise reader.error(
                    f"names the unknown application {name}; known are: "
                    f"{to_choose_from(name, applications)}"
                )
            applications[name] = reader.added(name, body, base)
        if body is None:
            removed.add(name)
            del applications[name]
        else:
            applications[name] = reader.changed(applications[name], body)
    kept = tuple(
        relation
        for relation in topology.relations
        if not removed & {side.application for side in relation}
    )
    added = reader.relations(document)
    changed = dataclasses.replace(
        topology,
        applications=tuple(applications.values()),
        relations=tuple(dict.fromkeys((*kept, *added))),
        demanded=topology.demanded | frozenset(added),
        remote=topology.remote | frozenset(reader.remote_applications(document)),
    )
    return _with_local_relations(changed, reader)


def _with_local_relations(topology: Topology, reader: BundleReader) -> Topology:
    """Keep the relations within the model: omit those with offers of other models, with a warning.

    Raises:
        ConfigurationError: A relation names an unknown application.
    """
    names = {item.name for item in topology.applications}
    kept: list[Relation] = []
    for relation in topology.relations:
        first, second = relation
        unknown = [side.application for side in relation if side.application not in names]
        if not unknown:
            kept.append(relation)
        elif topology.remote.issuperset(unknown):
            reader.warnings.append(
                f"{reader.what} relates {first} with {second}, one of which is in another model: "
                f"after juju consume, run juju integrate {first} {second}"
            )
        else:
            (name, *_) = [item for item in unknown if item not in topology.remote]
            raise reader.error(
                f"relates {first} with {second}, but has no application {name}; it has: "
                f"{to_choose_from(name, names)}"
            )
    return dataclasses.replace(
        topology, relations=tuple(kept), warnings=(*topology.warnings, *reader.warnings)
    )
