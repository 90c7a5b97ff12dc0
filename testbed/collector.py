"""OpenTelemetry's collector, which writes each trace that it takes to its log."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed import builds
from testbed.host import TestbedError
from testbed.pki import KeyPair
from testbed.processes import Processes

_READY = "Everything is ready"


@dataclass(frozen=True)
class Collector:
    """A collector that takes OTLP over HTTP, both with TLS and in the clear.

    Attributes:
        address: The address and port that it takes traces at over TLS.
        clear_address: The address and port without TLS.
        state: A folder for its own files.
        certificate: Its certificate and key.
        processes: Where its process is kept.
        wrap: Turns a command into one that runs where the collector is to run.
    """

    address: str
    clear_address: str
    state: Path
    certificate: KeyPair
    processes: Processes
    wrap: Callable[[Sequence[str | Path]], list[str]]

    @property
    def url(self) -> str:
        """Where it takes traces over TLS."""
        return f"https://{self.address}"

    @property
    def clear_url(self) -> str:
        """Where it takes traces without TLS."""
        return f"http://{self.clear_address}"

    @property
    def traces(self) -> str:
        """What it has taken, in words of its own."""
        return self._log.read_text(errors="replace").partition(_READY)[2]

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            TestbedError: It does not.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        configuration = self.state / "collector.yaml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        command = [builds.collector(), "--config", f"file:{configuration}"]
        self.processes.start(self._name, self.wrap(command))
        for _ in range(300):
            self.processes.require(self._name)
            if self._log.exists() and _READY in self._log.read_text(errors="replace"):
                return
            time.sleep(0.1)
        raise TestbedError(f"the collector does not start: see {self._log}")

    def stop(self) -> None:
        """Stop it."""
        self.processes.stop(self._name)

    def _configuration(self) -> dict[str, object]:
        tls = {
            "cert_file": str(self.certificate.certificate),
            "key_file": str(self.certificate.key),
        }
        return {
            "receivers": {
                "otlp": {"protocols": {"http": {"endpoint": self.address, "tls": tls}}},
                "otlp/clear": {"protocols": {"http": {"endpoint": self.clear_address}}},
            },
            "exporters": {"debug": {"verbosity": "detailed"}},
            "service": {
                "pipelines": {
                    "traces": {"receivers": ["otlp", "otlp/clear"], "exporters": ["debug"]}
                },
                "telemetry": {"metrics": {"level": "none"}},
            },
        }

    @property
    def _log(self) -> Path:
        return self.processes.log(self._name)

    @property
    def _name(self) -> str:
        return self.state.name
