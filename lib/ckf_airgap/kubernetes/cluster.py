"""What runs in the cluster, through the Kubernetes API."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from http.client import NOT_FOUND
from typing import Any, cast

from lightkube import ALL_NS, generic_resource
from lightkube.models.core_v1 import Container, ContainerStatus, EphemeralContainer
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.resources.core_v1 import Node as KubernetesNode
from lightkube.resources.storage_v1 import StorageClass

from ckf_airgap.images.oci import is_digest
from ckf_airgap.images.reference import registry_host
from ckf_airgap.kubernetes.api import api_errors, error_status, list_resources

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# The label that Kubeflow's profile controller puts on its namespaces.
_PROFILE_LABELS = {"app.kubernetes.io/part-of": "kubeflow-profile"}
# The kinds of Knative's operator, which the charms knative-serving and knative-eventing create.
_KNATIVE: tuple[type[generic_resource.GenericNamespacedResource], ...] = tuple(
    # The library's own types are only partly known to the type checker.
    cast(Any, generic_resource).create_namespaced_resource(
        "operator.knative.dev", "v1beta1", kind, f"{kind.lower()}s"
    )
    for kind in ("KnativeServing", "KnativeEventing")
)
# The operator of a podspec charm (Juju 3.6, caas/kubernetes/provider/utils, "LabelsForOperator").
_PODSPEC_LABELS = {"operator.juju.is/target": "application"}
_NAME_LABEL = "operator.juju.is/name"
_REVISION_LABEL = "controller-revision-hash"
PULL_FAILURES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    }
)
"""The reasons for which a container waits if its image cannot be pulled."""


@dataclass(frozen=True)
class RunningImage:
    """The image of one container.

    Attributes:
        namespace: The pod's namespace.
        pod: The pod's name.
        container: The container's name.
        image: The reference in the pod.
        pull_failure: Why it cannot be pulled, or an empty string.
        is_outdated: Whether the pod has an earlier revision than its StatefulSet. Looked up only
            if some image in the namespace cannot be pulled; otherwise False.
        digest: The digest of the manifest or the config that the node reports; empty if it reports
            none.
        note: Why the image does not come from the registry, and the fix, or an empty string.
        is_starting: Whether the node has not reported yet which image it pulled; False if it
            cannot pull it.
    """

    namespace: str
    pod: str
    container: str
    image: str
    pull_failure: str = ""
    is_outdated: bool = False
    digest: str = ""
    note: str = ""
    is_starting: bool = False

    @property
    def content(self) -> str:
        """The image with its digest, which identifies its content."""
        return f"{self.image} {self.digest}"

    def __str__(self) -> str:
        failure = f" ({self.pull_failure})" if self.pull_failure else ""
        if self.pull_failure and self.is_outdated:
            failure += (
                "; its StatefulSet is newer, and Kubernetes does not replace a pod that never "
                f"started: kubectl delete pod --namespace {self.namespace} {self.pod}"
            )
        note = f": {self.note}" if self.note else ""
        place = f"{self.namespace}/{self.pod}, container {self.container}"
        return f"{self.image} in {place}{failure}{note}"


@dataclass(frozen=True)
class ImageReport:
    """Where the images of the cluster come from.

    Attributes:
        containers: The number of containers.
        foreign: The containers whose image does not come from the registry.
        not_pulled: The containers whose image cannot be pulled.
        mirrored: The containers that name another registry, but whose node pulled the image from
            this one through a mirror.
    """

    containers: int
    foreign: tuple[RunningImage, ...]
    not_pulled: tuple[RunningImage, ...]
    mirrored: tuple[RunningImage, ...] = ()


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        name: Its name.
        version: The version of its Kubernetes, for example ``v1.33.1``.
        architecture: Its CPU architecture, for example ``amd64``.
        problems: The problems that it reports, for example ``DiskPressure``.
    """

    name: str
    version: str
    architecture: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ClusterFacts:
    """The facts about a cluster that matter to a deployment.

    Attributes:
        nodes: Its nodes.
        default_storage_class: The name of its default storage class; an empty string for none.
    """

    nodes: tuple[Node, ...]
    default_storage_class: str

    @property
    def versions(self) -> frozenset[str]:
        """The versions of Kubernetes on its nodes."""
        return frozenset(node.version for node in self.nodes)


def describe() -> ClusterFacts:
    """Return the nodes and the default storage class of the cluster.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    with api_errors("look at nodes and storage classes"):
        nodes = tuple(map(_node, list_resources(KubernetesNode)))
        defaults = [
            item.metadata.name or ""
            for item in list_resources(StorageClass)
            if item.metadata and _is_default(item.metadata)
        ]
        return ClusterFacts(nodes, defaults[0] if defaults else "")


def profile_namespaces() -> list[str]:
    """List the namespaces of Kubeflow's user profiles that are not being deleted.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    with api_errors("list namespaces"):
        found = list_resources(Namespace, labels=_PROFILE_LABELS)
        all_metadata = [item.metadata for item in found if item.metadata]
        return [each.name for each in all_metadata if each.name and not each.deletionTimestamp]


def knative_namespaces() -> list[str]:
    """List the namespaces that Knative runs in: those of KnativeServing and KnativeEventing.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    found: list[str] = []
    for kind in _KNATIVE:
        with api_errors(f"list {kind.__name__}"):
            try:
                items = list(list_resources(kind, namespace=ALL_NS))
            except Exception as error:
                if error_status(error) != NOT_FOUND:
                    raise
                # The kind is unknown: there is no Knative.
                continue
            places = [item.metadata.namespace for item in items if item.metadata]
            found += filter(None, places)
    return list(dict.fromkeys(found))


def deployments(namespace: str) -> frozenset[str]:
    """List the Deployments of a namespace.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    with api_errors("list Deployments"):
        found = list_resources(Deployment, namespace=namespace)
        return frozenset(item.metadata.name or "" for item in found if item.metadata)


