"""Pods that try out whether nodes pull some images; nothing of the images is run."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import (
    Capabilities,
    Container,
    PodSpec,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Toleration,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from ckf_airgap.kubernetes.api import api_client, api_errors, list_resources
from ckf_airgap.kubernetes.cluster import RunningImage, running_images

_LABELS = {
    "app.kubernetes.io/managed-by": "ckf-airgap",
    "app.kubernetes.io/component": "image-trial",
}
# A file that no image has: the container ends where it would begin, after its image was pulled.
_COMMAND = "/ckf-airgap-starts-nothing"
_NOBODY = 65534
_POLL_SECONDS = 2
# How long a failed pull may turn out well yet: a node limits how many it begins at a time.
_PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class TriedImage:
    """An image that a node was to pull.

    Attributes:
        node: The node.
        image: The reference.
        problem: Why the node does not have what was expected; empty where it does.
    """

    node: str
    image: str
    problem: str

    def __str__(self) -> str:
        return f"{self.node}: {self.image}: {self.problem or 'pulled'}"


def try_images(
    namespace: str,
    nodes: Collection[str],
    expected: Mapping[str, str],
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[TriedImage, ...]:
    """Have each node pull some images, with one pod on each, which is removed afterwards.

    Args:
        namespace: Where to make the pods.
        nodes: The names of the nodes.
        expected: The digest of the manifest that each image reference is to stand for.
        timeout: For how many seconds to wait at most.
        clock: Gives the time in seconds.
        sleep: Waits for some seconds.

    Returns:
        What has become of each image on each node.

    Raises:
        ClusterError: The Kubernetes API fails.
    """
    # What a killed run has left would be taken for what this one makes.
    _remove(namespace)
    try:
        pods = {_create(namespace, node, list(expected), timeout): node for node in nodes}
        began = clock()
        while True:
            seen = [each for each in running_images([namespace]) if each.pod in pods]
            waited = clock() - began
            is_decided = len(seen) == len(pods) * len(expected) and all(
                each.digest or (each.pull_failure and waited >= _PATIENCE_SECONDS) for each in seen
            )
            if is_decided or waited >= timeout:
                break
            sleep(_POLL_SECONDS)
    finally:
        _remove(namespace)
    found = {(pods[each.pod], each.image): each for each in seen}
    return tuple(
        TriedImage(node, image, _problem(found.get((node, image)), digest, timeout))
        for node in nodes
        for image, digest in expected.items()
    )


def _problem(seen: RunningImage | None, digest: str, timeout: float) -> str:
    if seen is not None and seen.digest:
        same = seen.digest == digest
        return "" if same else f"pulled {seen.digest}, which is not the digest in the registry"
    if seen is not None and seen.pull_failure:
        return seen.pull_failure
    return f"not pulled within {timeout:.0f} seconds"


def _create(namespace: str, node: str, images: Collection[str], timeout: float) -> str:
    """Make the pod of a node; gives its name."""
    security = SecurityContext(
        allowPrivilegeEscalation=False,
        capabilities=Capabilities(drop=["ALL"]),
        readOnlyRootFilesystem=True,
        runAsNonRoot=True,
        runAsUser=_NOBODY,
        seccompProfile=SeccompProfile(type="RuntimeDefault"),
    )
    amounts = {"cpu": "10m", "memory": "32Mi"}
    containers = [
        Container(
            name=f"image-{number}",
            image=image,
            # What the node has from elsewhere must not count.
            imagePullPolicy="Always",
            command=[_COMMAND],
            securityContext=security,
            resources=ResourceRequirements(limits=amounts, requests=amounts),
        )
        for number, image in enumerate(images)
    ]
    metadata = ObjectMeta(
        generateName="ckf-airgap-image-trial-",
        namespace=namespace,
        labels={**_LABELS, "sidecar.istio.io/inject": "false"},
    )
    spec = PodSpec(
        containers=containers,
        nodeName=node,
        tolerations=[Toleration(operator="Exists")],
        restartPolicy="Never",
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        terminationGracePeriodSeconds=0,
        # Where nobody removes it any more, it ends.
        activeDeadlineSeconds=int(timeout) + 60,
    )
    with api_errors(f"make a pod in {namespace}"):
        made = api_client().create(Pod(metadata=metadata, spec=spec))
        return str(made.metadata.name)


def _remove(namespace: str) -> None:
    """Remove every pod of this module."""
    with api_errors(f"remove pods in {namespace}"):
        for pod in list_resources(Pod, namespace=namespace, labels=_LABELS):
            if pod.metadata and pod.metadata.name:
                api_client().delete(Pod, pod.metadata.name, namespace=namespace, grace_period=0)
