"""Every value of Charmed Kubeflow 1.8, as worked out by hand from its charms and images."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import RETAG_REGISTRY, Release, retagged_name
from tests.unit.artifacts import KNATIVE_VERSION, charm_files, inventory_of, knative_images

PREFIX = "registry.corp:5000/ckf"
# What no name in the list equals, and which image the public scripts take in its place.
STAND_INS = {
    "gcr.io/ml-pipeline/frontend:2.0.3": "gcr.io/ml-pipeline/frontend:2.0.5",
    "gcr.io/ml-pipeline/visualization-server:2.0.3": (
        "charmedkubeflow/visualization-server:2.0.5-4ae34a1"
    ),
}


@pytest.fixture(scope="module")
def release(facts: Path | None) -> Path:
    if facts is None or not (facts / "1.8/expected.json").is_file():
        pytest.skip("no facts about CKF 1.8: set CKF_FACTS")
    return facts / "1.8"


def test_all_values_equal_those_worked_out_by_hand(release: Path, tmp_path: Path) -> None:
    real = Release.from_folder(release)
    charms = charm_files(real.charms, tmp_path)
    images = inventory_of((*real.images, *knative_images(release.parent)))
    plan = make_plan(charms, images, PlanSettings(location=RegistryLocation.parse(PREFIX)))
    held = set(real.images)
    tails = yaml.safe_load((release.parent / "knative-keymap.yaml").read_text())
    assert plan.missing == ()

    def resolved(image: str) -> str:
        """Apply the retag rule of the public script to an image of the list."""
        image = STAND_INS.get(image, image)
        name = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
        assert image in held, image
        return retagged_name(name).replace(RETAG_REGISTRY, PREFIX)

    expected = json.loads((release / "expected.json").read_text())
    assert {item.name: item.charm for item in plan.applications} == {
        name: body["charm"] for name, body in expected.items()
    }
    for item in plan.applications:
        body = expected[item.name]
        assert item.resources == {
            name: resolved(image) for name, image in body["resources"].items()
        }
        wanted = {
            name: value
            for name, option in body["options"].items()
            if (value := _value(option, resolved, tails.get(item.charm, {}))) is not None
        }
        assert {
            name: _read(option["kind"], str(item.options[name]))
            for name, option in body["options"].items()
            if name in item.image_options and name != "queue_sidecar_image"
        } == wanted


def _value(option: dict[str, Any], resolved: Any, tails: dict[str, str]) -> object:
    default = option["default"]
    match option["kind"]:
        case "str":
            return resolved(default)
        case "list":
            return [resolved(image) for image in default]
        case "istio":
            return default | {"global-hub": f"{PREFIX}/istio"}
        case "file":
            return {key: resolved(image) for key, image in default.items()}
        case "map":
            # Knative's empty values, and the keys of its code: only the table tells their images.
            assert not any(default.values())
            assert default.keys() <= tails.keys()
            return {
                key: f"{PREFIX}/knative-releases/{tail}:{KNATIVE_VERSION}"
                for key, tail in tails.items()
            }
        case "none":
            return None
        case other:
            raise AssertionError(other)


def _read(kind: str, value: str) -> object:
    return value if kind == "str" else cast(object, yaml.safe_load(value))
