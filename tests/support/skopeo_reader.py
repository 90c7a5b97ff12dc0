"""What skopeo finds in an archive or a registry: the judge of what an image is."""

import json
import os
import subprocess
from pathlib import Path

from tests.support.compressed import uncompressed
from tests.support.sample_images import Identity, digest_of, hex_of


def skopeo(*words: str, ca: Path | None = None) -> bytes:
    """Run skopeo.

    Args:
        words: Its arguments.
        ca: The certificate of the authority to trust, for registries.

    Raises:
        AssertionError: It fails; with what it says.
    """
    environment = {**os.environ, **({"SSL_CERT_FILE": str(ca)} if ca else {})}
    done = subprocess.run(["skopeo", *words], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def read_image(source: str, work: Path, ca: Path | None = None) -> Identity:
    """Copy an image with skopeo, and hash what came.

    Args:
        source: Where from, for example ``docker-archive:PATH:NAME``.
        work: A folder to work in, which is made if need be.
        ca: The certificate of the authority to trust, for registries.
    """
    target = work / hex_of(source.encode())
    target.parent.mkdir(parents=True, exist_ok=True)
    skopeo("copy", "--quiet", source, f"dir:{target}", ca=ca)
    manifest = json.loads(target.joinpath("manifest.json").read_bytes())
    layers = [target.joinpath(layer["digest"][7:]) for layer in manifest["layers"] or ()]
    diff_ids = [digest_of(uncompressed(layer.read_bytes())) for layer in layers]
    return Identity(manifest["config"]["digest"], tuple(diff_ids))
