"""The Kubernetes API, through lightkube: what really runs in the cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import httpx2  # what lightkube is built on
import lightkube
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.models.core_v1 import Container, ContainerStatus
from lightkube.resources.core_v1 import Pod

from ckf_airgap.errors import ClusterError
from ckf_airgap.names import registry_host

_PULL_FAILURES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    }
)


@dataclass(frozen=True)
class RunningImage:
    """The image of one container.

    Attributes:
        namespace: The pod's namespace.
        pod: The pod's name.
        container: The container's name.
        image: The reference that the pod gives.
        pull_failure: Why it cannot be pulled, or an empty string.
    """

    namespace: str
    pod: str
    container: str
    image: str
    pull_failure: str = ""

    def __str__(self) -> str:
        failure = f" ({self.pull_failure})" if self.pull_failure else ""
        return f"{self.image} in {self.namespace}/{self.pod}, container {self.container}{failure}"


@dataclass(frozen=True)
class ImageReport:
    """Where the images of the cluster come from.

    Attributes:
        containers: How many containers were looked at.
        foreign: Those whose image does not come from the registry.
        not_pulled: Those whose image cannot be pulled.
    """

    containers: int
    foreign: tuple[RunningImage, ...]
    not_pulled: tuple[RunningImage, ...]


def running_images(namespaces: Iterable[str]) -> list[RunningImage]:
    """List the image of every container in some namespaces, init containers included.

    Args:
        namespaces: The namespaces.

    Returns:
        One entry for each container of each pod.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    try:
        client = lightkube.Client()
        return [
            image
            for namespace in namespaces
            for pod in _pods(client, namespace)
            for image in _images(pod)
        ]
    except ApiError as error:
        cure = "juju trust ckf-airgap --scope=cluster" if error.status.code == 403 else "try again"
        raise ClusterError(
            f"the Kubernetes API refused to list pods ({error.status.message})", cure
        ) from error
    except (ConfigError, httpx2.HTTPError, OSError) as error:
        raise ClusterError(
            f"the Kubernetes API cannot be reached ({error})", "see that the cluster is healthy"
        ) from error


def report_images(images: Iterable[RunningImage], host: str) -> ImageReport:
    """Sort out the images that do not come from the registry.

    Args:
        images: The images of the cluster.
        host: Host and port of the registry.

    Returns:
        The report.
    """
    images = list(images)
    return ImageReport(
        containers=len(images),
        foreign=tuple(image for image in images if registry_host(image.image) != host),
        not_pulled=tuple(image for image in images if image.pull_failure),
    )


def _pods(client: lightkube.Client, namespace: str) -> Iterable[Pod]:
    # The library's own types are only partly known to the type checker.
    return cast(Iterable[Pod], client.list(Pod, namespace=namespace))  # pyright: ignore[reportUnknownMemberType]


def _images(pod: Pod) -> Iterator[RunningImage]:
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    if metadata is None or spec is None:
        return
    statuses: dict[str, ContainerStatus] = {
        item.name: item
        for items in ((status.containerStatuses, status.initContainerStatuses) if status else ())
        for item in items or ()
    }
    containers: list[Container] = [*spec.containers, *(spec.initContainers or ())]
    for container in containers:
        yield RunningImage(
            namespace=metadata.namespace or "",
            pod=metadata.name or "",
            container=container.name,
            image=container.image or "",
            pull_failure=_pull_failure(statuses.get(container.name)),
        )


def _pull_failure(status: ContainerStatus | None) -> str:
    waiting = status.state.waiting if status and status.state else None
    if waiting is None or waiting.reason not in _PULL_FAILURES:
        return ""
    return f"{waiting.reason}: {waiting.message or ''}".removesuffix(": ")
