"""What ``ckf-airgap pack`` refuses, and that it then leaves no archive behind."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ckf_airgap.commands.main import main
from ckf_airgap.errors import DownloadError
from ckf_airgap.images.oci import Blob
from ckf_airgap.packing.skopeo import BlobReader, Skopeo, SkopeoSettings
from testbed.pki import Authority
from tests.functional.packs import OPTIONS, Captured, document, words
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import (
    Answer,
    Request,
    proxy,
)
from tests.sample_release import Release
from tests.support.outside import Outside, write_charms


@pytest.mark.usefixtures("release")
def test_images_that_are_not_there_are_all_named(
    outside: Outside, tmp_path: Path, capsys: Captured
) -> None:
    extra = ["docker.io/some/where:1", "gcr.io/else/where:2"]
    added = [word for image in extra for word in ("--add-image", image)]
    assert main(words(outside, tmp_path, *added)) == 2
    error = capsys.readouterr().err
    assert all(image in error for image in extra)
    assert "2 images cannot be looked up" in error
    assert "correct its name or tag" in error
    assert not list((tmp_path / "packed").glob("*.tar.gz"))


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
    assert re.search("is not an image manifest|is damaged|is not JSON", error), error
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
    assert "content that does not match its digest" in error
    assert not list((tmp_path / "packed").glob("*.tar.gz"))


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


def test_a_folder_without_charms(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "charms").mkdir()
    assert main(words(outside, tmp_path)) == 2
    assert "contains no .charm file" in capsys.readouterr().err
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
    assert "the directory of --charms lacks not-here" in capsys.readouterr().err
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


class Program:
    """A stand-in for skopeo, the only program there is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_charms(Release.builtin(("minio",)), folder / "charms")
        self._arguments = ["pack", "--charms", str(folder / "charms"), "--output", str(folder)]
        self._path = folder / "programs" / "skopeo"
        self._path.parent.mkdir()
        monkeypatch.setenv("PATH", str(self._path.parent))

    def write(self, script: str) -> None:
        self._path.write_text(f"#!/bin/sh\n{script}\n")
        self._path.chmod(0o755)

    def refusal(self, capsys: Captured) -> str:
        """Pack one charm, which is refused; gives the error."""
        assert main([*self._arguments, "--allow-missing"]) == 2
        return capsys.readouterr().err


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(tmp_path, monkeypatch)


def test_skopeo_is_there_and_not_too_old(program: Program, capsys: Captured) -> None:
    assert "install skopeo" in program.refusal(capsys)
    program.write("echo skopeo version 1.4.1")
    assert "skopeo version 1.4.1 is too old" in program.refusal(capsys)
    program.write("echo another program")
    error = program.refusal(capsys)
    assert "skopeo --version tells no version: 'another program'" in error
    assert "install skopeo" in error


def test_an_index_for_other_architectures(program: Program, capsys: Captured) -> None:
    platforms = [{"architecture": "arm64"}, {"os": "linux"}, {"architecture": None}, None]
    index = {"manifests": [{"platform": each} for each in platforms]}
    program.write(f"case $1 in --version) echo 1.9 ;; inspect) echo '{json.dumps(index)}' ;; esac")
    wrong = "does not exist for amd64, only for arm64, an unnamed architecture:"
    assert wrong in program.refusal(capsys)


@pytest.mark.parametrize(
    ("image", "message", "problem"),
    [
        (
            "quay.io/team/credentials-helper:1.404",
            "reading manifest 1.404 in quay.io/team/credentials-helper: received status 503",
            "cannot be fetched (reading",
        ),
        ("quay.io/denied/x:1", "reading manifest 1 in quay.io/denied/x: manifest unknown", "have"),
        ("quay.io/team/x:1", "reading manifest 1 in quay.io/team/x: denied", "demands an account"),
    ],
)
def test_names_of_an_image_are_no_errors(
    image: str, message: str, problem: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write(f"echo '{message}' >&2; exit 1")
    monkeypatch.setattr("ckf_airgap.packing.skopeo._ATTEMPTS", 1)
    with pytest.raises(DownloadError) as raised:
        Skopeo(SkopeoSettings()).manifest(image)
    assert problem in str(raised.value)


_PROXY = """
import json, os, socket, sys
sock = socket.socket(fileno=int(sys.argv[-1]))
if os.path.exists("again"):
    sys.exit()
open("again", "w").close()
print("an early message", file=sys.stderr, flush=True)
for _ in range(3):
    method = json.loads(sock.recv(32768))["method"]
    reply = json.dumps({"success": True, "value": 1, "pipeid": 1, "error": ""}).encode()
    if method != "GetBlob":
        sock.send(reply)
sock.shutdown(socket.SHUT_RD)
socket.send_fds(sock, [reply], [os.pipe()[0]])
"""


def test_an_image_proxy_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blob = Blob("sha256:" + "0" * 64, 1)
    with tempfile.TemporaryFile() as output:
        reader = BlobReader([sys.executable, "-c", _PROXY], output)
        descriptors = os.listdir("/proc/self/fd")
        with pytest.raises(DownloadError, match="an early message"):
            list(reader.read("quay.io/team/x@sha256:1", blob))
        assert os.listdir("/proc/self/fd") == descriptors
        with pytest.raises(DownloadError, match="skopeo ended") as raised:
            list(reader.read("quay.io/team/x@sha256:1", blob))
        assert "an early message" not in str(raised.value)
