"""The operator's own bundle and overlay in a plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError, PlanError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from ckf_airgap.planning.charm_selection import select_charms
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, Endpoint, Option, Resource, charm_file
from tests.unit.artifacts import charm_files, inventory_of
from tests.unit.bundles import PREFIX, texts

API_IMAGE = "docker.io/org/api:1"


OPTION_IMAGE = "docker.io/org/launcher:1"


API = Charm(
    "api",
    resources=(Resource("oci-image", "oci-image", API_IMAGE),),
    options=(
        Option("launcher-image", "string", OPTION_IMAGE),
        Option("port", "int", 80),
        Option("mode", "string", "x"),
    ),
    endpoints=(
        Endpoint("database", "requires", "mysql"),
        Endpoint("backup", "requires", "mysql"),
        Endpoint("storage", "requires", "s3"),
        Endpoint("metrics", "provides", "scrape"),
        Endpoint("peers", "peers", "s3"),
    ),
)


DATABASE = Charm("database-k8s", endpoints=(Endpoint("sql", "provides", "mysql"),))


STORE = Charm("store", endpoints=(Endpoint("s3", "provides", "s3"),))


BUNDLE = """
applications:
  api: {charm: api, channel: 1/stable}
  db: {charm: ./database-k8s_r7.charm}
  store: {charm: store}
