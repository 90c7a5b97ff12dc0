"""Whole releases of Charmed Kubeflow, packed, and deployed from what was packed.

Not part of the other integration tests: ``tox -e releases``. The charms are idle stand-ins with
the metadata of the real ones, the images small; how many there are, and how they belong together,
is as in the release. Registries and Charmhub are stand-ins too; the juju client is the real one.
"""

import json
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import jubilant
import pytest
import yaml

from testbed import Testbed
from tests.integration.connected_side import ConnectedSide, connected_side
from tests.sample_release import Release, SampleRelease
from tests.support.operator_steps import APPLICATION, Operator, Site

pytestmark = pytest.mark.releases
# The applications of each.
RELEASES = {"1.8": 38, "1.11": 37}
LAYOUTS = ("docker", "oci")
KNATIVE_VERSION = "v1.10.2"


@pytest.fixture(scope="module", params=list(RELEASES))
def connected(
    request: pytest.FixtureRequest,
    facts: Path | None,
    site: Site,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[ConnectedSide]:
    """What is outside: a release, and the images of Knative that the charms of 1.8 do not name."""
    name = str(request.param)
    if facts is None or not (facts / name).is_dir():
        pytest.skip(f"no facts about CKF {name}: set CKF_FACTS")
    folder = tmp_path_factory.mktemp("connected")
    release = Release.from_folder(facts / name)
    with connected_side(release, site.client, folder, *_knative_images(facts)) as found:
        yield found


def _knative_images(facts: Path) -> list[str]:
    charms = yaml.safe_load((facts / "knative-keymap.yaml").read_text())
    tails = {tail for keys in charms.values() for tail in keys.values()}
    return [f"gcr.io/knative-releases/{tail}:{KNATIVE_VERSION}" for tail in sorted(tails)]


@pytest.fixture(scope="module", params=LAYOUTS)
def artifacts(
    request: pytest.FixtureRequest,
    connected: ConnectedSide,
    facts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> SampleRelease:
    """The release as it is packed."""
    output = tmp_path_factory.mktemp("packed")
    more = ["--format", str(request.param)]
    if connected.release.name == "1.8":
        listed = output / "knative.txt"
        listed.write_text("\n".join(_knative_images(facts)))
        more += ["--add-images", str(listed)]
    start = time.monotonic()
    done = yaml.safe_load(connected.pack(output, *more).stdout)
    print(
        f"\nCKF {connected.release.name}, {request.param}: packed {len(done['charms'])} charms "
        f"and {len(done['images'])} images in {time.monotonic() - start:.0f} s; "
        f"images.tar.gz {done['images_bytes'] / 1e6:.0f} MB"
    )
    return connected.packed(output)


@pytest.fixture(scope="module")
def operator(
    request: pytest.FixtureRequest, site: Site, charm: Path, artifacts: SampleRelease
) -> Generator[Operator]:
    operator = Operator(site, "kubeflow")
    operator.add_model()
    operator.deploy_charm(charm, artifacts, with_bundle=False)
    yield operator
    operator.destroy_model()


def test_a_whole_release_runs_from_the_registry(
    artifacts: SampleRelease, operator: Operator, testbed: Testbed | None
) -> None:
    release = artifacts.release
    applications = RELEASES[release.name]
    # What is podspec in the release stands outside the bundle here too.
    podspec = [charm.name for charm in release.charms if charm.podspec]
    # Of each archive a registry path of its own, so that nothing is there before.
    place = f"{operator.site.registry}/{artifacts.images.path.parent.name}"
    operator.configure(**{"excluded-charms": ",".join(podspec), "registry": place})
    operator.give_juju_user()
    operator.wait_until_says("ready")

    start = time.monotonic()
    before = _used_memory()
    results = operator.run("deploy", wait=3600).results
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
    assert results["missing-images"] == "none"
    assert report["foreign-images"] == "none"
    assert report["failed-pulls"] == "none"
    assert report["not-active"] == "none"
    status = operator.juju.status()
    assert set(status.apps) - {APPLICATION} == set(release.applications)
    assert _related(status) == len(release.relations)
    if testbed:
        _require_images_from(operator.site, testbed)
    again = operator.run("deploy", wait=3600).results
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
