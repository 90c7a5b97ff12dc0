"""``ckf-airgap pack`` that is killed, cut off or out of space: the next run goes on."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from ckf_airgap.archives.pack_manifest import read_pack_manifest
from ckf_airgap.archives.sources import FileSource
from ckf_airgap.commands.main import main
from ckf_airgap.packing import publication
from ckf_airgap.packing.checksums import write_checksums
from testbed.pki import Authority
from tests.functional.packs import Captured, archive_digests, words
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import (
    Answer,
    Fault,
    Gate,
    Request,
    proxy,
    running,
    wait_until,
)
from tests.support.matrix import matrix
from tests.support.outside import Outside


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(("moment", "layout"), matrix((0, 3, 12), ("docker", "oci")))
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
    monkeypatch.setattr("ckf_airgap.packing.skopeo._TIMEOUT_SECONDS", 3.0)
    # On a busy machine, an answer that is only slow may time out too: it is requested again.
    monkeypatch.setattr("ckf_airgap.packing.skopeo._ATTEMPTS", 100)
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
    cure = "free some space" if when == "before" else "make space there"
    assert cure in done.stderr
    assert "Traceback" not in done.stderr
    assert ("are needed" in done.stderr) == (when == "before")


@pytest.mark.usefixtures("release")
def test_two_packs_in_one_folder(outside: Outside, tmp_path: Path, capsys: Captured) -> None:
    partial = tmp_path / "packed" / "partial"
    partial.mkdir(parents=True)
    descriptor = os.open(partial, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert main(words(outside, tmp_path)) == 2
    assert "another pack is running" in capsys.readouterr().err
    os.close(descriptor)
    assert main(words(outside, tmp_path)) == 0


@pytest.mark.usefixtures("release")
def test_a_pack_while_another_one_publishes(
    outside: Outside, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = words(outside, tmp_path)
    second: list[int] = []

    def while_checksums_are_computed(folder: Path, names: Sequence[str], *known: Any) -> None:
        second.append(main([*arguments, "--format", "oci"]))
        write_checksums(folder, names, *known)

    monkeypatch.setattr(publication, "write_checksums", while_checksums_are_computed)
    assert main(arguments) == 0
    assert second == [2]
    assert f"another pack is running in {tmp_path / 'packed'}: wait" in capsys.readouterr().err
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path / "packed", check=True)
    assert not (tmp_path / "packed" / "partial").exists()
    manifest = read_pack_manifest(FileSource(tmp_path / "packed" / "images.tar.gz"))
    assert manifest
    assert manifest.layout == "docker"
