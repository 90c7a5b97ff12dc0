"""The Juju controller, through the juju client: the only module that runs it."""

import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jubilant
import yaml

from ckf_airgap.credentials import Credentials, write_private
from ckf_airgap.errors import AirgapError, ConfigurationError, JujuError
from ckf_airgap.planning.plan import PlannedApplication
from ckf_airgap.planning.topology import OptionValue, Relation, Side

_CONTROLLER = "airgap"
_AGENT_STARTS = frozenset({"", "allocating"})
_POLL_SECONDS = 2
_CREDENTIALS_CURE = (
    "juju add-user, juju grant USER admin MODEL, juju add-secret NAME username=... password=..., "
    "juju grant-secret NAME ckf-airgap, juju config ckf-airgap juju-credentials=secret:..."
)


@dataclass(frozen=True)
class Controller:
    """Where the controller is, and how it is known to be the right one.

    Attributes:
        uuid: The controller's UUID.
        api_addresses: Its API addresses, ``host:port``.
        ca_certificate: The certificate of its own authority, PEM.
    """

    uuid: str
    api_addresses: tuple[str, ...]
    ca_certificate: str

    @classmethod
    def from_agent_configuration(cls, path: Path) -> "Controller":
        """Read it from the configuration of a unit's agent (``agent.conf``, format 2.0).

        Args:
            path: The file.

        Raises:
            JujuError: The file is not there or not of that format.
        """
        try:
            document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
            return cls(
                uuid=str(document["controller"]).removeprefix("controller-"),
                api_addresses=tuple(map(str, document["apiaddresses"])),
                ca_certificate=str(document["cacert"]),
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            raise JujuError(
                f"the agent's configuration {path.name} cannot be read ({error})",
                "this charm runs on Kubernetes, with Juju 3.6 or newer: deploy it there",
            ) from error


@dataclass(frozen=True)
class ModelState:
    """What a model holds.

    Attributes:
        applications: The names of its applications.
        relations: The sides of each relation, seen from both ends: side -> related applications.
        not_active: For each unit and application that is not active, its status in words.
        without_agent: The applications of which a unit has no running agent yet.
    """

    applications: frozenset[str]
    relations: Mapping[Side, frozenset[str]]
    not_active: Mapping[str, str]
    without_agent: frozenset[str] = frozenset()

    def has_relation(self, relation: Relation) -> bool:
        """Tell whether a relation exists."""
        first, second = relation
        return second.application in self.relations.get(
            first, ()
        ) and first.application in self.relations.get(second, ())


class JujuModel:
    """One model of one controller, logged in to.

    Every method raises JujuError where Juju fails, ConfigurationError where an input is the cause.
    """

    def __init__(self, juju: jubilant.Juju) -> None:
        self._juju = juju

    @classmethod
    def login(
        cls,
        *,
        client: Path,
        folder: Path,
        controller: Controller,
        credentials: Credentials,
        model: str,
    ) -> "JujuModel":
        """Log in to a controller and find a model.

        The client's files are written rather than made by its login command: so the controller's
        certificate is checked from the first connection on, and the password is in no argument.

        Args:
            client: The juju client.
            folder: Where the client keeps its files; made if need be, readable by its owner only.
            controller: The controller.
            credentials: Of a Juju user that may write to the model.
            model: The model's name, ``name`` or ``owner/name``.

        Returns:
            The model.
        """
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _write_client_files(folder, controller, credentials)
        os.environ["JUJU_DATA"] = str(folder)
        juju = jubilant.Juju(cli_binary=client)
        return cls(jubilant.Juju(model=_find_model(juju, model), cli_binary=client))

    @property
    def name(self) -> str:
        """The model's name with its owner."""
        return (self._juju.model or "").partition(":")[2]

    def state(self) -> ModelState:
        """Look what the model holds."""
        with _errors():
            status = self._juju.status()
        return ModelState(
            frozenset(status.apps),
            {
                Side(name, endpoint): frozenset(relation.related_app for relation in relations)
                for name, application in status.apps.items()
                for endpoint, relations in application.relations.items()
            },
            _not_active(status),
            _without_agent(status),
        )

    def deploy_bundle(self, bundle: Path) -> list[str]:
        """Deploy a bundle.

        Args:
            bundle: The bundle's file. None of its applications may be there yet.

        Returns:
            The changes that were made, in the client's words.
        """
        with _errors():
            output = self._juju.cli("deploy", str(bundle.absolute()), "--trust")
        return [line[2:].strip() for line in output.splitlines() if line.startswith("- ")]

    def wait_for_agents(self, applications: Iterable[str], timeout: float) -> frozenset[str]:
        """Wait until the agents of applications run.

        Args:
            applications: Their names.
            timeout: How long to wait at the most, in seconds.

        Returns:
            Those whose agents do not run by then.
        """
        deadline = time.monotonic() + timeout
        while True:
            late = self.state().without_agent & frozenset(applications)
            if not late or time.monotonic() >= deadline:
                return late
            time.sleep(_POLL_SECONDS)

    def deploy_application(self, application: PlannedApplication) -> list[str]:
        """Deploy an application by itself.

        Args:
            application: The application. It must not be there yet.

        Returns:
            The change that was made.
        """
        with _errors():
            self._juju.deploy(
                application.file,
                application.name,
                base=application.base,
                config=application.options,
                constraints=_constraints(application.constraints),
                num_units=application.scale,
                resources=application.resources,
                trust=True,
            )
        return [f"deploy application {application.name} from {application.file.name}"]

    def relate(self, relation: Relation, state: ModelState) -> list[str]:
        """Add a relation.

        Args:
            relation: The relation.
            state: The model before.

        Returns:
            The change that was made; none where the relation was there.
        """
        if state.has_relation(relation):
            return []
        first, second = map(str, relation)
        with _errors():
            self._juju.integrate(first, second)
        return [f"add relation {first} - {second}"]

    def update_options(self, application: PlannedApplication) -> list[str]:
        """Bring the options of an application up to date.

        Args:
            application: The application. It must be there.

        Returns:
            The change that was made; none where all options were set already.
        """
        with _errors():
            current = self._juju.config(application.name)
        changed = {
            name: value
            for name, value in application.options.items()
            if not _is_same(current.get(name), value)
        }
        if not changed:
            return []
        with _errors():
            self._juju.config(application.name, changed)
        return [f"set options of {application.name}: {', '.join(changed)}"]


def _write_client_files(folder: Path, controller: Controller, credentials: Credentials) -> None:
    """Write the two files that make the client logged in (as ``juju login`` leaves them)."""
    controllers = {
        "controllers": {
            _CONTROLLER: {
                "uuid": controller.uuid,
                "api-endpoints": list(controller.api_addresses),
                "ca-cert": controller.ca_certificate,
            }
        },
        "current-controller": _CONTROLLER,
    }
    accounts = {
        "controllers": {
            _CONTROLLER: {"user": credentials.username, "password": credentials.password}
        }
    }
    write_private(folder / "controllers.yaml", yaml.safe_dump(controllers))
    write_private(folder / "accounts.yaml", yaml.safe_dump(accounts))


def _find_model(juju: jubilant.Juju, wanted: str) -> str:
    """Give the full name of a model, whoever owns it."""
    with _errors():
        output = juju.cli(
            "models", "--controller", _CONTROLLER, "--format", "json", include_model=False
        )
        models = [str(model["name"]) for model in json.loads(output)["models"] or ()]
    found = [name for name in models if wanted in (name, name.rpartition("/")[2])]
    if len(found) > 1:
        raise ConfigurationError(
            f"there are several models {wanted}: {', '.join(found)}",
            "name one of them with its owner: juju config ckf-airgap model=OWNER/NAME",
        )
    if not found:
        raise ConfigurationError(
            f"the Juju user of juju-credentials sees no model {wanted}",
            f"juju add-model {wanted.rpartition('/')[2]}, juju grant USER admin {wanted}, or name "
            "another model: juju config ckf-airgap model=...",
        )
    return f"{_CONTROLLER}:{found[0]}"


def _not_active(status: jubilant.Status) -> dict[str, str]:
    waiting: dict[str, str] = {}
    for name, application in status.apps.items():
        if not application.units:
            waiting[name] = f"no unit yet ({application.app_status.message or 'waiting'})"
        for unit, details in application.units.items():
            workload = details.workload_status
            if workload.current != "active":
                waiting[unit] = f"{workload.current}: {workload.message}".removesuffix(": ")
    return waiting


def _without_agent(status: jubilant.Status) -> frozenset[str]:
    return frozenset(
        name
        for name, application in status.apps.items()
        if not application.units
        or any(unit.juju_status.current in _AGENT_STARTS for unit in application.units.values())
    )


def _constraints(text: str | None) -> dict[str, str]:
    """Split ``mem=2G cores=2`` into names and values."""
    pairs = (part.partition("=") for part in (text or "").split())
    return {name: value for name, _, value in pairs}


def _is_same(current: object, wanted: OptionValue) -> bool:
    return current == wanted or str(current) == str(wanted)


@contextmanager
def _errors() -> Generator[None]:
    """Turn the failures of the juju client into the project's own."""
    try:
        yield
    except jubilant.CLIError as error:
        raise _translate(str(error.stderr or error.stdout or "")) from error
    except OSError as error:
        raise ConfigurationError(
            f"the juju client cannot be run ({error.strerror})",
            "attach the client of the operator's machine, for the CPU of this node: "
            "juju attach-resource ckf-airgap juju=/snap/juju/current/bin/juju",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"what the juju client answers cannot be read ({error})",
            "see that the resource juju is a juju client: "
            "juju attach-resource ckf-airgap juju=/snap/juju/current/bin/juju",
        ) from error


def _translate(output: str) -> AirgapError:
    text = " ".join(line.removeprefix("ERROR ") for line in output.split("\n")).strip()
    for words, error in _KNOWN_FAILURES.items():
        if words in text:
            return error(text)
    return JujuError(
        f"juju refused: {text[-800:] or 'it failed without a word'}",
        "mend that, then run the action again: it continues where it stopped",
    )


_KNOWN_FAILURES: dict[str, Callable[[str], AirgapError]] = {
    "invalid entity name or password": lambda _: ConfigurationError(
        "the controller refuses the user or the password of juju-credentials",
        "juju update-secret NAME username=... password=...; to make them: " + _CREDENTIALS_CURE,
    ),
    "permission denied": lambda _: ConfigurationError(
        "the Juju user of juju-credentials may not do this", "juju grant USER admin MODEL"
    ),
    "unable to connect to API": lambda text: JujuError(
        f"the Juju controller cannot be reached ({text[-300:]})",
        "see that it runs (juju status -m controller), then run the action again",
    ),
}
