"""A release with the ambient mesh of Istio: other applications, relations and options."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from ckf_airgap.charm_file import CharmFile, wanted_images
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm
from tests.sample_release.release import Endpoint, Option, Resource
from tests.unit.artifacts import charm_files, inventory_of

LOCATION = RegistryLocation("registry.corp:5000", "ckf")
# Charm: its endpoints; + provides, - requires. The interface is that of INTERFACES, or has the
# endpoint's name.
CHARMS = """
admission-webhook: -service-mesh
argo-controller: -object-storage
dex-auth: +dex-oidc-config -istio-ingress-route-unauthenticated -oidc-client -service-mesh
envoy: -grpc -istio-ingress-route -service-mesh
istio-beacon-k8s: +service-mesh
istio-ingress-k8s: -forward-auth +gateway-metadata +istio-ingress-config +istio-ingress-route
 +istio-ingress-route-unauthenticated
istio-k8s: -istio-ingress-config
jupyter-controller: -gateway-metadata -service-mesh
jupyter-ui: -dashboard-links -ingress -istio-ingress-route -service-mesh
katib-controller: -k8s-service-info -service-mesh
katib-db-manager: +k8s-service-info -relational-db
katib-ui: -dashboard-links -ingress -istio-ingress-route -service-mesh
kfp-api: +kfp-api +kfp-api-grpc -kfp-viz -object-storage -relational-db -service-mesh
kfp-metadata-writer: -grpc
kfp-persistence: -kfp-api -kfp-api-grpc -service-mesh
kfp-profile-controller: -object-storage -service-mesh
kfp-schedwf: -kfp-api-grpc -service-mesh
kfp-ui: -dashboard-links -ingress -istio-ingress-route -kfp-api -object-storage -service-mesh
kfp-viewer:
kfp-viz: +kfp-viz -service-mesh
kserve-controller: -gateway-metadata -service-mesh
kubeflow-dashboard: -ingress -istio-ingress-route -kubeflow-profiles +links -service-mesh
kubeflow-profiles: +kubeflow-profiles -service-mesh
kubeflow-roles:
kubeflow-trainer: -dashboard-links -service-mesh
kubeflow-volumes: -dashboard-links -ingress -istio-ingress-route -service-mesh
metacontroller-operator:
minio: +object-storage -service-mesh
mlmd: +grpc
mysql-k8s: +database
oidc-gatekeeper: -dex-oidc-config +forward-auth -ingress -istio-ingress-route-unauthenticated
 +oidc-client -service-mesh
