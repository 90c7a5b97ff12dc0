"""An archive that is pushed to a registry of any maker."""

import json
from pathlib import Path

import pytest

from tests.functional.archive_case import ArchiveCase
from tests.functional.running_registry import RunningRegistry


class RegistryCase(ArchiveCase):
    """An archive, and a registry that is known by its API alone."""

    def __init__(
        self,
        registry: RunningRegistry,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        host: str = "",
    ) -> None:
        """Prepare.

        Args:
            registry: The registry.
            folder: Where the archive is to be.
            capsys: Reads what the command says.
            host: The host and port to push to, where that is a proxy before the registry.
        """
        super().__init__(registry.through(host) if host else registry, folder, capsys)
        self.registry = registry
        self.place = registry.location.path
        folder.mkdir(exist_ok=True)

    @property
    def words(self) -> list[str]:
        """The arguments of a push, for a process of its own."""
        ca = str(self._registry.process.ca)
        given = ["--images", str(self.path), "--state", str(self.state)]
        return ["push", *given, "--registry", self.prefix, "--registry-ca", ca]

    def all_tags(self) -> dict[str, str]:
        registry, client = self.registry, self.registry.client()
        found: dict[str, str] = {}
        for repository in registry.repositories():
            response, body = registry.get(f"/v2/{self.place}/{repository}/tags/list")
            # A repository with blobs alone is in the catalog, and has no such list.
            for tag in json.loads(body)["tags"] if response.status == 200 else ():
                digest = client.manifest_digest(f"{self.place}/{repository}", tag)
                assert digest, f"{repository}:{tag}"
                found[f"{repository}:{tag}"] = digest
        return found
