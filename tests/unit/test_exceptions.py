"""Images that the charms do not name: the keys of old Knative charms, and a few more."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from ckf_airgap.charm_file import CharmFile
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.plan import Plan, PlanSettings, make_plan
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


def test_what_the_archive_lacks_is_told_and_not_replaced(tmp_path: Path) -> None:
    # The operator's own webhook has the same last component, and is another program.
    others = (f"{RELEASES}/operator/cmd/webhook:v1", f"{RELEASES}/serving/cmd/activator:v1")
    made = plan(knative(tmp_path, "knative-serving"), *others)
    assert list(json.loads(str(options(made)["custom_images"]))) == ["activator"]
    assert "queue_sidecar_image" not in options(made)
    (warning,) = made.warnings
    assert (
        "knative-serving/custom_images has no image in the archive for autoscaler"
        in warning.problem
    )
    assert "webhook" in warning.problem
    assert "activator" not in warning.problem


def test_nothing_is_guessed_between_two_versions(tmp_path: Path) -> None:
    made = plan(
        knative(tmp_path, "knative-serving"),
        f"{RELEASES}/serving/cmd/activator:v1",
        f"{RELEASES}/serving/cmd/activator:v2",
    )
    assert "custom_images" not in options(made)


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
