"""A registry that runs, and what other clients than the product's see in it."""

import hashlib
import http.client
import json
import ssl
import subprocess
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.registry.client import RegistryClient
from testbed.registry import Registry

_GZIP = 31
_OWN = "the authority of the registry"
_CATALOG = "/v2/_catalog?n=1000"
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class PulledImage:
    """An image as another tool pulls it.

    Attributes:
        image_id: The digest of its config.
        diff_ids: The digests of its uncompressed layers, computed from what was pulled.
    """

    image_id: str
    diff_ids: tuple[str, ...]


class RunningRegistry:
    """A registry, and what skopeo sees in it."""

    def __init__(self, registry: Registry, prefix: str = "ckf") -> None:
        """Describe it.

        Args:
            registry: The registry.
            prefix: The path that the images go below.
        """
        self.process = registry
        self.location = RegistryLocation.parse(f"{registry.host}/{prefix}")

    def through(self, host: str) -> "RunningRegistry":
        """Give it as a proxy shows it.

        Args:
            host: Host and port of the proxy, which is of the same authority.
        """
        return RunningRegistry(replace(self.process, host=host), self.location.path)

    def below(self, name: str) -> "RunningRegistry":
        """Give the part of it below a further path."""
        return RunningRegistry(self.process, f"{self.location.path}/{name}")

    def client(
        self, *, ca: str | None = _OWN, credentials: Credentials | None = None
    ) -> RegistryClient:
        """Make a client; it trusts the registry's authority unless told otherwise."""
        ca = self.process.ca.read_text() if ca == _OWN else ca
        return RegistryClient(self.process.host, ca=ca, credentials=credentials)

    def pull(self, reference: str, folder: Path) -> PulledImage:
        """Pull an image with skopeo, and hash what came."""
        target = folder / hashlib.sha256(reference.encode()).hexdigest()
        self._skopeo("copy", "--quiet", f"docker://{reference}", f"dir:{target}")
        manifest = json.loads(target.joinpath("manifest.json").read_bytes())
        diff_ids: list[str] = []
        for layer in manifest["layers"]:
            data = zlib.decompress(target.joinpath(layer["digest"][7:]).read_bytes(), _GZIP)
            diff_ids.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        return PulledImage(manifest["config"]["digest"], tuple(diff_ids))

    def tags(self, repository: str) -> list[str]:
        """List the tags of a repository; none where there is no such repository."""
        try:
            output = self._skopeo("list-tags", f"docker://{self.location}/{repository}")
        except subprocess.CalledProcessError:
            return []
        return list(json.loads(output)["Tags"])

    def repositories(self) -> list[str]:
        """List the repositories below the prefix that it has in its catalog, without the prefix.

        The catalog has those of blobs alone too, in registries that store them so.
        """
        listed: list[str] = []
        path = _CATALOG
        while path:
            response, body = self.get(path)
            assert response.status == 200, body
            listed += json.loads(body)["repositories"] or []
            # As </v2/_catalog?last=x&n=1000>; rel="next"
            path = (response.getheader("Link") or "").partition("<")[2].partition(">")[0]
        prefix = f"{self.location.path}/"
        return sorted(name.removeprefix(prefix) for name in listed if name.startswith(prefix))

    def uploads(self) -> int:
        """Count the blobs and manifests that were uploaded so far, from the access log."""
        log = self.process.access_log.read_text()
        return sum('"PUT /v2/' in line for line in log.splitlines())

    def put_manifest(self, repository: str, tag: str, content: bytes, media_type: str) -> None:
        """Store a manifest as another client does."""
        headers = {"Content-Type": media_type}
        path = f"/v2/{repository}/manifests/{tag}"
        response, body = self.request("PUT", path, content, headers)
        assert response.status == 201, body

    def get(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Ask for something that it has; gives the answer and its body."""
        return self.request("GET", path)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = _NONE
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request past the program; gives the answer and its body."""
        context = ssl.create_default_context(cafile=str(self.process.ca))
        connection = http.client.HTTPSConnection(self.process.host, context=context)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return response, content

    def _skopeo(self, *args: str) -> str:
        environment = {"SSL_CERT_FILE": str(self.process.ca), "PATH": "/usr/bin:/bin"}
        process = subprocess.run(
            ["skopeo", *args], check=True, capture_output=True, text=True, env=environment
        )
        return process.stdout
