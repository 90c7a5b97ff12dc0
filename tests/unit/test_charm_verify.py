"""The action verify, and the status that follows."""

import shutil
from dataclasses import replace

import ops
import pytest

from ckf_airgap.deployment.verified_state import VerifiedState
from ckf_airgap.errors import ClusterError, JujuError
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import DeployedCharm
from ckf_airgap.kubernetes import cluster
from ckf_airgap.kubernetes.cluster import RunningImage
from tests.unit.charm_unit import ACTIVE, PLAN, READY, FakeCore, FakeJujuModel, Unit, absent

VERIFIED = ops.ActiveStatus("verified: Charmed Kubeflow runs from this registry")
NOT_VERIFIED = ops.ActiveStatus("not verified: juju run ckf-airgap/0 verify")


def test_verify_tells_that_all_comes_from_the_registry(
    unit: Unit, core: FakeCore, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running.append(RunningImage("other", "x", "x", "docker.io/not/looked:1"))
    # This charm's own unit runs the action: it is not active meanwhile.
    own = {"ckf-airgap/0": "maintenance: waiting", "ckf-airgap": "no unit yet (waiting)"}
    model.states = [ModelState(frozenset(), {}, own)]
    unit.run("push-images")
    assert unit.run("verify") == {
        "namespaces": "kubeflow, ann, bob",
        "containers": 1,
        "not-active": "none",
        "foreign-images": "none",
        "failed-pulls": "none",
        "not-as-planned": "none",
        "not-looked-at": "none",
        "result": "every unit is active and the images of all 1 containers come from "
        "registry.corp:5000",
    }
    assert unit.status() == VERIFIED


def test_verify_looks_into_the_namespace_of_the_model(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running[:] = [RunningImage("mine", "x", "x", "registry.corp:5000/a:1")]
    unit.configure(model="ann/mine")
    assert unit.run("verify")["containers"] == 1


def test_verify_looks_into_the_namespaces_of_knative_and_of_profiles(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running[:] = [
        RunningImage(namespace, "x", "x", "docker.io/a:1")
        for namespace in ("serving-namespace", "ann", "elsewhere")
    ]
    charms = {
        "serving": DeployedCharm("knative-serving", 3),
        "kfp-api": DeployedCharm("kfp-api", 0),
    }
    model.states = [ModelState(frozenset(charms), {}, {}, frozenset(), charms)]
    unit.fail("verify")
    assert unit.results["namespaces"] == "kubeflow, serving-namespace, ann, bob"
    assert unit.results["containers"] == 2


def test_verify_looks_where_knative_runs_whatever_its_charms_say(
    unit: Unit,
    model: FakeJujuModel,
    running: list[RunningImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The charms of Knative 1.16 have an option for the namespace that has no effect."""
    running.append(RunningImage("knative-serving", "activator", "main", "gcr.io/activator:1"))
    monkeypatch.setattr(
        cluster, "knative_namespaces", lambda: ["knative-serving", "knative-eventing"]
    )
    assert "1 containers have an image from elsewhere" in unit.fail("verify")
    assert unit.results["namespaces"] == "kubeflow, knative-serving, knative-eventing, ann, bob"


DIGEST = f"sha256:{'a' * 64}"
PILOT = RunningImage(
    "kubeflow",
    "istiod-0",
    "discovery",
    "docker.io/ubuntu/istio-pilot:1.29-24.04_stable",
    digest=DIGEST,
)


@pytest.fixture
def ambient(model: FakeJujuModel, running: list[RunningImage]) -> None:
    """What runs holds an image that the code of istio-k8s names."""
    charms = {"istio-k8s": DeployedCharm("istio-k8s", 9)}
    model.states = [ModelState(frozenset(charms), {}, {}, frozenset(), charms)]
    running.append(PILOT)


def test_an_image_in_a_charms_code_is_verified_by_what_the_registry_holds(
    unit: Unit, ambient: None, core: FakeCore, running: list[RunningImage]
) -> None:
    core.digests = {("ckf/docker.io/ubuntu/istio-pilot", "1.29-24.04_stable"): DIGEST}
    unit.run("push-images")
    results = unit.run("verify")
    assert results["foreign-images"] == "none"
    assert results["mirrored-images"] == str(PILOT)
    assert str(results["result"]).endswith(
        "2 containers come from registry.corp:5000, 1 of them through a mirror, which the nodes "
        f"must keep: pods name {PILOT.image}"
    )
    # What is known to be mirrored is no news later; another image under its name is.
    unit.update_status()
    assert unit.status() == VERIFIED
    running[-1] = replace(PILOT, digest="", is_starting=True)
    unit.update_status()
    assert unit.status() == VERIFIED
    running[-1] = replace(PILOT, digest=f"sha256:{'b' * 64}")
    unit.update_status()
    assert "1 containers have an image from elsewhere since" in unit.status().message


def test_an_image_in_a_charms_code_that_the_registry_lacks_is_foreign(
    unit: Unit, ambient: None, core: FakeCore
) -> None:
    core.digests = {}
    unit.run("push-images")
    assert "1 containers have an image from elsewhere" in unit.fail("verify")
    found = str(unit.results["foreign-images"])
    assert "the code of a charm names it, and no option changes it" in found
    assert f"registry.corp:5000/ckf lacks it: add {PILOT.image} to images.tar.gz" in found
    assert "configure the nodes with the output of the action mirrors" in found


def test_verify_waits_for_the_units(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    waiting = {f"app-{n}/0": "waiting" for n in range(5)}
    model.states = [
        ModelState(frozenset(), {}, waiting),
        ModelState(frozenset(), {}, {"minio/0": "maintenance: starting"}),
        ACTIVE,
    ]
    assert "result" in unit.run("verify", timeout=60)
    shown = [status.message for status in unit.context.unit_status_history]
    assert (
        "waiting for app-0/0 (waiting), app-1/0 (waiting), app-2/0 (waiting) and 2 more" in shown
    )
    assert "waiting for minio/0 (maintenance: starting)" in shown


def test_verify_fails_with_all_that_is_wrong(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running.append(RunningImage("kubeflow", "kfp-0", "api", "docker.io/a/b:1"))
    running.append(
        RunningImage("kubeflow", "ui-0", "ui", "registry.corp:5000/c:1", "ErrImagePull: unknown")
    )
    model.states = [ModelState(frozenset(), {}, {"minio/0": "blocked: no key", "ui": "no unit"})]
    assert unit.fail("verify") == (
        "2 units are not active, 1 containers have an image from elsewhere than "
        "registry.corp:5000, 1 containers cannot pull their image: see the results of this action"
    )
    assert unit.results == {
        "namespaces": "kubeflow, ann, bob",
        "containers": 3,
        "not-active": "minio/0: blocked: no key\nui: no unit",
        "foreign-images": "docker.io/a/b:1 in kubeflow/kfp-0, container api: it can be compared "
        "with the registry only after images.tar.gz was pushed",
        "failed-pulls": "registry.corp:5000/c:1 in kubeflow/ui-0, container ui "
        "(ErrImagePull: unknown)",
        "not-as-planned": "none",
        "not-looked-at": "this pod has not read images.tar.gz (juju run ckf-airgap/0 deploy reads "
        "it, and changes nothing if the model is as planned)",
    }
    assert unit.status() == NOT_VERIFIED


@pytest.mark.parametrize(
    ("images", "states"),
    [
        ([RunningImage("kubeflow", "p", "c", "busybox")], {}),
        ([RunningImage("kubeflow", "p", "c", "registry.corp:5000/a:1", "ErrImagePull")], {}),
        ([], {"minio/0": "waiting"}),
    ],
)
def test_each_finding_alone_fails_verify(
    images: list[RunningImage],
    states: dict[str, str],
    unit: Unit,
    model: FakeJujuModel,
    running: list[RunningImage],
) -> None:
    running += images
    model.states = [ModelState(frozenset(), {}, states)]
    assert "see the results of this action" in unit.fail("verify")


def test_verify_fails_where_the_cluster_refuses(
    unit: Unit, model: FakeJujuModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ClusterError("refused", "juju trust ckf-airgap --scope=cluster")

    monkeypatch.setattr(cluster, "knative_namespaces", list[str])
    monkeypatch.setattr(cluster, "profile_namespaces", list[str])
    monkeypatch.setattr(cluster, "running_images", refuse)
    assert unit.fail("verify") == "refused: juju trust ckf-airgap --scope=cluster"


def test_verify_fails_where_juju_holds_something_else_than_planned(
    unit: Unit, core: FakeCore, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    """An image that only an option names runs in no pod before a user starts something."""
    unit.run("deploy")
    core.differences_ = ("argo-controller: the option executor-image is not r/argoexec:1",)
    assert unit.fail("verify") == (
        "1 options or charms are not as planned: see the results of this action"
    )
    assert unit.results["not-as-planned"] == core.differences_[0]
    assert unit.status() == NOT_VERIFIED


def test_verify_says_what_it_could_not_compare(
    unit: Unit, core: FakeCore, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    unit.run("push-images")
    core.known_plan_ = None
    results = unit.run("verify")
    assert results["not-looked-at"] == "images.tar.gz was not pushed by this unit"
    assert results["result"].endswith("options were not compared: " + results["not-looked-at"])


def test_verify_does_not_fetch_the_images(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent("images")(unit, monkeypatch)
    assert "this pod has not read images.tar.gz" in unit.run("verify")["not-looked-at"]


def test_a_cluster_in_which_nothing_runs_is_not_verified(
    unit: Unit, model: FakeJujuModel, running: list[RunningImage]
) -> None:
    running.clear()
    assert "no container runs in kubeflow, ann, bob" in unit.fail("verify")


class TestStatus:
    """A result is shown as long as it holds."""

    @pytest.fixture(autouse=True)
    def _verified(
        self,
        unit: Unit,
        core: FakeCore,
        model: FakeJujuModel,
        running: list[RunningImage],
    ) -> None:
        unit.run("deploy")
        unit.run("verify")
        assert unit.status() == VERIFIED

    @pytest.mark.parametrize(
        "options", [{"registry": "other.corp"}, {"overlay": "applications: {minio: {scale: 2}}"}]
    )
    def test_it_holds_for_these_options(self, options: dict[str, str], unit: Unit) -> None:
        before = {name: str(unit.state.config[name]) for name in options if name == "registry"}
        unit.configure(**options)
        assert unit.status() == ops.ActiveStatus(READY)
        unit.configure(**{"overlay": None, **before})
        assert unit.status() == VERIFIED

    def test_it_holds_for_these_charms(self, unit: Unit) -> None:
        unit.paths["charms"].write_text("others")
        assert unit.status() == ops.ActiveStatus(READY)

    def test_it_holds_for_the_images_of_this_pod(self, unit: Unit) -> None:
        """Another resource comes with another pod."""
        shutil.rmtree(unit.folder / "ckf-airgap")
        assert unit.status() == ops.ActiveStatus(READY)

    def test_a_verification_that_fails_takes_it_back(
        self, unit: Unit, model: FakeJujuModel
    ) -> None:
        model.states = [ModelState(frozenset(), {}, {"minio/0": "blocked"})]
        unit.fail("verify")
        assert unit.status() == NOT_VERIFIED

    def test_what_comes_from_elsewhere_later_is_told(
        self, unit: Unit, running: list[RunningImage]
    ) -> None:
        unit.update_status()
        assert unit.status() == VERIFIED
        running.append(RunningImage("ann", "job-0", "main", "docker.io/library/busybox:1"))
        unit.update_status()
        assert unit.status() == ops.ActiveStatus(
            "1 containers have an image from elsewhere since it was verified: "
            "juju run ckf-airgap/0 verify"
        )

    def test_what_comes_later_into_the_namespace_of_a_charms_option_is_told(
        self, unit: Unit, model: FakeJujuModel, running: list[RunningImage]
    ) -> None:
        charms = {"serving": DeployedCharm("knative-serving", 3)}
        model.states = [ModelState(frozenset(charms), {}, {}, frozenset(), charms)]
        unit.run("verify")
        running.append(RunningImage("serving-namespace", "x", "x", "docker.io/a:1"))
        unit.update_status()
        assert "1 containers have an image from elsewhere since" in unit.status().message

    def test_an_option_that_is_changed_later_is_told(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        """No pod shows an image that only an option names, before a user starts something."""
        images = {"image": "registry.corp:5000/a:1", "other-image": "registry.corp:5000/b:1"}
        (first, *rest) = PLAN.applications
        planned = replace(first, options=images, image_options=tuple(images))
        core.known_plan_ = core.plan_ = replace(PLAN, applications=(planned, *rest))
        model.options_ = {"kfp-api": dict(images)}
        model.states = [ModelState(frozenset({"kfp-api"}), {}, {})]
        unit.run("deploy")
        unit.run("verify")
        unit.update_status()
        assert unit.status() == VERIFIED
        model.options_["kfp-api"]["image"] = "docker.io/a:1"
        unit.update_status()
        assert unit.status() == ops.ActiveStatus(
            "the option image of kfp-api was changed since it was verified: "
            "juju run ckf-airgap/0 verify"
        )
        unit.run("verify")
        assert unit.status() == VERIFIED
        model.states = [ModelState(frozenset(), {}, {})]
        unit.update_status()
        assert "and 1 more options were changed since" in unit.status().message

    def test_a_controller_that_does_not_answer_is_no_news(
        self, unit: Unit, core: FakeCore, model: FakeJujuModel
    ) -> None:
        (first, *rest) = PLAN.applications
        planned = replace(first, options={"image": "a:1"}, image_options=("image",))
        core.known_plan_ = core.plan_ = replace(PLAN, applications=(planned, *rest))
        unit.run("deploy")
        unit.run("verify")
        model.failure = JujuError("it is silent", "wait")
        unit.update_status()
        assert unit.status() == VERIFIED

    def test_a_cluster_that_does_not_answer_is_no_news(
        self, unit: Unit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: object) -> None:
            raise ClusterError("it is silent", "wait")

        monkeypatch.setattr(cluster, "running_images", refuse)
        unit.update_status()
        assert unit.status() == VERIFIED


def test_a_state_that_was_stored_without_namespaces_is_read() -> None:
    text = '{"agent_images":"r/juju","mirrored":["a:1"],"options":{"kfp-api":{"image":"0a"}}}'
    expected = VerifiedState("r/juju", ("a:1",), {"kfp-api": {"image": "0a"}})
    assert VerifiedState.read(text) == expected
    assert expected.namespaces == ()
