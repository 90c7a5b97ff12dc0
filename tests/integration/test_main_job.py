"""The main job on a real cluster: a part of Charmed Kubeflow 1.8, two files and a registry."""

import json
import subprocess
from pathlib import Path
from typing import cast

import jubilant
import pytest

from testbed import Testbed
from tests.sample_release import CharmOptions, SampleRelease, write_release
from tests.support.operator_steps import APPLICATION, EXCLUDED, UNIT, Operator, next_release

DEPLOYED = {
    "argo-controller",
    "istio-ingressgateway",
    "istio-pilot",
    "jupyter-ui",
    "katib-controller",
    "katib-db",
    "katib-db-manager",
    "kfp-api",
    "kfp-db",
    "kfp-profile-controller",
    "kfp-ui",
    "kubeflow-dashboard",
    "kubeflow-profiles",
    "kubeflow-volumes",
    "minio",
}
PROFILE_LABEL = "app.kubernetes.io/part-of=kubeflow-profile"
# The relations that the manual way adds by hand, as both sides name them.
RELATIONS_BY_HAND = [
    ("argo-controller", "object-storage", "minio"),
    ("kubeflow-volumes", "ingress", "istio-pilot"),
    ("kubeflow-volumes", "dashboard-links", "kubeflow-dashboard"),
    ("kfp-api", "object-storage", "minio"),
    ("kfp-profile-controller", "object-storage", "minio"),
    ("kfp-ui", "object-storage", "minio"),
]
KATIB_KEYS = {
    "default_trial_template",
    "early_stopping__medianstop",
    "enas_cpu_template",
    "metrics_collector_sidecar__stdout",
    "metrics_collector_sidecar__file",
    "metrics_collector_sidecar__tensorflow_event",
    "pytorch_job_template__master",
    "pytorch_job_template__worker",
    "suggestion__random",
    "suggestion__tpe",
    "suggestion__grid",
    "suggestion__hyperband",
    "suggestion__bayesianoptimization",
    "suggestion__cmaes",
    "suggestion__sobol",
    "suggestion__multivariate_tpe",
    "suggestion__enas",
    "suggestion__darts",
    "suggestion__pbt",
}


@pytest.fixture(scope="module")
def deployment(operator: Operator) -> jubilant.Task:
    """The task that deployed everything."""
    operator.configure()
    operator.give_juju_user()
    operator.wait_until_says(f"ready: juju run {UNIT} deploy")
    findings = operator.run("preflight").results
    assert int(findings["errors"]) == 0, findings
    assert _applications(operator) == {APPLICATION}
    return operator.run("deploy")


@pytest.fixture(scope="module")
def verified(operator: Operator, deployment: jubilant.Task) -> jubilant.Task:
    """The task that waited until all was running."""
    return operator.run("verify")


def test_all_images_are_pushed(deployment: jubilant.Task, artifacts: SampleRelease) -> None:
    results = deployment.results
    done = int(results["pushed-images"]) + int(results["present-images"])
    assert done == len(artifacts.images.images)
    assert results["missing-images"] == "none"


def test_every_unit_is_active_and_every_image_is_from_the_registry(
    operator: Operator, verified: jubilant.Task
) -> None:
    assert verified.results["foreign-images"] == "none"
    assert verified.results["failed-pulls"] == "none"
    assert verified.results["not-active"] == "none"
    status = operator.juju.status()
    assert set(status.apps) - {APPLICATION} == DEPLOYED
    assert all(status.apps[name].is_active for name in DEPLOYED)
    assert operator.message(status).startswith("verified")


def test_every_option_that_names_images_names_the_registry(
    operator: Operator, verified: jubilant.Task
) -> None:
    images = [image for name in DEPLOYED for image in _images_of_options(operator, name)]
    assert len(images) > len(KATIB_KEYS)
    assert all(image.startswith(f"{operator.site.registry}/") for image in images), images


def test_the_excluded_charms_have_their_images(
    operator: Operator, verified: jubilant.Task
) -> None:
    registry = operator.site.registry
    executor = operator.juju.config("argo-controller")["executor-image"]
    assert str(executor).startswith(f"{registry}/charmedkubeflow/argoexec:")
    katib = json.loads(str(operator.juju.config("katib-controller")["custom_images"]))
    assert set(katib) == KATIB_KEYS
    assert all(image.startswith(f"{registry}/") for image in katib.values())


def test_the_relations_of_the_excluded_charms_are_there(
    operator: Operator, verified: jubilant.Task
) -> None:
    apps = operator.juju.status().apps
    for application, endpoint, related in RELATIONS_BY_HAND:
        found = [relation.related_app for relation in apps[application].relations[endpoint]]
        assert found == [related], (application, endpoint)


