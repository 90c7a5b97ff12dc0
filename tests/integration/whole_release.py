"""Whole releases of Charmed Kubeflow: packed outside, deployed and verified inside.

The charms are idle stand-ins with the metadata of the real ones, the images small; how many there
are, and how they belong together, is as in the release. Registries and Charmhub are stand-ins too;
the juju client is the real one.
"""

import json
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jubilant
import pytest
import yaml

from testbed import Testbed
from tests.integration.connected_side import ConnectedSide, connected_side
from tests.sample_release import ImageOptions, Release
from tests.support.operator_steps import APPLICATION, Operator, Site

# The applications of each.
RELEASES = {"1.8": 38, "1.11": 37}
KNATIVE_VERSION = "v1.10.2"


@dataclass(frozen=True)
class Deployed:
    """What it took to deploy a release.

    Attributes:
        containers: How many containers were verified.
        deploy_seconds: From the start of the action deploy to its end; the push is a part of it,
            if it was not done before.
        verify_seconds: From the start of the action verify to its end.
    """

    containers: int
    deploy_seconds: float
    verify_seconds: float


@contextmanager
def outside_release(
    name: str,
    facts: Path | None,
    site: Site,
    folder: Path,
    options: ImageOptions | None = None,
) -> Generator[ConnectedSide]:
    """Put a release outside, with the images of Knative that the charms of 1.8 do not name."""
    if facts is None or not (facts / name).is_dir():
        pytest.skip(f"no facts about CKF {name}: set CKF_FACTS")
    release = Release.from_folder(facts / name)
    images = _knative_images(facts)
    with connected_side(release, site.client, folder, *images, options=options) as found:
        yield found


def _knative_images(facts: Path) -> list[str]:
    charms = yaml.safe_load((facts / "knative-keymap.yaml").read_text())
    tails = {tail for keys in charms.values() for tail in keys.values()}
    return [f"gcr.io/knative-releases/{tail}:{KNATIVE_VERSION}" for tail in sorted(tails)]


def pack_release(
    connected: ConnectedSide, facts: Path, output: Path, *more: str
) -> dict[str, Any]:
    """Pack a release; gives what pack prints."""
    if connected.release.name == "1.8":
        listed = output.with_suffix(".txt")
        listed.write_text("\n".join(_knative_images(facts)))
        more = (*more, "--add-images", str(listed))
    return yaml.safe_load(connected.pack(output, *more).stdout)


def prepare(operator: Operator, release: Release, place: str) -> None:
    """Set what a deployment of a release needs, in a model that has nothing but the charm."""
    # What is podspec in the release stands outside the bundle here too.
    podspec = [charm.name for charm in release.charms if charm.podspec]
    operator.configure(**{"excluded-charms": ",".join(podspec), "registry": place})
    operator.give_juju_user()
    operator.wait_until_says("ready")


def deploy_and_verify(operator: Operator, release: Release, testbed: Testbed | None) -> Deployed:
    """Deploy a release that is prepared, and verify it."""
    start = time.monotonic()
    results = operator.run("deploy", wait=3600).results
    deployed = time.monotonic()
    report = operator.run("verify", wait=3600).results
    verified = time.monotonic()

    assert int(results["applications"]) == RELEASES[release.name]
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
    return Deployed(int(report["containers"]), deployed - start, verified - deployed)


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
