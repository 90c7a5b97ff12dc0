"""A release, and then the next as a difference to it, against the next as a whole.

Not part of the other integration tests: ``tox -e releases``.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed import Testbed
from tests.integration.whole_release import (
    Deployed,
    deploy_and_verify,
    outside_release,
    pack_release,
    prepare,
)
from tests.sample_release import ImageOptions, SampleRelease
from tests.support.operator_steps import Operator, Site

pytestmark = pytest.mark.releases
# Of each image, what no other has. The base is the same for all, as far as the names of the
# images of two releases differ.
OWN_KIB = 1024
Deploy = Callable[[SampleRelease, str], tuple[float, Deployed]]


@pytest.fixture
def deploy(site: Site, charm: Path, testbed: Testbed | None) -> Iterator[Deploy]:
    """Push, deploy and verify in a model that is removed afterwards; gives what it took."""
    # Places of this run's own, so that nothing is there before.
    run = secrets.token_hex(4)

    def deploy(artifacts: SampleRelease, place: str) -> tuple[float, Deployed]:
        operator = Operator(site, "kubeflow")
        operator.add_model()
        try:
            operator.deploy_charm(charm, artifacts, with_bundle=False)
            prepare(operator, artifacts.release, f"{site.registry}/{run}/{place}")
            start = time.monotonic()
            operator.run("push-images", wait=3600)
            pushed = time.monotonic() - start
            return pushed, deploy_and_verify(operator, artifacts.release, testbed)
        finally:
            operator.destroy_model()

    yield deploy


def row(name: str, size: int, pushed: float, deployed: Deployed) -> tuple[str, ...]:
    seconds = (pushed, deployed.deploy_seconds, deployed.verify_seconds)
    return (name, f"{size / 1e6:.1f}", *(f"{each:.0f}" for each in seconds))


def test_the_next_release_as_a_difference(
    facts: Path, site: Site, deploy: Deploy, tmp_path: Path
) -> None:
    options = ImageOptions(payload_kib=OWN_KIB)
    form = ("--format", "oci")
    earlier, whole, difference = (tmp_path / name for name in ("earlier", "whole", "difference"))
    rows: list[tuple[str, ...]] = [
        ("release", "images.tar.gz, MB", "push, s", "deploy, s", "verify, s")
    ]
    with outside_release("1.8", facts, site, tmp_path / "1.8", options) as connected:
        done = pack_release(connected, facts, earlier, *form)
        rows.append(row("1.8", done["images_bytes"], *deploy(connected.packed(earlier), "both")))
    with outside_release("1.11", facts, site, tmp_path / "1.11", options) as connected:
        since = ("--since", str(earlier / "charms.tar.gz"))
        less = pack_release(connected, facts, difference, *form, *since)
        all_of_it = pack_release(connected, facts, whole, *form)
        for name, document, folder, place in (
            ("1.11, difference to 1.8", less, difference, "both"),
            ("1.11, whole", all_of_it, whole, "other"),
        ):
            deployed = deploy(connected.packed(folder), place)
            rows.append(row(name, document["images_bytes"], *deployed))
    print("\n" + "\n".join(f"| {' | '.join(each)} |" for each in rows))
    assert less["images_bytes"] < all_of_it["images_bytes"]
