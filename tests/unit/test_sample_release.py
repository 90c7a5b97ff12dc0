"""The generator of test artifacts makes what it says; its output is what other tests rely on."""

import gzip
import hashlib
import io
import json
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from backports import zstd

from tests.sample_release import (
    DEMO_CHARMS,
    SEED_EXCLUDED_CHARMS,
    Charm,
    CharmOptions,
    Compressor,
    Container,
    Damage,
    ImageOptions,
    Layout,
    Release,
    Resource,
    SavedImage,
    charm_file,
    flip_bit,
    member_name,
    present_release_folders,
    retagged_name,
    sample_program,
    truncate,
    write_charm_archive,
    write_image_archive,
    write_release,
)

IMAGES: tuple[str, ...] = (
    "argoproj/workflow-controller:v3.3.10",
    "docker.io/kubeflowkatib/katib-ui:v0.16.0",
    "docker.io/kubeflowkatib/suggestion-enas:v0.16.0",
    "docker.io/ubuntu:22.04",
    "gcr.io/google-containers/busybox",
    f"gcr.io/ml-pipeline/kfp-driver@sha256:{'3c06' * 16}",
    "kserve/sklearnserver:0.11.2",
    "seldonio/sklearnserver:1.17.1",
)
STUB = b"not a program, and quick to make"
# Keys that only the default file of katib 0.15 has; the built-in release keeps them as a case.
KATIB_EXTRA_KEYS = {
    "enas_cpu_template",
    "pytorch_job_template__master",
    "pytorch_job_template__worker",
}
KATIB_EXTRA_IMAGES = {
    "docker.io/kubeflowkatib/enas-cnn-cifar10-cpu:v0.16.0",
    "docker.io/kubeflowkatib/pytorch-mnist-cpu:v0.16.0",
}
RELEASE_FOLDERS = [
    pytest.param(folder, id=folder.name) for folder in present_release_folders()
] or [pytest.param(None, marks=pytest.mark.skip(reason="no release folders: set CKF_FACTS"))]
DEMO_FOLDERS = [
    pytest.param(folder, id=folder.name)
    for folder in present_release_folders()
    if folder.name == Release.builtin().name
] or [pytest.param(None, marks=pytest.mark.skip(reason="no folder of CKF 1.8: set CKF_FACTS"))]


class Saved:
    """One ``docker save`` archive, read with nothing but tarfile."""

    def __init__(self, content: bytes) -> None:
        self.archive = tarfile.open(fileobj=io.BytesIO(content))  # noqa: SIM115
        self.names = self.archive.getnames()
        self.manifest = cast(dict[str, Any], json.loads(self.read("manifest.json"))[0])
        self.config = cast(dict[str, Any], json.loads(self.read(self.manifest["Config"])))

    def read(self, name: str) -> bytes:
        file = self.archive.extractfile(name)
        assert file
        return file.read()

    def diff_ids(self) -> list[str]:
        return [_diff_id(self.read(name)) for name in self.manifest["Layers"]]


def _diff_id(layer: bytes) -> str:
    content = layer
    if layer.startswith(b"\x1f\x8b"):
        content = gzip.decompress(layer)
    if layer.startswith(b"\x28\xb5\x2f\xfd"):
        content = zstd.decompress(layer)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:gz") as archive:
        return {
            member.name: cast(io.BufferedReader, archive.extractfile(member)).read()
            for member in archive
        }


def _make(
    folder: Path, options: ImageOptions, images: tuple[str, ...] = IMAGES
) -> tuple[dict[str, SavedImage], dict[str, bytes]]:
    made = write_image_archive(images, folder / "images.tar.gz", options)
    return {saved.image: saved for saved in made.images}, _members(made.path)


