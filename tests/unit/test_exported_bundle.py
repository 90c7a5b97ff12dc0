"""Bundles as ``juju export-bundle`` writes them."""

import json
from pathlib import Path

import pytest

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.bundle_and_overlay import apply_overlay, read_bundle
from ckf_airgap.planning.plan import make_plan
from ckf_airgap.planning.settings import PlanSettings
from tests.sample_release import Charm, charm_file
from tests.unit.artifacts import inventory_of

EXPORTED = """# comment
bundle: kubernetes
default-base: ubuntu@22.04/stable
applications:
  store: {charm: store, revision: 4, resources: {oci-image: 5}, scale: 1, constraints: arch=amd64}
  ui: {charm: "local:ui-3", base: ubuntu@24.04/stable, bindings: {"": alpha}}
relations:
- [ui:s3, store:s3]
--- # overlay.yaml
applications:
  store:
    exposed-endpoints: {s3: {expose-to-cidrs: [10.0.0.0/8]}}
    offers: {shared: {endpoints: [s3], acl: {admin: admin}}}
"""


def test_the_documents_behind_the_first_are_overlays() -> None:
    topology = read_bundle(EXPORTED)
    assert [(item.name, item.charm, item.base) for item in topology.applications] == [
        ("store", "store", "ubuntu@22.04"),
        ("ui", "ui", "ubuntu@24.04"),
    ]
    assert all(item.settings == {} for item in topology.applications)
    assert len(topology.relations) == 1
    assert topology.warnings == (
        "the bundle has ui/bindings, which is left out: Kubernetes has no spaces",
        "the bundle has store/exposed-endpoints, which is left out: after the deployment, "
        "juju expose store --endpoints ENDPOINTS",
        "the bundle has store/offers, which is left out: after the deployment, "
        "juju offer store:ENDPOINT",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (EXPORTED + "    x: [\n", "(line "),
        ("applications: {a: {}}\n---\nb: [\n", "is not valid YAML (line 4)"),
        (
            "applications: {a: {}}\n---\napplications: {b: {scale: 1}}",
            "names the unknown application b",
        ),
        ("---\n" * 200 + "a: b", "is not valid YAML"),
        (
            f"applications: {{a: {{scale: 0x{'f' * 5000}}}}}",
            "line 1 has a number of too many digits",
        ),
        (f"applications: {{a: {{scale: 0x{'f' * 50}}}}}", "gives a a scale that is too large"),
        (f"applications: {{a: {{scale: -0x{'f' * 50}}}}}", "gives a a scale that is too large"),
        (f"applications: {{a: {{options: {{b: 0x{'f' * 50}}}}}}}", "gives a/b a number"),
    ],
)
def test_what_is_wrong_in_any_document_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_bundle(text)
    assert raised.value.problem.startswith("the bundle ")
    assert problem in raised.value.problem


@pytest.mark.parametrize("text", ["---\n{}", "# only\n--- {}\n...\n", "%YAML 1.1\n---\n{}"])
def test_what_holds_no_document_is_none(text: str) -> None:
    document = text.replace("{}", "applications: {a: {}}").replace("--- a", "---\na")
    assert [item.name for item in read_bundle(document).applications] == ["a"]


def test_relations_with_another_model_are_left_to_the_operator() -> None:
    overlay = """
saas: {metrics: {url: "cos:admin/cos.metrics"}, unused: {}}
relations: [["ui:remote", "metrics:write"], ["ui:x", "store:y"]]
"""
    topology = apply_overlay(read_bundle("applications: {ui: {}, store: {}}"), overlay)
    assert [str(side) for relation in topology.relations for side in relation] == [
        "ui:x",
        "store:y",
    ]
    assert topology.warnings == (
        "the overlay consumes metrics from another model: after the deployment, "
        "juju consume cos:admin/cos.metrics metrics",
        "the overlay consumes unused from another model: after the deployment, "
        "juju consume OFFER unused",
        "the overlay relates ui:remote with metrics:write, one of which is in another model: "
        "after juju consume, run juju integrate ui:remote metrics:write",
    )


def test_a_misspelt_application_names_its_neighbour() -> None:
    with pytest.raises(ConfigurationError, match="no application minoi; it has: minio, app"):
        read_bundle("applications: {app: {}, minio: {}}\nrelations: [[app, minoi]]")


def test_the_default_base_is_taken_among_several(tmp_path: Path) -> None:
    bases = json.dumps({"bases": [{"name": "ubuntu", "channel": c} for c in ("22.04", "24.04")]})
    path = tmp_path / "store.charm"
    path.write_bytes(charm_file(Charm("store"), None, {"manifest.yaml": bases}))
    settings = PlanSettings.parse(
        location=RegistryLocation.parse("registry.corp:5000"),
        bundle="default-base: ubuntu@22.04/stable\napplications: {store: {}}",
    )
    plan = make_plan([CharmFile.read(path)], inventory_of([]), settings)
    assert [item.base for item in plan.applications] == ["ubuntu@22.04"]
