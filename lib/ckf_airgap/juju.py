"""The Juju controller, through the juju client: the only module that runs it."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jubilant
import yaml

from ckf_airgap.credentials import Credentials, write_private
from ckf_airgap.errors import (
    AirgapError,
    ConfigurationError,
    DownloadError,
    JujuError,
    StorageError,
)
from ckf_airgap.planning.plan import PlannedApplication
from ckf_airgap.planning.topology import OptionValue, Relation, Side

_CONTROLLER = "airgap"
_LEAVING = ("dying", "dead")
_PUBLIC_AGENT_IMAGES = ("docker.io/", "ghcr.io/", "public.ecr.aws/", "jujusolutions")
_AGENT_STARTS = frozenset({"", "allocating"})
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
        starting: The applications of which a unit has no running agent yet, or one that runs
            another revision of the charm.
        charms: For each application its charm with the revision, for example ``minio-3``. A number
            is given once in a model.
        leaving: The applications that are being removed.
    """

    applications: frozenset[str]
    relations: Mapping[Side, frozenset[str]]
    not_active: Mapping[str, str]
    starting: frozenset[str] = frozenset()
    charms: Mapping[str, str] = field(default_factory=dict[str, str])
    leaving: frozenset[str] = frozenset()

    def has_relation(self, relation: Relation) -> bool:
        """Tell whether a relation exists."""
        first, second = relation
        return second.application in self.relations.get(
            first, ()
        ) and first.application in self.relations.get(second, ())


