"""What stands for the internet: a registry with the images of all public ones.

skopeo finds them there under their own names by way of a registries.conf, as it would with a
company's mirror. Nothing here uses the project's own code.
"""

import dataclasses
import json
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed.registry import Registry
from tests.sample_release import Charm, ImageOptions, Release, charm_file, write_image_archive
from tests.sample_release.charms import CharmOptions
from tests.sample_release.naming import canonical_name, repository

_PATH = "outside"


class Outside:
    """The registry, and how to reach it."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry = registry
        self._home = folder / "home"
        self._folder = folder
        self._hosts: set[str] = set()

    @property
    def environment(self) -> dict[str, str]:
        """What skopeo has to be told."""
        return {"HOME": str(self._home)}

    def fill(
        self, images: Iterable[str], options: ImageOptions | None = None, *more: str
    ) -> dict[str, str]:
        """Put images there.

        Args:
            images: Their names.
            options: How to make them.
            more: Options for ``skopeo copy``.

        Returns:
            Where a name is a digest, the same name with the digest that there is: nobody can make
            an image of a given digest.
        """
        names = sorted(images)
        made = dataclasses.replace(options or ImageOptions(), retagged_fraction=0)
        archive = write_image_archive(names, self._folder / "outside.tar.gz", made)
        replaced: dict[str, str] = {}
        with tarfile.open(archive.path) as members:
            for image in archive.images:
                members.extract(image.file_name, self._folder, filter="data")
                path = self._folder / image.file_name
                place = self.place(image.image)
                self.skopeo("copy", *more, f"docker-archive:{path}", f"docker://{place}")
                path.unlink()
                if "@" in image.image:
                    found = json.loads(self.skopeo("inspect", f"docker://{place}"))["Digest"]
                    replaced[image.image] = f"{repository(image.image)}@{found}"
        archive.path.unlink()
        self.configure()
        return replaced

    def has(self, images: Iterable[str]) -> None:
        """Tell skopeo of images that are there already."""
        for image in images:
            self.place(image)
        self.configure()

    def place(self, image: str) -> str:
        """Say where an image stands for its public name."""
        name = canonical_name(image.partition("@")[0])
        host, _, rest = name.partition("/")
        if host == "docker.io" and "/" not in rest:
            rest = f"library/{rest}"
        self._hosts.add(host)
        tag = ":by-digest" if "@" in image else ""
        return f"{self.registry.host}/{_PATH}/{host}/{rest}{tag}"

    def configure(self, host: str | None = None) -> None:
        """Write the registries.conf (containers-registries.conf(5)).

        Args:
            host: What stands before the registry, where something does.
        """
        place = host or self.registry.host
        path = self._home / ".config" / "containers" / "registries.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(
                f'[[registry]]\nprefix = "{name}"\nlocation = "{place}/{_PATH}/{name}"\n'
                for name in sorted(self._hosts)
            )
        )

    def write_account(self, password: str | None) -> Path:
        """Write an auth file (containers-auth.json(5)) for the registry's account."""
        pair = b64encode(f"{self.registry.username}:{password}".encode()).decode()
        path = self._folder / "auth.json"
        path.write_text(json.dumps({"auths": {self.registry.host: {"auth": pair}}}))
        return path

    def skopeo(self, *words: str) -> str:
        """Run skopeo, which trusts the registry."""
        environment = {"SSL_CERT_FILE": str(self.registry.ca), "PATH": "/usr/bin:/bin"}
        if self.registry.username:
            environment["REGISTRY_AUTH_FILE"] = str(self.write_account(self.registry.password))
        return subprocess.run(
            ["skopeo", *words], check=True, capture_output=True, text=True, env=environment
        ).stdout


def with_images(release: Release, replaced: Mapping[str, str]) -> Release:
    """Give a release whose charms take other images.

    Args:
        release: The release.
        replaced: The images to replace, and by which.
    """

    def text(value: str) -> str:
        for old, new in replaced.items():
            value = value.replace(old, new)
        return value

    def charm(original: Charm) -> Charm:
        return dataclasses.replace(
            original,
            resources=tuple(
                dataclasses.replace(resource, upstream_source=text(resource.upstream_source))
                for resource in original.resources
            ),
            options=tuple(
                dataclasses.replace(
                    option,
                    default=text(option.default)
                    if isinstance(option.default, str)
                    else option.default,
                )
                for option in original.options
            ),
            default_files={name: text(file) for name, file in original.default_files.items()},
        )

    return dataclasses.replace(
        release,
        charms=tuple(map(charm, release.charms)),
        images=tuple(replaced.get(image, image) for image in release.images),
    )


def write_charms(release: Release, folder: Path, options: CharmOptions | None = None) -> None:
    """Write the charms of a release into a folder, as ``juju download`` leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, charm in enumerate(release.charms, 1):
        content = charm_file(charm, options or CharmOptions())
        (folder / f"{charm.name}_r{number}.charm").write_bytes(content)
