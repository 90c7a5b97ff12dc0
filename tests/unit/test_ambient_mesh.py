"""The whole public release with the ambient mesh of Istio: applications, relations, images."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile, wanted_images
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_values import OptionValue
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan
from ckf_airgap.planning.plan_document import plan_document
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm
from tests.sample_release.release import Option, Release, Resource, images_named_by
from tests.unit.artifacts import charm_files, inventory_of

LOCATION = RegistryLocation("registry.corp:5000", "ckf")
RELEASE = Release.ambient()
SIDECAR = ("istio-pilot", "istio-gateway", "knative-eventing", "knative-operator")
# Of istio-k8s: the branch, the tag of its resource, what its code has, and the images there.
ISTIO_2 = {
    f"docker.io/istio/{name}:1.26.1-distroless"
    for name in ("pilot", "install-cni", "ztunnel", "proxyv2")
}
ISTIO_MAIN = {
    "docker.io/ubuntu/istio-pilot:1.29-24.04_stable",
    "docker.io/ubuntu/istio-install-cni:1.29-24.04_stable",
    "docker.io/ubuntu/istio-ztunnel:1.29-24.04_stable",
    "docker.io/istio/proxyv2:1.29.0",
}
CODE_OF_MAIN = 'ROCK_REGISTRY = "docker.io/ubuntu"\nISTIO_VERSION = "1.29"\n'
TRAINER = {
    "docker.io/pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime",
    "docker.io/mpioperator/mpi-pi:openmpi",
    "ghcr.io/kubeflow/trainer/deepspeed-runtime:latest",
    "ghcr.io/kubeflow/trainer/mlx-runtime:latest",
}
# How many images each charm names, counted by hand: in its resources, and in its options, where an
# image that two keys name counts once. All others have one resource and no option with an image.
COUNTS = {
    "argo-controller": (1, 1),
    "jupyter-ui": (1, 8),
    "katib-controller": (1, 14),
    "kfp-api": (1, 3),
    "kfp-profile-controller": (1, 2),
    "kserve-controller": (1, 16),
    "kubeflow-profiles": (2, 0),
    "kubeflow-roles": (0, 0),
    "kubeflow-trainer": (0, 3),
    "kubeflow-volumes": (1, 1),
    "metacontroller-operator": (0, 1),
    "tensorboard-controller": (1, 1),
    "training-operator": (0, 1),
}


def images_stated_by(charm: Charm) -> set[str]:
    """List the images that a charm states outside its code."""
    files = {path: text for path, text in charm.default_files.items() if "/default-" in path}
    return images_named_by(replace(charm, default_files=files))


def with_istio_of_main(charm: Charm) -> Charm:
    if charm.name != "istio-k8s":
        return charm
    image = "docker.io/ubuntu/metrics-proxy:0.1.1-24.04_stable"
    return replace(
        charm,
        resources=(Resource("metrics-proxy-image", "oci-image", image),),
        default_files={"src/charm.py": CODE_OF_MAIN},
    )


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    return charm_files(map(with_istio_of_main, RELEASE.charms), tmp_path_factory.mktemp("charms"))


@pytest.fixture(scope="module")
def charms_of_2(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    """Give the charms of the bundle as it is: with Istio's charms of 2/stable."""
    return charm_files(RELEASE.charms, tmp_path_factory.mktemp("charms-of-2"))


def plan(charms: Iterable[CharmFile], **values: str) -> Plan:
    charms = tuple(charms)
    held = inventory_of(map(str, wanted_images(charms)))
    return make_plan(charms, held, PlanSettings.parse(location=LOCATION, **values))


def options(made: Plan) -> dict[str, dict[str, OptionValue]]:
    """List the options that name no images."""
    others = {
        item.name: {k: v for k, v in item.options.items() if k not in item.image_options}
        for item in made.applications
    }
    return {name: values for name, values in others.items() if values}


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