pvcviewer-operator: -gateway-metadata -service-mesh
tensorboard-controller: -gateway-metadata -service-mesh
tensorboards-web-app: -dashboard-links -ingress -istio-ingress-route -service-mesh
training-operator: -dashboard-links -service-mesh
"""
INTERFACES = {
    "links": "dashboard_links",
    "dashboard-links": "dashboard_links",
    "database": "mysql_client",
    "relational-db": "mysql_client",
}
OPTIONS = {
    "kserve-controller": ("deployment-mode",),
    "kubeflow-profiles": ("service-mesh-mode", "istio-gateway-service-account"),
}
# Charms without a workload container of their own.
WITHOUT_RESOURCE = {"kubeflow-roles", "metacontroller-operator"}
SIDECAR = ("istio-pilot", "istio-gateway", "knative-eventing", "knative-operator")


def charm(name: str, endpoints: str) -> Charm:
    return Charm(
        name,
        resources=()
        if name in WITHOUT_RESOURCE
        else (Resource("oci-image", "oci-image", f"docker.io/charmed/{name}:1"),),
        options=tuple(Option(option, "string", "") for option in OPTIONS.get(name, ())),
        endpoints=tuple(
            Endpoint(
                end[1:],
                "provides" if end[0] == "+" else "requires",
                INTERFACES.get(end[1:], end[1:]),
            )
            for end in endpoints.split()
        ),
    )


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    lines = CHARMS.replace("\n ", " ").strip().splitlines()
    made = [charm(*line.split(":")) for line in lines]
    return charm_files(made, tmp_path_factory.mktemp("charms"))


def plan(charms: Iterable[CharmFile], **values: str) -> Plan:
    charms = tuple(charms)
    held = inventory_of(map(str, wanted_images(charms)))
    return make_plan(charms, held, PlanSettings.parse(location=LOCATION, **values))


def options(made: Plan) -> dict[str, dict[str, object]]:
    return {item.name: dict(item.options) for item in made.applications if item.options}


def test_an_ambient_release_is_planned_whole(charms: tuple[CharmFile, ...]) -> None:
    made = plan(charms)
    assert (len(made.applications), len(made.relations)) == (36, 63)
    assert (made.missing_charms, made.missing, made.incomplete) == ((), (), ())
    assert not [item for item in made.warnings if "belongs to no application" in item.problem]
    assert options(made) == {
        "kserve-controller": {"deployment-mode": "rawdeployment"},
        "kubeflow-profiles": {
            "service-mesh-mode": "istio-ambient",
            "istio-gateway-service-account": "istio-ingress-k8s-istio",
        },
    }


def test_a_bundle_gives_the_same_plan(charms: tuple[CharmFile, ...]) -> None:
    made = plan(charms)
    bundle = {
        "applications": {
            item.name: {"charm": item.charm, "options": dict(item.options), "scale": 1}
            for item in made.applications
        },
        "relations": [[str(first), str(second)] for first, second in made.relations],
    }
    again = plan(charms, bundle=str(bundle))
    assert {item.name: item.resources for item in again.applications} == {
        item.name: item.resources for item in made.applications
    }
    assert set(again.relations) == set(made.relations)
    assert options(again) == options(made)
    assert (again.missing_charms, again.missing, again.warnings) == ((), (), made.warnings)


def test_what_is_missing_is_of_the_mesh_at_hand(charms: tuple[CharmFile, ...]) -> None:
    have = [item for item in charms if item.name not in ("istio-beacon-k8s", "dex-auth")]
    missing = [item.name for item in plan(have).missing_charms]
    assert missing == ["dex-auth", "istio-beacon-k8s"]


def test_a_sidecar_set_misses_nothing_of_the_ambient_mesh(
    charms: tuple[CharmFile, ...], tmp_path: Path
) -> None:
    sidecar = charm_files([Charm(name) for name in SIDECAR], tmp_path / "sidecar")
    rest = [item for item in charms if not item.name.startswith("istio-")]
    made = plan([*rest, *sidecar])
    assert [item.name for item in made.missing_charms] == ["knative-serving"]
    assert options(made)["kserve-controller"] == {"deployment-mode": "serverless"}
    assert "kubeflow-profiles" not in options(made)


def test_charms_of_the_other_mesh_are_not_deployed_beside_istio_pilot(
    charms: tuple[CharmFile, ...], tmp_path: Path
) -> None:
    sidecar = charm_files([Charm("istio-pilot")], tmp_path / "sidecar")
    made = plan([*charms, *sidecar])
    assert not {"istio-k8s", "istio-beacon-k8s"} & {item.name for item in made.applications}
    assert any("charm istio-k8s belongs to no application" in str(w) for w in made.warnings)


def test_an_overlay_keeps_an_application_of_the_other_mesh(
    charms: tuple[CharmFile, ...], tmp_path: Path
) -> None:
    knative = charm_files(
        [Charm("knative-operator", options=(Option("size", "int", 1),))], tmp_path / "knative"
    )
    overlay = "applications: {knative-operator: {options: {size: 2}}}"
    names = {item.name for item in plan([*charms, *knative], overlay=overlay).applications}
    assert {"knative-operator", "istio-k8s"} <= names


MESH_IMAGES = {
    "docker.io/ubuntu/istio-pilot:1.29-24.04_stable",
    "docker.io/ubuntu/istio-install-cni:1.29-24.04_stable",
    "docker.io/ubuntu/istio-ztunnel:1.29-24.04_stable",
    "docker.io/istio/proxyv2:1.29.0",
}


def test_the_images_in_the_code_of_istio_are_wanted(charms: tuple[CharmFile, ...]) -> None:
    assert set(map(str, wanted_images(charms))) >= MESH_IMAGES
    made = plan(charms)
    assert {item.image for item in made.resolved} >= MESH_IMAGES
    (warning,) = (item for item in made.warnings if item.problem.startswith("istio-k8s uses"))
    asked = "registry.corp:5000/ckf/ubuntu/istio-ztunnel:1.29-24.04_stable"
    assert "mirror docker.io from registry.corp:5000/ckf" in warning.cure
    assert asked in warning.cure
    assert "lacks" not in warning.cure


def test_the_images_in_the_code_of_istio_are_missed(charms: tuple[CharmFile, ...]) -> None:
    have = inventory_of(str(i) for i in wanted_images(charms) if str(i) not in MESH_IMAGES)
    made = make_plan(charms, have, PlanSettings.parse(location=LOCATION))
    assert {(item.image, item.wanted_by) for item in made.missing} == {
        (image, ("istio-k8s",)) for image in MESH_IMAGES
    }


def test_the_images_of_training_runtimes_are_told_and_not_packed(
    charms: tuple[CharmFile, ...],
) -> None:
    assert not any("pytorch" in str(image) for image in wanted_images(charms))
    (warning,) = (w for w in plan(charms).warnings if w.problem.startswith("kubeflow-trainer"))
    assert "mirror docker.io and ghcr.io from registry.corp:5000/ckf" in warning.cure
    runtime = "pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime"
    assert f"--add-image docker.io/{runtime}" in warning.cure
    assert f"registry.corp:5000/ckf/{runtime}" in warning.cure
    assert "registry.corp:5000/ckf/kubeflow/trainer/mlx-runtime:latest" in warning.cure
