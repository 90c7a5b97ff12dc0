"""An archive of 20 GB that nobody stores, through the charm's pod with the memory that it has."""

import os
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed import Testbed
from tests.integration.faults import command_of, pod, processes_of_pod
from tests.sample_release import CharmOptions, ImageOptions, Release, SampleRelease, write_release
from tests.support.operator_steps import Operator

IMAGES = int(os.environ.get("CKF_SCALE_IMAGES", "20"))
LAYER_MIB = 960
# Of the container's 1024 MiB, which the unit's agent takes its part of too.
MOST_MIB = 300

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """In place of those of the other tests."""
    return write_release(
        Release.builtin(("argo-controller", "kubeflow-profiles")),
        tmp_path_factory.mktemp("scale"),
        ImageOptions(),
        CharmOptions(podspec_as_sidecar=True),
    )


@contextmanager
def peak_of_action(operator: Operator, testbed: Testbed) -> Generator[list[int]]:
    """Watch the memory of the charm's process while it runs; the peak is in KiB."""
    peaks: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for pid in processes_of_pod(testbed, operator):
                if "src/charm.py" not in command_of(pid):
                    continue
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if match := re.search(r"VmHWM:\s*(\d+) kB", status):
                    peaks.append(int(match[1]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()


def test_20_gb_from_an_address(operator: Operator, testbed: Testbed | None) -> None:
    if testbed is None:
        pytest.skip("this site has no file server of ours")
    (container,) = [
        item for item in pod(testbed, operator)["spec"]["containers"] if item["name"] == "charm"
    ]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    with (
        testbed.large_archive(IMAGES, LAYER_MIB) as address,
        testbed.spare_registry() as registry,
    ):
        operator.configure(**{"registry": f"{registry.host}/scale", "images-url": address})
        operator.give_juju_user()
        operator.wait_until_says("ready")
        start = time.monotonic()
        with peak_of_action(operator, testbed) as peaks:
            results = operator.run("push-images", wait=3600).results
        seconds = time.monotonic() - start
        assert int(results["pushed-images"]) == IMAGES
        size = IMAGES * LAYER_MIB * 1024 * 1024
        print(
            f"\n{size / 1e9:.1f} GB in {seconds:.0f} s, {size / 1e6 / seconds:.0f} MB/s; "
            f"peak of the charm's process {max(peaks) / 1024:.0f} MiB"
        )
        assert max(peaks) / 1024 < MOST_MIB
        again = operator.run("push-images").results
        assert int(again["present-images"]) == IMAGES
        assert int(again["uploaded-bytes"]) == 0
