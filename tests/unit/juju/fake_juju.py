"""A program in the place of the juju client, and what it is told and answers."""

import json
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import LocalApplication, OptionValue, Side

PASSWORD = "correct horse: battery 'staple'"


CREDENTIALS = Credentials("deployer", PASSWORD)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


CONTROLLER = Controller("c0ffee", ("10.0.0.1:17070", "[fd00::1]:17070"), CERTIFICATE)


MODEL = "airgap:admin/kubeflow"


RELATION = (Side("kfp-api", "relational-db"), Side("kfp-db", "database"))


NO_STATE = ModelState(frozenset(), {}, {})


CLIENT = """#!{python}
import json, os, sys
folder = {folder!r}
with open(folder + "/calls", "a") as file:
    file.write(json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ)}}) + "\\n")
with open(folder + "/answers") as file:
    answer = json.load(file).get(sys.argv[1], {{}})
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("status", 0))
"""


@dataclass(frozen=True)
class Call:
    arguments: list[str]
    environment: dict[str, str]


class FakeJuju:
    """A program in the place of the juju client, which writes down how it is called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.path = folder / "juju"
        self.path.write_text(CLIENT.format(python=sys.executable, folder=str(folder)))
        self.path.chmod(0o755)
        self._answers: dict[str, dict[str, Any]] = {}
        self.models("admin/kubeflow")

    def answer(self, command: str, stdout: object = "", stderr: str = "", status: int = 0) -> None:
        """Say what to answer to a command from now on."""
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        self._answers[command] = {"stdout": text, "stderr": stderr, "status": status}
        (self._folder / "answers").write_text(json.dumps(self._answers))

    def models(self, *names: str) -> None:
        self.answer(
            "models",
            {"models": [{"name": n, "short-name": n.rpartition("/")[2]} for n in names]},
        )

    @property
    def calls(self) -> list[Call]:
        file = self._folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [Call(**json.loads(line)) for line in lines]

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of each call but the search for the model."""
        return [c.arguments for c in self.calls if c.arguments[0] != "models"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def app(
    units: Mapping[str, Mapping[str, str]] | None = None,
    relations: Mapping[str, list[str]] | None = None,
    message: str = "",
) -> dict[str, Any]:
    """Give an application as ``juju status --format json`` does."""
    return {
        "charm": "local:x-0",
        "charm-origin": "local",
        "charm-name": "x",
        "charm-rev": 0,
        "exposed": False,
        "application-status": {"current": "waiting", "message": message},
        "relations": {
            endpoint: [{"related-application": name, "interface": "i"} for name in names]
            for endpoint, names in (relations or {}).items()
        },
        "units": {name: {"workload-status": dict(s)} for name, s in (units or {}).items()},
    }


def status(**applications: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {
            "name": "kubeflow",
            "type": "caas",
            "controller": "airgap",
            "cloud": "k8s",
            "version": "3.6.1",
        },
        "machines": {},
        "applications": {name.replace("_", "-"): body for name, body in applications.items()},
    }


def planned(
    options: Mapping[str, OptionValue] | None = None, constraints: str | None = None
) -> LocalApplication:
    return LocalApplication(
        name="minio",
        file=Path("/charms/minio_1234567.charm"),
        base="ubuntu@24.04",
        constraints=constraints,
        resources={"oci-image": "h:5/minio/minio:1"},
        options=options or {},
    )
