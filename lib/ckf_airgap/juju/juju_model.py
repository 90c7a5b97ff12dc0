"""Operations on one model, through the juju client."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jubilant

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import OWN_APPLICATION, ConfigurationError
from ckf_airgap.juju.juju_client import CONTROLLER, Client, write_client_files
from ckf_airgap.juju.juju_command import client_errors, require_name, require_values
from ckf_airgap.juju.juju_controller import Controller
from ckf_airgap.juju.juju_secret import ModelSecret
from ckf_airgap.juju.juju_status import ModelState, read_state
from ckf_airgap.juju.juju_values import LocalApplication, OptionValue, Relation

_PUBLIC_AGENT_IMAGES = ("docker.io/", "ghcr.io/", "public.ecr.aws/", "jujusolutions")


@dataclass(frozen=True)
class JujuVersions:
    """The versions of the juju client and of the model's agents.

    Attributes:
        client: The version of the client, for example ``3.6.8``.
        model: The version of the model's agents: that of the controller, or older.
    """

    client: str
    model: str


class JujuModel:
    """A model, used as a Juju user who is logged in to its controller.

    Every method raises JujuError if Juju fails, ConfigurationError if an option or a file of the
    operator is the cause, and StorageError if the disk with the client's files is full. A method
    may instead return None if a command fails.

    Attributes:
        user: The Juju user that has logged in.
    """

    def __init__(self, juju: jubilant.Juju, user: str) -> None:
        self._juju = juju
        self.user = user

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
        """Log in to a controller and find a model. Sets ``JUJU_DATA`` for this process.

        This writes the client's files instead of running its login command, so that the
        controller's certificate is checked from the first connection on, and the password is not
        in an argument.

        Args:
            client: The juju client.
            folder: The directory of the client's files; created if missing, readable only by its
                owner.
            controller: The controller.
            credentials: The account of a Juju user with admin access to the model.
            model: The model's name, ``name`` or ``owner/name``.

        Returns:
            The model.

        Raises:
            JujuError: No address of the controller answers, or Juju fails.
            ConfigurationError: The client cannot be run, the credentials are refused, or no model
                or several models have this name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        write_client_files(folder, controller, credentials)
        os.environ["JUJU_DATA"] = str(folder)
        found = _find_model(Client(client, controller), model)
        return cls(Client(client, controller, found), credentials.username)

    @property
    def name(self) -> str:
        """The model's name with its owner."""
        return (self._juju.model or "").partition(":")[2]

    def state(self) -> ModelState:
        """Return the state of the model."""
        with client_errors():
            return read_state(self._juju.status())

    def versions(self) -> JujuVersions:
        """Return the versions of client and model."""
        with client_errors():
            return JujuVersions(self._client, self._information.agent_version)

    @property
    def access(self) -> str:
        """The user's access to the model.

        Returns:
            ``admin``, ``write`` or ``read``; an empty string if the controller does not list the
            user.
        """
        with client_errors():
            users = self._information.users
            found = users.get(self.user) or users.get(f"{self.user}@local")
            return found.access if found else ""

    def secret(self, name: str) -> ModelSecret:
        """Return a secret of the model by its name; nothing is requested yet."""
        return ModelSecret(self._juju, name)

    def resource_sizes(self, model: str, application: str) -> Mapping[str, int] | None:
        """Return the size of the file of each resource of an application, in bytes.

        Args:
            model: The UUID of the application's model.
            application: The application.

        Returns:
            The size by resource name, 0 for a resource without a file; None if the command fails,
            for example because the user has no access to the model.
        """
        require_name("application", application)
        with client_errors():
            try:
                text = self._juju.cli(
                    *("resources", application, "--model", model, "--format", "json"),
                    include_model=False,
                )
            except jubilant.CLIError:
                return None
            found = json.loads(text).get("resources") or ()
            return {str(item["name"]): int(item.get("size", 0)) for item in found}

    def settings(self) -> Mapping[str, object]:
        """Return the options of the model, such as ``https-proxy``, by their names."""
        with client_errors():
            return self._juju.model_config()

    def agent_images(self) -> str | None:
        """Return the repository of the images of Juju's own agents.

        Returns:
            The repository that the controller is configured with (``caas-image-repo``), for
            example ``registry.corp:5000/juju``; empty if the images come from the internet; None
            if the command fails.
        """
        controller, _, _ = (self._juju.model or "").partition(":")
        with client_errors():
            try:
                text = self._juju.cli(
                    *("controller-config", "--controller", controller, "caas-image-repo"),
                    include_model=False,
                ).strip()
            except jubilant.CLIError as error:
                # The client fails for an option that is not set.
                return "" if "not found" in (error.stderr or "") else None
            if text.startswith("{"):
                # It may contain credentials, which are dropped here.
                text = str(json.loads(text).get("repository", ""))
        return "" if text.startswith(_PUBLIC_AGENT_IMAGES) else text

    def option_values(self, application: str) -> Mapping[str, OptionValue]:
        """Return the options of an application that have a value."""
        require_name("application", application)
        with client_errors():
            return self._juju.config(application)

    def option_defaults(self, application: str) -> Mapping[str, object]:
        """Return the default values of an application's options that have one.

        Args:
            application: The application. It must be there.
        """
        require_name("application", application)
        with client_errors():
            settings = json.loads(self._juju.cli("config", application, "--format", "json"))
            return {
                str(name): option.get("default", option.get("value"))
                for name, option in settings.get("settings", {}).items()
                if "default" in option or option.get("source") == "default"
            }

    @cached_property
    def _client(self) -> str:
        return self._juju.cli("version", include_model=False).strip()

    @cached_property
    def _information(self) -> jubilant.ModelInfo:
        return self._juju.show_model(self._juju.model)

    def deploy_bundle(self, bundle: Path) -> list[str]:
        """Deploy a bundle.

        Args:
            bundle: The bundle's file. None of its applications may be there yet.

        Returns:
            The changes that were made, as the client prints them.
        """
        with client_errors():
            output = self._juju.cli("deploy", str(bundle.absolute()), "--trust")
        return [line[2:].strip() for line in output.splitlines() if line.startswith("- ")]

    def deploy_application(self, application: LocalApplication) -> list[str]:
        """Deploy one application.

        Args:
            application: The application. It must not be there yet.

        Returns:
            The change that was made.
        """
        require_name("application", application.name)
        require_values(application.name, application.options)
        with client_errors():
            self._juju.deploy(
                application.file,
                application.name,
                base=application.base,
                config=application.options,
                constraints=_constraints(application.constraints),
                num_units=application.scale,
                resources=dict(application.resources),
                storage=application.storage,
                trust=application.trust,
            )
        return [f"deploy application {application.name} from {application.file.name}"]

    def refresh_application(
        self, application: LocalApplication, *, base: str | None = None
    ) -> list[str]:
        """Refresh an application to another charm, with its resources and options.

        Args:
            application: The application. It must be there.
            base: The base to move it to, for example ``ubuntu@24.04``; None to keep its base. Only
                Juju 3, from 3.6.1 on, can change the base of an application.

        Returns:
            The change that was made.
        """
        require_name("application", application.name)
        require_values(application.name, application.options)
        with client_errors():
            self._juju.refresh(
                application.name,
                base=base,
                config=application.options,
                path=application.file,
                resources=dict(application.resources),
                trust=application.trust,
            )
        return [f"refresh application {application.name} to {application.file.name}"]

    def scale_application(self, application: str, units: int) -> list[str]:
        """Scale an application.

        Args:
            application: The application. It must be there.
            units: The number of units; 0 for none.

        Returns:
            The change that was made.
        """
        require_name("application", application)
        with client_errors():
            self._juju.cli("scale-application", application, str(units))
        return [f"scale application {application} to {units}"]

    def remove_application(self, application: str, *, destroy_storage: bool) -> list[str]:
        """Request the removal of an application, which Juju carries out later.

        Args:
            application: The application. It must be there.
            destroy_storage: Whether to destroy its storage.

        Returns:
            The change that was made.
        """
        require_name("application", application)
        with client_errors():
            self._juju.remove_application(application, destroy_storage=destroy_storage)
        return [f"remove application {application}"]

    def attach_resource(self, application: str, resource: str, source: str) -> list[str]:
        """Attach another image to a resource of an application.

        Args:
            application: The application. It must be there.
            resource: The resource.
            source: The image reference, or the path of a file with the reference and pull
                credentials.

        Returns:
            The change that was made.
        """
        require_name("application", application)
        require_name("resource", resource)
        with client_errors():
            self._juju.cli("attach-resource", application, f"{resource}={source}")
        return [f"attach resource {application}/{resource}"]

    def relate(self, relation: Relation, state: ModelState) -> list[str]:
        """Add a relation.

        Args:
            relation: The relation.
            state: The state of the model before this call.

        Returns:
            The change that was made; none if the relation exists.
        """
        if state.has_relation(relation):
            return []
        _require_names(relation)
        first, second = map(str, relation)
        with client_errors():
            self._juju.integrate(first, second)
        return [f"add relation {first} - {second}"]

    def remove_relation(self, relation: Relation) -> list[str]:
        """Remove a relation.

        Args:
            relation: The relation. It must be there.

        Returns:
            The change that was made.
        """
        _require_names(relation)
        first, second = map(str, relation)
        with client_errors():
            self._juju.remove_relation(first, second)
        return [f"remove relation {first} - {second}"]

    def changed_options(self, application: LocalApplication) -> dict[str, OptionValue]:
        """Return the planned options of an application whose present value differs.

        Args:
            application: The application. It must be there.

        Returns:
            The options with their planned values.
        """
        require_name("application", application.name)
        for name in application.options:
            require_name("option", name)
        with client_errors():
            current = self._juju.config(application.name)
            return {
                name: value
                for name, value in application.options.items()
                if not _is_same(current.get(name), value)
            }

    def update_options(self, application: LocalApplication) -> list[str]:
        """Update the options of an application.

        Args:
            application: The application. It must be there.

        Returns:
            The change that was made; none if all options were set already.
        """
        changed = self.changed_options(application)
        return self.set_options(application.name, changed) if changed else []

    def set_options(self, application: str, options: Mapping[str, OptionValue]) -> list[str]:
        """Set options of an application.

        Args:
            application: The application. It must be there.
            options: The options; at least one.

        Returns:
            The change that was made.
        """
        require_name("application", application)
        require_values(application, options)
        with client_errors():
            self._juju.config(application, options)
        return [f"set options of {application}: {', '.join(options)}"]