@pytest.mark.parametrize("layout", list(Layout))
def test_archive_is_well_formed_in_each_layout(tmp_path: Path, layout: Layout) -> None:
    images, members = _make(tmp_path, ImageOptions(layouts=(layout,), program=STUB))

    assert list(members) == [saved.file_name for saved in images.values()]
    for saved in images.values():
        archive = Saved(members[saved.file_name])
        assert saved.layout is layout
        assert set(archive.manifest["Layers"]) <= set(archive.names)
        assert archive.manifest["Config"] in archive.names
        assert archive.diff_ids() == archive.config["rootfs"]["diff_ids"] == list(saved.diff_ids)
        config = archive.read(archive.manifest["Config"])
        assert saved.image_id == f"sha256:{hashlib.sha256(config).hexdigest()}"
        assert (archive.config["architecture"], archive.config["os"]) == ("amd64", "linux")
        assert archive.config["config"]["Entrypoint"] == ["/bin/wait-for-termination"]


def test_legacy_layout_has_the_manifest_after_the_layers(tmp_path: Path) -> None:
    images, members = _make(tmp_path, ImageOptions(layouts=(Layout.LEGACY,), program=STUB))

    for saved in images.values():
        names = Saved(members[saved.file_name]).names
        last = names.index("manifest.json")
        assert not any(name.endswith("/layer.tar") for name in names[last:])
        # As docker does, it is the last but for a file of old, which needs tags.
        assert names[last + 1 :] == (["repositories"] if saved.repository_tags else [])


