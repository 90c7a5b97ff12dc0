"""The pods by which nodes try out images: what they are, what is told, and that they go away."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lightkube
import pytest
from lightkube.models.core_v1 import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    PodStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from ckf_airgap.errors import ClusterError
from ckf_airgap.kubernetes.image_trial import TriedImage, try_images

HELD, OTHER = (f"sha256:{digit * 64}" for digit in "ab")
EXPECTED = {"docker.io/library/busybox:1": HELD, "registry.k8s.io/pause:3.9": HELD}
LABELS = {
    "app.kubernetes.io/component": "image-trial",
    "app.kubernetes.io/managed-by": "ckf-airgap",
}
FAILED = ContainerStateWaiting(reason="ErrImagePull", message="not found")


def status(number: int, *, digest: str = "", waiting: ContainerStateWaiting | None = None) -> Any:
    ended = ContainerStateTerminated(exitCode=128, reason="StartError")
    return ContainerStatus(
        name=f"image-{number}",
        image="",
        imageID=f"x@{digest}" if digest else "",
        ready=False,
        restartCount=0,
        state=ContainerState(waiting=waiting) if waiting else ContainerState(terminated=ended),
    )


@dataclass
class FakeClient:
    """A namespace in which the containers of each node come to what was chosen."""

    outcomes: dict[str, list[Any]]
    pods: dict[str, Pod] = field(default_factory=dict[str, Pod])
    made: list[Pod] = field(default_factory=list[Pod])
    failure: str = ""

    def create(self, pod: Pod) -> Pod:
        if self.failure == "create" and self.made:
            raise OSError("gone")
        assert pod.metadata and pod.spec
        name = f"{pod.metadata.generateName}{len(self.made)}"
        pod.metadata.name = name
        pod.status = PodStatus(containerStatuses=self.outcomes.get(str(pod.spec.nodeName), []))
        self.made.append(pod)
        self.pods[name] = pod
        return pod

    def list(self, kind: type, *, namespace: str, labels: object = None) -> Iterator[Pod]:
        assert namespace == "kubeflow"
        if kind is not Pod:
            return iter(())
        if self.failure == "list" and self.made and labels is None:
            raise OSError("gone")
        assert labels in (None, LABELS)
        return iter(list(self.pods.values()))

    def delete(self, kind: type, name: str, *, namespace: str, grace_period: int) -> None:
        assert (kind, namespace, grace_period) == (Pod, "kubeflow", 0)
        del self.pods[name]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient({})

    def connect(*_: object, **__: object) -> FakeClient:
        return client

    monkeypatch.setattr(lightkube, "Client", connect)
    monkeypatch.setattr(lightkube.KubeConfig, "from_env", lambda: None)
    return client


def tried(*nodes: str, timeout: float = 60) -> list[TriedImage]:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    found = try_images(
        "kubeflow", nodes, EXPECTED, timeout=timeout, clock=lambda: now, sleep=sleep
    )
    return list(found)


def test_each_node_tells_what_it_has_pulled(cluster: FakeClient) -> None:
    cluster.outcomes = {
        "one": [status(0, digest=HELD), status(1, digest=OTHER)],
        "two": [status(0, waiting=FAILED), status(1, digest=HELD)],
        "off": [],
    }
    found = [(each.node, each.problem) for each in tried("one", "two", "off")]
    assert found == [
        ("one", ""),
        ("one", f"pulled {OTHER}, which is not the digest in the registry"),
        ("two", "ErrImagePull: not found"),
        ("two", ""),
        ("off", "not pulled within 60 seconds"),
        ("off", "not pulled within 60 seconds"),
    ]
    assert str(tried("one")[0]) == "one: docker.io/library/busybox:1: pulled"


def test_a_pod_runs_nothing_and_may_nothing(cluster: FakeClient) -> None:
    tried("one")
    (pod,) = cluster.made
    assert pod.spec and pod.metadata
    metadata: Any = pod.metadata
    assert metadata.labels.items() >= LABELS.items()
    assert pod.spec.automountServiceAccountToken is False
    assert pod.spec.restartPolicy == "Never"
    assert pod.spec.activeDeadlineSeconds == 120
    assert pod.spec.nodeName == "one"
    assert [each.image for each in pod.spec.containers] == list(EXPECTED)
    for container in pod.spec.containers:
        assert container.imagePullPolicy == "Always"
        assert container.command == ["/ckf-airgap-starts-nothing"]
        security: Any = container.securityContext
        # What the restricted Pod Security Standard asks for.
        assert security.runAsNonRoot is True
        assert security.allowPrivilegeEscalation is False
        assert security.capabilities.drop == ["ALL"]
        assert security.seccompProfile.type == "RuntimeDefault"


@pytest.mark.parametrize("failure", ["", "create", "list"])
def test_no_pod_is_left(cluster: FakeClient, failure: str) -> None:
    cluster.outcomes = {name: [status(0, digest=HELD)] for name in ("one", "two")}
    # What a killed run has left goes, too.
    cluster.pods["old"] = Pod(metadata=ObjectMeta(name="old", namespace="kubeflow"))
    cluster.failure = failure
    if failure:
        with pytest.raises(ClusterError):
            tried("one", "two")
    else:
        tried("one", "two")
    assert cluster.made
    assert cluster.pods == {}
