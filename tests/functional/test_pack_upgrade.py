"""``ckf-airgap pack --upgrade-from``: the charms between, and their images, are carried too."""

from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ckf_airgap.archives.pack_manifest import read_pack_manifest
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import unpack_charms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import version_of
from ckf_airgap.commands.main import main
from testbed.pki import Authority
from tests.functional.packs import OPTIONS, Captured, document, words
from tests.sample_release import (
    CharmOptions,
    Release,
    charm_file,
    images_named_by,
    istio_version,
    stated_release,
    with_charms_between,
)
from tests.support.charmhub import Charmhub, serving
from tests.support.outside import Outside, write_charms

CHARMS = ("istio-pilot", "kubeflow-volumes")
BUNDLE = """
applications:
  istio-pilot: {charm: istio-pilot, channel: 1.22/stable}
  kubeflow-volumes: {charm: kubeflow-volumes, channel: 1.9/stable}
"""


@pytest.fixture
def release(outside: Outside) -> Release:
    """A part of 1.9 with the charms between 1.8 and it; the images are outside."""
    whole = with_charms_between(stated_release("1.8"), stated_release("1.9"))
    charms = tuple(charm for charm in whole.charms if charm.name in CHARMS)
    images = tuple(sorted({image for charm in charms for image in images_named_by(charm)}))
    outside.fill(images, OPTIONS)
    return replace(whole, charms=charms, images=images)


@pytest.fixture
def charmhub(release: Release, authority: Authority) -> Generator[Charmhub]:
    """A Charmhub that has each version in its channel."""
    found = Charmhub()
    for number, charm in enumerate(release.charms, 201):
        content = charm_file(charm, CharmOptions())
        if charm.name == "istio-pilot":
            minor = istio_version(charm).rpartition(".")[0]
            found.channels[charm.name, f"{minor}/stable"] = number, content
        else:
            found.charms[charm.name], found.revisions[charm.name] = content, number
    with serving(found, authority):
        yield found


def versions(folder: Path) -> tuple[list[str], list[str]]:
    """Give the versions of istio-pilot in a packed archive: the newest, and those between."""
    archive = FileSource(folder / "packed" / "charms.tar.gz")
    unpacked = unpack_charms(archive, folder / "unpacked")

    def tags(charms: Iterable[CharmFile]) -> list[str]:
        return [str(version_of(charm)) for charm in charms if charm.name == "istio-pilot"]

    return tags(unpacked.charms), tags(unpacked.intermediate)


@pytest.mark.parametrize("start", ["1.8", "bundle"])
def test_they_are_downloaded_from_their_channels(
    start: str,
    release: Release,
    charmhub: Charmhub,
    outside: Outside,
    juju_client: Path,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    (tmp_path / "bundle.yaml").write_text(BUNDLE)
    old = tmp_path / "old.yaml"
    old.write_text("applications: {istio-pilot: {charm: istio-pilot, channel: 1.17/stable}}")
    place = start if start == "1.8" else str(old)
    arguments = [
        *("pack", "--bundle", str(tmp_path / "bundle.yaml"), "--upgrade-from", place),
        *("--output", str(tmp_path / "packed"), "--registry-ca", str(outside.registry.ca)),
        *("--juju", str(juju_client), "--charmhub-url", charmhub.url, "--allow-missing"),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "4 intermediate charms" in said.err
    newest, between = versions(tmp_path)
    assert newest == ["1.22.0"]
    assert [version.rpartition(".")[0] for version in between] == ["1.18", "1.19", "1.20", "1.21"]
    manifest = read_pack_manifest(FileSource(tmp_path / "packed" / "images.tar.gz"))
    assert manifest and manifest.upgrade_from == (start if start == "1.8" else "old.yaml")
    assert len(manifest.images) == len(release.images)


@pytest.mark.usefixtures("release")
def test_they_are_taken_from_a_folder_and_named_where_they_lack(
    release: Release, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    write_charms(release, tmp_path / "charms")
    assert main(words(outside, tmp_path, "--upgrade-from", "1.8")) == 0
    packed = document(capsys)
    assert (packed["upgrade_from"], len(packed["upgrade_charms"])) == ("1.8", 4)
    assert all("1.22" not in image for image in packed["upgrade_images"])
    assert len(packed["upgrade_images"]) > 4

    lacking = next(
        path for path in (tmp_path / "charms").iterdir() if path.name in packed["upgrade_charms"]
    )
    lacking.unlink()
    assert main(words(outside, tmp_path, "--upgrade-from", "1.8")) == 2
    said = capsys.readouterr().err
    assert "the directory of --charms lacks istio-pilot (1." in said


def test_a_jump_is_refused_before_an_image_is_looked_up(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    whole = stated_release("1.10")
    charms = tuple(charm for charm in whole.charms if charm.name in CHARMS)
    write_charms(replace(whole, charms=charms), tmp_path / "charms")
    assert main(words(outside, tmp_path, "--upgrade-from", "1.8")) == 2
    assert "1.8 must be upgraded to 1.9 first" in capsys.readouterr().err
    assert main(words(outside, tmp_path, "--upgrade-from", "9.9")) == 2
    assert "neither a release nor the file of a bundle" in capsys.readouterr().err