def test_the_images_in_the_code_of_istio_are_wanted(charms: tuple[CharmFile, ...]) -> None:
    assert set(map(str, wanted_images(charms))) >= ISTIO_MAIN
    made = plan(charms)
    assert {item.image for item in made.resolved} >= ISTIO_MAIN
    (warning,) = (item for item in made.warnings if item.problem.startswith("istio-k8s uses"))
    asked = "registry.corp:5000/ckf/docker.io/ubuntu/istio-ztunnel:1.29-24.04_stable"
    assert "the mirrors of docker.io (output of ckf-airgap mirrors)" in warning.cure
    assert asked in warning.cure
    assert "lacks" not in warning.cure


def test_the_images_in_the_code_of_istio_are_missed(charms: tuple[CharmFile, ...]) -> None:
    have = inventory_of(str(i) for i in wanted_images(charms) if str(i) not in ISTIO_MAIN)
    made = make_plan(charms, have, PlanSettings.parse(location=LOCATION))
    assert {(item.image, item.wanted_by) for item in made.missing} == {
        (image, ("istio-k8s",)) for image in ISTIO_MAIN
    }
    # Its metrics proxy alone is no mesh.
    assert [(item.name, {*item.lacking}) for item in made.incomplete] == [
        ("istio-k8s", ISTIO_MAIN)
    ]


def test_the_images_of_training_runtimes_are_told_and_not_packed(
    charms: tuple[CharmFile, ...],
) -> None:
    assert not TRAINER & set(map(str, wanted_images(charms)))
    (warning,) = (w for w in plan(charms).warnings if w.problem.startswith("kubeflow-trainer"))
    assert "the mirrors of docker.io and ghcr.io (output of ckf-airgap mirrors)" in warning.cure
    runtime = "pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime"
    assert f"--add-image docker.io/{runtime}" in warning.cure
    assert f"registry.corp:5000/ckf/docker.io/{runtime}" in warning.cure
    assert "registry.corp:5000/ckf/ghcr.io/kubeflow/trainer/mlx-runtime:latest" in warning.cure


def named_by(application: PlannedApplication) -> tuple[list[str], list[str]]:
    """List the images in an application's resources, and those in its options, each once."""
    options = " ".join(str(application.options[name]) for name in application.image_options)
    words = re.findall(r"registry\.corp:5000/ckf/[^\s'\",]+", options)
    return list(application.resources.values()), sorted(set(words))


def reference(image: str) -> str:
    """Give the reference of an image in the registry: its path without its host."""
    first, _, rest = image.partition("/")
    path = rest if "." in first else image
    # An image that is known by its digest gets it as its tag.
    name, _, digest = path.partition("@sha256:")
    tag = f":{digest}" if digest else "" if ":" in name else ":latest"
    return f"registry.corp:5000/ckf/{name}{tag}"


@pytest.mark.parametrize("branch", ["2", "main"])
def test_every_image_of_the_public_bundle_is_accounted_for(
    branch: str, request: pytest.FixtureRequest
) -> None:
    charms = request.getfixturevalue("charms_of_2" if branch == "2" else "charms")
    stated = {
        charm.name: images_stated_by(charm if branch == "2" else with_istio_of_main(charm))
        for charm in RELEASE.charms
    }
    in_code = ISTIO_2 if branch == "2" else ISTIO_MAIN
    archived = set[str]().union(*stated.values(), in_code)
    settings = PlanSettings.parse(location=LOCATION, bundle=RELEASE.bundle)
    made = make_plan(charms, inventory_of(sorted(archived)), settings)
    assert (made.missing, made.incomplete, made.missing_charms) == ((), (), ())

    # Each application has exactly the images that its charm names, in its resources and options.
    assert {item.name: item.charm for item in made.applications} == RELEASE.applications
    for item in made.applications:
        in_resources, in_options = named_by(item)
        expected = {reference(image) for image in stated[item.charm]}
        assert {*in_resources, *in_options} == expected, item.name
        assert (len(in_resources), len(in_options)) == COUNTS.get(item.charm, (1, 0)), item.name

    # Nothing but these is resolved, each by its own name; no image of the archive is left over.
    document = plan_document(made, LOCATION)
    of_code = {re.sub(r":[^:/]+$", "", image) if branch == "2" else image for image in in_code}
    assert {item["image"] for item in document["resolved"]} == {
        *set[str]().union(*stated.values()),
        *of_code,
    }
    assert {item["to"] for item in document["resolved"]} == {reference(i) for i in archived}

    # What stands in code is told with what a mirror of its registry is asked for.
    fixed = {item["image"]: item for item in document["fixed_images"]}
    assert {image for image, item in fixed.items() if item["required"]} == of_code
    assert {image for image, item in fixed.items() if not item["required"]} == {
        *TRAINER,
        "docker.io/library/alpine:3.10",
        "docker.io/mpioperator/kubectl-delivery",
        "docker.io/tensorflow/tensorflow:latest",
    }
    for image, item in fixed.items():
        assert item["mirror"] == f"registry.corp:5000/ckf/{image}"
        assert any(
            image in warning and item["mirror"] in warning for warning in document["warnings"]
        )


