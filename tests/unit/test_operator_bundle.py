"""The operator's own bundle and overlay, by themselves and in a plan."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError, PlanError
from ckf_airgap.juju_values import Relation, Side
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.operator_bundle import apply_overlay, read_bundle
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan, select_charms
from ckf_airgap.planning.settings import PlanSettings
from ckf_airgap.planning.topology import Topology, TopologyApplication
from tests.sample_release import Charm, Endpoint, Option, Resource, charm_file
from tests.unit.artifacts import charm_files, inventory_of

PREFIX = "registry.corp:5000/ckf"

# In the form in which Charmed Kubeflow publishes its bundles.
PUBLIC = """
bundle: kubernetes
name: kubeflow
docs: https://discourse.charmhub.io/t/3749
_release: {risk: stable}
applications:
  katib-db:
    charm: mysql-k8s
    channel: 8.0/stable
    revision: 127
    scale: 1
    trust: true
    constraints: mem=2G
    _github_dependency_repo_name: mysql-k8s-operator
  katib-db-manager: {charm: katib-db-manager, channel: 0.18/stable, scale: 1, trust: true}
  minio:
    charm: minio
    channel: ckf-1.10/stable
    options: {access-key: minio, port: 9000, mode: server, debug: false, ratio: 0.5}
    storage: {minio-data: 20G}