relations:
- [api:database, db:sql]
- [api, store]
"""


HELD = inventory_of([API_IMAGE, OPTION_IMAGE])


def settings(bundle: str = BUNDLE, overlay: str = "") -> PlanSettings:
    return PlanSettings.parse(
        location=RegistryLocation.parse(PREFIX), bundle=bundle, overlay=overlay
    )


def planned(plan: Plan, name: str = "api") -> PlannedApplication:
    (found,) = (item for item in plan.applications if item.name == name)
    return found


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> tuple[CharmFile, ...]:
    return charm_files((API, DATABASE, STORE), tmp_path_factory.mktemp("charms"))


def test_a_bundle_takes_the_place_of_the_topology(charms: tuple[CharmFile, ...]) -> None:
    plan = make_plan(charms, HELD, settings())
    assert {item.name: item.charm for item in plan.applications} == {
        "api": "api",
        "db": "database-k8s",
        "store": "store",
    }
    assert texts(plan.relations) == [("api:database", "db:sql"), ("api:storage", "store:s3")]
    assert planned(plan).resources == {"oci-image": f"{PREFIX}/org/api:1"}
    assert planned(plan).options == {"launcher-image": f"{PREFIX}/org/launcher:1"}
    assert (plan.missing, plan.missing_charms, plan.warnings) == ((), (), ())
    plan.require_complete()


def test_what_a_bundle_says_of_an_application_is_planned(charms: tuple[CharmFile, ...]) -> None:
    overlay = """
    applications:
      db: {constraints: mem=1G, trust: false, storage: {data: 1G}}
      api: {scale: 3, options: {port: 1}}
    """
    plan = make_plan(charms, HELD, settings(overlay=overlay))
    database = planned(plan, "db")
    assert (database.constraints, database.trust, database.settings) == (
        "mem=1G",
        False,
        {"storage": {"data": "1G"}},
    )
    assert planned(plan).scale == 3
    assert planned(plan).options["port"] == 1


def test_what_an_application_by_itself_cannot_have_is_told(charms: tuple[CharmFile, ...]) -> None:
    """Of a bundle the juju client carries it out, of a single charm it does not."""
    overlay = """
    applications:
      db: {expose: true, annotations: {gui-x: "1"}, storage: {data: 1G}}
      api: {devices: {gpu: "1"}, expose: false}
      store: {expose: true}
    """
    given = settings(overlay=overlay)
    assert make_plan(charms, HELD, given).warnings == ()
    plan = make_plan(charms, HELD, replace(given, excluded_charms=("db", "api")))
    assert [str(warning) for warning in plan.warnings] == [
        "api is deployed outside the bundle, without its devices: to have them, keep api in the "
        "bundle: excluded-charms",
        "db is deployed outside the bundle, without its annotations: they only inform people",
        "db is deployed outside the bundle, without its expose: after the deployment, juju "
        "expose db",
    ]


@pytest.mark.parametrize("base", ["ubuntu@24.04", "ubuntu@20.04"])
def test_a_base_that_the_charm_lacks_is_not_taken(
    base: str, charms: tuple[CharmFile, ...]
) -> None:
    plan = make_plan(charms, HELD, settings(overlay=f"applications: {{api: {{base: {base}}}}}"))
    # The sample charms run on this one alone.
    assert planned(plan).base == "ubuntu@24.04"


def test_a_bundle_chooses_among_the_bases_of_a_charm(tmp_path: Path) -> None:
    bases = "bases: [{name: ubuntu, channel: '22.04'}, {name: ubuntu, channel: '24.04'}]"
    path = tmp_path / "api.charm"
    path.write_bytes(charm_file(API, None, {"manifest.yaml": bases}))
    found = [
        planned(make_plan([CharmFile.read(path)], HELD, settings(f"applications: {{api: {b}}}")))
        for b in ("{}", "{base: ubuntu@22.04}", "{series: jammy}")
    ]
    assert [item.base for item in found] == ["ubuntu@24.04", "ubuntu@22.04", "ubuntu@22.04"]


def test_an_overlay_wins_over_the_archive(charms: tuple[CharmFile, ...]) -> None:
    overlay = """
    applications:
      api:
        resources: {oci-image: "registry.corp:5000/mine/api:2"}
        options: {launcher-image: "registry.corp:5000/mine/launcher:2", port: 81}
    """
    api = planned(make_plan(charms, HELD, settings(overlay=overlay)))
    assert api.resources == {"oci-image": "registry.corp:5000/mine/api:2"}
    assert api.options == {"launcher-image": "registry.corp:5000/mine/launcher:2", "port": 81}
    assert api.image_options == ("launcher-image",)


def test_an_image_that_the_overlay_gives_is_not_missing(charms: tuple[CharmFile, ...]) -> None:
    nothing = make_plan(charms, inventory_of([]), settings())
    assert {item.image: item.wanted_by for item in nothing.missing} == {
        API_IMAGE: ("api/oci-image",),
        OPTION_IMAGE: ("api/launcher-image",),
    }
    assert planned(nothing).lacking == ("oci-image",)

    resource = "applications: {api: {resources: {oci-image: 'registry.corp:5000/api:2'}}}"
    plan = make_plan(charms, inventory_of([]), settings(overlay=resource))
    assert [item.image for item in plan.missing] == [OPTION_IMAGE]
    assert planned(plan).lacking == ()
    assert planned(plan).resources == {"oci-image": "registry.corp:5000/api:2"}

    option = "applications: {api: {options: {launcher-image: 'registry.corp:5000/launcher:2'}}}"
    plan = make_plan(charms, inventory_of([]), settings(overlay=option))
    assert [item.image for item in plan.missing] == [API_IMAGE]
    assert planned(plan).options == {"launcher-image": "registry.corp:5000/launcher:2"}


def test_an_image_that_another_application_takes_stays_missing(
    charms: tuple[CharmFile, ...],
) -> None:
    two = "applications: {api: {}, second: {charm: api}}"
    overlay = "applications: {api: {resources: {oci-image: 'registry.corp:5000/api:2'}}}"
    plan = make_plan(charms, inventory_of([OPTION_IMAGE]), settings(two, overlay))
    assert [(item.image, item.wanted_by) for item in plan.missing] == [
        (API_IMAGE, ("second/oci-image",))
    ]
    assert [item.name for item in plan.incomplete] == ["second"]


def test_a_bundle_does_not_win_over_the_archive(charms: tuple[CharmFile, ...]) -> None:
    # Public bundles name images on the internet.
    bundle = """
    applications:
      api:
        options: {launcher-image: "docker.io/org/launcher:0", port: 81, mode: "{model}"}
        resources: {oci-image: docker.io/org/api:0}
    """
    plan = make_plan(charms, HELD, settings(bundle))
    assert planned(plan).options == {
        "launcher-image": f"{PREFIX}/org/launcher:1",
        "port": 81,
        # Only the options of the package's own topology are templates.
        "mode": "{model}",
    }
    assert planned(plan).resources == {"oci-image": f"{PREFIX}/org/api:1"}
    assert planned(plan).image_options == ("launcher-image",)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("option prot", {"bundle": "applications: {api: {options: {prot: 81}}}"}),
        ("option prot", {"overlay": "applications: {api: {options: {prot: 81}}}"}),
        ("resource oci-imag", {"overlay": "applications: {api: {resources: {oci-imag: a/b:1}}}"}),
    ],
)
def test_what_the_charm_lacks_is_refused_before_juju_does(
    what: str, body: dict[str, str], charms: tuple[CharmFile, ...]
) -> None:
    with pytest.raises(ConfigurationError, match=f"sets the {what} of api, which its charm api"):
        make_plan(charms, HELD, settings(**body))


@pytest.mark.parametrize("relation", ["['api:typo', 'db:sql']", "['api', 'api']"])
def test_a_relation_of_an_overlay_must_fit(relation: str, charms: tuple[CharmFile, ...]) -> None:
    with pytest.raises(ConfigurationError, match="fits no endpoints of these charms"):
        make_plan(charms, HELD, settings(overlay=f"relations: [{relation}]"))


def test_an_overlay_may_change_the_charm() -> None:
    before = read_bundle("applications: {app: {charm: old}}")
    after = apply_overlay(before, "applications: {app: {charm: ch:new-4}, more: {charm: x}}")
    assert [(item.charm, item.expected_by) for item in after.applications] == [
        ("new", "the bundle has it"),
        ("x", "the overlay has it"),
    ]


def test_an_application_of_a_bundles_second_document_is_expected_by_the_bundle() -> None:
    (_, more) = read_bundle(
        "applications: {app: {charm: a}}\n---\napplications: {more: {charm: x}}"
    ).applications
    assert more.expected_by == "the bundle has it"


def test_a_bundle_may_name_the_base_of_all_its_applications() -> None:
    text = "{}\napplications: {{one: {{}}, two: {{base: ubuntu@20.04}}}}"
    for first in ("default-base: ubuntu@22.04", "series: jammy"):
        topology = read_bundle(text.format(first))
        assert [item.base for item in topology.applications] == ["ubuntu@22.04", "ubuntu@20.04"]


def test_charms_of_a_bundle_that_are_not_at_hand_are_missing(
    charms: tuple[CharmFile, ...],
) -> None:
    bundle = (
        "applications: {api: {}, one: {charm: ch:gone-3}, two: {charm: ./gone_r3.charm}, "
        "db: {charm: database-k8s}, lost: {}}\n"
        "relations: [['api:storage', 'lost:s3'], ['api:database', 'db:sql'], [one, two], "
        # Nobody lacks what it offers to others.
        "['api:metrics', 'one:metrics']]"
    )
    plan = make_plan(charms, HELD, settings(bundle))
    assert [(item.name, item.applications, item.wanted_by) for item in plan.missing_charms] == [
        ("gone", ("one", "two"), "the bundle has it"),
        ("lost", ("lost",), "api:storage requires it"),
    ]
    # What can be related is.
    assert texts(plan.relations) == [("api:database", "db:sql")]
    with pytest.raises(PlanError) as raised:
        plan.require_complete()
    assert raised.value.problem == (
        "charms.tar.gz lacks 2 charms: charm gone (for one, two; the bundle has it); "
        "charm lost (for lost; api:storage requires it)"
    )


def test_charms_are_selected_as_they_are_planned(charms: tuple[CharmFile, ...]) -> None:
    selection = select_charms(charms, settings("applications: {api: {}, gone: {}}"))
    assert [charm.name for charm in selection.deployed] == ["api"]
    assert [item.name for item in selection.missing] == ["gone"]


def test_what_an_overlay_takes_out_is_not_planned_and_not_missing(
    charms: tuple[CharmFile, ...],
) -> None:
    plan = make_plan(charms, HELD, settings(overlay="applications:\n  store:\n"))
    assert [item.name for item in plan.applications] == ["api", "db"]
    assert texts(plan.relations) == [("api:database", "db:sql")]
    assert [warning.problem for warning in plan.warnings] == [
        "charm store belongs to no application of this deployment and is not deployed"
    ]
    without_charm = [charm for charm in charms if charm.name != "store"]
    plan = make_plan(without_charm, HELD, settings(overlay="applications:\n  store:\n"))
    assert (plan.missing_charms, plan.warnings) == ((), ())


def test_an_overlay_changes_the_topology_of_the_package(charms: tuple[CharmFile, ...]) -> None:
    overlay = "applications: {api: {charm: api}, s: {charm: store}}\nrelations: [[api, s]]"
    plan = make_plan(charms, HELD, settings("", overlay))
    assert [item.name for item in plan.applications] == ["api", "s"]
    assert texts(plan.relations) == [("api:storage", "s:s3")]


def test_a_bundle_of_spaces_is_none(charms: tuple[CharmFile, ...]) -> None:
    with pytest.raises(PlanError, match="has no charm of this deployment"):
        make_plan(charms, HELD, settings(" \n", "\n"))


def test_warnings_of_bundle_and_overlay_are_in_the_plan(charms: tuple[CharmFile, ...]) -> None:
    overlay = "applications: {db: {to: [0]}}"
    plan = make_plan(charms, HELD, settings(f"machines: {{}}\n{BUNDLE}", overlay))
    assert [warning.problem for warning in plan.warnings] == [
        "the bundle has machines, which is unknown: ignored",
        "the overlay places db, which Juju does not do on Kubernetes: ignored",
    ]


@pytest.mark.parametrize(
    ("relation", "problem"),
    [
        (
            "[api, db]",
            "the relation of api with db could be several: "
            "api:database - db:sql; api:backup - db:sql",
        ),
        (
            "[db, api]",
            "the relation of db with api could be several: "
            "db:sql - api:database; db:sql - api:backup",
        ),
        ("[db, store]", "the relation of db with store fits no endpoints of these charms"),
        (
            "['api:database', 'store:s3']",
            "the relation of api:database with store:s3 fits no endpoints of these charms",
        ),
        (
            "['api:datastore', 'db:sql']",
            "the relation of api:datastore with db:sql fits no endpoints of these charms",
        ),
        # Both sides require, or one is for peers alone.
        (
            "['api:database', 'api:backup']",
            "the relation of api:database with api:backup fits no endpoints of these charms",
        ),
        (
            "['api:peers', 'store:s3']",
            "the relation of api:peers with store:s3 fits no endpoints of these charms",
        ),
    ],
)
def test_a_relation_of_a_bundle_that_is_not_one_is_refused(
    relation: str, problem: str, charms: tuple[CharmFile, ...]
) -> None:
    bundle = BUNDLE.partition("relations:")[0] + f"relations: [{relation}]"
    with pytest.raises(ConfigurationError) as raised:
        make_plan(charms, HELD, settings(bundle))
    assert raised.value.problem == problem
    is_any = "could be several" in problem
    cure = "name both endpoints (APPLICATION:ENDPOINT)" if is_any else "correct it"
    assert raised.value.cure.startswith(f"{cure} in the bundle or the overlay, or remove it")


@pytest.mark.parametrize(
    "relation", ["[api:backup, db]", "[db, api:backup]", "[db:sql, api:backup]"]
)
def test_one_endpoint_is_enough_where_it_tells_the_other(
    relation: str, charms: tuple[CharmFile, ...]
) -> None:
    bundle = BUNDLE.partition("relations:")[0] + f"relations: [{relation}]"
    ((first, second),) = make_plan(charms, HELD, settings(bundle)).relations
    assert {str(first), str(second)} == {"api:backup", "db:sql"}


def test_two_ways_to_write_one_relation_make_one(charms: tuple[CharmFile, ...]) -> None:
    overlay = "relations: [['api:storage', 'store:s3'], ['api:storage', store]]"
    plan = make_plan(charms, HELD, settings(overlay=overlay))
    assert texts(plan.relations) == [("api:database", "db:sql"), ("api:storage", "store:s3")]


@pytest.mark.parametrize("values", [("applications: [", ""), (BUNDLE, "applications: {gone: {}}")])
def test_a_wrong_bundle_or_overlay_is_refused_before_the_artifacts_are_read(
    values: tuple[str, str],
) -> None:
    with pytest.raises(ConfigurationError):
        settings(*values)
