"""``ckf-airgap prune --kubeconfig``: what a cluster uses stays."""

import base64
import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.pki import Authority
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import QuietHandler, serve
from tests.functional.test_prune import GONE, SHARED, PruneCase

Document = dict[str, Any]
KINDS = {
    "/api/v1/pods": "Pod",
    "/apis/apps/v1/deployments": "Deployment",
    "/apis/apps/v1/statefulsets": "StatefulSet",
    "/apis/apps/v1/daemonsets": "DaemonSet",
    "/apis/batch/v1/jobs": "Job",
    "/apis/batch/v1/cronjobs": "CronJob",
}


class Cluster:
    """A Kubernetes API that lists what it is given.

    Attributes:
        objects: What there is, by its kind.
        status: What it answers with.
        tokens: The authorizations that came.
    """

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, list[Document]] = {}
        self.status = 200
        self.tokens: set[str | None] = set()
        self.kubeconfig = folder / "kubeconfig"

    def has(self, kind: str, **content: Any) -> None:
        metadata = {"name": "one", "namespace": "kubeflow"}
        self.objects.setdefault(kind, []).append({"metadata": metadata, **content})

    def answer(self, path: str) -> Document:
        kind = KINDS[path.partition("?")[0]]
        if self.status != 200:
            return {"kind": "Status", "apiVersion": "v1", "code": self.status, "message": "no"}
        return {"metadata": {}, "items": self.objects.get(kind, [])}

    def write_kubeconfig(self, server: str, **cluster: object) -> None:
        document = {
            "current-context": "one",
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": {"token": "the-token"}}],
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        }
        self.kubeconfig.write_text(json.dumps(document))


@pytest.fixture
def cluster(authority: Authority, tmp_path: Path) -> Generator[Cluster]:
    cluster = Cluster(tmp_path)

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            cluster.tokens.add(self.headers.get("Authorization"))
            body = json.dumps(cluster.answer(self.path)).encode()
            self.send_response(cluster.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Handler, authority) as host:
        ca = base64.b64encode(authority.certificate.read_bytes()).decode()
        cluster.write_kubeconfig(f"https://{host}", **{"certificate-authority-data": ca})
        yield cluster


