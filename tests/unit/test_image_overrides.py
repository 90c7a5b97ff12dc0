"""Images that the operator names in a bundle or an overlay, in place of those of the charms."""

import json
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.plan import Plan, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, Option, Resource
from tests.unit.artifacts import charm_files, inventory_of

HOST = "registry.corp:5000"
PREFIX = f"{HOST}/ckf"
HUB = {"global-hub": "docker.io/istio", "global-tag": "1", "pilot-image": "pilot"}
APP = Charm(
    "app",
    resources=(Resource("oci-image", "oci-image", "docker.io/org/app:1"),),
    options=(
        Option("plain-image", "string", "docker.io/org/plain:1"),
        Option("list-images", "string", json.dumps(["docker.io/org/one:1"])),
        Option("map_images", "string", json.dumps({"a": "docker.io/org/a:1", "b": "org/b:1"})),
        Option("hub-image", "string", json.dumps(HUB)),
        Option("empty-image", "string", ""),
        Option("image-pull-policy", "string", "Always"),
    ),
)
WORKLOAD = Charm("workload", options=(Option("workload-image", "string", "docker.io/org/run:1"),))
HELD = [
    *("docker.io/org/app:1", "docker.io/org/plain:1", "docker.io/org/one:1", "docker.io/org/a:1"),
    *("docker.io/org/b:1", "docker.io/istio/pilot:1", "reg.example.org/own/mine:2"),
]
MINE = "reg.example.org/own/mine:2"
MOVED = f"{PREFIX}/own/mine:2"
LOST = "reg.example.org/own/lost:2"


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    return charm_files((APP, WORKLOAD), tmp_path_factory.mktemp("charms"))


def body(options: object = None, resources: object = None) -> str:
    return json.dumps(
        {"applications": {"app": {"options": options, "resources": resources or {}}}}
    )


def planned(
    charms: tuple[CharmFile, ...], *, bundle: str = "applications: {app: {}}", overlay: str = ""
) -> Plan:
    settings = PlanSettings.parse(
        location=RegistryLocation.parse(PREFIX), bundle=bundle, overlay=overlay
    )
    return make_plan(charms, inventory_of(HELD), settings)


def option(plan: Plan, name: str) -> str:
    return str(plan.applications[0].options[name])


@pytest.mark.parametrize("place", ["bundle", "overlay"])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("plain-image", MINE, MOVED),
        ("list-images", f"- {MINE}\n", [MOVED]),
        ("list-images", "[]", []),
        ("map_images", f"a: {MINE}", {"a": MOVED, "b": f"{PREFIX}/org/b:1"}),
        (
            "map_images",
            json.dumps({"a": "", "mode": "x"}),
            {"mode": "x", "a": f"{PREFIX}/org/a:1", "b": f"{PREFIX}/org/b:1"},
        ),
        (
            "hub-image",
            "{global-hub: reg.example.org/own, global-tag: '2', pilot-image: mine}",
            {"global-hub": f"{PREFIX}/own", "global-tag": "2", "pilot-image": "mine"},
        ),
        ("empty-image", MINE, MOVED),
        ("empty-image", f"[{MINE}]", [MOVED]),
        ("plain-image", "", f"{PREFIX}/org/plain:1"),
        ("plain-image", f"{HOST}/elsewhere/x:1", f"{HOST}/elsewhere/x:1"),
        ("image-pull-policy", "Never", "Never"),
    ],
)
def test_the_operators_images_come_from_the_registry(
    place: str, name: str, value: str, expected: object, charms: tuple[CharmFile, ...]
) -> None:
    plan = planned(charms, **{place: body({name: value})})
    found = option(plan, name)
    assert (found if isinstance(expected, str) else json.loads(found)) == expected
    assert plan.missing == ()


def test_an_image_that_the_archive_lacks_is_missing(charms: tuple[CharmFile, ...]) -> None:
    lists = json.dumps([MINE, LOST])
    plan = planned(charms, overlay=body({"list-images": lists, "empty-image": LOST}))
    assert [(item.image, item.wanted_by) for item in plan.missing] == [
        (LOST, ("app/list-images", "app/empty-image"))
    ]
    expected = f"{PREFIX}/own/lost:2"
    assert json.loads(option(plan, "list-images")) == [MOVED, expected]
    assert option(plan, "empty-image") == expected
    assert plan.incomplete == ()


def test_an_overlay_takes_precedence_over_a_bundle(charms: tuple[CharmFile, ...]) -> None:
    bundle = body({"plain-image": LOST}, {"oci-image": LOST})
    plan = planned(charms, bundle=bundle, overlay=body({"plain-image": MINE}, {"oci-image": MINE}))
    assert option(plan, "plain-image") == MOVED
    assert plan.applications[0].resources == {"oci-image": MOVED}
    assert plan.missing == ()


@pytest.mark.parametrize("place", ["bundle", "overlay"])
def test_a_resource_that_the_archive_lacks_bars_the_application(
    place: str, charms: tuple[CharmFile, ...]
) -> None:
    plan = planned(charms, **{place: body({}, {"oci-image": LOST})})
    assert [item.lacking for item in plan.incomplete] == [("oci-image",)]
    assert [item.wanted_by for item in plan.missing] == [("app/oci-image",)]


@pytest.mark.parametrize("resource", [57, "./image.yaml"])
def test_a_resource_that_is_no_image_is_the_one_of_the_charm(
    resource: object, charms: tuple[CharmFile, ...]
) -> None:
    plan = planned(charms, bundle=body({}, {"oci-image": resource}))
    assert plan.applications[0].resources == {"oci-image": f"{PREFIX}/org/app:1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plain-image", "No image!"),
        ("list-images", "[a b]"),
        ("list-images", "[[x/y:1]]"),
        ("hub-image", "{global-tag: 'a b'}"),
    ],
)
def test_a_value_that_names_no_image_is_refused(
    name: str, value: str, charms: tuple[CharmFile, ...]
) -> None:
    with pytest.raises(ConfigurationError, match=f"app/{name}.*names no image"):
        planned(charms, overlay=body({name: value}))


def test_a_charm_whose_one_image_is_missing_is_left_out(tmp_path: Path) -> None:
    found = charm_files((WORKLOAD,), tmp_path)
    plan = planned(found, bundle="applications: {workload: {}}")
    assert [item.lacking for item in plan.incomplete] == [("workload-image",)]
    assert plan.without_incomplete().applications == ()
    assert option(plan, "workload-image") == f"{PREFIX}/org/run:1"


def test_a_charms_default_of_the_same_host_is_looked_up(tmp_path: Path) -> None:
    charm = Charm("app", options=(Option("x-image", "string", f"{HOST}/other/x:1"),))
    plan = planned(charm_files((charm,), tmp_path))
    assert [item.image for item in plan.missing] == [f"{HOST}/other/x:1"]
