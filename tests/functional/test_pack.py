"""The command ``ckf-airgap pack`` against a real registry, with skopeo."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ckf_airgap.archives.pack_manifest import read_pack_manifest
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from tests.functional.conftest import RunningRegistry
from tests.functional.servers import (
    Answer,
    Fault,
    Gate,
    QuietHandler,
    Request,
    proxy,
    running,
    serve,
    wait_until,
)
from tests.outside import Outside, with_images, write_charms
from tests.sample_release import ImageOptions, Layout, Release
from tests.sample_release.naming import repository
from tests.testbed.pki import Authority

CHARMS = ("minio", "kubeflow-volumes", "jupyter-ui", "istio-pilot", "kfp-api")
OPTIONS = ImageOptions(program=b"stub", layouts=(Layout.LEGACY, Layout.OCI), payload_kib=300)
MINIO_AND_VOLUMES = (
    "minio/minio:RELEASE.2021-09-03T03-56-13Z",
    "docker.io/kubeflownotebookswg/volumes-web-app:v1.8.0",
)
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def release(outside: Outside, tmp_path: Path) -> Release:
    """A part of a release: its images outside, its charms in the folder ``charms``."""
    release = Release.builtin(CHARMS)
    release = with_images(release, outside.fill(release.images, OPTIONS))
    write_charms(release, tmp_path / "charms")
    return release


def words(outside: Outside, folder: Path, *more: str) -> list[str]:
    ca = str(outside.registry.ca)
    output = str(folder / "packed")
    charms = str(folder / "charms")
    return [
        *("pack", "--charms", charms, "--output", output, "--registry-ca", ca),
        *("--allow-missing", *more),
    ]


def document(capsys: Captured) -> dict[str, Any]:
    return yaml.safe_load(capsys.readouterr().out)


def push(registry: RunningRegistry, folder: Path, *more: str) -> int:
    images = str(folder / "packed" / "images.tar.gz")
    charms = str(folder / "packed" / "charms.tar.gz")
    ca = str(registry.process.ca)
    place = str(registry.location)
    arguments = ["push", "--images", images, "--charms", charms, "--registry", place]
    return main([*arguments, "--registry-ca", ca, *more])


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
    assert {path.name for path in archive.parent.iterdir()} == {"images.tar.gz", "charms.tar.gz"}

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


def in_registry(registry: RunningRegistry, image: str) -> str:
    """Say where an image is after the push, by the rule of the public scripts."""
    components = repository(image).split("/")
    path = "/".join(components[1:] if len(components) > 2 else components)
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
    return f"{registry.location}/{path}:{tag}"


def digest(outside: Outside, image: str) -> str:
    return str(json.loads(outside.skopeo("inspect", f"docker://{image}"))["Digest"])


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


def archive_digests(folder: Path) -> tuple[str, ...]:
    return tuple(
        hashlib.sha256((folder / "packed" / name).read_bytes()).hexdigest()
        for name in ("images.tar.gz", "charms.tar.gz")
    )


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("layout", ["docker", "oci"])
@pytest.mark.parametrize("moment", [0, 3, 12])
def test_a_pack_that_is_killed_goes_on(
    moment: int, layout: str, outside: Outside, authority: Authority, tmp_path: Path
) -> None:
    arguments = words(outside, tmp_path, "--format", layout)
    partial = tmp_path / "packed" / "partial"
    journal = partial / "images.tar.gz.journal"
    upstream = RunningRegistry(outside.registry)
    gate = Gate(lambda request: is_layer(request, partial), passing=moment, then="cut")
    with proxy(upstream, authority, gate) as host:
        outside.configure(host)
        with running(arguments) as process:
            gate.wait(process)
            # Those before it are on their way, and certain to be there soon.
            wait_until(lambda: len(lines(journal)[1:]) >= moment, process)
            process.kill()
        gate.open()
    assert process.returncode == -signal.SIGKILL
    assert not list(partial.parent.glob("*.tar.gz"))
    fetched = {json.loads(line)["layer"] for line in lines(journal)[1:]}
    assert len(fetched) >= moment

    asked: list[str] = []
    with proxy(upstream, authority, lambda request: asked.append(request.path)) as host:
        outside.configure(host)
        assert main(arguments) == 0
    assert asked
    assert not [path for path in asked if path.rpartition("/blobs/")[2] in fetched]
    # Tags are looked up once, too.
    assert not [path for path in asked if re.search(r"/manifests/(?!sha256:)", path)]

    outside.configure()
    killed = archive_digests(tmp_path)
    shutil.rmtree(tmp_path / "packed")
    assert main(arguments) == 0
    assert archive_digests(tmp_path) == killed


def is_layer(request: Request, partial: Path) -> bool:
    """Tell the requests for layers from those for configs, which come before all layers."""
    is_blob = request.method == "GET" and "/blobs/" in request.path
    return is_blob and (partial / "images.tar.gz").exists()


def lines(journal: Path) -> list[str]:
    text = journal.read_text() if journal.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


@pytest.mark.usefixtures("release")
def test_an_interrupt_ends_it_in_a_word(
    outside: Outside, authority: Authority, tmp_path: Path
) -> None:
    arguments = words(outside, tmp_path)
    partial = tmp_path / "packed" / "partial"
    gate = Gate(lambda request: is_layer(request, partial), passing=1)
    with proxy(RunningRegistry(outside.registry), authority, gate) as host:
        outside.configure(host)
        with running(arguments) as process:
            gate.wait(process)
            process.send_signal(signal.SIGINT)
            gate.open()
            _, said = process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in said
        assert said.rstrip().endswith("ckf-airgap: interrupted")
        assert main(arguments) == 0


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
    assert "to begin anew, remove" in capsys.readouterr().err
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
    assert "bytes of disk to fill" in said.err
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


@pytest.mark.usefixtures("release")
def test_images_that_are_not_there_are_all_named(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    extra = ["docker.io/some/where:1", "gcr.io/else/where:2"]
    added = [word for image in extra for word in ("--add-image", image)]
    assert main(words(outside, tmp_path, *added)) == 2
    error = capsys.readouterr().err
    assert all(image in error for image in extra)
    assert "2 images cannot be had" in error
    assert "correct its name or tag" in error
    assert not list((tmp_path / "packed").glob("*.tar.gz"))


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


def test_images_of_manifests_at_an_address(
    release: Release, outside: Outside, authority: Authority, tmp_path: Path, capsys: Captured
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


@pytest.mark.usefixtures("release", "no_pauses")
def test_a_connection_that_breaks_is_taken_up_again(
    outside: Outside,
    authority: Authority,
    tmp_path: Path,
) -> None:
    seen: set[str] = set()

    def cut_once(request: Request) -> int | str | None:
        blob = re.search(r"/blobs/(sha256:\w+)$", request.path)
        if request.method != "GET" or blob is None or blob[1] in seen:
            return None
        seen.add(blob[1])
        return ("cut", 500, 503)[len(seen) % 3]

    with proxy(RunningRegistry(outside.registry), authority, cast(Fault, cut_once)) as host:
        outside.configure(host)
        assert main(words(outside, tmp_path)) == 0
    assert len(seen) > 10


@pytest.mark.usefixtures("release", "no_pauses")
def test_a_connection_on_which_nothing_comes_any_more_counts_as_broken(
    outside: Outside,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckf_airgap.skopeo._PATIENCE_SECONDS", 3.0)
    # On a busy machine the patience may also end with what is only slow: that is tried again.
    monkeypatch.setattr("ckf_airgap.skopeo._ATTEMPTS", 100)
    gate = Gate(lambda _: False)
    stalls = ["/manifests/", "/blobs/", "in the middle", "in the middle"]

    lock = threading.Lock()

    def stall(request: Request) -> Answer | None:
        with lock:
            if not stalls or request.method != "GET":
                return None
            part = "/blobs/" if stalls[0] == "in the middle" else stalls[0]
            if part not in request.path:
                return None
            kind = stalls.pop(0)
        if kind != "in the middle":
            gate.hold()
            return None
        request.upstream.request("GET", request.path, headers=request.headers)
        content = request.upstream.getresponse().read()
        half = len(content) // 2
        return Answer(200, content[:half], never_sent=len(content) - half)

    with proxy(RunningRegistry(outside.registry), authority, stall) as host:
        outside.configure(host)
        assert main(words(outside, tmp_path)) == 0
        gate.open()
    assert not stalls


LAYER: dict[str, Any] = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 5}
CONFIG: dict[str, Any] = {"digest": f"sha256:{'1' * 64}", "size": 5}
NONSENSE: list[Any] = [
    [],
    {"config": {}, "layers": []},
    {"config": CONFIG, "layers": [LAYER]},
    {"config": CONFIG, "layers": [LAYER | {"digest": f"md5:{'1' * 64}"}]},
    {"config": CONFIG, "layers": [LAYER | {"digest": CONFIG["digest"], "size": -1}]},
    {"config": CONFIG, "layers": [LAYER | {"digest": CONFIG["digest"], "size": 1e400}]},
    {"config": CONFIG | {"size": 10**12}, "layers": []},
    {"config": CONFIG | {"digest": "sha256:../../../../dev/zero"}, "layers": []},
    {"manifests": {"a": 1}},
    {"manifests": [{"platform": []}, 1]},
    {"manifests": [{"platform": {"architecture": "amd64"}}]},
    {"manifests": [{"digest": "sha256:/dev/zero", "platform": {"architecture": "amd64"}}]},
]


@pytest.mark.parametrize("manifest", NONSENSE)
@pytest.mark.usefixtures("release")
def test_a_registry_that_gives_nonsense(
    manifest: object, outside: Outside, authority: Authority, tmp_path: Path, capsys: Captured
) -> None:
    def nonsense(request: Request) -> Answer | None:
        if request.method != "GET" or "/manifests/" not in request.path:
            return None
        kind = "application/vnd.oci.image.manifest.v1+json"
        return Answer(200, json.dumps(manifest).encode(), {"Content-Type": kind})

    with proxy(RunningRegistry(outside.registry), authority, nonsense) as host:
        outside.configure(host)
        assert main(words(outside, tmp_path)) == 2
    error = capsys.readouterr().err
    assert re.search("none of an image|is damaged|is not JSON", error), error
    assert "skopeo inspect --raw" in error
    assert not list((tmp_path / "packed").glob("*.tar.gz"))


@pytest.mark.usefixtures("release", "no_pauses")
def test_bytes_that_are_changed_on_the_way_are_not_taken(
    outside: Outside,
    authority: Authority,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    large = 100_000

    def flip(request: Request) -> Answer | None:
        if request.method != "GET" or "/blobs/" not in request.path:
            return None
        request.upstream.request("GET", request.path, headers=request.headers)
        content = request.upstream.getresponse().read()
        if len(content) < large:
            return Answer(200, content)
        return Answer(200, content[:-1] + bytes([content[-1] ^ 1]))

    with proxy(RunningRegistry(outside.registry), authority, flip) as host:
        outside.configure(host)
        assert main(words(outside, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "other bytes than its digest says" in error
    assert not list((tmp_path / "packed").glob("*.tar.gz"))


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("when", ["before", "in the middle"])
def test_a_disk_that_is_full(when: str, outside: Outside, tmp_path: Path) -> None:
    arguments = words(outside, tmp_path)
    program = "import sys; from ckf_airgap.commands.main import main; sys.exit(main(sys.argv[1:]))"
    if when != "before":
        program = (
            "import collections, shutil; shutil.disk_usage = lambda _: "
            "collections.namedtuple('U', 'total used free')(10**12, 0, 10**12); " + program
        )
    script = 'mount -t tmpfs -o size=600k none "$0" && exec "$@"'
    (tmp_path / "packed").mkdir()
    with_disk = ["unshare", "--mount", "sh", "-c", script, tmp_path / "packed"]
    done = subprocess.run(
        [*with_disk, sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "make space there" in done.stderr
    assert "Traceback" not in done.stderr
    assert ("are needed" in done.stderr) == (when == "before")


@pytest.mark.usefixtures("release")
def test_two_packs_in_one_folder(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    partial = tmp_path / "packed" / "partial"
    partial.mkdir(parents=True)
    descriptor = os.open(partial, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert main(words(outside, tmp_path)) == 2
    assert "another pack is at work" in capsys.readouterr().err
    os.close(descriptor)
    assert main(words(outside, tmp_path)) == 0


@pytest.mark.usefixtures("release")
def test_a_registry_that_is_not_trusted(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    arguments = words(outside, tmp_path)
    place = arguments.index("--registry-ca")
    assert main(arguments[:place] + arguments[place + 2 :]) == 2
    error = capsys.readouterr().err
    assert "is not trusted" in error
    assert "--registry-ca" in error


def test_a_registry_that_demands_an_account(
    closed_registry: RunningRegistry,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside = Outside(closed_registry.process, tmp_path)
    monkeypatch.setenv("HOME", outside.environment["HOME"])
    release = Release.builtin(("minio",))
    outside.fill(release.images, OPTIONS)
    write_charms(release, tmp_path / "charms")
    arguments = words(outside, tmp_path)
    for password in (None, "wrong-word"):
        more = ["--authfile", str(outside.write_account(password))] if password else []
        assert main([*arguments, *more]) == 2
        error = capsys.readouterr().err
        assert "skopeo login docker.io" in error
        assert "wrong-word" not in error
        assert not list((tmp_path / "packed").glob("*.tar.gz"))
    authfile = outside.write_account(closed_registry.process.password)
    assert main([*arguments, "--authfile", str(authfile)]) == 0


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
    assert "is not there for arm64, but for amd64" in capsys.readouterr().err


def test_a_folder_without_charms(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "charms").mkdir()
    assert main(words(outside, tmp_path)) == 2
    assert "holds no .charm file" in capsys.readouterr().err
    assert not list((tmp_path / "packed").iterdir())
    (tmp_path / "charms" / "bad.charm").write_bytes(b"PK nothing")
    (tmp_path / "charms" / "worse.charm").write_bytes(b"")
    assert main(words(outside, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "bad.charm" in error
    assert "worse.charm" in error
    assert "Traceback" not in error


@pytest.mark.usefixtures("release")
def test_charms_of_the_bundle_that_are_not_in_the_folder(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    bundle = tmp_path / "bundle.yaml"
    bundle.write_text("applications: {a: {charm: minio}, b: {charm: not-here}}")
    assert main(words(outside, tmp_path, "--bundle", str(bundle))) == 2
    assert "the folder of the charms lacks not-here" in capsys.readouterr().err
    bundle.write_text("applications: {a: {charm: minio, channel: 1.8/stable}}")
    assert main(words(outside, tmp_path, "--bundle", str(bundle))) == 0
    packed = document(capsys)
    assert [charm["name"] for charm in packed["charms"]] == ["minio"]
    assert packed["charms"][0]["channel"] == "1.8/stable"
    assert len(packed["images"]) == 1


def test_a_release_that_lacks_charms_is_refused_unless_that_is_wanted(
    release: Release, outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    arguments = words(outside, tmp_path)
    arguments.remove("--allow-missing")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "charm dex-auth" in error
    assert "--allow-missing" in error
    assert main([*arguments, "--allow-missing"]) == 0
    said = document(capsys)
    assert len(said["images"]) == len(release.images)
    assert any("dex-auth" in warning for warning in said["warnings"])


def test_skopeo_is_there_and_not_too_old(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_charms(Release.builtin(("minio",)), tmp_path / "charms")
    arguments = ["pack", "--charms", str(tmp_path / "charms"), "--output", str(tmp_path)]
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert main(arguments) == 2
    assert "install skopeo" in capsys.readouterr().err
    (programs / "skopeo").write_text("#!/bin/sh\necho skopeo version 1.4.1\n")
    (programs / "skopeo").chmod(0o755)
    assert main(arguments) == 2
    assert "too old" in capsys.readouterr().err
