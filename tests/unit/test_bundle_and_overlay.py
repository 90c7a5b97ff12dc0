"""The operator's own bundle and overlay, as they are read."""

import json
from typing import Any

import pytest

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.juju.juju_values import Side
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from tests.unit.bundles import PUBLIC, bundle_of, one, overlaid, texts


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
    assert minio.option_overrides == {}
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
        ("{resources: {oci-image: 57}}", "resource_overrides", {}),
    ],
)
def test_what_a_bundle_says_of_an_application_is_kept(body: str, field: str, value: Any) -> None:
    assert getattr(bundle_of(body), field) == value


def test_the_series_of_an_application_is_known() -> None:
    assert read_bundle("applications: {app: {charm: app, series: jammy}}").warnings == ()


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
        "the bundle has machines, which is unknown: ignored",
        "the bundle has app/scal, which is unknown: ignored",
        "the bundle places other, which Juju does not do on Kubernetes: ignored",
    )
    assert one(topology).scale == 1
    assert one(topology, "other").scale == 2


def test_an_application_without_a_body_in_a_bundle_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has the application gone without a charm"):
        read_bundle("applications:\n  app: {}\n  gone:\n")


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
    assert minio.option_overrides == {"port": 9001, "secret-key": "x"}
    assert minio.resource_overrides == {"oci-image": "registry.corp:5000/mine/minio:1"}
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
    assert one(second, "minio").option_overrides == {"port": 2, "a": 1, "b": 2}
    assert one(second, "minio").resource_overrides == {"x": "i/x:1", "y": "i/y:2"}


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
    assert added.option_overrides == {"a": 1}
    assert added.resource_overrides == {"oci-image": "i/mlflow:1"}
    assert added.settings == {"storage": {"data": "1G"}}
    assert len(topology.applications) == 4
    assert texts(topology.relations)[2:] == [
        ("mlflow-server:object-storage", "minio:object-storage")
    ]


@pytest.mark.parametrize(
    ("overlay", "base"),
    [("", "ubuntu@20.04"), ("default-base: ubuntu@24.04", "ubuntu@24.04")],
)
def test_an_overlay_has_a_base_of_its_own_for_what_it_adds(overlay: str, base: str) -> None:
    bundle = "default-base: ubuntu@20.04\napplications: {app: {}}"
    topology = overlaid(
        f"{overlay}\napplications: {{app: {{scale: 2}}, new: {{charm: x}}}}", bundle
    )
    assert (one(topology, "new").base, one(topology).base) == (base, "ubuntu@20.04")


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
        "the bundle has app/y, which is unknown: ignored",
        "the overlay has tag, which is unknown: ignored",
        "the overlay has app/x, which is unknown: ignored",
        "the overlay places app, which Juju does not do on Kubernetes: ignored",
    )


@pytest.mark.parametrize("body", ["", "{scale: 2}", "{options: {a: 1}}"])
def test_an_overlay_for_an_application_that_is_not_there_is_refused(body: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        overlaid(f"applications:\n  minoi: {body}\n")
    assert raised.value.problem == (
        "the overlay names the unknown application minoi; known are: "
        "minio, katib-db, katib-db-manager"
    )
    assert "juju config ckf-airgap overlay=@overlay.yaml" in raised.value.cure


def test_an_overlay_may_not_relate_what_it_takes_out() -> None:
    with pytest.raises(ConfigurationError, match=r"the overlay relates katib-db with minio"):
        overlaid("applications:\n  minio:\nrelations: [[katib-db, minio]]")
