"""Images that the charms do not name: the keys of old Knative charms, and a few more."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from ckf_airgap.charms.charm_file import CharmFile, wanted_images
from ckf_airgap.errors import PlanError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.unit.artifacts import inventory_of

RELEASES = "gcr.io/knative-releases/knative.dev"
DIGEST = "c9c582f530155d22c01b43957ae0dba549b1cc903f77ec6cc1acb9ae9085be62"
SERVING = {
    "activator": "serving/cmd/activator",
    "autoscaler": "serving/cmd/autoscaler",
    "controller": "serving/cmd/controller",
    "webhook": "serving/cmd/webhook",
    "autoscaler-hpa": "serving/cmd/autoscaler-hpa",
    "net-istio-controller/controller": "net-istio/cmd/controller",
    "net-istio-webhook/webhook": "net-istio/cmd/webhook",
    "queue-proxy": "serving/cmd/queue",
}


def knative(folder: Path, name: str, files: dict[str, str] | None = None) -> CharmFile:
    """A Knative charm of the old kind: its map lists the keys with empty values."""
    path = folder / f"{name}.charm"
    options = {
        "custom_images": {"type": "string", "default": "activator: ''\nqueue-proxy: ''\n"},
        "queue_sidecar_image": {"type": "string", "default": ""},
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", yaml.safe_dump({"name": name}))
        archive.writestr("config.yaml", yaml.safe_dump({"options": options}))
        for file, content in (files or {}).items():
            archive.writestr(file, content)
    return CharmFile.read(path)


def plan(charm: CharmFile, *images: str) -> Plan:
    location = RegistryLocation("registry.corp:5000", "ckf")
    return make_plan([charm], inventory_of(images), PlanSettings(location=location))


def options(made: Plan) -> dict[str, object]:
    (application,) = made.applications
    return dict(application.options)


@pytest.mark.parametrize("version", [":v1.10.2", f"@sha256:{DIGEST}"])
def test_old_knative_charms_get_every_key_from_the_archive(version: str, tmp_path: Path) -> None:
    archived = [f"{RELEASES}/{tail}{version}" for tail in SERVING.values()]
    made = plan(knative(tmp_path, "knative-serving"), *archived)
    tag = version.removeprefix(":").removeprefix("@sha256:")
    expected = {
        key: f"registry.corp:5000/ckf/knative-releases/knative.dev/{tail}:{tag}"
        for key, tail in SERVING.items()
    }
    assert json.loads(str(options(made)["custom_images"])) == expected
    assert options(made)["queue_sidecar_image"] == expected["queue-proxy"]
    assert made.warnings == ()


def test_what_the_archive_lacks_is_missing_and_named_inside(tmp_path: Path) -> None:
    # The operator's own webhook has the same last component, and is another program.
    others = (f"{RELEASES}/operator/cmd/webhook:v1", f"{RELEASES}/serving/cmd/activator:v1")
    made = plan(knative(tmp_path, "knative-serving"), *others)
    images = json.loads(str(options(made)["custom_images"]))
    place = "registry.corp:5000/ckf/knative-releases/knative.dev"
    # Whatever is missing, nothing of it is left to the internet.
    assert images == {
        key: f"{place}/{tail}:{'v1' if key == 'activator' else 'latest'}"
        for key, tail in SERVING.items()
    }
    assert options(made)["queue_sidecar_image"] == images["queue-proxy"]
    missing = {item.image: item for item in made.missing}
    assert set(missing) == {
        f"{RELEASES}/{tail}" for key, tail in SERVING.items() if key != "activator"
    }
    webhook = missing[f"{RELEASES}/serving/cmd/webhook"]
    assert webhook.wanted_by == ("knative-serving/custom_images",)
    assert webhook.note == (
        "the charm names no image: add that of the version that this charm deploys"
    )
    with pytest.raises(PlanError, match="lacks 7 images that the charms need"):
        made.require_complete()


def test_what_not_every_version_deploys_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "knative-serving.charm"
    lists = "activator: ''\ndomain-mapping: ''\n"
    details = {"version": {"default": "1.10.2"}, "custom_images": {"default": lists}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", "name: knative-serving")
        archive.writestr("config.yaml", yaml.safe_dump({"options": details}))
    made = plan(CharmFile.read(path))
    assert len(made.missing) == len(SERVING)
    assert {item.note for item in made.missing} == {
        "the charm names no image: add that of the version 1.10.2"
    }
    (warning,) = (w for w in made.warnings if "domain-mapping" in w.problem)
    assert warning.cure == (
        f"if the version 1.10.2 does, add {RELEASES}/serving/cmd/domain-mapping of that version"
    )
    # It is not left to the internet either.
    assert json.loads(str(options(made)["custom_images"]))["domain-mapping"] == (
        "registry.corp:5000/ckf/knative-releases/knative.dev/serving/cmd/domain-mapping:latest"
    )


def test_nothing_is_guessed_between_two_versions(tmp_path: Path) -> None:
    made = plan(
        knative(tmp_path, "knative-serving"),
        f"{RELEASES}/serving/cmd/activator:v1",
        f"{RELEASES}/serving/cmd/activator:v2",
    )
    (activator,) = (item for item in made.missing if item.image.endswith("activator"))
    assert activator.note.startswith("several images could be meant: knative-releases/")


def test_a_charm_that_names_its_images_gets_only_the_extra_keys(tmp_path: Path) -> None:
    defaults = {"eventing-controller/eventing-controller": "charmedkubeflow/controller:1.16"}
    charm = knative(
        tmp_path, "knative-eventing", {"src/default-custom-images.json": json.dumps(defaults)}
    )
    jobsink = f"{RELEASES}/eventing/cmd/jobsink:v1"
    filters = f"{RELEASES}/eventing/cmd/broker/filter:v1"
    made = plan(charm, "charmedkubeflow/controller:1.16", jobsink, filters)
    prefix = "registry.corp:5000/ckf"
    assert json.loads(str(options(made)["custom_images"])) == {
        "eventing-controller/eventing-controller": f"{prefix}/charmedkubeflow/controller:1.16",
        "job-sink/job-sink": f"{prefix}/knative-releases/knative.dev/eventing/cmd/jobsink:v1",
    }
    assert made.warnings == ()


ROCKS = 'ROCK_REGISTRY = "docker.io/ubuntu"\nISTIO_VERSION = "{}"\n'
OLD_ISTIO = {f"docker.io/istio/{name}" for name in ("pilot", "install-cni", "ztunnel", "proxyv2")}


@pytest.mark.parametrize(
    ("code", "images", "packed"),
    [
        (
            ROCKS.format("1.29"),
            {
                "docker.io/ubuntu/istio-pilot:1.29-24.04_stable",
                "docker.io/ubuntu/istio-install-cni:1.29-24.04_stable",
                "docker.io/ubuntu/istio-ztunnel:1.29-24.04_stable",
                "docker.io/istio/proxyv2:1.29.0",
            },
            4,
        ),
        (
            ROCKS.format("1.30"),
            {
                "docker.io/ubuntu/istio-pilot",
                "docker.io/ubuntu/istio-install-cni",
                "docker.io/ubuntu/istio-ztunnel",
                "docker.io/istio/proxyv2",
            },
            0,
        ),
        ("class IstioCoreCharm: pass\n", OLD_ISTIO, 0),
    ],
    ids=["1.29", "a later one", "before rocks"],
)
def test_the_images_of_istio_are_those_of_the_charms_code(
    code: str, images: set[str], packed: int, tmp_path: Path
) -> None:
    path = tmp_path / "istio-k8s.charm"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.yaml", "name: istio-k8s")
        archive.writestr("src/charm.py", code)
    charm = CharmFile.read(path)
    made = plan(charm)
    assert {item.image for item in made.missing} == images
    assert {item.image for item in made.fixed_images if item.is_required} == images
    # An image of an unknown version is not packed, and not taken for there.
    assert len(wanted_images([charm])) == packed
    if not packed:
        held = [f"{image}:1.26.1-distroless" for image in images]
        assert plan(charm, *held).missing == ()
