"""The command ``ckf-airgap pack`` against a real registry, with skopeo."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.archives.pack_manifest import read_pack_manifest
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.deployment.release import Inputs
from ckf_airgap.deployment.release import Release as DeployedRelease
from ckf_airgap.planning.settings import PlanSettings
from testbed.pki import Authority
from tests.functional.packs import (
    OPTIONS,
    Captured,
    archive_digests,
    digest,
    document,
    in_registry,
    push,
    words,
)
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import (
    QuietHandler,
    serve,
)
from tests.sample_release import Release
from tests.sample_release.naming import repository
from tests.support.outside import Outside, write_charms

MINIO_AND_VOLUMES = (
    "minio/minio:RELEASE.2021-09-03T03-56-13Z",
    "docker.io/kubeflownotebookswg/volumes-web-app:v1.8.0",
)


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_what_is_packed_is_pushed_as_it_was_outside(
    layout: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, "--format", layout)) == 0
    packed = document(capsys)
    assert len(packed["images"]) == len(release.images)
    assert packed["format"] == layout
    archive = tmp_path / "packed" / "images.tar.gz"
    assert archive.stat().st_size == packed["images_bytes"]
    names = {path.name for path in archive.parent.iterdir()}
    assert names == {"images.tar.gz", "charms.tar.gz", "SHA256SUMS"}

    assert push(registry, tmp_path) == 0
    assert len(document(capsys)["pushed"]) == len(release.images)
    for image in release.images:
        there = outside.place(image)
        pulled = registry.pull(in_registry(registry, image), tmp_path)
        original = RunningRegistry(outside.registry).pull(there, tmp_path)
        assert pulled == original
        if layout == "oci":
            # Not only what is in it: the very same manifest.
            assert digest(outside, there) == digest(outside, in_registry(registry, image))
    assert push(registry, tmp_path) == 0
    assert document(capsys)["pushed"] == []


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_the_manual_way_takes_what_is_packed(
    layout: str,
    release: Release,
    outside: Outside,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    assert main(words(outside, tmp_path, "--format", layout)) == 0
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(
        ["tar", "-xzf", tmp_path / "packed" / "images.tar.gz", "-C", unpacked], check=True
    )
    by_name = {image["name"]: image for image in document(capsys)["images"]}
    copied = 0
    for image in release.images:
        name = f"{repository(image)}:{in_registry(registry, image).rpartition(':')[2]}"
        assert name in by_name
        member = unpacked / f"{name.replace('/', '-').replace(':', '-')}.tar"
        source = f"docker-archive:{member}" if layout == "docker" else f"oci:{unpacked}:{name}"
        target = f"{registry.location}/copied/{copied}:1"
        outside.skopeo("copy", "--quiet", source, f"docker://{target}")
        diff_ids = registry.pull(target, tmp_path).diff_ids
        original = RunningRegistry(outside.registry).pull(outside.place(image), tmp_path)
        assert diff_ids == original.diff_ids
        copied += 1
    assert copied == len(release.images) == len(by_name)
    if layout == "docker":
        assert len(list(unpacked.glob("*.tar"))) == copied
    subprocess.run(
        ["tar", "-xzf", tmp_path / "packed" / "charms.tar.gz", "-C", unpacked], check=True
    )
    for path in (tmp_path / "charms").iterdir():
        assert (unpacked / path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_the_same_input_gives_the_same_bytes(
    layout: str, outside: Outside, tmp_path: Path
) -> None:
    digests: set[tuple[str, ...]] = set()
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copytree(tmp_path / "charms", folder / "charms")
        assert main(words(outside, folder, "--format", layout)) == 0
        digests.add(archive_digests(folder))
    assert len(digests) == 1


@pytest.mark.usefixtures("release")
def test_a_tag_that_moves_meanwhile_is_not_followed(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    """What was begun is finished: one release, not parts of two."""
    arguments = words(outside, tmp_path)
    assert main([*arguments, "--dry-run"]) == 0
    first, second = (outside.place(image) for image in MINIO_AND_VOLUMES)
    before = digest(outside, first)
    outside.skopeo("copy", "--quiet", f"docker://{second}", f"docker://{first}")
    assert digest(outside, first) != before
    capsys.readouterr()
    assert main(arguments) == 0
    assert "to start over, remove" in capsys.readouterr().err
    manifest = read_pack_manifest(FileSource(tmp_path / "packed" / "images.tar.gz"))
    assert manifest
    assert before in {image.digest for image in manifest.images}


def test_a_dry_run_says_how_much_and_fetches_no_layer(
    release: Release, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    arguments = words(outside, tmp_path, "--format", "oci")
    assert main([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr()
    planned = yaml.safe_load(said.out)
    assert "bytes of disk space needed" in said.err
    assert not list((tmp_path / "packed").glob("*.tar.gz"))
    assert planned["layer_bytes_to_fetch"] == planned["layer_bytes"] > 0
    assert main(arguments) == 0
    done = document(capsys)
    assert done.pop("output") == str(tmp_path / "packed")
    assert planned.pop("output") is None
    assert done == planned
    assert (tmp_path / "packed" / "images.tar.gz").stat().st_size == planned["images_bytes"]
    assert len(done["images"]) == len(release.images)


@pytest.mark.usefixtures("release")
def test_what_is_packed_already_is_left_as_it_is(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    arguments = words(outside, tmp_path)
    assert main(arguments) == 0
    archive = tmp_path / "packed" / "images.tar.gz"
    before = archive.stat()
    capsys.readouterr()
    assert main(arguments) == 0
    assert "already" in capsys.readouterr().err
    assert archive.stat().st_mtime_ns == before.st_mtime_ns
    assert not (tmp_path / "packed" / "partial").exists()
    # Not what is damaged, and not what is of another kind.
    archive.write_bytes(archive.read_bytes()[:-1])
    assert main(arguments) == 0
    assert archive.stat().st_size == before.st_size
    assert main([*arguments, "--format", "oci"]) == 0
    manifest = read_pack_manifest(FileSource(archive))
    assert manifest
    assert manifest.layout == "oci"


def test_images_that_are_added(
    release: Release, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    extra = ["ghcr.io/juju/jujud-operator:3.6.25", "ghcr.io/juju/charm-base:ubuntu-24.04"]
    extra += ["ghcr.io/juju/charm-base:ubuntu-20.04"]
    extra += ["ghcr.io/juju/juju-db:4.4.30", "quay.io/team/notebook:1", "python:3.12", "busybox"]
    outside.fill(extra, OPTIONS)
    listed = tmp_path / "workloads.txt"
    listed.write_text("# notebooks\nquay.io/team/notebook:1  # of the team\npython:3.12\n")
    more = ["--juju-version", "3.6.25", "--add-images", str(listed), "--add-image", "busybox"]
    assert main(words(outside, tmp_path, *more)) == 0
    names = {image["name"] for image in document(capsys)["images"]}
    assert set(extra) - {"busybox"} | {"busybox:latest"} <= names
    assert len(names) == len(release.images) + len(extra)


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_images_of_users_by_what_they_are_for(
    layout: str, outside: Outside, registry: RunningRegistry, tmp_path: Path, capsys: Captured
) -> None:
    """Those of notebooks are offered without an overlay, all are recorded and packed."""
    default = "python:3.7"
    outside.fill(["quay.io/team/notebook:1", "quay.io/team/rstudio:2", default], OPTIONS)
    by_purpose = tmp_path / "users.yaml"
    by_purpose.write_text(
        "jupyter: [quay.io/team/notebook:1]\nrstudio: [quay.io/team/rstudio:2]\n"
        "pipelines: default\n"
    )
    more = ["--format", layout, "--add-images", str(by_purpose)]
    assert main(words(outside, tmp_path, *more)) == 0
    expected = {
        "jupyter": ["quay.io/team/notebook:1"],
        "rstudio": ["quay.io/team/rstudio:2"],
        "pipelines": [default],
    }
    packed = document(capsys)
    assert packed["user_images"] == expected
    assert {default, "quay.io/team/notebook:1"} <= {image["name"] for image in packed["images"]}
    arguments = [f"--{name}={tmp_path}/packed/{name}.tar.gz" for name in ("images", "charms")]
    assert main(["plan", *arguments, "--registry", "registry.corp/ckf"]) == 0
    options = document(capsys)["applications"]["jupyter-ui"]["options"]
    jupyter = json.loads(options["jupyter-images"])
    assert jupyter[-1] == "registry.corp/ckf/team/notebook:1"
    assert len(jupyter) > 1
    assert json.loads(options["rstudio-images"])[-1] == "registry.corp/ckf/team/rstudio:2"
    assert "team" not in options["vscode-images"]

    # The charm plans from what its push has found, without reading the archive again.
    inputs = Inputs(
        images=FileSource(tmp_path / "packed" / "images.tar.gz"),
        charms=FileSource(tmp_path / "packed" / "charms.tar.gz"),
        settings=PlanSettings.parse(location=registry.location),
        registry_ca=registry.process.ca.read_text(),
    )
    unit = DeployedRelease(inputs, folder=tmp_path / "unit", templates=tmp_path)
    unit.push()
    plan = unit.known_plan()
    assert plan
    (ui,) = (item for item in plan.applications if item.name == "jupyter-ui")
    image = json.loads(str(ui.options["jupyter-images"]))[-1]
    assert image == f"{registry.location}/team/notebook:1"
    assert registry.pull(image, tmp_path).diff_ids


@pytest.mark.usefixtures("release")
def test_images_for_a_purpose_that_there_is_not(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    by_purpose = tmp_path / "users.yaml"
    by_purpose.write_text("notebooks: [quay.io/team/notebook:1]\n")
    assert main(words(outside, tmp_path, "--add-images", str(by_purpose))) == 2
    said = capsys.readouterr().err
    assert "'notebooks', which is no purpose: use jupyter, vscode" in said
    assert not (tmp_path / "packed").exists()


def test_images_of_manifests_at_an_address(
    release: Release,
    outside: Outside,
    authority: Authority,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    """As GitHub gives the files of a release: by way of a referral."""
    outside.fill(["gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1"], OPTIONS)
    text = (
        b"data: {queue-sidecar-image: 'gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1'}"
    )
    asked: list[str] = []

    class Files(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            is_there = self.path == "/stored"
            self.send_response(200 if is_there else 302 if self.path == "/serving.yaml" else 404)
            self.send_header("Location", "/stored")
            self.send_header("Content-Length", str(len(text) if is_there else 0))
            self.end_headers()
            if is_there:
                self.wfile.write(text)

    with serve(Files, authority) as host:
        more = ["--add-images", f"https://{host}/serving.yaml", "--dry-run"]
        assert main(words(outside, tmp_path, *more)) == 0
        assert len(document(capsys)["images"]) == len(release.images) + 1
        assert asked == ["/serving.yaml", "/stored"]
        more = ["--add-images", f"https://{host}/none.yaml"]
        assert main(words(outside, tmp_path, *more)) == 2
    assert "its server answers 404" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["docker", "oci"])
def test_layers_of_zstandard(
    layout: str, outside: Outside, registry: RunningRegistry, tmp_path: Path, capsys: Captured
) -> None:
    release = Release.builtin(("minio", "kubeflow-volumes"))
    outside.fill(release.images, OPTIONS, "--dest-compress-format", "zstd")
    write_charms(release, tmp_path / "charms")
    assert main(words(outside, tmp_path, "--format", layout)) == 0
    assert ("compressing layer" in capsys.readouterr().err) == (layout == "docker")
    first = archive_digests(tmp_path)
    shutil.rmtree(tmp_path / "packed")
    assert main(words(outside, tmp_path, "--format", layout)) == 0
    assert archive_digests(tmp_path) == first
    assert push(registry, tmp_path) == 0
    capsys.readouterr()
    for image in release.images:
        pushed = in_registry(registry, image)
        inspected = [
            json.loads(outside.skopeo("inspect", f"docker://{place}"))
            for place in (pushed, outside.place(image))
        ]
        if layout == "oci":
            assert inspected[0]["Digest"] == inspected[1]["Digest"]
        else:
            pulled = registry.pull(pushed, tmp_path)
            config = json.loads(outside.skopeo("inspect", "--config", f"docker://{pushed}"))
            assert list(pulled.diff_ids) == config["rootfs"]["diff_ids"]


def test_one_architecture_of_several(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    release = Release.builtin(("minio",))
    (image,) = release.images
    folder, _, last = outside.place(image).partition("/")[2].rpartition("/")
    name, _, tag = last.partition(":")
    registry = RunningRegistry(outside.registry)
    entries: list[dict[str, Any]] = []
    for architecture in ("amd64", "arm64"):
        outside.fill([image], replace(OPTIONS, architectures={image: architecture}))
        raw = outside.skopeo("inspect", "--raw", f"docker://{outside.place(image)}").encode()
        entries.append(
            {
                "mediaType": json.loads(raw)["mediaType"],
                "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
                "size": len(raw),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    registry.put_manifest(f"{folder}/{name}", tag, json.dumps(index).encode(), kind)
    write_charms(release, tmp_path / "charms")
    for entry in entries:
        architecture = entry["platform"]["architecture"]
        assert main(words(outside, tmp_path, "--architecture", architecture)) == 0
        assert document(capsys)["images"][0]["digest"] == entry["digest"]
    index["manifests"] = entries[:1]
    registry.put_manifest(f"{folder}/{name}", tag, json.dumps(index).encode(), kind)
    assert main(words(outside, tmp_path, "--architecture", "arm64")) == 2
    assert "does not exist for arm64, only for amd64" in capsys.readouterr().err