def test_a_second_deploy_changes_nothing_and_says_so(
    operator: Operator, verified: jubilant.Task
) -> None:
    before = operator.picture()
    task = operator.run("deploy")
    assert task.results["pushed-images"] == "0" or task.results["pushed-images"] == 0
    assert int(task.results["uploaded-bytes"]) == 0
    assert task.results["changes"] == "none"
    assert "nothing to do" in task.results["result"]
    assert operator.picture() == before


def test_relations_that_were_removed_come_back(
    operator: Operator, verified: jubilant.Task
) -> None:
    before = operator.picture()
    operator.juju.remove_relation("kfp-ui:object-storage", "minio:object-storage")
    operator.juju.wait(lambda s: "object-storage" not in s.apps["kfp-ui"].relations)
    task = operator.run("add-relations")
    assert task.results["changes"] == "add relation kfp-ui:object-storage - minio:object-storage"
    assert operator.picture() == before


def test_preflight_looks_at_everything(operator: Operator, verified: jubilant.Task) -> None:
    findings = operator.run("preflight").results["findings"]
    for text in (
        f"ok  registry: {operator.site.registry} answers over TLS and accepts pushes",
        "ok  juju: logged in to admin/test-main-job, Juju ",
        "ok  images: images.tar.gz is intact",
        "ok  kubernetes: default storage class ",
        "ok  plan: 15 applications (outside the bundle: argo-controller, katib-controller, "
        "kubeflow-volumes, minio)",
        # What no option of the charms changes.
        "warning  plan: kfp-ui uses docker.io/tensorflow/tensorflow",
    ):
        assert text in findings, findings


def test_images_of_user_profiles_are_looked_at(
    operator: Operator, verified: jubilant.Task, testbed: Testbed | None
) -> None:
    if testbed is None:
        pytest.skip("this site has no kubectl of ours")
    image = "docker.io/library/from-elsewhere:1"
    _kubectl(testbed, "create", "namespace", "ann")
    try:
        _kubectl(testbed, "label", "namespace", "ann", PROFILE_LABEL)
        _kubectl(testbed, "run", "notebook", f"--image={image}", "--namespace", "ann")
        with pytest.raises(jubilant.TaskError) as raised:
            operator.run("verify", timeout=0)
        assert raised.value.task.results["namespaces"] == "test-main-job, ann"
        assert f"{image} in ann/notebook" in raised.value.task.results["foreign-images"]
    finally:
        _kubectl(testbed, "delete", "namespace", "ann", "--wait=false")


def test_refresh_brings_what_changed_and_nothing_else(
    operator: Operator,
    verified: jubilant.Task,
    artifacts: SampleRelease,
    tmp_path: Path,
) -> None:
    nothing = operator.run("refresh")
    assert nothing.results["changes"] == "none"

    before = operator.picture()
    changed = next_release(artifacts.release)
    made = write_release(changed, tmp_path, charm_options=CharmOptions(podspec_as_sidecar=True))
    operator.attach(made, with_bundle=False)

    assert "kfp-ui" in operator.run("deploy").results["outdated"]
    results = operator.run("refresh").results
    assert "refresh application kfp-ui" in results["changes"]
    assert "set options of argo-controller: executor-image" in results["changes"]
    report = operator.run("verify").results
    assert report["failed-pulls"] == "none"

    after = operator.picture()
    touched = {name for name in after if name != APPLICATION and after[name] != before[name]}
    # The last has no image of its own name in the archive: the one of kfp-ui stands in for it.
    assert touched == {"kfp-ui", "argo-controller", "kfp-profile-controller"}
    assert operator.juju.config("argo-controller")["executor-image"] == (
        f"{operator.site.registry}/charmedkubeflow/argoexec:3.4"
    )


def test_render_bundle_shows_the_bundle(operator: Operator, verified: jubilant.Task) -> None:
    task = operator.run("render-bundle")
    bundle = task.results["bundle"]
    assert "kfp-api:" in bundle
    assert "minio:\n" not in bundle
    assert task.results["excluded"] == ", ".join(EXCLUDED)


def _applications(operator: Operator) -> set[str]:
    return set(operator.juju.status().apps)


def _kubectl(testbed: Testbed, *words: str) -> None:
    subprocess.run([str(testbed.kubectl_wrapper), *words], check=True, capture_output=True)


def _images_of_options(operator: Operator, application: str) -> list[str]:
    found: list[str] = []
    for option, value in operator.juju.config(application).items():
        if option.endswith(("-image", "-images", "custom_images")):
            found += _references(str(value))
    return found


def _references(value: str) -> list[str]:
    if not value.startswith(("[", "{")):
        return [value]
    document = json.loads(value)
    items = cast(list[str], document if isinstance(document, list) else list(document.values()))
    return [item for item in items if "/" in item]
