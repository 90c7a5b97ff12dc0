"""The file server of an air gap: Debian's nginx over TLS."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.host import TestbedError
from testbed.nginx import nginx_command
from testbed.pki import KeyPair
from testbed.processes import Processes


@dataclass(frozen=True)
class FileServer:
    """A server of the files in a folder.

    Attributes:
        address: The address and port to listen at.
        root: The folder.
        state: A folder for its own files.
        certificate: Its certificate and key.
        processes: Where its process is kept.
        wrap: Turns a command into one that runs where the server is to run.
    """

    address: str
    root: Path
    state: Path
    certificate: KeyPair
    processes: Processes
    wrap: Callable[[Sequence[str | Path]], list[str]]

    def url(self, name: str) -> str:
        """Give the address of a file."""
        return f"https://{self.address}/{name}"

    @property
    def requests(self) -> list[str]:
        """What it was asked for, a line each."""
        return self.state.joinpath("access.log").read_text().splitlines()

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            TestbedError: It does not.
        """
        command = nginx_command(self.state, self.address, self.certificate, f"root {self.root};")
        self.processes.start(self._name, self.wrap(command))
        for _ in range(100):
            self.processes.require(self._name)
            if self.state.joinpath("access.log").exists():
                return
            time.sleep(0.1)
        raise TestbedError(f"nginx does not start: see {self.processes.log(self._name)}")

    def stop(self) -> None:
        """Stop it."""
        self.processes.stop(self._name)

    @property
    def _name(self) -> str:
        return self.state.name
