"""Registries of other makers, on the loopback address: the functional tests know them too."""

from dataclasses import dataclass, field
from pathlib import Path

from testbed import builds
from testbed.nginx import nginx_command
from testbed.registry import Registry, free_port

# It passes on what comes as it comes, as it has to in front of any registry.
_PASSED_ON = """
    client_max_body_size 0;
    location / {{
      proxy_pass http://{plain};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 900;
      proxy_send_timeout 900;
    }}
"""


@dataclass(frozen=True)
class DistributionRegistry(Registry):
    """The registry of the distribution project, version 3."""

    def _program(self) -> Path:
        return builds.distribution()

    def _environment(self) -> dict[str, str]:
        # It would send traces to a collector.
        return {"OTEL_TRACES_EXPORTER": "none"}


@dataclass(frozen=True)
class CraneRegistry(Registry):
    """The registry in crane, which speaks no TLS: nginx does, in front of it.

    It keeps its blobs in files, for all repositories together, and its manifests in memory.

    Attributes:
        plain: Where crane itself listens.
    """

    plain: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")

    @property
    def access_log(self) -> Path:
        """The file with a line for each request, written after the answer."""
        return self._state / "access.log"

    def start(self) -> None:
        """Start crane and nginx, and wait until both answer.

        Raises:
            TestbedError: One does not.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        serve = ["registry", "serve", "--address", self.plain, "--disk", self.data]
        self._run(self._name, [builds.crane(), *serve], f"http://{self.plain}")
        nginx = nginx_command(
            self._state, self.address, self.certificate, _PASSED_ON.format(plain=self.plain)
        )
        self._run(self._state.name, nginx, f"https://{self.host}")

    def stop(self) -> None:
        """Stop both."""
        self.processes.stop(self._state.name)
        self.processes.stop(self._name)

    @property
    def _state(self) -> Path:
        return self.data.with_name(f"{self._name}-tls")


KINDS: dict[str, type[Registry]] = {
    "docker-registry": Registry,
    "distribution 3": DistributionRegistry,
    "crane": CraneRegistry,
}
"""The registries that are tested with."""


def build_registries() -> None:
    """Build those that no package has, so that starting one takes no time."""
    builds.distribution()
    builds.crane()