def _find_model(juju: jubilant.Juju, wanted: str) -> str:
    """Return the full name of a model: ``CONTROLLER:OWNER/NAME``."""
    with client_errors():
        output = juju.cli(
            "models", "--controller", CONTROLLER, "--format", "json", include_model=False
        )
        models = [str(model["name"]) for model in json.loads(output)["models"] or ()]
    found = [name for name in models if wanted in (name, name.rpartition("/")[2])]
    if len(found) > 1:
        raise ConfigurationError(
            f"several models are named {wanted}: {', '.join(found)}",
            f"name one of them with its owner: juju config {OWN_APPLICATION} model=OWNER/NAME",
        )
    if not found:
        raise ConfigurationError(
            f"the Juju user of juju-credentials has no access to a model {wanted}, or there is "
            "none",
            f"juju add-model {wanted.rpartition('/')[2]}, juju grant USER admin {wanted}, or name "
            f"another model: juju config {OWN_APPLICATION} model=...",
        )
    return f"{CONTROLLER}:{found[0]}"


def _require_names(relation: Relation) -> None:
    for side in relation:
        require_name("application", side.application)
        if side.endpoint:
            require_name("endpoint", side.endpoint)


def _constraints(text: str | None) -> dict[str, str]:
    """Split ``mem=2G cores=2`` into names and values."""
    pairs = (part.partition("=") for part in (text or "").split())
    return {name: value for name, _, value in pairs}


def _is_same(current: object, wanted: OptionValue) -> bool:
    if isinstance(current, int | float) and isinstance(wanted, int | float):
        # The client reads integers as floats, which have 53 bits: large integers are rounded.
        return float(current) == float(wanted)
    return current == wanted or str(current) == str(wanted)
