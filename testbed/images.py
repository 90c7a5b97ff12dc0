"""The images that Kubernetes and Juju need, put into the testbed's registry."""

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from testbed import builds, rootfs, versions
from testbed.host import run, step
from testbed.registry import Registry

PAUSE = "pause:3.9"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_AGENT_PROGRAMS = ("jujuc", "containeragent", "pebble")


def push_images(registry: Registry) -> None:
    """Push what is not in the registry yet: the sandbox, the charms' base, the controller's agent.

    Args:
        registry: The open registry. Its authority is trusted inside the images, because Juju looks
            up images in it from the controller.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = [rootfs.charm_base(), _authority_layer(folder / "authority", registry.ca)]
        _push(registry, PAUSE, [_program_layer(folder / "pause", builds.pause(), ["pause"], "")])
        _push(registry, f"juju/charm-base:ubuntu-{versions.CHARM_BASE}", base)
        agent = _program_layer(folder / "agent", builds.juju(), _AGENT_PROGRAMS, "opt")
        shutil.copy2(builds.controller_agent() / "jujuagentd", agent / "opt")
        agent.joinpath("opt/jujud").symlink_to("jujuagentd")
        _push(registry, f"juju/jujud-operator:{versions.JUJU_AGENT}", [*base, agent])


def _authority_layer(folder: Path, ca: Path) -> Path:
    certificates = folder / _CERTIFICATES
    certificates.parent.mkdir(parents=True)
    system = rootfs.charm_base() / _CERTIFICATES
    certificates.write_bytes(system.read_bytes() + b"\n" + ca.read_bytes())
    return folder


def _program_layer(folder: Path, source: Path, programs: Sequence[str], place: str) -> Path:
    target = folder / place
    target.mkdir(parents=True)
    for program in programs:
        shutil.copy2(source / program, target)
    return folder


def _push(registry: Registry, name: str, layers: Sequence[Path]) -> None:
    repository, _, tag = name.partition(":")
    stored = registry.data / f"docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}"
    # The tag says nothing of how the image was made.
    stamp = stored / f"made-by-recipe-{versions.RECIPE}"
    if stamp.exists():
        return
    target = f"docker://{registry.host}/{name}"
    with step(f"pushing {name}"), tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "image.tar")
        _write_archive(archive, name, layers)
        command = ["skopeo", "copy", "--quiet", f"docker-archive:{archive}", target]
        run(registry.wrap(["env", f"SSL_CERT_FILE={registry.ca}", *command]))
    stamp.touch()


def _write_archive(archive: Path, name: str, layers: Sequence[Path]) -> None:
    """Write an image as docker save does (Docker Image Specification v1.2.0)."""
    with tarfile.open(archive, "w") as tar:
        digests: list[str] = []
        for layer in layers:
            packed = archive.with_name("layer.tar")
            options = ["--numeric-owner", "--sort=name", "--mtime=@0", "--one-file-system"]
            run(["tar", *options, "-C", layer, "-cf", packed, "."])
            with packed.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
            tar.add(packed, arcname=f"{digests[-1]}/layer.tar")
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                    "Entrypoint": ["/pause"] if name == PAUSE else ["/bin/sh"],
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in digests]},
            }
        ).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = [
            {
                "Config": config_name,
                "RepoTags": [name],
                "Layers": [f"{digest}/layer.tar" for digest in digests],
            }
        ]
        for file_name, content in ((config_name, config), ("manifest.json", _json(manifest))):
            member = tarfile.TarInfo(file_name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
