"""Lists the images that a cluster uses or will use, from a workstation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightkube
from lightkube import ALL_NS
from lightkube.core.exceptions import ConfigError
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Pod

from ckf_airgap.errors import ClusterError, ConfigurationError
from ckf_airgap.images.oci import is_digest
from ckf_airgap.kubernetes.api import api_errors

# Pods that have ended no longer need their images.
_ENDED = ("Succeeded", "Failed")
_ENDED_JOBS = ("Complete", "Failed")
_FORBIDDEN_CURE = "give the kubeconfig of an account that may list these in all namespaces"
# Resources that may create pods later, even without a replica now.
_MAKERS: tuple[type, ...] = (Deployment, StatefulSet, DaemonSet, Job, CronJob)


@dataclass(frozen=True)
class UsedImage:
    """An image that a resource in the cluster uses.

    Attributes:
        user: The resource, for example ``Pod NAMESPACE/NAME``.
        image: The image reference in the resource.
        digest: The digest of the manifest or the config that the node reports; empty if unknown.
    """

    user: str
    image: str
    digest: str = ""


def cluster_client(kubeconfig: Path, context: str | None) -> Any:
    """Make a client for the cluster of a kubeconfig, without a request.

    Args:
        kubeconfig: The file.
        context: The context in the file; None for the current one.

    Returns:
        The client.

    Raises:
        ConfigurationError: The file cannot be read, has no such context, or does not verify TLS.
    """
    try:
        found = lightkube.KubeConfig.from_file(kubeconfig).get(context)
        if found is None:
            raise ConfigError("it has no current context")
        cluster = found.cluster
        client = lightkube.Client(found, trust_env=False)
    except Exception as error:
        # The file may have any content, so the errors include those of YAML, of the decoder, and
        # KeyError. Their messages may quote a token.
        detail = str(error) if isinstance(error, ConfigError) else type(error).__name__
        raise ConfigurationError(
            f"{kubeconfig} is not a usable kubeconfig ({detail})",
            "give a file and a context that work with kubectl (--kubeconfig, --context)",
        ) from error
    if cluster.insecure or not str(cluster.server).startswith("https://"):
        raise ConfigurationError(
            f"{kubeconfig} reaches the Kubernetes API without verified TLS",
            "set an https:// address and the CA certificate in it (certificate-authority-data)",
        )
    return client


def images_in_use(client: Any) -> list[UsedImage]:
    """List the images of all pods that run in a cluster, and of the resources that create pods.

    Args:
        client: The client for the cluster.

    Returns:
        One entry for each container of each pod that has not ended, init and ephemeral containers
        included, and for each container in the template of a Deployment, StatefulSet, DaemonSet,
        CronJob, or Job that has not ended.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    found: list[UsedImage] = []
    for kind in (Pod, *_MAKERS):
        try:
            with api_errors(f"list {kind.__name__}s"):
                items = cast(Iterable[Any], client.list(kind, namespace=ALL_NS))
                found += [image for item in items for image in _images(kind.__name__, item)]
        except ClusterError as error:
            raise ClusterError(error.problem, _FORBIDDEN_CURE) from error
    return found


def _images(kind: str, item: Any) -> Iterator[UsedImage]:
    user = f"{kind} {item.metadata.namespace}/{item.metadata.name}"
    if kind != "Pod":
        source = item.spec.jobTemplate.spec if kind == "CronJob" else item.spec
        if not (kind == "Job" and _has_ended(item.status)):
            for container in _containers(source.template.spec):
                yield UsedImage(user, container.image or "")
        return
    if item.status and item.status.phase in _ENDED:
        return
    for container in _containers(item.spec):
        yield UsedImage(user, container.image or "")
    for status in _statuses(item.status):
        digest = (status.imageID or "").rpartition("@")[2].rpartition("//")[2]
        yield UsedImage(user, status.image or "", digest if is_digest(digest) else "")


def _has_ended(job: Any) -> bool:
    conditions = (job.conditions if job else None) or ()
    return any(each.type in _ENDED_JOBS and each.status == "True" for each in conditions)


def _containers(spec: Any) -> Iterator[Any]:
    if spec:
        yield from spec.containers or ()
        yield from spec.initContainers or ()
        yield from getattr(spec, "ephemeralContainers", None) or ()


def _statuses(status: Any) -> Iterator[Any]:
    if status:
        yield from status.containerStatuses or ()
        yield from status.initContainerStatuses or ()
        yield from status.ephemeralContainerStatuses or ()
