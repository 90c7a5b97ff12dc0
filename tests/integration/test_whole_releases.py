"""Whole releases of Charmed Kubeflow, with all that their metadata says.

Not part of the other integration tests: ``tox -e releases``. The charms are idle stand-ins with
the metadata of the real ones, the images small; how many there are, and how they belong together,
is as in the release.
"""

import json
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import jubilant
import pytest

from tests.operator_steps import APPLICATION, Operator, Site
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.testbed import Testbed

pytestmark = pytest.mark.releases
# The applications of each, and the images that its list lacks.
RELEASES = {"1.8": (38, 0), "1.11": (37, 3)}


@pytest.fixture(scope="module", params=list(RELEASES))
def release(request: pytest.FixtureRequest, facts: Path | None) -> Release:
    name = str(request.param)
    if facts is None or not (facts / name).is_dir():
        pytest.skip(f"no facts about CKF {name}: set CKF_FACTS")
    return Release.from_folder(facts / name)


@pytest.fixture(scope="module")
def artifacts(release: Release, tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    return write_release(
        release,
        tmp_path_factory.mktemp("release"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def operator(site: Site, charm: Path, artifacts: SampleRelease) -> Generator[Operator]:
    operator = Operator(site, "kubeflow")
    operator.add_model()
    operator.deploy_charm(charm, artifacts, with_bundle=False)
    yield operator
    operator.destroy_model()


def test_a_whole_release_runs_from_the_registry(
    release: Release, artifacts: SampleRelease, operator: Operator, testbed: Testbed | None
) -> None:
    applications, missing = RELEASES[release.name]
    # What is podspec in the release stands outside the bundle here too.
    podspec = [charm.name for charm in release.charms if charm.podspec]
    operator.configure(**{"excluded-charms": ",".join(podspec)})
    operator.give_juju_user()
    operator.wait_until_says("ready")

    start = time.monotonic()
    before = _used_memory()
    results = operator.run("deploy", wait=3600, **{"allow-missing": missing > 0}).results
    deployed = time.monotonic() - start
    report = operator.run("verify", wait=3600).results
    verified = time.monotonic() - start
    memory = _used_memory() - before
    print(
        f"\nCKF {release.name}: {applications} applications, {report['containers']} containers; "
        f"deploy {deployed:.0f} s, verified after {verified:.0f} s; "
        f"memory of all that was deployed {memory / 1024:.1f} GiB"
    )

    assert int(results["applications"]) == applications
    assert results["missing-charms"] == "none"
    assert len(results["missing-images"].splitlines()) == max(missing, 1)
    assert (results["missing-images"] == "none") == (missing == 0)
    assert report["foreign-images"] == "none"
    assert report["failed-pulls"] == "none"
    assert report["not-active"] == "none"
    status = operator.juju.status()
    assert set(status.apps) - {APPLICATION} == set(release.applications)
    assert _related(status) == len(release.relations)
    if testbed:
        _require_images_from(operator.site, testbed)
    again = operator.run("deploy", wait=3600, **{"allow-missing": missing > 0}).results
    assert again["changes"] == "none"


def _require_images_from(site: Site, testbed: Testbed) -> None:
    """Look without the charm whether every pod of the model has its images from the registry."""
    words = [str(testbed.kubectl_wrapper), "get", "pods", "-n", "kubeflow", "-o", "json"]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    images = {
        container["image"]
        for pod in json.loads(output)["items"]
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))
    }
    host = site.registry.partition("/")[0]
    assert images and all(image.startswith(f"{host}/") for image in images), images


def _related(status: jubilant.Status) -> int:
    """Count relations: each is seen from both of its sides."""
    sides = (
        relation
        for name, application in status.apps.items()
        for relations in application.relations.values()
        for relation in relations
        if relation.related_app != name
    )
    return sum(1 for _ in sides) // 2


def _used_memory() -> int:
    """Tell the memory in use on this machine, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (values["MemTotal"] - values["MemAvailable"]) // 1024