def podspec_applications(namespace: str) -> frozenset[str]:
    """List the applications with podspec charms in a model's namespace.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    with api_errors("list StatefulSets"):
        # The library's own types are only partly known to the type checker.
        found: list[Any] = list(
            list_resources(StatefulSet, namespace=namespace, labels=_PODSPEC_LABELS)
        )
        labels: list[dict[str, str]] = [item.metadata.labels or {} for item in found]
        return frozenset(each[_NAME_LABEL] for each in labels if _NAME_LABEL in each)


def running_images(namespaces: Iterable[str]) -> list[RunningImage]:
    """List the image of every container in namespaces, including init and ephemeral containers.

    Args:
        namespaces: The namespaces; one that does not exist has no containers.

    Returns:
        One entry for each container of each pod.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    images: list[RunningImage] = []
    for namespace in namespaces:
        with api_errors("list pods"):
            pods = list(list_resources(Pod, namespace=namespace))
            found = [image for pod in pods for image in _images(pod)]
        if any(image.pull_failure for image in found):
            outdated = _outdated_pods(namespace, pods)
            found = [replace(image, is_outdated=image.pod in outdated) for image in found]
        images += found
    return images


def report_images(
    images: Iterable[RunningImage], host: str, agent_images: str | None = None
) -> ImageReport:
    """Find the images that do not come from the registry.

    Args:
        images: The images of the cluster.
        host: Host and port of the registry.
        agent_images: Another repository that Juju's own agents may come from, or None.

    Returns:
        The report.
    """
    images = list(images)

    def is_foreign(image: str) -> bool:
        if agent_images and image.startswith(f"{agent_images.rstrip('/')}/"):
            return False
        return registry_host(image) != host

    return ImageReport(
        containers=len(images),
        foreign=tuple(image for image in images if is_foreign(image.image)),
        not_pulled=tuple(image for image in images if image.pull_failure),
    )


def _is_default(metadata: Any) -> bool:
    annotations: dict[str, str] | None = metadata.annotations
    return bool(annotations) and annotations.get(_DEFAULT_CLASS) == "true"


def _node(node: KubernetesNode) -> Node:
    information = node.status.nodeInfo if node.status else None
    conditions = (node.status.conditions if node.status else None) or []
    return Node(
        name=(node.metadata.name if node.metadata else None) or "",
        version=information.kubeletVersion if information else "",
        architecture=information.architecture if information else "",
        problems=tuple(
            "not being ready" if condition.type == "Ready" else condition.type
            for condition in conditions
            # If the kubelet no longer reports, all conditions are Unknown.
            if (condition.status == "True") != (condition.type == "Ready")
            and (condition.status != "Unknown" or condition.type == "Ready")
        ),
    )


def _outdated_pods(namespace: str, pods: Iterable[Pod]) -> frozenset[str]:
    """Return the pods that have an earlier revision than their StatefulSet.

    Kubernetes replaces such a pod only after it was ready once (documentation, "StatefulSets",
    "Forced rollback").
    """
    with api_errors("list StatefulSets"):
        revisions = {
            item.metadata.name: item.status.updateRevision
            for item in list_resources(StatefulSet, namespace=namespace)
            if item.metadata and item.status
        }
    found: set[str] = set()
    for pod in pods:
        # The library's own types are only partly known to the type checker.
        metadata: Any = pod.metadata
        labels: dict[str, str] = (metadata.labels if metadata else None) or {}
        revision = labels.get(_REVISION_LABEL)
        for owner in (metadata.ownerReferences if metadata else None) or ():
            newest = revisions.get(owner.name) if owner.kind == "StatefulSet" else None
            if revision and newest and revision != newest:
                found.add(metadata.name)
    return frozenset(found)


def _images(pod: Pod) -> Iterator[RunningImage]:
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    if metadata is None or spec is None:
        return
    lists = (
        (
            status.containerStatuses,
            status.initContainerStatuses,
            status.ephemeralContainerStatuses,
        )
        if status
        else ()
    )
    statuses = {item.name: item for items in lists for item in items or ()}
    containers: list[Container | EphemeralContainer] = [
        *spec.containers,
        *(spec.initContainers or ()),
        *(spec.ephemeralContainers or ()),
    ]
    for container in containers:
        reported = statuses.get(container.name)
        failure = _pull_failure(reported)
        yield RunningImage(
            namespace=metadata.namespace or "",
            pod=metadata.name or "",
            container=container.name,
            image=container.image or "",
            pull_failure=failure,
            digest=_pulled_digest(reported),
            is_starting=not failure and not (reported and reported.imageID),
        )


def _pulled_digest(status: ContainerStatus | None) -> str:
    """Return the digest in ``imageID``: the container runtime writes NAME@DIGEST, or a digest."""
    digest = (status.imageID or "").rpartition("@")[2] if status else ""
    return digest if is_digest(digest) else ""


def _pull_failure(status: ContainerStatus | None) -> str:
    waiting = status.state.waiting if status and status.state else None
    if waiting is None or waiting.reason not in PULL_FAILURES:
        return ""
    return f"{waiting.reason}: {waiting.message or ''}".removesuffix(": ")
