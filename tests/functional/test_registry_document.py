"""The registry for one machine, by the commands of the document, up to a push and a pull."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import builds
from testbed.registry import free_port
from tests.sample_release import ImageOptions, Release, write_release
from tests.support.documents import blocks
from tests.support.skopeo_reader import skopeo

_THIS = "tests/functional/test_registry_document.py"
_MOST_SECONDS = 300
_PRELUDE = f"""
set -eu -o pipefail
ckf-airgap() {{ {sys.executable} -m ckf_airgap "$@"; }}
"""


def test_the_commands_of_the_document(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    programs.joinpath("registry").symlink_to(builds.distribution())
    write_release(Release.builtin(), home, ImageOptions(program=b"stub", payload_kib=16))
    host = f"localhost:{free_port()}"
    commands = "".join(
        f'{block.commands}\n[ -z "${{!:-}}" ] || echo $! > {tmp_path}/pid\n'
        for block in blocks("how-to.md")
        if block.tested_by == _THIS
    )
    for written, here in {
        "registry.corp:5000": host,
        "registry.corp": "localhost",
        "addr: :5000": f"addr: {host}",
        "/srv/registry": str(tmp_path / "registry"),
    }.items():
        assert written in commands
        commands = commands.replace(written, here)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "REGISTRY_AUTH_FILE": str(home / "other.json"),
        # Where skopeo and the command keep accounts otherwise.
        "XDG_RUNTIME_DIR": str(home),
    }
    log = tmp_path / "log"
    try:
        with log.open("w") as output:
            done = subprocess.run(
                ["timeout", str(_MOST_SECONDS), "bash", "-c", _PRELUDE + commands],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                check=False,
            )
        assert done.returncode == 0, log.read_text()[-3000:]
        folder = tmp_path / "registry"
        pulled = next(folder.glob("*.tar"))
        assert skopeo("inspect", f"oci-archive:{pulled}")
        for secret in ("tls.key", "ca.key", "pusher.password", "accounts"):
            assert folder.joinpath(secret).stat().st_mode & 0o077 == 0, secret
        # Nobody else may use it.
        refused = subprocess.run(
            ["skopeo", "list-tags", f"docker://{host}/ckf/x", "--authfile", "/dev/null"],
            env={**environment, "SSL_CERT_FILE": str(folder / "trust/ca.crt")},
            capture_output=True,
            check=False,
        )
        assert refused.returncode
    finally:
        if (pid := tmp_path / "pid").exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)


def test_the_unit_runs_what_the_commands_run() -> None:
    text = Path(__file__).parents[2].joinpath("docs/how-to.md").read_text()
    (command,) = [line for line in text.splitlines() if line.startswith("nohup registry serve")]
    (unit,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert unit.endswith(command.removeprefix("nohup ").partition(" >")[0])


@pytest.mark.parametrize("word", ["delete: {enabled: true}", "tls: {certificate", "htpasswd"])
def test_the_registry_has_what_the_product_needs(word: str) -> None:
    assert any(word in block.commands for block in blocks("how-to.md"))
