"""Lists the images that a cluster uses or will use, from a workstation."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightkube
from lightkube import ALL_NS
from lightkube.core.exceptions import ConfigError
from lightkube.resources.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Pod

from ckf_airgap.errors import ClusterError, ConfigurationError
from ckf_airgap.images.oci import is_digest
from ckf_airgap.kubernetes.api import FORBIDDEN, api_errors, error_status

# Pods that have ended no longer need their images.
_ENDED = ("Succeeded", "Failed")
_ENDED_JOBS = ("Complete", "Failed")
_FORBIDDEN_CURE = "give the kubeconfig of an account that may list these in all namespaces"
# Resources that may create pods later, even without a replica now.
_POD_CREATORS: tuple[type, ...] = (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob)


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
        One entry for each container and image volume of each pod that has not ended, init and
        ephemeral containers included, and for each in the template of a Deployment, StatefulSet,
        DaemonSet, ReplicaSet, CronJob or Job. A Job that has ended does not count, nor does a
        ReplicaSet without replicas that belongs to another resource: it is an earlier revision.

    Raises:
        ClusterError: The Kubernetes API cannot be used.
    """
    found: list[UsedImage] = []
    for kind in (Pod, *_POD_CREATORS):
        try:
            with api_errors(f"list {kind.__name__}s"):
                items = cast(Iterable[Any], client.list(kind, namespace=ALL_NS))
                found += [image for item in items for image in _images(kind.__name__, item)]
        except ClusterError as error:
            if error.__cause__ and error_status(error.__cause__) == FORBIDDEN:
                raise ClusterError(error.problem, _FORBIDDEN_CURE) from error
            raise
    return found


def _images(kind: str, item: Any) -> Iterator[UsedImage]:
    user = f"{kind} {item.metadata.namespace}/{item.metadata.name}"
    if kind != "Pod":
        source = item.spec.jobTemplate.spec if kind == "CronJob" else item.spec
        template = source.template if source else None
        if template and not (kind in _IS_FINISHED and _IS_FINISHED[kind](item)):
            yield from (UsedImage(user, image) for image in _image_references(template.spec))
        return
    if item.status and item.status.phase in _ENDED:
        return
    yield from (UsedImage(user, image) for image in _image_references(item.spec))
    for status in _statuses(item.status):
        image_id = (status.imageID or "").rpartition("//")[2]
        digest = image_id.rpartition("@")[2]
        if is_digest(digest):
            # The node may name another repository than the pod.
            yield UsedImage(user, image_id, digest)
        yield UsedImage(user, status.image or "", digest if is_digest(digest) else "")


def _has_ended(job: Any) -> bool:
    conditions = (job.status.conditions if job.status else None) or ()
    return any(
        condition.type in _ENDED_JOBS and condition.status == "True" for condition in conditions
    )


def _is_earlier_revision(replica_set: Any) -> bool:
    return replica_set.spec.replicas == 0 and bool(replica_set.metadata.ownerReferences)


# Whether a resource of a kind creates no more pods.
_IS_FINISHED: dict[str, Callable[[Any], bool]] = {
    "Job": _has_ended,
    "ReplicaSet": _is_earlier_revision,
}


def _image_references(spec: Any) -> Iterator[str]:
    """List the images in the specification of a pod."""
    for container in _containers(spec):
        yield container.image or ""
    for volume in (spec.volumes if spec else None) or ():
        # Only newer versions of lightkube know image volumes.
        if source := getattr(volume, "image", None):
            yield source.reference or ""


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
