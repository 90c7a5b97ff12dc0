"""The bundle as it is rendered from a plan: what Juju reads out of it is what was planned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side
from ckf_airgap.planning.bundle import render_bundle
from ckf_airgap.planning.plan import Plan, PlannedApplication, make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.conftest import PROJECT
from tests.sample_release import Release
from tests.unit.artifacts import charm_files, inventory_of

TEMPLATES = PROJECT / "templates"
FILE = Path("/var/lib/ckf airgap/charms/minio_1234567.charm")


def planned(
    name: str = "minio",
    *,
    base: str | None = "ubuntu@24.04",
    is_excluded: bool = False,
    constraints: str | None = None,
    resources: Mapping[str, str] | None = None,
    options: Mapping[str, OptionValue] | None = None,
    passed_on: Mapping[str, Any] | None = None,
) -> PlannedApplication:
    return PlannedApplication(
        name=name,
        charm=name,
        file=FILE,
        base=base,
        is_excluded=is_excluded,
        scale=1,
        constraints=constraints,
        resources=resources or {},
        options=options or {},
        settings=passed_on or {},
    )


def rendered(*applications: PlannedApplication, relations: tuple[Relation, ...] = ()) -> Any:
    plan = Plan(applications, relations, resolved=(), missing=(), warnings=())
    return yaml.safe_load(render_bundle(plan, TEMPLATES))


def scalars(document: object) -> list[object]:
    if isinstance(document, dict):
        values = cast(dict[object, object], document).values()
        return [scalar for value in values for scalar in scalars(value)]
    if isinstance(document, list):
        return [scalar for value in cast(list[object], document) for scalar in scalars(value)]
    return [document]


def test_a_bundle_holds_what_was_planned() -> None:
    first = planned("katib-db", constraints="mem=2G", resources={"mysql-image": "h:5/a/mysql:8"})
    second = planned("kfp-api", base=None, options={"cache-image": "h:5/b:1", "grpc-port": 8887})
    relation = (Side("kfp-api", "relational-db"), Side("katib-db", "database"))
    assert rendered(first, second, relations=(relation,)) == {
        "bundle": "kubernetes",
        "name": "kubeflow",
        "applications": {
            "katib-db": {
                "charm": str(FILE),
                "base": "ubuntu@24.04",
                "scale": 1,
                "trust": True,
                "constraints": "mem=2G",
                "resources": {"mysql-image": "h:5/a/mysql:8"},
            },
            "kfp-api": {
                "charm": str(FILE),
                "scale": 1,
                "trust": True,
                "options": {"cache-image": "h:5/b:1", "grpc-port": 8887},
            },
        },
        "relations": [["kfp-api:relational-db", "katib-db:database"]],
    }


@pytest.mark.parametrize(
    "value",
    [
        'He said "no"',
        "it's",
        "two\nlines\n",
        "\ttab and trailing space ",
        "{{ model }} {% raw %} {# not a comment #}",
        "größe, 大きさ, 😀",
        "<script>&amp;</script>",
        "back\\slash \\n",
        "# no comment: [really]",
        "yes",
        "null",
        "0123",
        "1.0",
        "*alias",
        '["a/b:1", "c/d:2"]',
        "\x00\x1b",
        "delete\x7fthat",
        "next\x85line and \u2028 another",
    ],
)
def test_strange_characters_survive(value: str) -> None:
    application = planned(options={"option": value}, resources={"image": value})
    read = rendered(application)["applications"]["minio"]
    assert read["options"] == {"option": value}
    assert read["resources"] == {"image": value}


TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "1e3",
        "0o17",
        "loot: /etc/passwd\n      image",
        "a\n    trust: true\n    b",
        "<<",
        "? a",
        "x" * 900,
    ]
)
OPTION_VALUES = TEXTS | st.booleans() | st.integers() | st.floats(allow_nan=False)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=TEXTS,
    resources=st.dictionaries(TEXTS, TEXTS, max_size=3),
    options=st.dictionaries(TEXTS, OPTION_VALUES, max_size=3),
    passed_on=st.dictionaries(
        TEXTS.map(lambda key: f"-{key}"), st.dictionaries(TEXTS, OPTION_VALUES), max_size=2
    ),
    endpoint=TEXTS,
)
def test_no_name_and_no_value_becomes_structure(
    name: str,
    resources: Mapping[str, str],
    options: Mapping[str, OptionValue],
    passed_on: Mapping[str, Any],
    endpoint: str,
) -> None:
    application = planned(name, resources=resources, options=options, passed_on=passed_on)
    relation = (Side(name, endpoint), Side(name, "b"))
    body: dict[str, Any] = {
        "charm": str(FILE),
        "base": "ubuntu@24.04",
        "scale": 1,
        "trust": True,
        **passed_on,
    }
    if resources:
        body["resources"] = resources
    if options:
        body["options"] = options
    assert rendered(application, relations=(relation,)) == {
        "bundle": "kubernetes",
        "name": "kubeflow",
        "applications": {name: body},
        "relations": [[str(side) for side in relation]],
    }


@pytest.mark.parametrize("value", [True, False, 3, -1, 2.5, "3", "true"])
def test_options_keep_their_type(value: OptionValue) -> None:
    read = rendered(planned(options={"option": value}))["applications"]["minio"]["options"]
    assert read == {"option": value}
    assert type(read["option"]) is type(value)


def test_option_names_may_have_dots() -> None:
    options = {"istio.gateway.namespace": "kubeflow"}
    assert rendered(planned(options=options))["applications"]["minio"]["options"] == options


def test_excluded_applications_and_their_relations_are_left_out() -> None:
    def relation(first: str, second: str) -> Relation:
        return (Side(first, "a"), Side(second, "b"))

    bundle = rendered(
        planned("one"),
        planned("two"),
        planned("out", is_excluded=True),
        relations=(relation("one", "two"), relation("out", "two"), relation("one", "out")),
    )
    assert set(bundle["applications"]) == {"one", "two"}
    assert bundle["relations"] == [["one:a", "two:b"]]


def test_a_bundle_without_relations_is_valid() -> None:
    assert not rendered(planned())["relations"]


@pytest.mark.parametrize("archived", ["all", "none"])
@pytest.mark.parametrize("excluded", ["auto", "", "mysql-k8s,minio"])
def test_the_bundle_of_the_builtin_release_has_no_empty_strings(
    archived: str, excluded: str, tmp_path: Path
) -> None:
    release = Release.builtin()
    charms = charm_files(release.charms, tmp_path)
    images = inventory_of(release.images)
    plan = make_plan(
        charms,
        images if archived == "all" else Inventory(()),
        PlanSettings.parse(
            location=RegistryLocation.parse("registry.corp:5000/ckf"), excluded_charms=excluded
        ),
    )
    text = render_bundle(plan, TEMPLATES)
    bundle = yaml.safe_load(text)

    assert set(bundle["applications"]) == {item.name for item in plan.bundled}
    assert len(bundle["relations"]) == len(plan.bundled_relations)
    values = scalars(bundle)
    assert "" not in values
    assert None not in values
    # The rule keeps a name of two components whole, beneath the prefix.
    assert "docker.io" not in text.replace("/ckf/docker.io/ubuntu:22.04", "")
    for body in bundle["applications"].values():
        assert Path(body["charm"]).is_absolute()
        assert body["base"] == "ubuntu@24.04"
        assert body["trust"] is True
        for image in body.get("resources", {}).values():
            assert image.startswith("registry.corp:5000/ckf/")
