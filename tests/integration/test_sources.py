"""The archives on a volume and on a file server, in place of the resources."""

import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import jubilant
import pytest

from testbed import Testbed
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import APPLICATION, UNIT, Operator, Site

CHARMS = ("argo-controller", "kubeflow-profiles")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(CHARMS),
        tmp_path_factory.mktemp("sources"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@pytest.fixture(scope="module")
def operator(
    site: Site, charm: Path, artifacts: SampleRelease, leave: Callable[[Operator], None]
) -> Generator[Operator]:
    """An operator who gives the charm a volume, and no archives as resources."""
    operator = Operator(site, "sources")
    operator.add_model()
    operator.deploy_charm(charm, artifacts, with_archives=False, storage={"artifacts": "2G"})
    operator.configure(**{"excluded-charms": "argo-controller", "registry": _place(site)})
    operator.give_juju_user()
    yield operator
    leave(operator)


def _place(site: Site) -> str:
    # Apart from what other tests have pushed.
    return f"{site.registry}/sources"


def test_the_status_asks_for_the_charms(operator: Operator) -> None:
    operator.wait_until_says("waiting for charms.tar.gz on the volume")
    assert operator.message().endswith(f"juju scp ./charms.tar.gz {UNIT}:{_volume(operator)}/")


def test_archives_on_the_volume_are_pushed(operator: Operator, artifacts: SampleRelease) -> None:
    for made in (artifacts.images, artifacts.charms):
        operator.juju.cli("scp", str(made.path), f"{UNIT}:{_volume(operator)}/{made.path.name}")
    task = operator.run("push-images")
    pushed, present = int(task.results["pushed-images"]), int(task.results["present-images"])
    assert pushed + present == len(artifacts.images.images)
    assert "images.tar.gz.pushed" in _files(operator)


def test_what_is_pushed_is_known_after_the_pod_is_gone(
    operator: Operator, artifacts: SampleRelease, testbed: Testbed
) -> None:
    subprocess.run(
        [str(testbed.kubectl_wrapper), "delete", "pod", f"{APPLICATION}-0", "-n", "sources"],
        check=True,
        capture_output=True,
    )
    operator.juju.wait(jubilant.all_agents_idle, successes=5)
    task = operator.run("push-images")
    assert int(task.results["present-images"]) == len(artifacts.images.images)
    assert int(task.results["uploaded-bytes"]) == 0
    assert not [line for line in task.log if "pushed" in line]


def test_archives_on_a_file_server_are_deployed(
    operator: Operator, artifacts: SampleRelease, testbed: Testbed, tmp_path: Path
) -> None:
    shutil.copy(artifacts.images.path, tmp_path / "release.tar.gz")
    shutil.copy(artifacts.charms.path, tmp_path / "charms.tar.gz")
    with testbed.serving(tmp_path) as server:
        operator.configure(
            **{
                "registry": f"{_place(operator.site)}/from-url",
                "excluded-charms": "argo-controller",
                "images-url": server.url("release.tar.gz"),
                "charms-url": server.url("charms.tar.gz"),
            }
        )
        task = operator.run("deploy")
        # The registry of the testbed keeps what earlier runs have pushed.
        pushed, present = int(task.results["pushed-images"]), int(task.results["present-images"])
        assert pushed + present == len(artifacts.images.images)
        assert any("GET /release.tar.gz" in line for line in server.requests)
        report = operator.run("verify", timeout=1200)
    assert report.results["foreign-images"] == "none"
    assert set(operator.juju.status().apps) == {APPLICATION, *CHARMS}


def _volume(operator: Operator) -> str:
    output = operator.juju.ssh(UNIT, "ls", "-d", "/var/lib/juju/storage/artifacts-*")
    return output.strip()


def _files(operator: Operator) -> list[str]:
    return operator.juju.ssh(UNIT, "ls", _volume(operator)).split()