@dataclass(frozen=True)
class JujuVersions:
    """Which Juju is at hand.

    Attributes:
        client: The version of the client, for example ``3.6.8``.
        model: The version of the model's agents, which is that of the controller or older.
    """

    client: str
    model: str


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
            _starting(status),
            {name: f"{app.charm_name}-{app.charm_rev}" for name, app in status.apps.items()},
            frozenset(name for name, app in status.apps.items() if app.life in _LEAVING),
        )

    def versions(self) -> JujuVersions:
        """Tell the versions of client and model."""
        with _errors():
            client = self._juju.cli("version", include_model=False).strip()
            return JujuVersions(client, self._information.agent_version)

    def access(self, user: str) -> str:
        """Tell which access a user has to the model.

        Args:
            user: The user's name.

        Returns:
            ``admin``, ``write`` or ``read``; an empty string where the controller does not say.
        """
        with _errors():
            users = self._information.users
        found = users.get(user) or users.get(f"{user}@local")
        return found.access if found else ""

    @property
    def uuid(self) -> str:
        """The model's UUID."""
        with _errors():
            return self._information.model_uuid

    def agent_images(self) -> str | None:
        """Tell where Juju takes the images of its own agents from.

        Returns:
            The repository that the controller is configured with (``caas-image-repo``), for
            example ``registry.corp:5000/juju``; None where it takes them from the internet, or
            does not say.
        """
        controller, _, _ = (self._juju.model or "").partition(":")
        try:
            text = self._juju.cli(
                *("controller-config", "--controller", controller, "caas-image-repo"),
                include_model=False,
            ).strip()
        except jubilant.CLIError:
            return None
        if text.startswith("{"):
            # With credentials; they are dropped here.
            document = yaml.safe_load(text)
            text = str(document.get("repository", ""))
        return None if not text or text.startswith(_PUBLIC_AGENT_IMAGES) else text

    def option(self, application: str, option: str) -> OptionValue | None:
        """Give the value of an option of an application; None where it has none."""
        with _errors():
            return self._juju.config(application).get(option)

    @cached_property
    def _information(self) -> jubilant.ModelInfo:
        return self._juju.show_model(self._juju.model)

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

    def deploy_application(
        self, application: PlannedApplication, resource_files: Mapping[str, Path] | None = None
    ) -> list[str]:
        """Deploy an application by itself.

        Args:
            application: The application. It must not be there yet.
            resource_files: For resources whose image is pulled with credentials, files with them.

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
                resources=_resources(application, resource_files),
                storage=application.settings.get("storage"),
                trust=application.trust,
            )
        return [f"deploy application {application.name} from {application.file.name}"]

    def refresh_application(
        self, application: PlannedApplication, resource_files: Mapping[str, Path] | None = None
    ) -> list[str]:
        """Bring an application to another charm, with its resources.

        Args:
            application: The application. It must be there.
            resource_files: As for a deployment.

        Returns:
            The change that was made.
        """
        with _errors():
            self._juju.refresh(
                application.name,
                path=application.file,
                resources=_resources(application, resource_files),
                trust=application.trust,
            )
        return [f"refresh application {application.name} to {application.file.name}"]

    def attach_resource(self, application: str, resource: str, source: str | Path) -> list[str]:
        """Give an application another image for a resource.

        Args:
            application: The application. It must be there.
            resource: The resource.
            source: The reference, or a file with it and the credentials to pull it with.

        Returns:
            The change that was made.
        """
        with _errors():
            self._juju.cli("attach-resource", application, f"{resource}={source}")
        return [f"attach resource {application}/{resource}"]

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

    def changed_options(self, application: PlannedApplication) -> dict[str, OptionValue]:
        """Give the options of an application that have another value than planned.

        Args:
            application: The application. It must be there.

        Returns:
            The options with their planned values.
        """
        with _errors():
            current = self._juju.config(application.name)
        return {
            name: value
            for name, value in application.options.items()
            if not _is_same(current.get(name), value)
        }

    def update_options(self, application: PlannedApplication) -> list[str]:
        """Bring the options of an application up to date.

        Args:
            application: The application. It must be there.

        Returns:
            The change that was made; none where all options were set already.
        """
        changed = self.changed_options(application)
        if not changed:
            return []
        with _errors():
            self._juju.config(application.name, changed)
        return [f"set options of {application.name}: {', '.join(changed)}"]


@dataclass(frozen=True)
class CharmOrigin:
    """Where a charm comes from on Charmhub.

    Attributes:
        name: The charm.
        channel: The channel, for example ``1.10/stable``; None for the charm's default.
        base: The base, for example ``ubuntu@22.04``; None for the client's default.
        revision: A revision, in place of a channel; or None.
    """

    name: str
    channel: str | None = None
    base: str | None = None
    revision: int | None = None

    def __str__(self) -> str:
        parts = [self.channel, self.base]
        if self.revision is not None:
            parts = [f"revision {self.revision}"]
        details = ", ".join(part for part in parts if part)
        return f"{self.name} ({details})" if details else self.name


def download_charm(
    client: str, origin: CharmOrigin, target: Path, *, architecture: str, charmhub_url: str = ""
) -> int | None:
    """Download a charm; neither a controller nor an account is needed for that.

    Args:
        client: The juju client.
        origin: The charm.
        target: The file to write. Where the download fails, it may be there in part.
        architecture: The CPU architecture.
        charmhub_url: The address of another Charmhub; empty for the public one.

    Returns:
        The revision that was downloaded; None where the client does not say.

    Raises:
        ConfigurationError: The client cannot be run.
        DownloadError: It fails.
    """
    words = [client, "download", origin.name, "--no-progress", "--filepath", str(target)]
    if origin.revision is not None:
        # The client takes nothing else beside it.
        words += ["--revision", str(origin.revision)]
    else:
        words += ["--arch", architecture]
        words += ["--channel", origin.channel] if origin.channel else []
        words += ["--base", origin.base] if origin.base else []
    if charmhub_url:
        words += ["--charmhub-url", charmhub_url]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ConfigurationError(
            f"the juju client {client} cannot be run ({error.strerror})",
            "snap install juju, or name the client with --juju; with --charms FOLDER none is "
            "needed",
        ) from error
    if done.returncode:
        said = " ".join(line.removeprefix("ERROR ") for line in done.stderr.splitlines()).strip()
        raise DownloadError(
            f"charm {origin}",
            f"cannot be downloaded ({said[-400:] or 'juju says nothing'})",
            "see with juju info what there is, and that Charmhub can be reached; then run it "
            "again: it continues",
            may_pass=True,
        )
    found = re.search(r"revision (\d+)", done.stderr + done.stdout)
    return int(found[1]) if found else None


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


def _starting(status: jubilant.Status) -> frozenset[str]:
    return frozenset(
        name
        for name, application in status.apps.items()
        if len(application.units) < application.scale
        or any(
            unit.juju_status.current in _AGENT_STARTS or unit.upgrading_from
            for unit in application.units.values()
        )
    )


def _resources(
    application: PlannedApplication, files: Mapping[str, Path] | None
) -> dict[str, str]:
    return {**application.resources, **{name: str(path) for name, path in (files or {}).items()}}


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
    "no space left on device": lambda _: StorageError(
        "the disk is full on which the juju client keeps its files",
        "make space on the disk of the unit's node, then run the action again: it continues where "
        "it stopped",
    ),
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
