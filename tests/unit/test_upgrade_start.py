"""What a packed release is to upgrade from, and what lies between."""

from pathlib import Path

import pytest

from ckf_airgap.archives.pack_manifest import PackedImage, PackManifest
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import CharmVersions, Version
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.packing.packed import intermediate_charms
from ckf_airgap.packing.upgrade_start import UpgradeStart
from ckf_airgap.packing.wanted_images import parse_image
from tests.unit.upgrade_model import charm, istio_pilot, read_charms

BUNDLE = """
applications:
  istio-pilot: {charm: istio-pilot, channel: 1.17/stable}
  kfp-api: {charm: kfp-api, channel: latest/edge}
  minio: {charm: minio, channel: ckf-1.8/stable}
"""


def release(folder: Path, *pilots: str) -> list[CharmFile]:
    return read_charms([*map(istio_pilot, pilots), charm("minio", "1.9")], folder)


def between(start: UpgradeStart, charms: list[CharmFile]) -> list[str]:
    return list(map(str, start.origins_between(charms)))


def test_a_release_tells_its_versions() -> None:
    start = UpgradeStart.of_release("1.8")
    assert start and start.release and start.release.release == "1.8"
    assert start.versions["istio-pilot"] == Version(1, 17)
    assert UpgradeStart.of_release("1.1") is None


def test_a_bundle_tells_them_in_its_channels() -> None:
    start = UpgradeStart.of_bundle("old.yaml", BUNDLE)
    assert start.versions == {"istio-pilot": Version(1, 17)}
    assert start.release and start.release.release == "1.8"


def test_what_the_channel_does_not_tell_the_release_does() -> None:
    bundle = BUNDLE.replace("latest/edge", "2.0/stable").replace("1.17/stable", "latest/edge")
    start = UpgradeStart.of_bundle("old.yaml", bundle)
    assert start.versions["istio-pilot"] == Version(1, 17)


@pytest.mark.parametrize("order", [("1.17", "1.20"), ("1.20", "1.17")])
def test_of_several_applications_the_oldest_counts(order: tuple[str, str]) -> None:
    lines = (f"  p{n}: {{charm: istio-pilot, channel: {v}/stable}}" for n, v in enumerate(order))
    start = UpgradeStart.of_bundle("old.yaml", "\n".join(["applications:", *lines]))
    assert start.versions == {"istio-pilot": Version(1, 17)}


@pytest.mark.parametrize(
    "bundle",
    [
        "applications: {istio-pilot: {charm: istio-pilot, channel: latest/edge}}",
        "applications: {istio-pilot: {charm: istio-pilot}}",
    ],
)
def test_a_bundle_that_tells_none_is_refused(bundle: str) -> None:
    with pytest.raises(ConfigurationError, match="not specify the version of istio-pilot:"):
        UpgradeStart.of_bundle("old.yaml", bundle)


@pytest.mark.parametrize(
    "bundle",
    [
        "applications: {minio: {charm: minio, channel: 1.9/stable}}",
        "applications: {istio: {charm: istio-k8s}, kfp-api: {charm: kfp-api, channel: latest}}",
    ],
)
def test_a_bundle_without_istio_pilot_passes_through_none(bundle: str, tmp_path: Path) -> None:
    start = UpgradeStart.of_bundle("old.yaml", bundle)
    assert between(start, release(tmp_path, "1.22.0")) == []


@pytest.mark.parametrize("text", ["applications: [", BUNDLE + "---\nrelations: 1\n"])
def test_an_error_in_a_bundle_names_the_file_of_the_option(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^old\.yaml ") as raised:
        UpgradeStart.of_bundle("old.yaml", text)
    assert raised.value.cure == "correct it (the file of --upgrade-from)"


def test_the_minor_versions_between_are_downloaded(tmp_path: Path) -> None:
    start = UpgradeStart.of_bundle("old.yaml", BUNDLE)
    assert between(start, release(tmp_path / "new", "1.22.0")) == [
        f"istio-pilot (1.{minor}/stable)" for minor in range(18, 22)
    ]
    # What is there already is not.
    assert between(start, release(tmp_path / "some", "1.22.0", "1.19.3", "1.21.1")) == [
        "istio-pilot (1.18/stable)",
        "istio-pilot (1.20/stable)",
    ]
    assert between(start, release(tmp_path / "next", "1.18.0")) == []
    assert between(start, read_charms([charm("minio")], tmp_path / "none")) == []


def test_images_that_are_added_too_are_not_those_of_the_charms_between(tmp_path: Path) -> None:
    versions = CharmVersions("what is packed")
    for pilot in release(tmp_path, "1.17.3", "1.18.7"):
        versions.add(pilot)
    # The charms name docker.io/istio/pilot.
    packed = [
        PackedImage(f"istio/pilot:{tag}", "sha256:0", "sha256:0", 1)
        for tag in ("1.17.3", "1.18.7")
    ]
    manifest = PackManifest("docker", "amd64", tuple(packed), ())
    assert intermediate_charms(versions, (), manifest).images == (packed[0],)
    added = parse_image("index.docker.io/istio/pilot:1.17.3")
    assert intermediate_charms(versions, [added], manifest).images == ()


def test_only_the_next_release_is_packed(tmp_path: Path) -> None:
    start = UpgradeStart.of_bundle("old.yaml", BUNDLE)
    start.require_next(release(tmp_path / "1.9", "1.22.0"))
    start.require_next(release(tmp_path / "1.8", "1.17.5"))
    start.require_next(read_charms([charm("minio")], tmp_path / "unknown"))
    with pytest.raises(
        ConfigurationError, match=r"but 1\.8 must be upgraded to 1\.9 first: "
    ) as e:
        start.require_next(release(tmp_path / "1.10", "1.24.2"))
    assert e.value.cure == ("pack 1.9 with --upgrade-from 1.8, then 1.10 with --upgrade-from 1.9")
    # Those between do not make a release older, nor a jump smaller.
    with pytest.raises(ConfigurationError, match=r"1\.8 must be upgraded to 1\.9 first: "):
        start.require_next(release(tmp_path / "all", "1.18.1", "1.22.0", "1.24.2"))
    with pytest.raises(ConfigurationError, match=r"1\.7, which is older than 1\.8"):
        start.require_next(release(tmp_path / "1.7", "1.16.2"))
