"""What runs in the cluster: where its images come from and which cannot be pulled."""

from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import lightkube
import pytest
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import GenericNamespacedResource
from lightkube.models.apps_v1 import StatefulSetSpec, StatefulSetStatus
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateWaiting,
    ContainerStatus,
    EphemeralContainer,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta, OwnerReference, Status
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.resources.core_v1 import Node as KubernetesNode
from lightkube.resources.storage_v1 import StorageClass

from ckf_airgap.errors import ClusterError
from ckf_airgap.kubernetes.cluster import (
    ClusterFacts,
    Node,
    RunningImage,
    describe,
    knative_namespaces,
    profile_namespaces,
    report_images,
    running_images,
)
from ckf_airgap.kubernetes.images_in_use import images_in_use

HOST = "registry.corp:5000"


class FakeClient:
    """Gives the pods of each namespace and what else a cluster has, or fails."""

    pods: dict[str, list[Pod]]
    others: dict[type, list[Any]]
    knative: dict[str, list[str]]
    failure: Exception | None

    def list(
        self, resource: type, *, namespace: str = "", labels: object = None
    ) -> Iterator[object]:
        if self.failure:
            raise self.failure
        if resource is Namespace:
            assert labels == {"app.kubernetes.io/part-of": "kubeflow-profile"}
        if issubclass(resource, GenericNamespacedResource):
            assert namespace == "*"
            for each in self.knative[resource.__name__]:
                yield SimpleNamespace(metadata=ObjectMeta(namespace=each))
        elif resource is Pod:
            yield from self.pods.get(namespace, [])
        else:
            yield from self.others[resource]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient()
    client.pods = {}
    client.others = defaultdict(list)
    client.failure = None

    def connect(*_: object, **__: object) -> FakeClient:
        return client

    monkeypatch.setattr(lightkube, "Client", connect)
    monkeypatch.setattr(lightkube.KubeConfig, "from_env", lambda: None)
    return client


def status(name: str, waiting: str | None = None, message: str | None = None) -> ContainerStatus:
    state = (
        ContainerState(waiting=ContainerStateWaiting(message=message, reason=waiting))
        if waiting
        else ContainerState(running=ContainerStateRunning())
    )
    return ContainerStatus(
        image="", imageID="", name=name, ready=not waiting, restartCount=0, state=state
    )


def pod(
    name: str,
    containers: dict[str, str | None],
    initial: dict[str, str | None] | None = None,
    pod_status: PodStatus | None = None,
) -> Pod:
    spec = PodSpec(
        containers=[Container(name=key, image=image) for key, image in containers.items()],
        initContainers=[Container(name=key, image=image) for key, image in initial.items()]
        if initial
        else None,
    )
    return Pod(metadata=ObjectMeta(name=name, namespace="ns"), spec=spec, status=pod_status)


def running(image: str, pull_failure: str = "") -> RunningImage:
    return RunningImage("ns", "pod-0", "main", image, pull_failure)


def api_error(code: int, message: str) -> ApiError:
    request = httpx2.Request("GET", "https://10.0.0.1/api/v1/pods")
    return ApiError(request=request, status=Status(code=code, message=message))


@pytest.mark.parametrize(
    ("image", "is_foreign"),
    [
        (f"{HOST}/ckf/istio/pilot:1", False),
        (f"{HOST}/ckf/istio/pilot@sha256:{'0' * 64}", False),
        ("registry.corp/ckf/istio/pilot:1", True),
        ("registry.corp:5001/ckf/istio/pilot:1", True),
        (f"evil.{HOST}/ckf/istio/pilot:1", True),
        (f"docker.io/{HOST}/pilot", True),
        ("docker.io/istio/pilot:1", True),
        ("istio/pilot:1", True),
        ("busybox", True),
        ("", True),
    ],
)
def test_images_from_elsewhere_are_found(image: str, is_foreign: bool) -> None:
    report = report_images([running(image), running(f"{HOST}/other:1")], HOST)
    assert report.containers == 2
    assert report.foreign == ((running(image),) if is_foreign else ())
    assert report.not_pulled == ()


