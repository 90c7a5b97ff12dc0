"""A release packed outside, by the real juju client too, and deployed inside."""

import json
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import yaml

from testbed import Testbed
from tests.integration.connected_side import ConnectedSide, connected_side
from tests.sample_release import Release
from tests.support.operator_steps import Operator, Site

CHARMS = ("argo-controller", "kubeflow-profiles", "mysql-k8s")


@pytest.fixture(scope="module")
def connected(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Generator[ConnectedSide]:
    folder = tmp_path_factory.mktemp("connected")
    release = Release.builtin(CHARMS)
    with connected_side(release, site.client, folder, "quay.io/team/notebook:1") as found:
        yield found


@pytest.fixture(scope="module")
def packed(connected: ConnectedSide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packed")
    connected.pack(output, "--format", "oci", "--add-image", "quay.io/team/notebook:1")
    return output


@pytest.fixture(scope="module")
def operator(
    site: Site,
    charm: Path,
    connected: ConnectedSide,
    packed: Path,
    leave: Callable[[Operator], None],
) -> Generator[Operator]:
    operator = Operator(site, "packed")
    operator.add_model()
    operator.deploy_charm(charm, connected.packed(packed))
    operator.configure(
        **{"excluded-charms": "argo-controller", "registry": f"{site.registry}/packed"}
    )
    operator.give_juju_user()
    yield operator
    leave(operator)


@pytest.mark.usefixtures("packed")
def test_each_charm_is_downloaded_once_from_its_channel(connected: ConnectedSide) -> None:
    assert sorted(connected.charmhub.downloads) == sorted(CHARMS)
    assert {asked[1:] for asked in connected.charmhub.asked} == {("latest/stable", None, "amd64")}


def test_preflight_finds_what_is_packed_whole(operator: Operator, packed: Path) -> None:
    results = operator.run("preflight").results
    assert int(results["errors"]) == 0, results
    assert "is intact" in json.dumps(results)


def test_it_is_deployed_and_verified(operator: Operator) -> None:
    results = operator.run("deploy", wait=1200).results
    assert results["missing-images"] == "none"
    report = operator.run("verify", wait=1200).results
    assert report["foreign-images"] == "none"
    assert report["not-active"] == "none"


def test_the_image_that_was_added_is_in_the_registry(
    testbed: Testbed | None, site: Site, operator: Operator
) -> None:
    assert operator.site is site
    place = f"{site.registry}/packed/team/notebook:1"
    words: list[str | Path] = ["skopeo", "inspect", "--raw", f"docker://{place}"]
    if testbed is None:
        pytest.skip("how to reach the registry of another site is not known")
    assert "layers" in json.loads(
        testbed.run(["env", f"SSL_CERT_FILE={site.registry_ca}", *words])
    )


def test_a_revision_in_the_bundle(connected: ConnectedSide, tmp_path: Path) -> None:
    bundle = yaml.safe_load(connected.release.bundle)
    bundle["applications"] = {
        "argo-controller": {"charm": "ch:argo-controller", "revision": 101, "trust": True}
    }
    bundle["relations"] = []
    before = len(connected.charmhub.asked)
    done = connected.pack(tmp_path, "--dry-run", bundle=yaml.safe_dump(bundle))
    (charm,) = yaml.safe_load(done.stdout)["charms"]
    assert charm["revision"] == 101
    assert charm["file"] == "argo-controller_r101.charm"
    ((name, channel, revision, _),) = connected.charmhub.asked[before:]
    assert (name, channel, revision) == ("argo-controller", None, 101)


def test_a_charm_that_is_not_there_is_named(connected: ConnectedSide, tmp_path: Path) -> None:
    bundle = yaml.safe_load(connected.release.bundle)
    bundle["applications"] |= {
        "one": {"charm": "no-such-charm", "channel": "1/stable"},
        "two": {"charm": "nor-this-one", "channel": "1/stable"},
    }
    done = connected.pack(tmp_path, bundle=yaml.safe_dump(bundle), status=2)
    assert "charm no-such-charm (1/stable)" in done.stderr
    assert "charm nor-this-one (1/stable)" in done.stderr
    assert "was not found in the charm namespace" in done.stderr
    assert not list(tmp_path.glob("*.tar.gz"))


def test_a_charm_of_another_name_is_refused(connected: ConnectedSide, tmp_path: Path) -> None:
    charmhub = connected.charmhub
    charmhub.charms["other"] = charmhub.charms["argo-controller"]
    charmhub.revisions["other"] = 7
    bundle = {"applications": {"other": {"charm": "other", "channel": "1/stable"}}}
    done = connected.pack(tmp_path, bundle=yaml.safe_dump(bundle), status=2)
    assert "the download of this name is the charm argo-controller" in done.stderr
    assert not list(tmp_path.glob("*.tar.gz"))


def test_what_was_downloaded_is_not_downloaded_again(
    connected: ConnectedSide, tmp_path: Path
) -> None:
    connected.pack(tmp_path, "--dry-run")
    before = len(connected.charmhub.downloads)
    connected.pack(tmp_path, "--dry-run")
    assert len(connected.charmhub.downloads) == before