@pytest.mark.parametrize("layout", [Layout.OCI, Layout.OCI_GZIP, Layout.OCI_ZSTD])
def test_oci_layout_is_one(tmp_path: Path, layout: Layout) -> None:
    images, members = _make(tmp_path, ImageOptions(layouts=(layout,), program=STUB))

    for saved in images.values():
        archive = Saved(members[saved.file_name])
        assert json.loads(archive.read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
        for name in archive.names:
            if name.startswith("blobs/sha256/"):
                digest = hashlib.sha256(archive.read(name)).hexdigest()
                assert name == f"blobs/sha256/{digest}"
        index = cast(dict[str, Any], json.loads(archive.read("index.json")))
        assert bool(index["manifests"]) == bool(saved.repository_tags)
        for descriptor in cast(list[dict[str, Any]], index["manifests"] or []):
            manifest = archive.read(f"blobs/sha256/{descriptor['digest'][7:]}")
            assert len(manifest) == descriptor["size"]
            layers = [layer["digest"][7:] for layer in json.loads(manifest)["layers"]]
            assert archive.manifest["Layers"] == [f"blobs/sha256/{layer}" for layer in layers]


def test_equal_layers_of_an_image_are_a_link_in_the_legacy_layout(tmp_path: Path) -> None:
    images, members = _make(tmp_path, ImageOptions(program=STUB))

    links = {
        image: [member for member in Saved(members[saved.file_name]).archive if member.issym()]
        for image, saved in images.items()
    }
    assert [image for image, found in links.items() if found] == [IMAGES[0]]
    (link,) = links[IMAGES[0]]
    layers = Saved(members[images[IMAGES[0]].file_name]).manifest["Layers"]
    assert link.linkname == f"../{layers[1]}"
    assert link.name == layers[3]


def test_equal_layers_of_an_image_are_one_blob_in_the_oci_layout(tmp_path: Path) -> None:
    options = ImageOptions(layouts=(Layout.OCI,), repeated_layer=IMAGES[1], program=STUB)
    images, members = _make(tmp_path, options)

    layers = Saved(members[images[IMAGES[1]].file_name]).manifest["Layers"]
    assert len(layers) == 4
    assert layers[1] == layers[3]


def test_layers_are_shared(tmp_path: Path) -> None:
    images, _ = _make(tmp_path, ImageOptions(program=STUB))

    layers = [saved.diff_ids for saved in images.values()]
    assert len({layer[0] for layer in layers}) == 1
    assert len({layer[2] for layer in layers}) == len(IMAGES)
    katib = [saved.diff_ids[1] for image, saved in images.items() if "katib" in image]
    assert len(katib) == 2
    assert len(set(katib)) == 1
    assert katib[0] != images[IMAGES[0]].diff_ids[1]


@pytest.mark.parametrize("compressor", list(Compressor))
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, compressor: Compressor) -> None:
    if compressor is Compressor.PIGZ and not shutil.which("pigz"):
        pytest.skip("pigz is not installed")
    options = ImageOptions(program=STUB, compressor=compressor)
    for name in ("a", "b"):
        write_release(
            Release.builtin(["argo-controller", "minio"]),
            tmp_path / name,
            options,
            CharmOptions(compressor=compressor),
        )

    for file in ("images.tar.gz", "charms.tar.gz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("compressor", list(Compressor))
def test_there_is_one_gzip_stream_without_a_time(tmp_path: Path, compressor: Compressor) -> None:
    if compressor is Compressor.PIGZ and not shutil.which("pigz"):
        pytest.skip("pigz is not installed")
    path = tmp_path / "images.tar.gz"
    write_image_archive(IMAGES, path, ImageOptions(program=STUB, compressor=compressor))

    content = path.read_bytes()
    stream = zlib.decompressobj(wbits=31)
    stream.decompress(content)
    assert stream.eof
    assert stream.unused_data == b""
    assert content[4:8] == bytes(4)


def test_names_are_mixed_by_default(tmp_path: Path) -> None:
    images, members = _make(tmp_path, ImageOptions(program=STUB))

    kinds = {
        (saved.layout, saved.file_name.startswith("172.17.0.2-5000-")) for saved in images.values()
    }
    assert kinds == {
        (layout, kind) for layout in (Layout.LEGACY, Layout.OCI) for kind in (True, False)
    }
    for image, saved in images.items():
        retagged = saved.file_name.startswith("172.17.0.2-5000-")
        name = retagged_name(image) if retagged else image
        assert saved.file_name == member_name(name)
        assert Saved(members[saved.file_name]).manifest["RepoTags"] == (
            list(saved.repository_tags) or None
        )


@pytest.mark.parametrize(
    ("image", "retagged", "retagged_member", "member"),
    [
        ("a/b:1", "R/a/b:1", "R-a-b-1.tar", "a-b-1.tar"),
        ("docker.io/a:1", "R/docker.io/a:1", "R-docker.io-a-1.tar", "docker.io-a-1.tar"),
        ("q.io/a/b@sha256:12", "R/a/b:12", "R-a-b-12.tar", "q.io-a-b@sha256-12.tar"),
        ("a:1", "R/a:1", "R-a-1.tar", "a-1.tar"),
    ],
)
def test_naming_rules(image: str, retagged: str, retagged_member: str, member: str) -> None:
    assert retagged_name(image, "R") == retagged
    assert member_name(retagged) == retagged_member
    assert member_name(image) == member


def test_naming_rules_agree_with_the_examples() -> None:
    tables = {folder.parent / "naming-examples.tsv" for folder in present_release_folders()}
    if not tables:
        pytest.skip("no naming examples: set CKF_FACTS")
    for line in tables.pop().read_text().splitlines()[1:]:
        image, retagged, retagged_member, member = line.split("\t")
        assert retagged_name(image) == retagged
        assert member_name(retagged) == retagged_member
        assert member_name(image) == member


def test_all_can_be_retagged_or_none(tmp_path: Path) -> None:
    all_of_them, _ = _make(tmp_path, ImageOptions(retagged_fraction=1, program=STUB))
    none, _ = _make(tmp_path, ImageOptions(retagged_fraction=0, program=STUB))

    assert all_of_them[IMAGES[5]].repository_tags == (retagged_name(IMAGES[5]),)
    assert all_of_them[IMAGES[4]].repository_tags == (f"{retagged_name(IMAGES[4])}:latest",)
    assert none[IMAGES[3]].repository_tags == (IMAGES[3],)
    assert none[IMAGES[5]].repository_tags == ()


def test_seed_names_are_short_unless_they_would_collide(tmp_path: Path) -> None:
    options = ImageOptions(seed_names=True, retagged_fraction=0, program=STUB)
    images, members = _make(tmp_path, options)

    assert images[IMAGES[0]].file_name == "workflow-controller.tar"
    assert images[IMAGES[6]].file_name == "sklearnserver.tar"
    assert images[IMAGES[7]].file_name == "seldonio-sklearnserver-1.17.1.tar"
    assert len(members) == len(IMAGES)


def test_images_can_be_left_out_untagged_larger_and_of_another_architecture(
    tmp_path: Path,
) -> None:
    options = ImageOptions(
        left_out=frozenset({IMAGES[0]}),
        untagged=frozenset({IMAGES[1]}),
        architectures={IMAGES[2]: "arm64"},
        payload_kib=300,
        program=STUB,
    )
    images, members = _make(tmp_path, options)

    assert IMAGES[0] not in images
    untagged = Saved(members[images[IMAGES[1]].file_name])
    assert untagged.manifest["RepoTags"] is None
    assert "repositories" not in untagged.names
    assert Saved(members[images[IMAGES[2]].file_name]).config["architecture"] == "arm64"
    assert all(len(content) > 300 * 1024 for content in members.values())


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not among the images: a:1"):
        _make(tmp_path, ImageOptions(left_out=frozenset({"a:1"}), program=STUB))
    with pytest.raises(ValueError, match="not among the charms: nothing"):
        write_charm_archive((), tmp_path / "c", CharmOptions(left_out=frozenset({"nothing"})))
    with pytest.raises(ValueError, match="has no charm nothing"):
        Release.builtin(["nothing"])


@pytest.mark.parametrize("layout", list(Layout))
def test_damaged_images_are_damaged_as_said(tmp_path: Path, layout: Layout) -> None:
    damage = dict(zip(IMAGES, Damage, strict=False))
    options = ImageOptions(layouts=(layout,), damage=damage, program=STUB, payload_kib=64)
    images, members = _make(tmp_path, options)
    content = {images[image].damage: members[images[image].file_name] for image in damage}

    assert content[Damage.EMPTY] == b""
    with pytest.raises((tarfile.ReadError, KeyError)):
        Saved(content[Damage.TRUNCATED])
    incomplete = Saved(content[Damage.MISSING_LAYER])
    missing = set(incomplete.manifest["Layers"]) - set(incomplete.names)
    assert missing == {incomplete.manifest["Layers"][2]}
    flipped = Saved(content[Damage.FLIPPED_BIT])
    wrong = [
        number
        for number, pair in enumerate(
            zip(flipped.diff_ids(), flipped.config["rootfs"]["diff_ids"], strict=True)
        )
        if pair[0] != pair[1]
    ]
    assert wrong == [2]
    # The others are whole: damage stays with its image.
    intact = Saved(members[images[IMAGES[7]].file_name])
    assert intact.diff_ids() == intact.config["rootfs"]["diff_ids"]


def test_truncate_and_flip_bit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))

    flip_bit(path, -1)
    flip_bit(path, 3)
    assert [number for number, byte in enumerate(path.read_bytes()) if byte] == [3, 99]
    truncate(path, 0.25)
    assert path.stat().st_size == 25


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
def test_the_program_waits_for_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(sample_program())
    path.chmod(0o755)

    # A signal may come before a busy machine has let the program get ready for it.
    for pause in (0.2, 1, 5, 30, 120):
        with subprocess.Popen([path]) as process:
            time.sleep(pause)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            status = process.wait()
        if status == 0:
            break
    assert status == 0


