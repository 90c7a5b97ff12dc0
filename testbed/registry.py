"""Registries: Debian's docker-registry over TLS, with or without authentication."""

import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from testbed.host import TestbedError, run
from testbed.pki import Authority, KeyPair
from testbed.processes import Processes


def free_port() -> int:
    """Find a port of the loopback address that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Registry:
    """A registry.

    Attributes:
        host: Host and port.
        address: The address and port to listen at.
        ca: The certificate of the authority that its own certificate is signed by.
        data: The folder of its storage.
        username: The account that may do everything, or None where everybody may.
        certificate: Its certificate and key.
        processes: Where its process is kept.
        wrap: Turns a command into one that runs where the registry is to run.
    """

    host: str
    address: str
    ca: Path
    data: Path
    username: str | None
    certificate: KeyPair
    processes: Processes
    wrap: Callable[[Sequence[str | Path]], list[str]]

    @classmethod
    def on_loopback(
        cls, folder: Path, authority: Authority, username: str | None = None, **more: Any
    ) -> Self:
        """Describe one on the loopback address, at a port that is free.

        Args:
            folder: Where it keeps everything.
            authority: Signs its certificate.
            username: The account that may do everything, or None where everybody may.
            more: What a kind of registry has beside that.
        """
        host = f"127.0.0.1:{free_port()}"
        return cls(
            host=host,
            address=host,
            ca=authority.certificate,
            data=folder / "registry",
            username=username,
            certificate=authority.issue("registry", "127.0.0.1", "localhost"),
            processes=Processes(folder / "run", folder / "log"),
            wrap=lambda args: [str(arg) for arg in args],
            **more,
        )

    @property
    def password(self) -> str | None:
        """The account's password, made at first use; None where there is no account."""
        if not self.username:
            return None
        file = self.data.with_name(f"{self.data.name}.password")
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        return file.read_text()

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self.processes.pid(self._name) is not None

    @property
    def access_log(self) -> Path:
        """The file with a line for each request."""
        return self.processes.log(self._name)

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            TestbedError: It does not.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        configuration = self.data.with_name(f"{self.data.name}.json")
        configuration.write_text(json.dumps(self._configuration()))
        command = [self._program(), "serve", configuration]
        self._run(self._name, command, f"https://{self.host}", self._environment())

    def stop(self) -> None:
        """Stop it."""
        self.processes.stop(self._name)

    @property
    def _name(self) -> str:
        return self.data.name

    def _program(self) -> str | Path:
        return "docker-registry"

    def _environment(self) -> dict[str, str]:
        return {}

    def _run(
        self,
        name: str,
        command: Sequence[str | Path],
        url: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a process, and wait until it answers.

        Args:
            name: The name of the process.
            command: What it runs.
            url: The start of its addresses.
            env: What to add to its environment.

        Raises:
            TestbedError: It does not answer.
        """
        self.processes.start(name, self.wrap(command), env)
        for _ in range(100):
            self.processes.require(name)
            if self._answers(url):
                return
            time.sleep(0.1)
        raise TestbedError(f"{url} does not answer: see {self.processes.log(name)}")

    def _answers(self, url: str) -> bool:
        command = ["curl", "-s", "-o", "/dev/null", "--cacert", self.ca, f"{url}/v2/"]
        try:
            run(self.wrap(command))
        except TestbedError:
            return False
        return True

    def _configuration(self) -> dict[str, object]:
        """Give its configuration; JSON is YAML."""
        configuration: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.data)},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": self.address,
                "tls": {
                    "certificate": str(self.certificate.certificate),
                    "key": str(self.certificate.key),
                },
            },
        }
        if self.username:
            accounts = self.data.with_name(f"{self.data.name}.htpasswd")
            line = run(["htpasswd", "-niB", self.username], stdin=self.password)
            accounts.touch(mode=0o600)
            accounts.write_text(line)
            configuration["auth"] = {"htpasswd": {"realm": "testbed", "path": str(accounts)}}
        return configuration