def test_pack_takes_every_image_of_the_public_bundle(charms: tuple[CharmFile, ...]) -> None:
    stated = set[str]().union(*(images_stated_by(with_istio_of_main(c)) for c in RELEASE.charms))
    assert {str(image) for image in wanted_images(charms)} == stated | ISTIO_MAIN


def test_the_public_bundle_is_the_builtin_topology(charms: tuple[CharmFile, ...]) -> None:
    made = plan(charms)
    again = plan(charms, bundle=RELEASE.bundle)
    assert {tuple(sorted(map(str, pair))) for pair in made.relations} == {
        tuple(sorted(pair)) for pair in RELEASE.relations
    }
    assert {frozenset(pair) for pair in again.relations} == {
        frozenset(pair) for pair in made.relations
    }
    assert [(item.name, item.options) for item in again.applications] == [
        (item.name, item.options) for item in made.applications
    ]


def test_every_image_of_the_public_bundle_is_missed_by_who_takes_it(
    charms: tuple[CharmFile, ...],
) -> None:
    settings = PlanSettings.parse(location=LOCATION, bundle=RELEASE.bundle)
    made = make_plan(charms, inventory_of(["docker.io/other/image:1"]), settings)
    found = {(item.image, place) for item in made.missing for place in item.wanted_by}
    in_resources = {
        (resource.upstream_source, f"{name}/{resource.name}")
        for name, charm in RELEASE.applications.items()
        for stated in map(with_istio_of_main, RELEASE.charms)
        if stated.name == charm
        for resource in stated.resources
    }
    in_code = {(image, "istio-k8s") for image in ISTIO_MAIN}
    assert in_resources | in_code <= found
    options = {(place, image) for image, place in found - in_resources - in_code}
    assert Counter(place for place, _ in options) == {
        "argo-controller/executor-image": 1,
        "jupyter-ui/jupyter-images": 6,
        "jupyter-ui/rstudio-images": 1,
        "jupyter-ui/vscode-images": 1,
        "katib-controller/custom_images": 14,
        "kfp-api/cache-image": 1,
        "kfp-api/driver-image": 1,
        "kfp-api/launcher-image": 1,
        "kfp-profile-controller/custom_images": 2,
        "kserve-controller/custom_images": 16,
        "kubeflow-trainer/jobset-image": 1,
        "kubeflow-trainer/kubeflow-trainer-image": 1,
        "kubeflow-trainer/lws-image": 1,
        "kubeflow-volumes/volume-viewer-image": 1,
        "metacontroller-operator/metacontroller-image": 1,
        "tensorboard-controller/tensorboard-image": 1,
        "training-operator/training-operator-image": 1,
    }
    # Only what runs no image at all can be deployed without any.
    assert [item.name for item in made.without_incomplete().applications] == ["kubeflow-roles"]
