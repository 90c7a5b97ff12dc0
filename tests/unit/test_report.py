"""``ckf-airgap inspect --report``: what the report says of an archive."""

import csv
import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.pack_manifest import PackManifest
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.unlisted_images import FixedImages, load_unlisted_images
from ckf_airgap.commands.main import main
from ckf_airgap.packing.packed_charms import fetched_charm
from ckf_airgap.packing.packed_charms import write_charm_archive as write_packed_charms
from ckf_airgap.release_report.release_content import ArchivedDetails, release_content
from tests.sample_release import (
    Charm,
    SampleRelease,
    charm_file,
    istio_version,
    stated_release,
    with_charms_between,
    write_charm_archive,
)
from tests.support.archive_forms import old_docker_save
from tests.support.oci_forms import (
    OCI_MANIFEST,
    REFERENCE_NAME,
    StoredImage,
    annotated,
    descriptor,
    helm_chart,
    index_of,
    layout,
    oci_layout,
)
from tests.support.sample_images import NamedImage, digest_of, image_of, layer_of, sample_image
from tests.support.tar_files import Entry, tar
from tests.unit.artifacts import inventory_of, write_archive

FILES = {"images.csv", "images.md", "charms.csv", "charms.md", "index.html", "cyclonedx.json"}


def report(images: Path, charms: Path, folder: Path) -> int:
    archives = ["--images", str(images), "--charms", str(charms)]
    return main(["inspect", *archives, "--report", str(folder)])


def rows(path: Path) -> dict[str, dict[str, str]]:
    """Give the rows of a table by their first cell."""
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    by_name = {next(iter(row.values())): row for row in found}
    assert len(by_name) == len(found)
    return by_name


def users_of(inventory: Inventory, folder: Path, charms: Sequence[CharmFile]) -> dict[str, str]:
    """Give the users of each image."""
    archive = FileSource(write_archive(folder / "empty.tar.gz", []))
    unpacked = UnpackedCharms(tuple(charms), digests={each.label: "" for each in charms})
    content = release_content(unpacked, inventory, ArchivedDetails(), archive, archive)
    return {image.label: " ".join(image.wanted_by) for image in content.images}


