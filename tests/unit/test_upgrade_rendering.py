"""An upgrade for people, for programs, and as a diagram."""

import json
import re
from itertools import pairwise

import pytest

from ckf_airgap.upgrades.planner import plan_walk
from ckf_airgap.upgrades.rendering import walk_diagram, walk_document, walk_table
from ckf_airgap.upgrades.start_and_target import Permissions
from ckf_airgap.upgrades.walk_steps import Phase, Remove, Walk
from tests.unit.upgrade_model import (
    NEW_BASE,
    SimulatedModel,
    charm,
    istio_gateway,
    istio_pilot,
    read_charms,
    target_of,
)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    ends = {"provides grpc": "grpc"}, {"provides grpc": "k8s-service"}
    needs = {"requires grpc": "grpc"}, {"requires grpc": "k8s-service"}
    before = [
        istio_pilot("1.24.2"),
        istio_gateway("1.24.2"),
        charm("mlmd", storage={"type": "filesystem", "location": "/data"}, ends=ends[0]),
        charm("envoy", podspec=True, ends=needs[0]),
        charm("seldon-core"),
    ]
    after = [
        istio_pilot("1.25.5"),
        istio_gateway("1.25.5"),
        charm("mlmd", "1.17.1", storage={"type": "filesystem"}, ends=ends[1]),
        charm("envoy", "2.2.0", ends=needs[1]),
        charm("dex-auth", "2.41.1"),
    ]
    folder = tmp_path_factory.mktemp("charms")
    model = SimulatedModel(target_of(read_charms(before, folder / "before")))
    target = target_of(read_charms(after, folder / "after", {"envoy": [NEW_BASE]}))
    allowed = Permissions(data_loss=frozenset({"mlmd"}))
    return plan_walk(model.running(target), target, permissions=allowed)


def test_the_table_has_a_line_for_each_step(walk: Walk) -> None:
    assert walk_table(walk).splitlines() == [
        "From 1.10 to 1.10: 16 steps",
        "",
        "Back up these first, with no pipeline, experiment, training or notebook running:",
        "  mlmd, the ML metadata (LOST in the upgrade): kubectl exec -n kubeflow mlmd-0 -c mlmd "
        "-- sqlite3 /data/mlmd.db .dump (scale kfp-metadata-writer to 0 before; restore the dump "
        "into container mlmd-grpc-server)",
        "",
        "One minor version at a time:",
        "   1  scale istio-ingressgateway to 0 (it has 1)",
        "   2  wait until istio-ingressgateway has no unit and the Deployment "
        "istio-ingressgateway-workload is gone",
        "   3  refresh istio-pilot from 1.24.2 to 1.25.5",
        "   4  wait until istio-pilot is active at 1.25.5",
        "   5  refresh istio-ingressgateway from 1.24.2 to 1.25.5",
        "   6  scale istio-ingressgateway to 1",
        "",
        "Removed and deployed again:",
        "   7  remove the relation mlmd:grpc - envoy:grpc",
        "   8  remove mlmd with its storage (its charm declares other storage, which "
        "Juju cannot change in a refresh)",
        "   9  wait until mlmd is removed",
        "  10  deploy mlmd 1.17.1",
        "",
        "From podspec to sidecar charms:",
        "  11  scale envoy to 0 (it has 1)",
        "  12  wait until envoy has no unit",
        "  13  refresh envoy from 1.0.0 to 2.2.0 on ubuntu@24.04",
        "  14  scale envoy to 1",
        "",
        "The other charms:",
        "  15  deploy dex-auth 2.41.1",
        "",
        "Relations:",
        "  16  add the relation mlmd:grpc - envoy:grpc",
        "",
        "Left as they are: seldon-controller-manager",
    ]


def test_the_document_holds_values(walk: Walk) -> None:
    document = json.loads(json.dumps(walk_document(walk)))
    assert (document["from"], document["to"]) == ("1.10", "1.10")
    by_number = {step["number"]: step for step in document["steps"]}
    refresh = by_number[13]
    assert refresh["kind"] == "Refresh"
    assert refresh["phase"] == Phase.PODSPEC.value
    assert refresh["application"] == refresh["charm"] == "envoy"
    assert (refresh["before"], refresh["to"], refresh["base"]) == ("1.0.0", "2.2.0", NEW_BASE)
    assert refresh["command"] == "juju refresh envoy --path ./envoy_r3.charm --base ubuntu@24.04"
    assert by_number[4]["command"] == ""
    assert by_number[4]["minutes"] == 20
    assert by_number[8]["command"] == "juju remove-application mlmd --no-prompt --destroy-storage"
    assert by_number[16]["relation"] == ["mlmd:grpc", "envoy:grpc"]
    assert document["left"] == ["seldon-controller-manager"]
    assert [(each["application"], each["is_lost"]) for each in document["backups"]] == [
        ("mlmd", True)
    ]


def test_the_diagram_leads_through_all_steps(walk: Walk) -> None:
    lines = walk_diagram(walk).splitlines()
    assert lines[0] == "flowchart TD"
    assert '    s3["3. refresh istio-pilot from 1.24.2 to 1.25.5"]' in lines
    assert lines.count("  end") == len({phase for phase, _ in walk.steps})
    arrows = [line.split() for line in lines if "-->" in line]
    names = ["b1", *(f"s{number}" for number in range(1, len(walk.steps) + 1))]
    assert [(first, last) for first, _, last in arrows] == list(pairwise(names))


def test_nothing_that_somebody_has_named_breaks_out_of_a_label() -> None:
    hostile = 'x"]\n  click s1 "javascript:alert(1)" %% <b>#`&\x1b[31m'
    walk = Walk(steps=((Phase.REPLACED, Remove("a", False, hostile)),))
    diagram = walk_diagram(walk)
    label = re.search(r's1\["(.*)"\]', diagram)
    assert label
    assert len(diagram.splitlines()) == 4
    assert not re.search(r'["<>`&\n\x1b]', label[1])
    assert len(walk_table(walk).splitlines()) == 4


def test_without_steps_there_is_nothing_to_do() -> None:
    assert walk_table(Walk(steps=())) == "nothing to do: the model is as planned"
    assert walk_document(Walk(steps=()))["steps"] == []
    assert walk_diagram(Walk(steps=())) == "flowchart TD\n"
