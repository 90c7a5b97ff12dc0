"""A bundle in the form of the published ones, and what is read of bundles."""

from collections.abc import Iterable

from ckf_airgap.juju.juju_values import Relation
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from ckf_airgap.planning.topology import Topology, TopologyApplication

PREFIX = "registry.corp:5000/ckf"


# In the form in which Charmed Kubeflow publishes its bundles.
PUBLIC = """
bundle: kubernetes
name: kubeflow
docs: https://discourse.charmhub.io/t/3749
_release: {risk: stable}
applications:
  katib-db:
    charm: mysql-k8s
    channel: 8.0/stable
    revision: 127
    scale: 1
    trust: true
    constraints: mem=2G
    _github_dependency_repo_name: mysql-k8s-operator
  katib-db-manager: {charm: katib-db-manager, channel: 0.18/stable, scale: 1, trust: true}
  minio:
    charm: minio
    channel: ckf-1.10/stable
    options: {access-key: minio, port: 9000, mode: server, debug: false, ratio: 0.5}
    storage: {minio-data: 20G}
relations:
- [katib-db-manager:relational-db, katib-db:database]
- [katib-db-manager, minio]
"""


def one(topology: Topology, name: str = "app") -> TopologyApplication:
    (found,) = (item for item in topology.applications if item.name == name)
    return found


def bundle_of(body: str) -> TopologyApplication:
    """Read a bundle with one application, ``app``."""
    return one(read_bundle(f"applications:\n  app: {body}\n"))


def overlaid(body: str, bundle: str = PUBLIC) -> Topology:
    return apply_overlay(read_bundle(bundle), body)


def texts(relations: Iterable[Relation]) -> list[tuple[str, str]]:
    return [(str(first), str(second)) for first, second in relations]


APP = "applications: {app: {}, other: {}}\n"