def test_the_papers_of_a_release(builtin: SampleRelease, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    assert report(builtin.images.path, builtin.charms.path, folder) == 0
    assert {path.name for path in folder.iterdir()} == FILES
    images, charms = rows(folder / "images.csv"), rows(folder / "charms.csv")
    assert len(images) == len(builtin.images.images)
    assert set(charms) == {charm.charm for charm in builtin.charms.charms}
    with tarfile.open(builtin.charms.path) as archive:
        for row in charms.values():
            member = archive.extractfile(row["file"])
            assert member
            assert row["SHA-256"] == hashlib.sha256(member.read()).hexdigest()
    assert all(row["wanted by"] for row in images.values())
    proxy = next(row for name, row in images.items() if "/proxyv2:" in name)
    assert proxy["wanted by"] == "istio-gateway/proxy-image, istio-pilot/image-configuration"
    assert int(proxy["shared bytes"]) < int(proxy["layer bytes"])

    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert report(builtin.images.path, builtin.charms.path, folder) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize("only", ["images", "charms"])
def test_half_a_release_has_no_papers(
    only: str, builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = str(getattr(builtin, only).path)
    assert main(["inspect", f"--{only}", archive, "--report", str(tmp_path / "report")]) == 2
    assert "give --charms and --images" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_papers_that_cannot_be_written(
    builtin: SampleRelease, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report"
    file.write_text("in the way")
    assert report(builtin.images.path, builtin.charms.path, file) == 2
    assert f"{file} cannot be written" in capsys.readouterr().err
    assert file.read_text() == "in the way"


def test_layers_digests_and_what_is_not_pushed(tmp_path: Path) -> None:
    """Of archives that nobody has recorded anything of."""
    base = layer_of("base", 5000)
    app = NamedImage(image_of([base, layer_of("app"), base]), ("docker.io/team/app:1",))
    tool = NamedImage(image_of([base, layer_of("tool")]), ("quay.io/team/tool:2",))
    own = sample_image("own", "layout")
    stored = oci_layout([NamedImage(own, ("ghcr.io/team/stored:3",))])
    entries = [
        Entry("app.tar", tar(old_docker_save([app]))),
        Entry("tool.tar", tar(old_docker_save([tool]))),
        Entry("stored.tar", tar(stored)),
        Entry("=broken.tar", b""),
    ]
    images = tmp_path / "images.tar"
    images.write_bytes(tar(entries))
    charms = write_archive(
        tmp_path / "charms.tar.gz",
        [("app.charm", charm_file(Charm("app"))), ("=broken.charm", b"no charm")],
    )
    assert report(images, charms, tmp_path / "report") == 1
    found = rows(tmp_path / "report" / "images.csv")
    # As docker writes it.
    first = found["team/app:1"]
    sizes = [len(base), len(layer_of("app"))]
    assert (first["layers"], first["layer bytes"]) == ("2", str(sum(sizes)))
    assert (first["shared layers"], first["shared bytes"]) == ("1", str(sizes[0]))
    assert first["manifest digest"] == ""
    assert first["image ID"] == digest_of(app.image.config)
    assert first["source"] == "docker.io/team/app:1"
    last = found["ghcr.io/team/stored:3"]
    assert last["manifest digest"] == digest_of(StoredImage.of(own).manifest)
    assert last["shared layers"] == "0"
    assert rows(tmp_path / "report" / "charms.csv")["'=broken"]["note"] == "cannot be read"
    told = (tmp_path / "report" / "images.md").read_text().partition("## Not pushed")[2]
    assert "=broken.tar is empty" in told
    assert "=broken.charm is not a readable charm" in told


def test_artifacts_are_listed_with_their_kind(tmp_path: Path) -> None:
    chart = helm_chart("app")
    entry = annotated(
        descriptor(OCI_MANIFEST, chart.manifest), {REFERENCE_NAME: "ghcr.io/team/chart:1"}
    )
    images = tmp_path / "images.tar"
    images.write_bytes(tar(layout(index_of([entry]), chart.blobs)))
    charms = write_archive(tmp_path / "charms.tar.gz", [("a.charm", charm_file(Charm("a")))])
    assert report(images, charms, tmp_path / "report") == 0
    row = rows(tmp_path / "report" / "images.csv")["ghcr.io/team/chart:1"]
    assert row["kind"] == "application/vnd.cncf.helm.config.v1+json"
    assert row["manifest digest"] == digest_of(chart.manifest)
    assert (row["layers"], row["layer bytes"]) == ("1", str(len(chart.content)))


def test_charms_that_only_an_upgrade_passes_through(tmp_path: Path) -> None:
    release = with_charms_between(stated_release("1.8"), stated_release("1.9"))
    pilots = [charm for charm in release.charms if charm.name == "istio-pilot"]
    charms = write_charm_archive(pilots, tmp_path / "charms.tar.gz").path
    names = [f"docker.io/istio/pilot:{istio_version(charm)}" for charm in pilots]
    saved = [NamedImage(sample_image(name), (name,)) for name in names]
    images = tmp_path / "images.tar"
    images.write_bytes(tar(old_docker_save(saved)))
    assert report(images, charms, tmp_path / "report") == 0
    with (tmp_path / "report" / "charms.csv").open(newline="") as file:
        notes = [row["note"] for row in csv.DictReader(file)]
    assert notes == ["", *["only for an upgrade"] * (len(pilots) - 1)]
    newest = max(map(istio_version, pilots), key=lambda text: [int(n) for n in text.split(".")])
    for name, row in rows(tmp_path / "report" / "images.csv").items():
        version = name.rpartition(":")[2]
        user = "istio-pilot" if version == newest else f"istio-pilot {version}"
        assert row["wanted by"] == f"{user}/image-configuration"


def test_images_that_charms_do_not_name(tmp_path: Path) -> None:
    """Those of old charms of Knative, whose options only have the keys, and those in code."""
    registry = "gcr.io/knative-releases/knative.dev/serving/cmd"
    names = [f"{registry}/{name}:v1.10.2" for name in ("activator", "queue", "unknown")]
    options = {name: {"type": "string"} for name in ("custom_images", "queue_sidecar_image")}
    path = tmp_path / "knative-serving.charm"
    config = {"config.yaml": yaml.safe_dump({"options": options})}
    path.write_bytes(charm_file(Charm("knative-serving"), None, config))
    assert users_of(inventory_of(names), tmp_path, [CharmFile.read(path)]) == {
        names[0]: "knative-serving/custom_images",
        names[1]: "knative-serving/custom_images knative-serving/queue_sidecar_image",
        names[2]: "",
    }


@pytest.mark.parametrize("fixed", load_unlisted_images().fixed, ids=lambda each: each.charm)
def test_images_in_the_code_of_a_charm(fixed: FixedImages, tmp_path: Path) -> None:
    names = [name if ":" in name else f"{name}:1" for name in fixed.images]
    path = tmp_path / "some.charm"
    path.write_bytes(charm_file(Charm(fixed.charm)))
    charm = replace(CharmFile.read(path), code=fixed.if_code)
    expected = "" if fixed.if_options else fixed.charm
    found = users_of(inventory_of(names), tmp_path, [charm])
    assert found == dict.fromkeys(names, expected)


def test_what_is_recorded_of_charms(tmp_path: Path) -> None:
    folder = tmp_path / "charms"
    folder.mkdir()
    for name in ("app", "other"):
        folder.joinpath(f"{name}.charm").write_bytes(charm_file(Charm(name)))
    fetched = [
        fetched_charm(folder / "app.charm", 7, "1.2/=stable"),
        fetched_charm(folder / "other.charm", None, None),
    ]
    record = PackManifest("oci", "amd64", (), tuple(each.packed for each in fetched))
    write_packed_charms(tmp_path / "charms.tar.gz", fetched, record)
    images = tmp_path / "images.tar"
    images.write_bytes(tar(old_docker_save([NamedImage(sample_image("app"), ("x/app:1",))])))
    assert report(images, tmp_path / "charms.tar.gz", tmp_path / "report") == 0
    found = rows(tmp_path / "report" / "charms.csv")
    assert (found["app"]["revision"], found["app"]["channel"]) == ("7", "1.2/=stable")
    assert (found["other"]["revision"], found["other"]["channel"]) == ("", "")


def test_images_of_juju_and_of_users(tmp_path: Path) -> None:
    inventory = inventory_of(
        ["ghcr.io/juju/jujud-operator:3.6.25", "quay.io/team/notebook:1", "quay.io/team/tool:1"]
    )
    inventory = Inventory(
        inventory.images,
        user_images={"jupyter": ("quay.io/team/notebook:1",), "other": ("not an image",)},
    )
    assert users_of(inventory, tmp_path, []) == {
        "ghcr.io/juju/jujud-operator:3.6.25": "juju",
        "quay.io/team/notebook:1": "users/jupyter",
        "quay.io/team/tool:1": "",
    }