@pytest.mark.parametrize(
    ("image", "is_foreign"),
    [
        ("other.corp/juju/charm-base:ubuntu-24.04", False),
        ("other.corp/jujutwo/charm-base:ubuntu-24.04", True),
        ("other.corp/else:1", True),
        (f"{HOST}/ckf/istio/pilot:1", False),
    ],
)
def test_jujus_own_images_may_come_from_where_the_controller_says(
    image: str, is_foreign: bool
) -> None:
    report = report_images([running(image)], HOST, "other.corp/juju")
    assert bool(report.foreign) == is_foreign


def test_failed_pulls_are_found_wherever_the_image_comes_from() -> None:
    broken = running(f"{HOST}/a:1", "ErrImagePull: not found")
    foreign = running("busybox", "ImagePullBackOff")
    report = report_images(iter([broken, foreign]), HOST)
    assert report.not_pulled == (broken, foreign)
    assert report.foreign == (foreign,)


def test_a_report_of_nothing_is_empty() -> None:
    report = report_images([], HOST)
    assert (report.containers, report.foreign, report.not_pulled) == (0, (), ())


def test_an_image_is_told_with_its_place() -> None:
    assert str(running("busybox")) == "busybox in ns/pod-0, container main"
    assert str(running("busybox", "ErrImagePull: no")).endswith(
        "container main (ErrImagePull: no)"
    )


def test_every_container_is_listed_with_its_image(fake: FakeClient) -> None:
    fake.pods = {
        "ns": [
            pod("one", {"main": "a:1", "side": "b:1"}, {"init": "c:1"}),
            pod("two", {"main": None}),
        ],
        "other": [pod("three", {"main": "d:1"})],
        "unasked": [pod("four", {"main": "e:1"})],
    }
    found = [
        (image.pod, image.container, image.image) for image in running_images(["ns", "other"])
    ]
    assert found == [
        ("one", "main", "a:1"),
        ("one", "side", "b:1"),
        ("one", "init", "c:1"),
        ("two", "main", ""),
        ("three", "main", "d:1"),
    ]


def test_a_pod_without_spec_has_no_containers(fake: FakeClient) -> None:
    fake.pods = {"ns": [Pod(metadata=ObjectMeta(name="x")), Pod()]}
    assert running_images(["ns"]) == []


@pytest.mark.parametrize(
    ("reason", "message", "failure"),
    [
        ("ErrImagePull", "manifest unknown", "ErrImagePull: manifest unknown"),
        ("ImagePullBackOff", None, "ImagePullBackOff"),
        ("InvalidImageName", "", "InvalidImageName"),
        ("ErrImageNeverPull", None, "ErrImageNeverPull"),
        ("ImageInspectError", None, "ImageInspectError"),
        ("ContainerCreating", None, ""),
        ("CrashLoopBackOff", "back-off", ""),
        (None, None, ""),
    ],
)
@pytest.mark.parametrize(
    "kind", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
)
def test_only_pulls_that_fail_are_failed_pulls(
    kind: str, reason: str | None, message: str | None, failure: str, fake: FakeClient
) -> None:
    statuses: dict[str, Any] = {kind: [status("other"), status("it", reason, message)]}
    containers: dict[str, str | None] = {"other": "a:1", "it": "b:1"}
    of_pod = {"containers": [], kind.replace("Statuses", "s"): _containers(kind, containers)}
    found = Pod(
        metadata=ObjectMeta(name="p", namespace="ns"),
        spec=PodSpec(**cast(Any, of_pod)),
        status=PodStatus(**statuses),
    )
    fake.pods = {"ns": [found]}
    assert {image.container: image.pull_failure for image in running_images(["ns"])} == {
        "other": "",
        "it": failure,
    }


def _containers(
    kind: str, images: dict[str, str | None]
) -> list[Container] | list[EphemeralContainer]:
    if kind == "ephemeralContainerStatuses":
        return [EphemeralContainer(name=name, image=image) for name, image in images.items()]
    return [Container(name=name, image=image) for name, image in images.items()]


