"""Charms of other teams and releases that are deployed beside Charmed Kubeflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile, wanted_images
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_images import model_images
from ckf_airgap.juju.juju_version import JujuVersion
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, Endpoint, Option, Release, Resource, charm_file
from tests.unit.artifacts import charm_files, inventory_of
from tests.unit.bundles import texts

LOCATION = RegistryLocation("registry.corp:5000", "ckf")
CUSTOM_IMAGES = "src/default-custom-images.json"
SELDON = {
    "configmap__predictor__tensorflow__seldon": "seldonio/tfserving-proxy:1.17.1",
    "configmap__predictor__triton__v2": "nvcr.io/nvidia/tritonserver:21.08-py3",
    "configmap_explainer_v2": "seldonio/mlserver:1.3.5-alibi-explain",
}
SERVING = {
    "activator": "charmedkubeflow/knative-serving-activator:1.16.0-2a3354f",
    "net-istio-webhook/webhook": "charmedkubeflow/net-istio-webhook:1.16.0-4214206",
    "queue-proxy": "charmedkubeflow/knative-serving-queue:1.16.0-18b14c8",
    "migrate": "docker.io/charmedkubeflow/migrate:1.16.0-e5dc265",
}
HUB = """pilot-image: 'pilot'  # values.pilot.image
global-tag: '1.28.0'
global-hub: 'docker.io/istio'
global-proxy-image: 'proxyv2'
global-proxy-init-image: 'proxyv2'
grpc-bootstrap-init: 'busybox:1.28'
"""


def empty(keys: Mapping[str, str]) -> str:
    return "".join(f"{key}: ''\n" for key in keys)


def of_resources(**images: str) -> tuple[Resource, ...]:
    return tuple(Resource(name, "oci-image", image) for name, image in images.items())


@dataclass(frozen=True)
class Case:
    """A charm, and what it takes.

    Attributes:
        charm: The charm.
        images: The images that it takes.
        options: The options that are set, apart from those that only the registry decides.
    """

    charm: Charm
    images: frozenset[str]
    options: frozenset[str] = frozenset()


CASES = (
    Case(
        Charm(
            "mlflow-server",
            of_resources(
                **{
                    "oci-image": "docker.io/charmedkubeflow/mlflow:2.22.0-5be7a7a",
                    "exporter-oci-image": "docker.io/charmedkubeflow/mlflow-prometheus-exporter:1",
                }
            ),
        ),
        frozenset(
            {
                "docker.io/charmedkubeflow/mlflow:2.22.0-5be7a7a",
                "docker.io/charmedkubeflow/mlflow-prometheus-exporter:1",
            }
        ),
    ),
    Case(
        Charm(
            "seldon-core",
            of_resources(**{"oci-image": "charmedkubeflow/seldon-core-operator:1.17.1-c95840c"}),
            (
                Option("custom_images", "string", empty(SELDON)),
                Option(
                    "executor-container-image-and-version",
                    "string",
                    "docker.io/seldonio/seldon-core-executor:1.17.1",
                ),
                Option("executor-container-image-pull-policy", "string", "IfNotPresent"),
                Option("related-image-executor", "string", ""),
                Option("related-image-tensorflow", "string", ""),
                Option("istio-gateway", "string", "istio-system/seldon-gateway"),
                Option("executor-prometheus-path", "string", "/prometheus"),
            ),
            {CUSTOM_IMAGES: json.dumps(SELDON)},
        ),
        frozenset(
            {
                "charmedkubeflow/seldon-core-operator:1.17.1-c95840c",
                "docker.io/seldonio/seldon-core-executor:1.17.1",
                *SELDON.values(),
            }
        ),
        frozenset({"custom_images", "executor-container-image-and-version"}),
    ),
    Case(
        Charm(
            "namespace-node-affinity",
            options=(
                Option(
                    "namespace-node-affinity-image",
                    "string",
                    "charmedkubeflow/namespace-node-affinity:2.2.0",
                ),
            ),
        ),
        frozenset({"charmedkubeflow/namespace-node-affinity:2.2.0"}),
        frozenset({"namespace-node-affinity-image"}),
    ),
    Case(
        Charm(
            "github-profiles-automator",
            of_resources(**{"git-sync-image": "registry.k8s.io/git-sync/git-sync:v4.4.0"}),
            (Option("kfp-ui-principal", "string", "cluster.local/ns/kubeflow/sa/ml-pipeline-ui"),),
        ),
        frozenset({"registry.k8s.io/git-sync/git-sync:v4.4.0"}),
    ),
    Case(
        Charm(
            "opentelemetry-collector-k8s",
            of_resources(
                **{
                    "opentelemetry-collector-image": "ubuntu/opentelemetry-collector@sha256:"
                    + "6df3cad7" * 8
                }
            ),
        ),
        frozenset({"ubuntu/opentelemetry-collector@sha256:" + "6df3cad7" * 8}),
    ),
    Case(
        Charm(
            "knative-serving",
            options=(
                Option("custom_images", "string", empty(SERVING)),
                Option("queue_sidecar_image", "string", ""),
                Option("registries-skipping-tag-resolving", "string", "nvcr.io"),
            ),
            default_files={CUSTOM_IMAGES: json.dumps(SERVING)},
        ),
        frozenset(SERVING.values()),
        frozenset({"custom_images", "queue_sidecar_image"}),
    ),
    Case(
        Charm(
            "knative-operator",
            of_resources(
                **{
                    "knative-operator-image": "charmedkubeflow/knative-operator:1.16.0-7e998f4",
                    "knative-operator-webhook-image": "charmedkubeflow/knative-webhook:1.16.0",
                }
            ),
            (
                Option(
                    "otel-collector-image",
                    "string",
                    "ubuntu/opentelemetry-collector:0.120.0-24.04_stable",
                ),
            ),
        ),
        frozenset(
            {
                "charmedkubeflow/knative-operator:1.16.0-7e998f4",
                "charmedkubeflow/knative-webhook:1.16.0",
                "ubuntu/opentelemetry-collector:0.120.0-24.04_stable",
            }
        ),
        frozenset({"otel-collector-image"}),
    ),
    Case(
        Charm("istio-pilot", options=(Option("image-configuration", "string", HUB),)),
        frozenset({"docker.io/istio/pilot:1.28.0", "docker.io/istio/proxyv2:1.28.0"}),
        frozenset({"image-configuration"}),
    ),
    # A charm without an image of its own.
    Case(Charm("ngc-integrator"), frozenset()),
)


def planned(charms: tuple[CharmFile, ...], images: frozenset[str], bundle: str) -> Plan:
    # An archive is never empty.
    held = inventory_of(sorted(images) or ["docker.io/other/image:1"])
    return make_plan(charms, held, PlanSettings.parse(location=LOCATION, bundle=bundle))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.charm.name)
def test_every_image_of_a_charm_is_found(case: Case, tmp_path: Path) -> None:
    charms = charm_files((case.charm,), tmp_path / "charms")
    assert {str(image) for image in wanted_images(charms)} == case.images
    made = planned(charms, case.images, f"applications: {{{case.charm.name}: {{}}}}")
    assert (made.missing, made.incomplete) == ((), ())
    assert {item.image for item in made.resolved} == case.images
    (application,) = made.applications
    assert set(application.resources) == {resource.name for resource in case.charm.resources}
    assert {*application.options} - {"registries-skipping-tag-resolving"} == case.options
    assert all("registry.corp:5000/ckf" in str(application.options[n]) for n in case.options)


def test_knative_resolves_no_tags_of_the_registry(tmp_path: Path) -> None:
    (serving,) = (case for case in CASES if case.charm.name == "knative-serving")
    charms = charm_files((serving.charm,), tmp_path / "charms")
    made = planned(charms, serving.images, "applications: {knative-serving: {}}")
    options = made.applications[0].options
    assert options["registries-skipping-tag-resolving"] == "nvcr.io,registry.corp:5000"
    queue = "registry.corp:5000/ckf/charmedkubeflow/knative-serving-queue:1.16.0-18b14c8"
    assert options["queue_sidecar_image"] == queue


MLFLOW = (
    Endpoint("relational-db", "requires", "mysql_client"),
    Endpoint("object-storage", "requires", "object-storage"),
    Endpoint("dashboard-links", "requires", "kubeflow_dashboard_links"),
    Endpoint("secrets", "requires", "kubernetes_manifest"),
)
MESH = (
    Endpoint("provide-cmr-mesh", "provides", "cross_model_mesh"),
    Endpoint("require-cmr-mesh", "requires", "cross_model_mesh"),
)
MLFLOW_BUNDLE = """
applications:
  mlflow-server: {charm: mlflow-server, channel: 2.22/stable, scale: 1}
  mlflow-minio: {charm: minio, channel: ckf-1.10/stable, scale: 1}
  mlflow-mysql: {charm: mysql-k8s, channel: 8.0/stable, scale: 1, constraints: mem=2G}