def _charm(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def _document(charm: zipfile.ZipFile, name: str) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load(charm.read(name)))


def test_charm_files_state_what_the_release_does(tmp_path: Path) -> None:
    release = Release.builtin()
    made = write_charm_archive(release.charms, tmp_path / "charms.tar.gz")
    members = _members(made.path)

    assert list(members) == sorted(members) == [charm.file_name for charm in made.charms]
    assert sorted(charm.charm for charm in made.charms) == sorted(DEMO_CHARMS)
    files = {charm.charm: _charm(members[charm.file_name]) for charm in made.charms}
    for charm in release.charms:
        file = files[charm.name]
        metadata = _document(file, "metadata.yaml")
        assert metadata["name"] == charm.name
        assert _images(metadata) == {
            resource.name: resource.upstream_source for resource in charm.resources
        }
        assert _document(file, "manifest.yaml")["bases"]
        assert ("config.yaml" in file.namelist()) == bool(charm.options)
        assert set(charm.default_files) <= set(file.namelist())
        dispatch = file.getinfo("dispatch")
        assert dispatch.external_attr >> 16 == 0o100755
        assert file.read(dispatch) == b"#!/bin/sh\nstatus-set active\n"


def _images(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {name: body["upstream-source"] for name, body in metadata.get("resources", {}).items()}


def test_charm_files_have_names_in_all_styles(tmp_path: Path) -> None:
    made = write_charm_archive(Release.builtin().charms, tmp_path / "charms.tar.gz")
    members = _members(made.path)

    styles: set[str] = set()
    for charm in made.charms:
        rest = charm.file_name.removeprefix(charm.charm).removesuffix(".charm")
        digest = hashlib.sha256(members[charm.file_name]).hexdigest()[:7]
        if rest == f"_{digest}":
            rest = "digest"
        elif rest.startswith("_r") and rest[2:].isdigit():
            rest = "revision"
        styles.add(rest)
    assert styles == {"", "digest", "revision", "_ubuntu-20.04-amd64"}


def test_podspec_charms_stay_podspec_unless_told() -> None:
    release = Release.builtin()
    podspec = {charm.name for charm in release.charms if charm.podspec}
    assert podspec == {"katib-controller", "kubeflow-volumes", "minio"}
    assert podspec < set(SEED_EXCLUDED_CHARMS)

    (minio,) = (charm for charm in release.charms if charm.name == "minio")
    before = _document(_charm(charm_file(minio)), "metadata.yaml")
    assert before["series"] == ["kubernetes"]
    assert "containers" not in before

    after = _document(
        _charm(charm_file(minio, CharmOptions(podspec_as_sidecar=True))), "metadata.yaml"
    )
    assert not {"series", "deployment", "min-juju-version"} & set(after)
    assert after["containers"] == {
        "minio": {
            "resource": "oci-image",
            "mounts": [{"storage": "minio-data", "location": "/data"}],
        }
    }
    # What the two kinds of charms declare stays different.
    described = {"type": "filesystem", "description": "Mounted at /data."}
    assert after["storage"] == {"minio-data": described}
    assert after["resources"] == before["resources"]
    assert after["provides"] == before["provides"]


def test_what_rules_juju_4_out_is_dropped_unless_told() -> None:
    charms = {charm.name: charm for charm in Release.builtin().charms}

    dropped = _document(_charm(charm_file(charms["mysql-k8s"])), "metadata.yaml")
    kept = _document(
        _charm(charm_file(charms["mysql-k8s"], CharmOptions(keep_assumes=True))), "metadata.yaml"
    )
    harmless = _document(_charm(charm_file(charms["istio-pilot"])), "metadata.yaml")
    assert "assumes" not in dropped
    assert "juju < 4" in str(kept["assumes"])
    assert harmless["assumes"] == ["juju >= 3.1"]


def test_a_file_resource_beside_an_image_is_dropped() -> None:
    charm = Charm(
        "both",
        (Resource("image", "oci-image", "a/b:1"), Resource("binary", "file", "")),
        containers=(Container("both", "image"),),
    )

    metadata = _document(_charm(charm_file(charm)), "metadata.yaml")
    assert list(metadata["resources"]) == ["image"]


def test_damaged_charm_archives_are_damaged_as_said(tmp_path: Path) -> None:
    options = CharmOptions(
        left_out=frozenset({"kfp-ui"}),
        without_metadata=frozenset({"kfp-api"}),
        duplicated=frozenset({"minio"}),
    )
    made = write_charm_archive(Release.builtin().charms, tmp_path / "charms.tar.gz", options)
    members = _members(made.path)

    without = [
        charm.charm
        for charm in made.charms
        if "metadata.yaml" not in _charm(members[charm.file_name]).namelist()
    ]
    assert without == ["kfp-api"]
    twice = [members[charm.file_name] for charm in made.charms if charm.charm == "minio"]
    assert len(set(twice)) == 2
    assert not any(charm.charm == "kfp-ui" for charm in made.charms)

    truncate(made.path, 0.5)
    with pytest.raises((EOFError, tarfile.ReadError)):
        _members(made.path)


def test_builtin_release_covers_the_demo_set() -> None:
    release = Release.builtin()

    assert tuple(charm.name for charm in release.charms) == DEMO_CHARMS
    assert set(release.applications.values()) == set(DEMO_CHARMS)
    # No image is there that nothing wants.
    assert release.subset(DEMO_CHARMS).images == release.images
    (katib,) = (charm for charm in release.charms if charm.name == "katib-controller")
    assert len(json.loads(katib.default_files["src/default-custom-images.json"])) == 19


def test_subset_takes_what_its_charms_need() -> None:
    release = Release.builtin(["istio-pilot", "mysql-k8s", "kfp-profile-controller"])

    assert release.images == (
        "charmedkubeflow/visualization-server:2.0.5-4ae34a1",
        "docker.io/istio/pilot:1.17.3",
        "docker.io/istio/proxyv2:1.17.3",
        "gcr.io/ml-pipeline/frontend:2.0.5",
        "ghcr.io/canonical/charmed-mysql"
        "@sha256:672f20830d66678a3ece7285048700d6e52a9393202eb51e9749eb35031559c4",
        "ubuntu/python:3.8-20.04_stable",
    )
    assert "katib-db" in release.applications
    assert "kfp-db" not in release.applications
    assert release.relations == ()
    assert "kfp-db" in Release.builtin(["kfp-api", "mysql-k8s"]).applications


def test_subset_may_bring_its_own_rule() -> None:
    release = Release.builtin().subset(["minio"], lambda charm, images: images[:2])

    assert release.images == Release.builtin().images[:2]


@pytest.mark.parametrize("folder", DEMO_FOLDERS)
def test_builtin_release_agrees_with_the_real_one(folder: Path) -> None:
    builtin = Release.builtin()
    real = Release.from_folder(folder, DEMO_CHARMS)

    assert set(builtin.images) - set(real.images) == KATIB_EXTRA_IMAGES
    assert set(real.images) <= set(builtin.images)
    assert builtin.applications == real.applications
    assert builtin.relations == real.relations
    for mine, theirs in zip(builtin.charms, real.charms, strict=True):
        assert mine.name == theirs.name
        assert _facts(mine) == _facts(theirs)
        assert _defaults(mine) == _defaults(theirs)


def _facts(charm: Charm) -> dict[str, object]:
    return {
        "resources": {(resource.name, resource.upstream_source) for resource in charm.resources},
        "options": {(option.name, option.kind) for option in charm.options},
        "endpoints": {(end.name, end.role, end.interface) for end in charm.endpoints},
        "containers": {(container.name, container.resource) for container in charm.containers},
        "storages": {storage.name for storage in charm.storages},
        "podspec": charm.podspec,
        "assumes": charm.details.get("assumes"),
    }


def _defaults(charm: Charm) -> dict[str, object]:
    """Collect all defaults of images, without the keys that only the built-in release has."""
    defaults: dict[str, object] = {
        option.name: yaml.safe_load(str(option.default))
        for option in charm.options
        if "image" in option.name
    }
    for path, content in charm.default_files.items():
        document = cast(dict[str, str], yaml.safe_load(content))
        defaults[path] = {
            key: image for key, image in document.items() if key not in KATIB_EXTRA_KEYS
        }
    return defaults


@pytest.mark.parametrize("folder", RELEASE_FOLDERS)
def test_whole_releases_can_be_made(folder: Path, tmp_path: Path) -> None:
    release = Release.from_folder(folder)
    made = write_release(release, tmp_path, ImageOptions(program=STUB))

    assert len(made.images.images) == len(release.images)
    assert set(release.applications.values()) == {charm.name for charm in release.charms}
    # The rule for subsets finds all that the release packs.
    names = [charm.name for charm in release.charms]
    assert release.subset(names).images == release.images
    for charm, file in zip(release.charms, map(charm_file, release.charms), strict=True):
        assert _document(_charm(file), "metadata.yaml")["name"] == charm.name
