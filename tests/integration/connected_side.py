"""The connected side: a registry and a Charmhub, and ``ckf-airgap pack`` between them."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from testbed.pki import Authority
from testbed.registry import Registry
from tests.sample_release import (
    CharmArchive,
    CharmOptions,
    Compressor,
    ImageArchive,
    ImageOptions,
    Release,
    SampleRelease,
    images_named_by,
)
from tests.support.charmhub import Charmhub, serving
from tests.support.outside import Outside, with_images


class ConnectedSide:
    """What stands for the internet, and the juju client that downloads from it.

    Attributes:
        outside: The registry.
        charmhub: The Charmhub.
        release: The release that they have; its charms name the images that there are.
    """

    def __init__(
        self, outside: Outside, charmhub: Charmhub, release: Release, client: Path, folder: Path
    ) -> None:
        self.outside = outside
        self.charmhub = charmhub
        self.release = release
        self._client = client
        self._folder = folder

    def pack(
        self, output: Path, *more: str, bundle: str | None = None, status: int = 0
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``ckf-airgap pack`` for a bundle, as an operator does."""
        file = self._folder / "bundle.yaml"
        file.write_text(bundle or self.release.bundle)
        ca = str(self.outside.registry.ca)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ckf_airgap", "pack", "--bundle", str(file)),
                *("--output", str(output), "--juju", str(self._client), "--registry-ca", ca),
                *("--charmhub-url", self.charmhub.url, *more),
            ],
            env={
                **os.environ,
                **self.outside.environment,
                "PYTHONPATH": ":".join(sys.path),
                # The client trusts what the system does, and is told so by this.
                "SSL_CERT_FILE": ca,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    def packed(self, output: Path) -> SampleRelease:
        """Give what was packed in place of artifacts that are made for tests."""
        bundle = output / "bundle.yaml"
        bundle.write_text(self.release.bundle)
        return SampleRelease(
            self.release,
            ImageArchive(output / "images.tar.gz", (), 0, Compressor.best()),
            CharmArchive(output / "charms.tar.gz", ()),
            bundle,
        )


@contextmanager
def connected_side(
    release: Release,
    client: Path,
    folder: Path,
    *more_images: str,
    options: ImageOptions | None = None,
) -> Generator[ConnectedSide]:
    """Run a registry with the images that a release's charms name, and a Charmhub with these.

    Args:
        release: The release.
        client: The juju client.
        folder: Where to keep everything.
        more_images: Further images.
        options: How the images are made.
    """
    authority = Authority(folder / "pki")
    registry = Registry.on_loopback(folder, authority)
    registry.start()
    try:
        outside = Outside(registry, folder)
        words = {word for charm in release.charms for word in images_named_by(charm)}
        # The key of a map looks like an image too, but for its end.
        named = {word for word in words if not word.endswith(":")}
        replaced = outside.fill({*named, *more_images}, options)
        release = with_images(replace(release, images=tuple(sorted(named))), replaced)
        charmhub = Charmhub()
        charmhub.add(release.charms, CharmOptions(podspec_as_sidecar=True))
        with serving(charmhub, authority):
            yield ConnectedSide(outside, charmhub, release, client, folder)
    finally:
        registry.stop()