@pytest.fixture
def case(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> PruneCase:
    case = PruneCase(registry, tmp_path / "case", capsys)
    case.fill()
    return case


def template(*containers: str, **more: object) -> Document:
    return {"spec": {"containers": [{"name": "c", "image": each} for each in containers], **more}}


def pod(image: str, image_id: str = "", phase: str = "Running", **spec: object) -> Document:
    status = {"name": "c", "image": image, "imageID": image_id, "ready": True, "restartCount": 0}
    return {**template(image, **spec), "status": {"phase": phase, "containerStatuses": [status]}}


@pytest.mark.parametrize(
    "kind", ["init", "ephemeral", *(kind for kind in KINDS.values() if kind != "Pod")]
)
def test_what_makes_pods_keeps_its_image(case: PruneCase, cluster: Cluster, kind: str) -> None:
    image = f"{case.prefix}/kubeflow/kfam:1.7"
    other = {"name": "i", "image": image}
    base: dict[str, object] = {"selector": {}, "serviceName": "s"}
    match kind:
        case "init":
            cluster.has("Pod", **pod("somewhere/else:1", initContainers=[other]))
        case "ephemeral":
            cluster.has("Pod", **pod("somewhere/else:1", ephemeralContainers=[other]))
        case "CronJob":
            job = {"spec": {"template": template(image)}}
            cluster.has(kind, spec={"schedule": "* * * * *", "jobTemplate": job})
        case _:
            # No pod of it runs now.
            cluster.has(kind, spec={**base, "replicas": 0, "template": template(image)})
    plan = case.prune("--kubeconfig", str(cluster.kubeconfig))
    assert plan.status == 0, plan.said
    # Nodes with a mirror configuration may have it by its other name.
    kept = {"kubeflow/kfam:1.7", "docker.io/kubeflow/kfam:1.7"}
    assert case.below(plan, "in_use") <= kept
    assert "kubeflow/kfam:1.7" in case.below(plan, "in_use")
    assert case.below(plan, "to_delete") == (SHARED | GONE) - case.below(plan, "in_use")
    assert "kubeflow/one" in plan.texts("in_use")
    assert cluster.tokens == {"Bearer the-token"}


def test_pods_keep_what_they_run(case: PruneCase, cluster: Cluster) -> None:
    busybox = case.digests()["busybox:1.35"]
    # By the original name, through a mirror; and under another name of the registry.
    cluster.has("Pod", **pod("busybox:1.35"))
    cluster.has("Pod", **pod("alias:5000/x/kfam:other", f"alias:5000/x/kfam@{kfam(case)}"))
    done = case.prune("--kubeconfig", str(cluster.kubeconfig), "--context", "one", "--yes")
    assert done.status == 0, done.said
    assert case.below(done, "in_use") == GONE
    assert done.document["deleted"] == []
    assert case.digests()["busybox:1.35"] == busybox


def kfam(case: PruneCase) -> str:
    return case.digests()["kubeflow/kfam:1.7"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_what_has_ended_keeps_nothing(case: PruneCase, cluster: Cluster, phase: str) -> None:
    image = f"{case.prefix}/kubeflow/kfam:1.7"
    cluster.has("Pod", **pod(image, phase=phase))
    ended = {"Succeeded": "Complete"}.get(phase, phase)
    condition = {"type": ended, "status": "True"}
    cluster.has("Job", spec={"template": template(image)}, status={"conditions": [condition]})
    plan = case.prune("--kubeconfig", str(cluster.kubeconfig))
    assert plan.document["in_use"] == {}, plan.said
    assert case.below(plan, "to_delete") == SHARED | GONE


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_cluster_that_does_not_answer(case: PruneCase, cluster: Cluster, status: int) -> None:
    cluster.status = status
    before: Mapping[str, str] = case.digests()
    done = case.prune("--kubeconfig", str(cluster.kubeconfig), "--yes")
    assert done.status == 2, done.said
    assert "refused to list Pods" in done.error
    assert "juju" not in done.error
    assert case.digests() == before


@pytest.mark.parametrize(
    ("server", "cluster_options"),
    [
        ("http://127.0.0.1:1", {}),
        ("https://127.0.0.1:1", {"insecure-skip-tls-verify": True}),
    ],
)
def test_a_cluster_without_verified_tls(
    case: PruneCase, cluster: Cluster, server: str, cluster_options: Document
) -> None:
    cluster.write_kubeconfig(server, **cluster_options)
    done = case.prune("--kubeconfig", str(cluster.kubeconfig), "--yes")
    assert done.status == 2, done.said
    assert "without verified TLS" in done.error


@pytest.mark.parametrize("content", ["", "[]", "a: [", "users: [{name: the-token", "\x00"])
def test_a_file_that_is_no_kubeconfig(case: PruneCase, cluster: Cluster, content: str) -> None:
    cluster.kubeconfig.write_text(content)
    done = case.prune("--kubeconfig", str(cluster.kubeconfig), "--yes")
    assert done.status == 2, done.said
    assert "is not a usable kubeconfig" in done.error
    assert "the-token" not in done.error


def test_a_context_that_is_not_there(case: PruneCase, cluster: Cluster) -> None:
    done = case.prune("--kubeconfig", str(cluster.kubeconfig), "--context", "two")
    assert done.status == 2, done.said
    assert "Context 'two' not found" in done.error


def test_an_image_is_known_by_its_config(case: PruneCase, cluster: Cluster) -> None:
    manifest = case.registry.client().stored_manifest(f"{case.place}/kubeflow/kfam", "1.7")
    assert manifest
    config = json.loads(manifest.content)["config"]["digest"]
    cluster.has("Pod", **pod("sha256:1", config))
    plan = case.prune("--kubeconfig", str(cluster.kubeconfig))
    assert case.below(plan, "in_use") == {"kubeflow/kfam:1.7", "docker.io/kubeflow/kfam:1.7"}