relations:
- [mlflow-server, mlflow-minio]
- [mlflow-server, mlflow-mysql]
"""


def mlflow(tmp_path: Path, *, mesh: bool) -> Plan:
    minio, mysql = (
        Charm(charm.name, charm.resources, endpoints=charm.endpoints)
        for charm in Release.ambient().charms
        if charm.name in ("minio", "mysql-k8s")
    )
    if not mesh:
        kept = tuple(end for end in minio.endpoints if end.interface == "object-storage")
        minio = Charm(minio.name, minio.resources, endpoints=kept)
    server = Charm("mlflow-server", endpoints=(*MLFLOW, *(MESH if mesh else ())))
    charms = charm_files((server, minio, mysql), tmp_path / "charms")
    return planned(charms, frozenset(map(str, wanted_images(charms))), MLFLOW_BUNDLE)


def test_relations_of_mlflow_need_no_endpoints(tmp_path: Path) -> None:
    made = mlflow(tmp_path, mesh=False)
    assert texts(made.relations) == [
        ("mlflow-server:object-storage", "mlflow-minio:object-storage"),
        ("mlflow-server:relational-db", "mlflow-mysql:database"),
    ]
    assert (made.missing, made.missing_charms, made.warnings) == ((), (), ())


def test_relations_that_a_mesh_makes_ambiguous_are_refused_as_juju_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"mlflow-server with mlflow-minio could be"):
        mlflow(tmp_path, mesh=True)


def test_juju_needs_an_image_of_the_base_of_each_charm(tmp_path: Path) -> None:
    path = tmp_path / "opentelemetry-collector-k8s.charm"
    manifest = "bases: [{name: ubuntu, channel: '26.04', architectures: [amd64]}]"
    charm = Charm("opentelemetry-collector-k8s")
    path.write_bytes(charm_file(charm, None, {"manifest.yaml": manifest}))
    images = model_images(JujuVersion.of_option("3.6.25"), [CharmFile.read(path)])
    assert "charm-base:ubuntu-26.04" in images