relations:
- [katib-db-manager:relational-db, katib-db:database]
- [katib-db-manager, minio]
"""


def one(topology: Topology, name: str = "app") -> TopologyApplication:
    (found,) = (item for item in topology.applications if item.name == name)
    return found


def bundle_of(body: str) -> TopologyApplication:
    """Read a bundle with one application, ``app``."""
    return one(read_bundle(f"applications:\n  app: {body}\n"))


def overlaid(body: str, bundle: str = PUBLIC) -> Topology:
    return apply_overlay(read_bundle(bundle), body)


def texts(relations: Iterable[Relation]) -> list[tuple[str, str]]:
    return [(str(first), str(second)) for first, second in relations]


def test_a_public_bundle_is_read() -> None:
    topology = read_bundle(PUBLIC)
    assert {item.name: item.charm for item in topology.applications} == {
        "katib-db": "mysql-k8s",
        "katib-db-manager": "katib-db-manager",
        "minio": "minio",
    }
    assert topology.demanded == set(topology.relations)
    assert topology.warnings == ()
    assert all(item.is_expected and not item.is_template for item in topology.applications)
    database = one(topology, "katib-db")
    assert (database.scale, database.trust, database.constraints) == (1, True, "mem=2G")
    assert database.settings == {}
    minio = one(topology, "minio")
    assert minio.options == {
        "access-key": "minio",
        "port": 9000,
        "mode": "server",
        "debug": False,
        "ratio": 0.5,
    }
    assert minio.own_options == {}
    assert minio.settings == {"storage": {"minio-data": "20G"}}


def test_relations_are_read_with_and_without_endpoints() -> None:
    assert read_bundle(PUBLIC).relations == (
        (Side("katib-db-manager", "relational-db"), Side("katib-db", "database")),
        (Side("katib-db-manager", ""), Side("minio", "")),
    )


def test_one_side_may_be_related_with_several() -> None:
    topology = read_bundle(
        "applications: {a: {}, b: {}, c: {}}\nrelations: [['a:x', ['b:y', c]], [b, c]]"
    )
    assert texts(topology.relations) == [("a:x", "b:y"), ("a:x", "c"), ("b", "c")]


@pytest.mark.parametrize(
    ("charm", "name"),
    [
        ("minio", "minio"),
        ("argo-controller", "argo-controller"),
        ("./minio_r12.charm", "minio"),
        ("./argo-controller_980dd9f.charm", "argo-controller"),
        ("../charms/istio-gateway_ubuntu-20.04-amd64.charm", "istio-gateway"),
        ("./minio.charm", "minio"),
        ("/srv/charms/minio", "minio"),
        ("./charms/minio/", "minio"),
        ("ch:minio", "minio"),
        ("ch:minio-57", "minio"),
        ("ch:amd64/focal/minio-57", "minio"),
        ("ch:amd64/focal/mysql-k8s-127", "mysql-k8s"),
        ("ch:amd64/mysql-k8s", "mysql-k8s"),
        ("cs:~kubeflow-charmers/katib-ui-3", "katib-ui"),
        ("local:focal/minio-0", "minio"),
    ],
)
def test_a_charm_is_known_by_its_name_wherever_it_comes_from(charm: str, name: str) -> None:
    assert bundle_of(json.dumps({"charm": charm})).charm == name


def test_an_application_without_a_charm_is_named_after_it() -> None:
    assert bundle_of("{scale: 1}").charm == "app"


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ("{}", "scale", 1),
        ("{scale: 3}", "scale", 3),
        ("{num_units: 2}", "scale", 2),
        ("{scale: 3, num_units: 2}", "scale", 3),
        ("{scale: 0}", "scale", 0),
        ("{}", "trust", True),
        ("{trust: true}", "trust", True),
        ("{trust: false}", "trust", False),
        ("{}", "constraints", None),
        ("{constraints: mem=2G cores=2}", "constraints", "mem=2G cores=2"),
        ("{constraints: ''}", "constraints", None),
        ("{constraints: }", "constraints", None),
        ("{}", "base", None),
        ("{base: ubuntu@24.04}", "base", "ubuntu@24.04"),
        ("{series: focal}", "base", "ubuntu@20.04"),
        ("{series: jammy}", "base", "ubuntu@22.04"),
        ("{series: noble}", "base", "ubuntu@24.04"),
        ("{series: kubernetes}", "base", None),
        ("{series: focal, base: ubuntu@22.04}", "base", "ubuntu@22.04"),
        ("{options: }", "options", {}),
        ("{storage: {data: 5G}}", "settings", {"storage": {"data": "5G"}}),
        (
            "{devices: {gpu: '1,nvidia.com/gpu'}, expose: true}",
            "settings",
            {"devices": {"gpu": "1,nvidia.com/gpu"}, "expose": True},
        ),
        (
            "{annotations: {gui-x: '1'}, channel: 1/edge}",
            "settings",
            {"annotations": {"gui-x": "1"}},
        ),
        ("{channel: 1/edge, revision: 3, resources: {i: 4}, plan: x}", "settings", {}),
        # Charmhub's numbers of resources are no images.
        ("{resources: {oci-image: 57}}", "own_resources", {}),
    ],
)
def test_what_a_bundle_says_of_an_application_is_kept(body: str, field: str, value: Any) -> None:
    assert getattr(bundle_of(body), field) == value


def test_what_is_not_known_is_told_and_ignored() -> None:
    topology = read_bundle(
        """
        machines: {}
        _own: {}
        series: focal
        applications:
          app: {scal: 2, _own: 1, channel: edge}
          other: {to: [lxd:0], scale: 2}
        """
    )
    assert topology.warnings == (
        "the bundle has machines, which is not known: ignored",
        "the bundle has app/scal, which is not known: ignored",
        "the bundle places other, which Juju does not do on Kubernetes: ignored",
    )
    assert one(topology).scale == 1
    assert one(topology, "other").scale == 2


def test_an_application_without_a_body_is_none_of_the_bundle() -> None:
    topology = read_bundle("applications:\n  app: {}\n  gone:\n")
    assert [item.name for item in topology.applications] == ["app"]


def test_an_overlay_changes_what_it_names_and_nothing_else() -> None:
    before = read_bundle(PUBLIC)
    after = apply_overlay(
        before,
        """
        applications:
          minio:
            options: {port: 9001, secret-key: x}
            resources: {oci-image: "registry.corp:5000/mine/minio:1"}
          katib-db: {constraints: mem=4G cores=2, scale: 3, trust: false, base: ubuntu@22.04}
        """,
    )
    minio = one(after, "minio")
    assert minio.own_options == {"port": 9001, "secret-key": "x"}
    assert minio.own_resources == {"oci-image": "registry.corp:5000/mine/minio:1"}
    assert minio.options == one(before, "minio").options
    assert minio.settings == {"storage": {"minio-data": "20G"}}
    assert (minio.scale, minio.trust, minio.constraints) == (1, True, None)
    database = one(after, "katib-db")
    assert (database.scale, database.trust, database.constraints, database.base) == (
        3,
        False,
        "mem=4G cores=2",
        "ubuntu@22.04",
    )
    assert one(after, "katib-db-manager") == one(before, "katib-db-manager")
    assert after.relations == before.relations
    assert after.demanded == before.demanded
    assert after.warnings == ()


def test_an_overlay_takes_constraints_away() -> None:
    assert (
        one(overlaid("applications: {katib-db: {constraints: }}"), "katib-db").constraints is None
    )


def test_an_overlay_keeps_what_it_does_not_name_of_an_application() -> None:
    database = one(overlaid("applications: {katib-db: {options: {a: 1}}}"), "katib-db")
    assert (database.charm, database.constraints, database.scale) == ("mysql-k8s", "mem=2G", 1)


def test_overlays_add_up() -> None:
    first = overlaid(
        "applications: {minio: {options: {port: 1, a: 1}, resources: {x: i/x:1, y: i/y:1}}}"
    )
    second = apply_overlay(
        first, "applications: {minio: {options: {port: 2, b: 2}, resources: {y: i/y:2}}}"
    )
    assert one(second, "minio").own_options == {"port": 2, "a": 1, "b": 2}
    assert one(second, "minio").own_resources == {"x": "i/x:1", "y": "i/y:2"}


def test_an_overlay_adds_settings_and_replaces_those_that_are_there() -> None:
    minio = one(overlaid("applications: {minio: {expose: true, storage: {d: 1G}}}"), "minio")
    assert minio.settings == {"storage": {"d": "1G"}, "expose": True}


def test_an_application_without_a_body_is_taken_out_with_its_relations() -> None:
    topology = overlaid("applications:\n  minio:\n")
    assert {item.name for item in topology.applications} == {"katib-db", "katib-db-manager"}
    assert texts(topology.relations) == [("katib-db-manager:relational-db", "katib-db:database")]


def test_an_overlay_adds_an_application() -> None:
    topology = overlaid(
        """
        applications:
          mlflow-server:
            charm: ./mlflow-server_r500.charm
            scale: 2
            trust: false
            series: jammy
            options: {a: 1}
            resources: {oci-image: i/mlflow:1}
            storage: {data: 1G}
        relations: [[mlflow-server:object-storage, minio:object-storage]]
        """
    )
    added = one(topology, "mlflow-server")
    assert (added.charm, added.scale, added.trust) == ("mlflow-server", 2, False)
    assert (added.base, added.is_expected) == ("ubuntu@22.04", True)
    assert added.own_options == {"a": 1}
    assert added.own_resources == {"oci-image": "i/mlflow:1"}
    assert added.settings == {"storage": {"data": "1G"}}
    assert len(topology.applications) == 4
    assert texts(topology.relations)[2:] == [
        ("mlflow-server:object-storage", "minio:object-storage")
    ]


def test_an_overlay_adds_relations_behind_those_that_are_there() -> None:
    topology = overlaid(
        "relations: [['katib-db-manager:s3', 'minio:s3'], [katib-db-manager, minio]]"
    )
    assert texts(topology.relations) == [
        ("katib-db-manager:relational-db", "katib-db:database"),
        ("katib-db-manager", "minio"),
        ("katib-db-manager:s3", "minio:s3"),
    ]


def test_warnings_of_the_bundle_come_before_those_of_the_overlay() -> None:
    topology = overlaid(
        "tag: x\napplications: {app: {to: [1], x: 1}}", "applications: {app: {y: 1}}"
    )
    assert topology.warnings == (
        "the bundle has app/y, which is not known: ignored",
        "the overlay has tag, which is not known: ignored",
        "the overlay has app/x, which is not known: ignored",
        "the overlay places app, which Juju does not do on Kubernetes: ignored",
    )


@pytest.mark.parametrize("body", ["", "{scale: 2}", "{options: {a: 1}}"])
def test_an_overlay_for_an_application_that_is_not_there_is_refused(body: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        overlaid(f"applications:\n  minoi: {body}\n")
    assert raised.value.problem == (
        "the overlay names the application minoi, which is none of: "
        "minio, katib-db, katib-db-manager"
    )
    assert "juju config ckf-airgap overlay=@overlay.yaml" in raised.value.cure


def test_an_overlay_may_not_relate_what_it_takes_out() -> None:
    with pytest.raises(ConfigurationError, match=r"the overlay relates katib-db with minio"):
        overlaid("applications:\n  minio:\nrelations: [[katib-db, minio]]")


APP = "applications: {app: {}, other: {}}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("applications: [", "is not valid YAML (line 1)"),
        ("applications: {}\nname: 'x\n", "is not valid YAML (line 3)"),
        ("a: &a [*b]", "is not valid YAML (line 1)"),
        ("name: !!python/object:os.system {}", "is not valid YAML (line 1)"),
        ("name: \x00", "is not valid YAML"),
        ("[" * 20000, "is not valid YAML (it is nested too deeply)"),
        (
            "\n".join(
                ["a0: &a0 [x]"]
                + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
            ),
            "is not valid YAML (it stands for more than 200000 values)",
        ),
        ("a: &a {<<: [*a, *a]}", "is not valid YAML"),
        (
            f"applications:\n  ? {'a-' * 50_000}\n  : {{}}\n",
            "has an application with the name 'a-a-",
        ),
        ("- app", "is not a map"),
        ("just text", "is not a map"),
        ("1: {}", "has a key that is not text: 1"),
        ("applications: [app]", "has applications, which is not a map"),
        ("applications: app", "has applications, which is not a map"),
        ("applications: {1: {}}", "has a key that is not text: 1"),
        ("applications: {App: {}}", "has an application with the name 'App'"),
        ("applications: {app_1: {}}", "has an application with the name 'app_1'"),
        ("applications: {app-1: {}}", "has an application with the name 'app-1'"),
        ("applications: {-app: {}}", "has an application with the name '-app'"),
        ("applications: {'': {}}", "has an application with the name ''"),
        ("applications: {'app ': {}}", "has an application with the name 'app '"),
        ("applications: {'app\\n': {}}", r"has an application with the name 'app\\n'"),
        (f"applications: {{{'a' * 90}_: {{}}}}", f"has an application with the name '{'a' * 80}'"),
        ("applications: {app: minio}", "has app, which is not a map"),
        ("applications: {app: [minio]}", "has app, which is not a map"),
        ("applications: {app: {options: [a]}}", "has app/options, which is not a map"),
        (
            "applications: {app: {options: {a: [x]}}}",
            "gives app/a a value that is not one scalar",
        ),
        (
            "applications: {app: {options: {a: {b: c}}}}",
            "gives app/a a value that is not one scalar",
        ),
        ("applications: {app: {options: {a: }}}", "gives app/a a value that is not one scalar"),
        (
            "applications: {app: {options: {a: include-file://a.txt}}}",
            "takes app/a from a file, which does not come with it",
        ),
        (
            "applications: {app: {options: {a: 'include-base64://a'}}}",
            "takes app/a from a file, which does not come with it",
        ),
        ("applications: {app: {scale: two}}", "gives app the scale 'two'"),
        ("applications: {app: {scale: -1}}", "gives app the scale -1"),
        ("applications: {app: {scale: true}}", "gives app the scale True"),
        ("applications: {app: {scale: 1.5}}", "gives app the scale 1.5"),
        ("applications: {app: {num_units: '2'}}", "gives app the scale '2'"),
        ("applications: {app: {trust: 'yes'}}", "gives app the trust 'yes'"),
        ("applications: {app: {trust: 1}}", "gives app the trust 1"),
        ("applications: {app: {trust: }}", "gives app the trust None"),
        (
            "applications: {app: {constraints: [mem=2G]}}",
            "gives app constraints that are not text",
        ),
        (
            "applications: {app: {constraints: {mem: 2G}}}",
            "gives app constraints that are not text",
        ),
        ("applications: {app: {base: 24.04}}", "gives app a base that is not text"),
        (f"{APP}relations: {{app: other}}", "has relations that are not a list"),
        (f"{APP}relations: app", "has relations that are not a list"),
        (f"{APP}relations: [app]", "has a relation that is not a pair: app"),
        (f"{APP}relations: [[app]]", "has a relation that is not a pair: ['app']"),
        (f"{APP}relations: [[app, other, app]]", "has a relation that is not a pair"),
        (f"{APP}relations: [[[app], other]]", "has a relation that is not a pair"),
        (f"{APP}relations: [{{app: other}}]", "has a relation that is not a pair"),
        (
            f"{APP}relations: [['app:x', 'minoi:y']]",
            "relates app:x with minoi:y, but has no application minoi",
        ),
        (
            f"{APP}relations: [[minoi, app]]",
            "relates minoi with app, but has no application minoi",
        ),
        (f"{APP}relations: [[app, [other, minoi]]]", "but has no application minoi"),
        (
            f"{APP}relations: [['app:A', other]]",
            "has a relation with the name 'app:A'",
        ),
        (f"{APP}relations: [['app:', other]]", "has a relation with the name 'app:'"),
        ("applications: {app: {options: {'--x': 1}}}", "has an option of app with the name '--x'"),
        (
            "applications: {app: {resources: {../../x: i/j:1}}}",
            "has a resource of app with the name '../../x'",
        ),
        (
            "applications: {app: {storage: {'a/b': 1G}}}",
            "has a storage of app with the name 'a/b'",
        ),
        (
            "applications: {app: {storage: {data: [1G]}}}",
            "has app/storage/data, which is not a text",
        ),
        (
            "applications: {app: {devices: {'a b': '1'}}}",
            "has a devices of app with the name 'a b'",
        ),
        (
            "applications: {app: {bindings: {'A B': x}}}",
            "has a bindings of app with the name 'A B'",
        ),
        (
            'applications: {app: {annotations: {"\\e[2J": x}}}',
            "has an annotations of app with the name '\\x1b[2J'",
        ),
        ("applications: {app: {expose: [x]}}", "has app/expose, which is neither true nor false"),
        ('applications: {app: {options: {b: "c\\0d"}}}', "gives app/b a value with a NUL in it"),
        (
            'applications: {app: {constraints: "mem=1G\\n--x"}}',
            "gives app constraints that are not",
        ),
        ("applications: {a: {}, b: {}, a: {}}", "is not valid YAML (line 1 gives a again)"),
        (f"{APP}saas: {{'--x': {{}}}}", "has a saas with the name '--x'"),
        (
            f"applications: {{{', '.join(f'a{n}x: {{}}' for n in range(2_001))}}}",
            "has 2001 applications, which is too many for a bundle",
        ),
        (
            f"{APP}relations: [[app, [{', '.join(['other'] * 10_001)}]]]",
            "has more than 10000 relations",
        ),
        (f"{APP}relations: [[app, 1]]", "has a relation with the name '1'"),
        ("x" * (1024 * 1024 + 1), "has 1048577 characters, which is too many for a bundle"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_bundle(text)
    assert raised.value.problem.startswith("the bundle ")
    assert problem in raised.value.problem
    assert "juju attach-resource ckf-airgap bundle=" in raised.value.cure
    with pytest.raises(ConfigurationError) as raised:
        apply_overlay(read_bundle(APP), text)
    assert raised.value.problem.startswith("the overlay ")
    assert problem in raised.value.problem
    assert "juju config ckf-airgap overlay=@overlay.yaml" in raised.value.cure


@pytest.mark.parametrize("text", ["name: empty", "applications: {}", "{}", "relations: []"])
def test_a_bundle_without_applications_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="the bundle names no applications"):
        read_bundle(text)


@pytest.mark.parametrize("text", ["name: empty", "applications: {}", "{}", "relations: []"])
def test_an_overlay_that_changes_nothing_is_one(text: str) -> None:
    assert overlaid(text) == read_bundle(PUBLIC)


@pytest.mark.parametrize("charm", ["''", "1", "[minio]", "{a: b}"])
def test_a_bundle_names_charms_with_text(charm: str) -> None:
    with pytest.raises(ConfigurationError, match="the bundle names no charm for app"):
        bundle_of(f"{{charm: {charm}}}")


@pytest.mark.parametrize("image", ["", "''", "57", "[a]", "{registrypath: a}"])
def test_an_overlay_names_images_with_text(image: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no image for the resource minio/oci-image"):
        overlaid(f"applications: {{minio: {{resources: {{oci-image: {image}}}}}}}")


def test_the_largest_bundle_is_read() -> None:
    text = "applications: {app: {}}\n#"
    assert one(read_bundle(text + "x" * (1024 * 1024 - len(text))))


# --- in a plan ---

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
    with pytest.raises(PlanError, match="holds no charm of this deployment"):
        make_plan(charms, HELD, settings(" \n", "\n"))


def test_warnings_of_bundle_and_overlay_are_in_the_plan(charms: tuple[CharmFile, ...]) -> None:
    overlay = "applications: {db: {to: [0]}}"
    plan = make_plan(charms, HELD, settings(f"machines: {{}}\n{BUNDLE}", overlay))
    assert [warning.problem for warning in plan.warnings] == [
        "the bundle has machines, which is not known: ignored",
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
    assert "APPLICATION:ENDPOINT" in raised.value.cure


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
