"""Images for users: what they are for, and where those of notebooks appear."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.packing.pack_request import PackRequest
from ckf_airgap.packing.user_images import PURPOSES, UserImages, read_user_images
from ckf_airgap.packing.wanted_images import parse_image
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.upgrades.rules import load_rules
from tests.sample_release import Charm, Option, Resource
from tests.unit.artifacts import charm_files, inventory_of
from tests.unit.kubernetes_manifests import MANIFESTS

FILE = """
# for the team
jupyter:
  - quay.io/team/notebook:1
  - quay.io/team/notebook:2
rstudio: quay.io/team/rstudio:1
pipelines: [default, "python:3.12"]
other: []
"""
OWN = "charmed/jupyter-scipy:1"
NOTEBOOK = "quay.io/team/notebook:1"
CODE = "quay.io/team/code:1"
LOCATION = "registry.corp:5000/ckf"


def charm_at(name: str, version: str) -> Charm:
    """Make a charm whose image tells a version."""
    return Charm(name, resources=(Resource("image", "oci-image", f"docker.io/a/b:{version}"),))


def charm_with(name: str, options: dict[str, str]) -> Charm:
    return Charm(name, options=tuple(Option(k, "string", v) for k, v in options.items()))


def images(**by_purpose: str) -> UserImages:
    return UserImages({key: (parse_image(text),) for key, text in by_purpose.items()})


def test_a_file_says_what_images_are_for() -> None:
    found = read_user_images(FILE, "images.yaml")
    assert found
    assert {key: list(map(str, each)) for key, each in found.images.items()} == {
        "jupyter": ["quay.io/team/notebook:1", "quay.io/team/notebook:2"],
        "rstudio": ["quay.io/team/rstudio:1"],
        "pipelines": ["python:3.12"],
    }
    assert found.with_default


@pytest.mark.parametrize(
    "text",
    [
        "quay.io/team/notebook:1\npython:3.12  # for steps\n",
        "- quay.io/team/notebook:1\n",
        MANIFESTS,
        "data: {queue-sidecar-image: 'gcr.io/queue:v1'}",
        "apiVersion: v1\nkind: List\nother: [a/b:1]",
        "jupyter: [a/b:1]\n---\nkind: ConfigMap\n",
        "",
        "{}",
        "[",
    ],
)
def test_lists_and_manifests_are_not_such_files(text: str) -> None:
    assert read_user_images(text, "file") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("notebook: [a/b:1]", r"notes\.yaml has images for 'notebook', which is no purpose"),
        ("notebook: [a/b:1]", "use jupyter, vscode, rstudio, pipelines, runtimes, other"),
        ("jupyter: [a/b:1]\ncode: {a: b}", "has images for 'code', which is no purpose"),
        ('"ju\\u0007": [a/b:1]\njupyter: []', "has images for 'ju\N{REPLACEMENT CHARACTER}'"),
        ("jupyter: {image: a/b:1}", "gives no list of images for jupyter"),
        ("jupyter:", "gives no list of images for jupyter"),
        ("jupyter: [[a/b:1]]", "gives no list of images for jupyter"),
        ("jupyter: [A b]", "'A b' is not an image"),
        ("vscode: default", "has default for vscode, but it is only valid for pipelines"),
        ("jupyter: [a/b:1]\njupyter: [a/b:2]", "is not valid YAML.*repeats the key jupyter"),
    ],
)
def test_a_file_that_is_not_valid_names_its_cure(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_user_images(text, "notes.yaml")


def test_several_files_are_one() -> None:
    joined = images(other="a/b:1").joined(images(other="a/b:2", jupyter="a/b:1"))
    joined = joined.joined(images(other="a/b:1"))
    assert {key: list(map(str, each)) for key, each in joined.images.items()} == {
        "jupyter": ["a/b:1"],
        "other": ["a/b:1", "a/b:2"],
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.0.3", ["python:3.7"]),
        ("2.2.0", ["python:3.7"]),
        ("2.5.0", ["python:3.9"]),
        ("2.15.0", ["python:3.9", "python:3.11"]),
    ],
)
def test_the_release_tells_the_default_of_its_pipelines(
    version: str, expected: list[str], tmp_path: Path
) -> None:
    charms = charm_files([charm_at("kfp-api", version)], tmp_path)
    found = UserImages(with_default=True).joined(images(pipelines="a/b:1")).for_release(charms)
    assert list(map(str, found.images["pipelines"])) == ["a/b:1", *expected]


def test_every_release_has_a_default(tmp_path: Path) -> None:
    for number, rule in enumerate(load_rules().releases):
        charms = [charm_at(name, f"{each}.0") for name, each in rule.versions.items()]
        files = charm_files(charms, tmp_path / str(number))
        assert UserImages(with_default=True).for_release(files).images["pipelines"]


def test_charms_that_tell_no_release_name_no_default(tmp_path: Path) -> None:
    charms = charm_files([Charm("minio")], tmp_path)
    with pytest.raises(ConfigurationError, match=r"release of .* is unknown.*python:3\.11 from"):
        UserImages(with_default=True).for_release(charms)
    assert UserImages().for_release(charms) == UserImages()


def test_a_request_with_other_images_is_another_one(tmp_path: Path) -> None:
    requests = [
        PackRequest(output=tmp_path, user_images=each)
        for each in (UserImages(), images(other="a/b:1"), UserImages(with_default=True))
    ]
    assert len({request.identity for request in requests}) == 3


@pytest.fixture
def ui(tmp_path: Path) -> tuple[CharmFile, ...]:
    """The charm of the notebooks, with one list that has a default and two that have none."""
    options = {"jupyter-images": json.dumps([OWN]), "vscode-images": "", "rstudio-images": "[]"}
    return charm_files([charm_with("jupyter-ui", options)], tmp_path)


def options_of(
    ui: tuple[CharmFile, ...], user_images: Mapping[str, tuple[str, ...]], overlay: str = ""
) -> dict[str, list[str]]:
    """Give the options of the one application that name images."""
    settings = PlanSettings.parse(location=RegistryLocation.parse(LOCATION), overlay=overlay)
    held = replace(inventory_of([OWN, NOTEBOOK, CODE]), user_images=user_images)
    (planned,) = make_plan(ui, held, settings).applications
    return {
        name: json.loads(str(value))
        for name, value in planned.options.items()
        if name in planned.image_options
    }


def test_notebooks_appear_behind_those_of_the_charm(ui: tuple[CharmFile, ...]) -> None:
    everything = {purpose: (CODE,) for purpose in PURPOSES if purpose != "rstudio"}
    assert options_of(ui, everything | {"jupyter": (NOTEBOOK, OWN)}) == {
        "jupyter-images": [f"{LOCATION}/charmed/jupyter-scipy:1", f"{LOCATION}/team/notebook:1"],
        "vscode-images": [f"{LOCATION}/team/code:1"],
    }


def test_an_overlay_takes_precedence(ui: tuple[CharmFile, ...]) -> None:
    overlay = f"applications: {{jupyter-ui: {{options: {{jupyter-images: '[{CODE}]'}}}}}}"
    assert options_of(ui, {"jupyter": (NOTEBOOK,)}, overlay) == {
        "jupyter-images": [f"{LOCATION}/team/code:1"]
    }


def test_a_notebook_that_the_archive_lacks_is_missing(ui: tuple[CharmFile, ...]) -> None:
    settings = PlanSettings.parse(location=RegistryLocation.parse(LOCATION))
    held = replace(inventory_of([OWN]), user_images={"jupyter": (NOTEBOOK,)})
    plan = make_plan(ui, held, settings)
    assert [str(each) for each in plan.missing] == [f"{NOTEBOOK} (for jupyter-ui/jupyter-images)"]


def test_a_notebook_of_the_same_host_is_looked_up_too(ui: tuple[CharmFile, ...]) -> None:
    """It was packed from there, and is pushed below the prefix."""
    image = "registry.corp:5000/team/notebook:7"
    settings = PlanSettings.parse(location=RegistryLocation.parse(LOCATION))
    held = replace(inventory_of([OWN, image]), user_images={"jupyter": (image,)})
    plan = make_plan(ui, held, settings)
    (planned,) = plan.applications
    assert f"{LOCATION}/team/notebook:7" in str(planned.options["jupyter-images"])


def test_another_charm_with_such_an_option_is_left_alone(tmp_path: Path) -> None:
    charms = charm_files([charm_with("minio", {"jupyter-images": json.dumps([OWN])})], tmp_path)
    assert options_of(charms, {"jupyter": (NOTEBOOK,)}) == {
        "jupyter-images": [f"{LOCATION}/charmed/jupyter-scipy:1"]
    }
