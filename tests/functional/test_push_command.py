"""The command ``ckf-airgap push`` against a real registry."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from ckf_airgap.commands.main import main
from testbed.pki import Authority
from tests.functional.file_servers import Faults, serving
from tests.functional.pushes import IMAGES, archive, check_all
from tests.functional.running_registry import RunningRegistry
from tests.functional.servers import Gate, proxy, running
from tests.sample_release import Damage, ImageArchive


def words(registry: RunningRegistry, images: ImageArchive | str, *more: str) -> list[str]:
    path = images if isinstance(images, str) else str(images.path)
    ca = str(registry.process.ca)
    place = str(registry.location)
    return ["push", "--images", path, "--registry", place, "--registry-ca", ca, *more]


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return yaml.safe_load(capsys.readouterr().out)


def test_it_pushes_once(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = archive(tmp_path)
    assert main(words(registry, images)) == 0
    done = document(capsys)
    assert len(done["pushed"]) == len(IMAGES)
    assert done["uploaded_bytes"] > 0
    check_all(registry, images, tmp_path)
    assert main(words(registry, images, "--format", "json")) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["pushed"], again["present"]) == ([], len(IMAGES))
    assert (tmp_path / "images.tar.gz.pushed").exists()


def test_it_tells_each_image_where_there_is_no_terminal(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(registry, archive(tmp_path)))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(IMAGES)
    assert all(line.startswith(f"pushed {registry.location}/") for line in lines)


def test_it_remembers_where_it_is_told_to(registry: RunningRegistry, tmp_path: Path) -> None:
    state = tmp_path / "elsewhere"
    assert main(words(registry, archive(tmp_path), "--state", str(state))) == 0
    assert state.exists()
    assert not (tmp_path / "images.tar.gz.pushed").exists()


def test_the_account_is_that_of_the_usual_tools(
    closed_registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = closed_registry.process
    images = archive(tmp_path)
    auth_file = tmp_path / "auth.json"
    for password, status in (("wrong-word", 2), (process.password, 0)):
        pair = b64encode(f"{process.username}:{password}".encode()).decode()
        auth_file.write_text(json.dumps({"auths": {process.host: {"auth": pair}}}))
        found = main(words(closed_registry, images, "--authfile", str(auth_file)))
        output = capsys.readouterr()
        assert found == status, output.err
        assert str(password) not in output.out + output.err
        assert ("skopeo login" in output.err) is (status == 2)


def test_a_damaged_image_is_listed(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = archive(tmp_path, damage={IMAGES[1]: Damage.TRUNCATED})
    assert main(words(registry, images)) == 1
    done = document(capsys)
    assert len(done["pushed"]) == len(IMAGES) - 1
    assert images.images[1].file_name in done["damaged"][0]


def test_an_archive_from_a_file_server(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    images = archive(tmp_path)
    with serving(authority, images.path.read_bytes(), Faults()) as served:
        assert main(words(registry, served.url())) == 0
    check_all(registry, images, tmp_path)
    assert (tmp_path / "state/ckf-airgap/images.tar.gz.pushed").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--registry-ca", "/etc/hostname"], "is not a PEM certificate"),
        (["--registry-ca", "/none"], "/none cannot be read"),
        (["--images", "/none.tar.gz"], "/none.tar.gz cannot be read"),
        (["--images", "http://x/y"], "--images is not the HTTPS address"),
        (["--authfile", "/none"], "/none cannot be read"),
        (["--state", "/none/state"], "cannot be recorded"),
        (["--registry", "https://x"], "registry"),
    ],
)
def test_what_is_wrong_is_told(
    more: list[str],
    message: str,
    registry: RunningRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words(registry, archive(tmp_path), *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("ckf-airgap: error: ")
    assert message in error
    assert "Traceback" not in error


def test_a_certificate_that_is_not_trusted(
    registry: RunningRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(registry, archive(tmp_path))
    without_ca = [
        word for word in given if word not in ("--registry-ca", str(registry.process.ca))
    ]
    assert main(without_ca) == 2
    assert "--registry-ca ca.crt" in capsys.readouterr().err


def command(given: list[str]) -> list[str]:
    return [sys.executable, "-m", "ckf_airgap", *given]


ENVIRONMENT = {**os.environ, "PYTHONPATH": ":".join(sys.path)}


def test_an_interrupt_ends_it_and_the_next_run_continues(
    registry: RunningRegistry,
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = archive(tmp_path)
    # Images get their manifests one after the other: of the second on, none gets it yet.
    gate = Gate(
        lambda request: request.method == "PUT" and "/manifests/" in request.path, passing=1
    )
    with proxy(registry, authority, gate) as host:
        given = ["push", "--images", str(images.path), "--registry", f"{host}/ckf"]
        given += ["--registry-ca", str(authority.certificate)]
        with running(given) as process:
            gate.wait(process)
            process.send_signal(signal.SIGINT)
            gate.open()
            _, error = process.communicate()
        assert process.returncode == 130
        assert "interrupted" in error and "Traceback" not in error
        assert main(given) == 0
    done = document(capsys)
    assert done["present"] >= 1
    assert len(done["pushed"]) + done["present"] == len(IMAGES)
    check_all(registry, images, tmp_path)


def test_a_terminal_gets_a_progress_bar(registry: RunningRegistry, tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(
        command(words(registry, archive(tmp_path))),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                data = os.read(reader, 4096)
            except OSError:
                break
            shown += data
    os.close(reader)
    assert process.returncode == 0
    assert re.search(rb"images\.tar\.gz: 100%\|.*B/s, 6 images\]", shown)