@pytest.mark.parametrize(("newest", "is_outdated"), [("set-2", True), ("set-1", False)])
def test_a_pod_that_its_stateful_set_has_left_behind_is_told_with_its_cure(
    newest: str, is_outdated: bool, fake: FakeClient
) -> None:
    """Kubernetes does not replace the pod of a StatefulSet that was never ready."""
    stuck = pod(
        "set-0",
        {"main": "h:5/a:1"},
        pod_status=PodStatus(containerStatuses=[status("main", "ImagePullBackOff")]),
    )
    assert stuck.metadata
    stuck.metadata.labels = {"controller-revision-hash": "set-1"}
    stuck.metadata.ownerReferences = [OwnerReference("apps/v1", "StatefulSet", "set", "uid")]
    fake.pods = {"ns": [stuck]}
    fake.others = {
        StatefulSet: [
            StatefulSet(
                metadata=ObjectMeta(name="set"),
                spec=StatefulSetSpec(selector=LabelSelector(), template=PodTemplateSpec()),
                status=StatefulSetStatus(replicas=1, updateRevision=newest),
            )
        ]
    }
    (image,) = running_images(["ns"])
    assert image.is_outdated == is_outdated
    assert ("kubectl delete pod --namespace ns set-0" in str(image)) == is_outdated


def test_a_container_without_a_state_is_no_failure(fake: FakeClient) -> None:
    bare = ContainerStatus(image="", imageID="", name="main", ready=False, restartCount=0)
    fake.pods = {"ns": [pod("p", {"main": "a:1"}, pod_status=PodStatus(containerStatuses=[bare]))]}
    assert [image.pull_failure for image in running_images(["ns"])] == [""]


@pytest.mark.parametrize(
    ("image_id", "waiting", "is_starting"),
    [
        ("", "ContainerCreating", True),
        ("", "ErrImagePull", False),
        (f"a@sha256:{'a' * 64}", None, False),
        (f"docker://sha256:{'a' * 64}", None, False),
        (f"a@sha256:{'a' * 64}", "CrashLoopBackOff", False),
    ],
)
def test_a_container_is_starting_until_the_node_reports_its_image(
    image_id: str, waiting: str | None, is_starting: bool, fake: FakeClient
) -> None:
    reported = status("main", waiting)
    reported.imageID = image_id
    found = PodStatus(containerStatuses=[reported])
    fake.pods = {"ns": [pod("p", {"main": "a:1"}, pod_status=found)]}
    assert [image.is_starting for image in running_images(["ns"])] == [is_starting]


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"docker.io/ubuntu/istio-pilot@sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        (f"docker-pullable://a/b@sha256:{'a' * 64}", f"sha256:{'a' * 64}"),
        # The digest of the config is none of a manifest, but nothing is equal to it either.
        (f"sha256:{'b' * 64}", f"sha256:{'b' * 64}"),
        ("", ""),
        ("a@b", ""),
    ],
)
def test_the_digest_that_a_node_has_pulled(image_id: str, digest: str, fake: FakeClient) -> None:
    pulled = ContainerStatus(image="", imageID=image_id, name="main", ready=True, restartCount=0)
    statuses = PodStatus(containerStatuses=[pulled])
    fake.pods = {"ns": [pod("p", {"main": "a:1"}, pod_status=statuses)]}
    assert [image.digest for image in running_images(["ns"])] == [digest]


def test_a_refusal_names_the_command_that_grants_access(fake: FakeClient) -> None:
    fake.failure = api_error(403, "pods is forbidden")
    with pytest.raises(ClusterError, match=r"pods is forbidden.*juju trust ckf-airgap"):
        running_images(["ns"])


def test_another_failure_of_the_api_is_told_without_that_command(fake: FakeClient) -> None:
    fake.failure = api_error(500, "etcd is gone")
    with pytest.raises(ClusterError, match="etcd is gone") as error:
        running_images(["ns"])
    assert "trust" not in str(error.value)


@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ConnectError("connection refused"),
        httpx2.ReadTimeout("timed out"),
        OSError("no route to host"),
    ],
)
def test_an_api_that_does_not_answer_is_told(failure: Exception, fake: FakeClient) -> None:
    fake.failure = failure
    with pytest.raises(ClusterError, match=rf"cannot be reached \({failure}\)"):
        running_images(["ns"])


@pytest.mark.parametrize(
    ("failure", "cure"),
    [
        (api_error(403, "forbidden"), "give the kubeconfig of an account that may list"),
        (api_error(401, "unknown"), "check that the account and its token are valid"),
        (httpx2.ConnectError("connection refused"), "check that the cluster is healthy"),
    ],
)
def test_only_what_is_forbidden_asks_for_the_kubeconfig_of_another_account(
    failure: Exception, cure: str, fake: FakeClient
) -> None:
    fake.failure = failure
    with pytest.raises(ClusterError) as raised:
        images_in_use(fake)
    assert raised.value.cure.startswith(cure)


