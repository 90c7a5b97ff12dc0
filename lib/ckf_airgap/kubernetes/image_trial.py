"""Pods that test whether nodes can pull images; no process of an image is started."""

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
# A file that no image has: the node pulls the image, and then fails to start the container.
_COMMAND = "/ckf-airgap-starts-nothing"
_NOBODY = 65534
_POLL_SECONDS = 2
# How long a failed pull may still succeed: a node limits how many pulls it starts at a time, and
# retries the others.
_PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class TriedImage:
    """The result of the pull of one image on one node.

    Attributes:
        node: The name of the node.
        image: The image reference.
        problem: Why the node did not pull the expected image; empty if it did.
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
        namespace: The namespace for the pods.
        nodes: The names of the nodes.
        expected: For each image reference, the digest of the manifest that nodes should pull.
        timeout: The maximum time to wait, in seconds.
        clock: Returns the time in seconds.
        sleep: Sleeps for a number of seconds.

    Returns:
        The result for each image on each node.

    Raises:
        ClusterError: The Kubernetes API fails.
    """
    # An earlier run that was killed may have left pods.
    _remove(namespace)
    try:
        pods = {_create(namespace, node, list(expected), timeout): node for node in nodes}
        began = clock()
        while True:
            seen = [image for image in running_images([namespace]) if image.pod in pods]
            waited = clock() - began
            is_decided = len(seen) == len(pods) * len(expected) and all(
                image.digest or (image.pull_failure and waited >= _PATIENCE_SECONDS)
                for image in seen
            )
            if is_decided or waited >= timeout:
                break
            sleep(_POLL_SECONDS)
    finally:
        _remove(namespace)
    found = {(pods[image.pod], image.image): image for image in seen}
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
    """Create the pod on a node; return its name."""
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
            # An image that the node already has from elsewhere must not count.
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
        # If this process is killed, Kubernetes ends the pod.
        activeDeadlineSeconds=int(timeout) + 60,
    )
    with api_errors(f"create a pod in {namespace}"):
        created = api_client().create(Pod(metadata=metadata, spec=spec))
        return str(created.metadata.name)


def _remove(namespace: str) -> None:
    """Remove all pods in a namespace that this module created."""
    with api_errors(f"remove pods in {namespace}"):
        for pod in list_resources(Pod, namespace=namespace, labels=_LABELS):
            if pod.metadata and pod.metadata.name:
                api_client().delete(Pod, pod.metadata.name, namespace=namespace, grace_period=0)
