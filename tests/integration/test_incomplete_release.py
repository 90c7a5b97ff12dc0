"""Archives that lack images and a charm: all of it is named, and the rest can be deployed."""

import jubilant
import pytest

from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import APPLICATION, UNIT, Operator

CHARMS = ("argo-controller", "kfp-api", "kubeflow-profiles", "minio", "mysql-k8s")
LACKING_CHARM = "minio"
# The image of a resource, without which an application cannot be deployed, and those of options.
LACKING_IMAGES = frozenset(
    {
        "docker.io/kubeflownotebookswg/kfam:v1.8.0",
        "charmedkubeflow/argoexec:3.3.10-c88862f",
        "gcr.io/google-containers/busybox",
    }
)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("incomplete"),
        ImageOptions(left_out=LACKING_IMAGES),
        CharmOptions(podspec_as_sidecar=True, left_out=frozenset({LACKING_CHARM})),
    )


@pytest.fixture(scope="module")
def ready(operator: Operator) -> Operator:
    operator.configure(**{"excluded-charms": "argo-controller"})
    operator.give_juju_user()
    operator.juju.wait(
        lambda status: status.apps[APPLICATION].units[UNIT].workload_status.current == "active"
    )
    return operator


@pytest.mark.parametrize("action", ["preflight", "deploy"])
def test_all_that_is_missing_is_named_and_nothing_is_deployed(
    action: str, ready: Operator
) -> None:
    with pytest.raises(jubilant.TaskError) as raised:
        ready.run(action)
    message = raised.value.task.message
    for name in (*LACKING_IMAGES, f"charm {LACKING_CHARM}"):
        assert name in message, message
    assert set(ready.juju.status().apps) == {APPLICATION}


def test_the_rest_is_deployed_where_the_operator_wants_it(ready: Operator) -> None:
    results = ready.run("deploy", **{"allow-missing": True}).results
    deployed = {"argo-controller", "katib-db", "kfp-api", "kfp-db"}
    assert set(ready.juju.status().apps) == {APPLICATION, *deployed}
    assert results["left-out"] == "kubeflow-profiles"
    for name in LACKING_IMAGES:
        assert name in results["missing-images"]
    assert f"charm {LACKING_CHARM}" in results["missing-charms"]
    # Neither an empty string nor the default, which is on the internet.
    registry = ready.site.registry
    executor = str(ready.juju.config("argo-controller")["executor-image"])
    assert executor == f"{registry}/charmedkubeflow/argoexec:3.3.10-c88862f"
    assert str(ready.juju.config("kfp-api")["driver-image"]).startswith(f"{registry}/")
