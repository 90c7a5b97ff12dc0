"""An archive that is pushed to a host which stands before its registry."""

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.functional.archive_case import JUPYTER, JUPYTER_TAR, KFAM, KFAM_TAR, ArchiveCase
from tests.functional.running_registry import RunningRegistry
from tests.support.archive_forms import docker_save
from tests.support.compressed import gzipped
from tests.support.oci_forms import oci_layout
from tests.support.sample_images import Identity, NamedImage
from tests.support.skopeo_reader import read_image
from tests.support.tar_files import tar, tar_of

BOTH = (JUPYTER, KFAM)
TWO = gzipped(tar_of(jupyter=JUPYTER_TAR, kfam=KFAM_TAR))


class Front(ArchiveCase):
    """An archive, and the host that stands before the registry that it is pushed to."""

    def __init__(
        self,
        behind: RunningRegistry,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        host: str,
    ) -> None:
        super().__init__(behind.through(host), folder, capsys)
        self.behind = behind
        self.path.write_bytes(TWO)

    def pulled(self, name: str) -> Identity:
        """Pull an image back from the registry itself."""
        place = f"{self.behind.process.host}/{self.place}"
        source = f"docker://{place}/{name.partition('/')[2]}"
        return read_image(source, self.folder / "pulled", self.behind.process.ca)

    def error(self, *words: str) -> str:
        """Push; it is to fail with one error, which says these words. Gives the error."""
        answer = self.push()
        assert answer.status == 2, answer.said
        error = answer.error.rpartition("error: ")[2]
        assert [word for word in words if word not in error] == [], answer.said
        assert len(error.encode()) < 2_000
        return error

    def skopeo_pushes(self, *images: NamedImage, layout: bool = False) -> bool:
        """Tell whether skopeo pushes images to the same registry, one after the other."""
        environment = {**os.environ, "SSL_CERT_FILE": str(self.behind.process.ca)}
        for image in images:
            path = self.folder / "for-skopeo.tar"
            path.write_bytes(tar(oci_layout([image]) if layout else docker_save([image])))
            source = f"{'oci-archive' if layout else 'docker-archive'}:{path}"
            target = f"docker://{self.prefix}-skopeo/{image.names[0].partition('/')[2]}"
            done = subprocess.run(
                ["skopeo", "copy", "--quiet", source, target],
                capture_output=True,
                env=environment,
                check=False,
            )
            if done.returncode:
                return False
        return True

    def links(self, digest: str, under: str = "") -> list[Path]:
        """Find where the registry notes which repositories have a blob."""
        root = self.behind.process.data / "docker/registry/v2/repositories" / self.place / under
        return list(root.glob(f"**/_layers/sha256/{digest.removeprefix('sha256:')}"))


def use_account(
    username: str, password: str, hosts: Sequence[str], file: Path, patch: pytest.MonkeyPatch
) -> None:
    """Let the product and skopeo use an account for some hosts."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {host: {"auth": auth} for host in hosts}}))
    patch.setenv("REGISTRY_AUTH_FILE", str(file))