def test_no_configuration_of_the_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def configuration() -> None:
        raise ConfigError("no configuration found")

    monkeypatch.setattr(lightkube.KubeConfig, "from_env", configuration)
    with pytest.raises(ClusterError, match="no configuration found"):
        running_images(["ns"])


def node(name: str, **conditions: str) -> KubernetesNode:
    information: dict[str, str] = dict.fromkeys(
        (
            "bootID",
            "containerRuntimeVersion",
            "kernelVersion",
            "kubeProxyVersion",
            "machineID",
            "operatingSystem",
            "osImage",
            "systemUUID",
        ),
        "",
    )
    # The library's own types are only partly known to the type checker.
    kind: Any = KubernetesNode
    return kind.from_dict(
        {
            "metadata": {"name": name},
            "status": {
                "nodeInfo": {
                    **information,
                    "kubeletVersion": "v1.33.1",
                    "architecture": "arm64",
                },
                "conditions": [
                    {"type": kind, "status": status} for kind, status in conditions.items()
                ],
            },
        }
    )


def storage_class(name: str, default: str | None) -> StorageClass:
    key = "storageclass.kubernetes.io/is-default-class"
    annotations = {key: default} if default else None
    return StorageClass(provisioner="p", metadata=ObjectMeta(name=name, annotations=annotations))


def test_the_cluster_is_looked_at(fake: FakeClient) -> None:
    fake.others = {
        KubernetesNode: [
            node("one", Ready="True", DiskPressure="False"),
            node("two", Ready="False", DiskPressure="True", MemoryPressure="Unknown"),
            node("silent", Ready="Unknown", DiskPressure="Unknown", MemoryPressure="Unknown"),
        ],
        StorageClass: [storage_class("a", None), storage_class("b", "true")],
    }
    facts = describe()
    assert facts == ClusterFacts(
        (
            Node("one", "v1.33.1", "arm64", ()),
            Node("two", "v1.33.1", "arm64", ("not being ready", "DiskPressure")),
            Node("silent", "v1.33.1", "arm64", ("not being ready",)),
        ),
        "b",
    )
    assert facts.versions == {"v1.33.1"}


def test_no_storage_class_need_be_the_default(fake: FakeClient) -> None:
    fake.others = {KubernetesNode: [], StorageClass: [storage_class("a", "false")]}
    assert describe() == ClusterFacts((), "")


def test_the_namespaces_of_profiles_are_found_by_their_label(fake: FakeClient) -> None:
    fake.others = {Namespace: [Namespace(metadata=ObjectMeta(name="ann"))]}
    assert profile_namespaces() == ["ann"]


def test_the_namespaces_of_knative_are_those_of_what_its_operator_runs(fake: FakeClient) -> None:
    fake.knative = {"KnativeServing": ["knative-serving"], "KnativeEventing": ["eventing"]}
    assert knative_namespaces() == ["knative-serving", "eventing"]
    fake.knative = {"KnativeServing": ["both"], "KnativeEventing": ["both"]}
    assert knative_namespaces() == ["both"]


def test_a_cluster_without_knative_has_no_namespaces_of_it(fake: FakeClient) -> None:
    fake.failure = api_error(404, "the server could not find the requested resource")
    assert knative_namespaces() == []
    # What Kubernetes answers for a group that it does not know.
    request = httpx2.Request("GET", "https://10.0.0.1/apis/operator.knative.dev/v1beta1/x")
    response = httpx2.Response(404, text="404 page not found", request=request)
    fake.failure = httpx2.HTTPStatusError("404", request=request, response=response)
    assert knative_namespaces() == []


def test_a_refusal_to_list_what_knative_runs_is_told(fake: FakeClient) -> None:
    fake.failure = api_error(403, "forbidden")
    with pytest.raises(ClusterError, match=r"refused to list KnativeServing.*juju trust"):
        knative_namespaces()


def test_a_refusal_says_what_was_refused(fake: FakeClient) -> None:
    fake.failure = api_error(403, "forbidden")
    with pytest.raises(ClusterError, match="refused to look at nodes and storage classes"):
        describe()
    with pytest.raises(ClusterError, match=r"refused to list namespaces.*juju trust"):
        profile_namespaces()
