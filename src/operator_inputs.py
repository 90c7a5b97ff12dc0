"""The operator's inputs: options, secrets, resources and the volume."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import ops

from charm_relations import Relations
from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.archives.minisign import PublicKey
from ckf_airgap.archives.parts import ServedArchive
from ckf_airgap.archives.sources import FileSource, Source
from ckf_airgap.deployment.release import Inputs
from ckf_airgap.errors import AirgapError, ConfigurationError, disk_errors
from ckf_airgap.files.regular_files import read_regular
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_model import Controller, JujuModel
from ckf_airgap.planning.bundle_text import LARGEST_BUNDLE
from ckf_airgap.planning.settings import PlanSettings, read_gateway_type, read_topology
from ckf_airgap.push.push_state import state_file_beside
from reporting import UNIT_DISK
from volume import archive_in, identity_of

_RESOURCE_FILES = {
    "images": "./images.tar.gz",
    "charms": "./charms.tar.gz",
    "juju": "/snap/juju/current/bin/juju",
}
_ARCHIVES = ("images", "charms")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """The charm's options."""

    registry: str = ""
    registry_ca: str | None = None
    registry_credentials: ops.Secret | None = None
    juju_credentials: ops.Secret | None = None
    user_pull_credentials: ops.Secret | None = None
    model: str = "kubeflow"
    images_url: str = ""
    charms_url: str = ""
    artifact_key: str = ""
    gateway_service_type: str = ""
    excluded_charms: str = "auto"
    overlay: str = ""
    auto_deploy: bool = False

    @property
    def model_name(self) -> str:
        """The model's name without its owner; also the name of its namespace."""
        return self.model.rpartition("/")[2]


class OperatorInputs:
    """Collects the inputs of the charm. Resources are fetched only when needed."""

    def __init__(self, charm: ops.CharmBase, relations: Relations) -> None:
        self._charm = charm
        self._relations = relations
        self._model = charm.model

    @property
    def configuration(self) -> Configuration:
        """The current options."""
        return self._charm.load_config(Configuration)

    @property
    def folder(self) -> Path:
        """The unit's state directory, outside the charm's directory, which an upgrade replaces."""
        return self._charm.charm_dir.parent / "ckf-airgap"

    def problems(self) -> Iterator[ConfigurationError]:
        """Yield an error for each input that is missing or not valid, in the order to set them."""
        configuration = self.configuration
        checks: list[Callable[[], object]] = [
            self.location,
            self._ca_certificates,
            lambda: self._credentials(configuration.registry_credentials, "registry-credentials"),
            self.juju_credentials,
            lambda: self._credentials(
                configuration.user_pull_credentials, "user-pull-credentials"
            ),
            self._artifact_key,
            lambda: self._source("charms"),
            # Without images-url this would fetch the resource, which may have 100 GB.
            lambda: configuration.images_url and self._source("images"),
            lambda: self._on_volume("images"),
            lambda: self._resource("juju"),
            lambda: read_gateway_type(configuration.gateway_service_type),
            lambda: read_topology(self._bundle(), configuration.overlay),
        ]
        has_problem = False
        for check in checks:
            try:
                check()
            except ConfigurationError as error:
                has_problem = True
                yield error
        # Last, because this needs the juju client and the credentials.
        if not has_problem and not self._has_images():
            yield self._missing_error("images")

    def require(self) -> None:
        """Raise the first of ``problems``, if there is one.

        Raises:
            ConfigurationError: An input is missing or not valid; the message names the command
                that gives it.
        """
        for problem in self.problems():
            raise problem

    def collect(self) -> Inputs:
        """Fetch all inputs of a release.

        Raises:
            ConfigurationError: An input is missing or not valid.
        """
        configuration = self.configuration
        images = self._source("images")
        if isinstance(images, FileSource):
            # Record which archive this pod has fetched: see state_key.
            self.folder.mkdir(parents=True, exist_ok=True)
            self._fetched_images_file.write_text(identity_of(images))
        return Inputs(
            images=images,
            charms=self._source("charms"),
            settings=PlanSettings.parse(
                location=self.location(),
                model=configuration.model_name,
                excluded_charms=configuration.excluded_charms,
                gateway_service_type=configuration.gateway_service_type,
                bundle=self._bundle(),
                overlay=configuration.overlay,
            ),
            registry_ca=self._ca_certificates(),
            registry_credentials=self._credentials(
                configuration.registry_credentials, "registry-credentials"
            ),
            artifact_key=self._artifact_key(),
        )

    def _artifact_key(self) -> PublicKey | None:
        """Read the key that the archives must be signed with; None if the option is not set."""
        text = self.configuration.artifact_key
        return PublicKey.parse(text, "artifact-key") if text else None

    def push_state(self, images: Source) -> Path:
        """Return the path of the push's journal.

        It is beside an archive on a writable volume, otherwise in the state directory.
        """
        if isinstance(images, FileSource):
            folder = images.path.parent
            is_kept = any(folder == item.location for item in self._model.storages["artifacts"])
            if is_kept and (beside := state_file_beside(images)):
                return beside
        return self.folder / "images.pushed"

    def login(self) -> JujuModel:
        """Log in to the model that Kubeflow is deployed to.

        Raises:
            ConfigurationError: The client or the credentials are missing or refused.
            JujuError: The controller fails.
        """
        client = self._resource("juju")
        client.chmod(0o755)
        return JujuModel.login(
            client=client,
            folder=self.folder / "juju",
            controller=Controller.from_agent_configuration(
                self._charm.charm_dir.parent / "agent.conf"
            ),
            credentials=self.juju_credentials(),
            model=self.configuration.model,
        )

    def location(self) -> RegistryLocation:
        """Return the registry prefix.

        Raises:
            ConfigurationError: It is not set or not valid.
        """
        registry = self.configuration.registry
        if not registry:
            raise ConfigurationError(
                "waiting for registry",
                f"juju config {self._charm.app.name} registry=HOST[:PORT][/PATH]",
            )
        return RegistryLocation.parse(registry)

    def juju_credentials(self) -> Credentials:
        """Return the credentials of the Juju user.

        Raises:
            ConfigurationError: The option is not set, or its secret cannot be read or lacks a key.
        """
        credentials = self._credentials(self.configuration.juju_credentials, "juju-credentials")
        if credentials is None:
            raise ConfigurationError(
                "waiting for juju-credentials",
                f"juju config {self._charm.app.name} juju-credentials=secret:...",
            )
        return credentials

    def user_pull_credentials(self) -> Credentials:
        """Return the credentials that users' pods pull with.

        Raises:
            ConfigurationError: The option is not set, or its secret cannot be read or lacks a key.
        """
        option = "user-pull-credentials"
        credentials = self._credentials(self.configuration.user_pull_credentials, option)
        if credentials is None:
            raise ConfigurationError(
                f"{option} is not set",
                f"juju config {self._charm.app.name} {option}=secret:..., with an account that "
                "may only pull: users can read it",
            )
        return credentials

    def fingerprint(self) -> str:
        """Return a hash of the inputs of a deployment; may query file servers and fetch resources.

        Raises:
            ConfigurationError: An input is missing.
            ArtifactError: An archive cannot be read.
        """
        accounts = [
            (found.username, found.password) if found else None
            for found in (
                self._credentials(self.configuration.registry_credentials, "registry-credentials"),
                self.juju_credentials(),
            )
        ]
        versions = [self._source(name).version for name in ("images", "charms")]
        return _digest([self._options(), accounts, versions])

    def state_key(self) -> str:
        """Return a hash of the inputs, without fetching images.tar.gz or querying file servers.

        The resource ``images`` is identified by the file that ``collect`` has written in this pod:
        Juju replaces the pod if the resource changes.
        """
        configuration = self.configuration
        found = {name: self._identity(name) for name in ("charms", "bundle")}
        if not configuration.images_url and not self._on_volume("images"):
            identity_file = self._fetched_images_file
            found["images"] = identity_file.read_text() if identity_file.exists() else ""
        else:
            found["images"] = self._identity("images")
        return _digest([self._options(), found])

    def _has_images(self) -> bool:
        """Return whether images.tar.gz exists. Query Juju for its size, without fetching it.

        A positive answer is cached in this pod, which Juju replaces if the resource changes. If
        the query fails, return True: the next action that logs in reports the cause.
        """
        if self._has_images_without_fetching() or self._images_exist_file.exists():
            return True
        try:
            with disk_errors(UNIT_DISK):
                sizes = self.login().resource_sizes(self._model.uuid, self._charm.app.name)
                if sizes is not None and not sizes.get("images"):
                    return False
                if sizes:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._images_exist_file.touch()
        except AirgapError:
            pass
        return True

    def comparison_problem(self) -> str:
        """Return why ``verify`` cannot compare the model with the plan; empty if it can.

        The plan needs images.tar.gz, which is not fetched for this.
        """
        for problem in self.problems():
            return problem.problem
        if self._has_images_without_fetching():
            return ""
        return (
            f"this pod has not read images.tar.gz (juju run {self._charm.unit.name} deploy reads "
            "it, and changes nothing if the model is as planned)"
        )

    def _has_images_without_fetching(self) -> bool:
        """Return whether images.tar.gz can be read without fetching the resource."""
        return bool(
            self.configuration.images_url
            or self._on_volume("images")
            or self._fetched_images_file.exists()
        )

    @property
    def _fetched_images_file(self) -> Path:
        return self.folder / "images-identity"

    @property
    def _images_exist_file(self) -> Path:
        return self.folder / "images-exist"

    def _options(self) -> dict[str, object]:
        return dataclasses.asdict(
            dataclasses.replace(
                self.configuration,
                registry_credentials=None,
                juju_credentials=None,
                user_pull_credentials=None,
            )
        )

    def _identity(self, name: str) -> str:
        if on_volume := self._on_volume(name):
            return identity_of(on_volume)
        path = self._optional_resource(name)
        return identity_of(FileSource(path)) if path else ""

    def _bundle(self) -> str:
        """Read the operator's own bundle; empty for none."""
        bundle = self._optional_resource("bundle")
        cure = f"juju attach-resource {self._charm.app.name} bundle=./bundle.yaml"
        try:
            return read_regular(bundle, LARGEST_BUNDLE).decode("utf-8") if bundle else ""
        except OSError as error:
            raise ConfigurationError(
                f"the bundle cannot be read ({error.strerror})", cure
            ) from error
        except UnicodeDecodeError:
            raise ConfigurationError("the bundle is not text", cure) from None

    def _credentials(self, secret: ops.Secret | None, option: str) -> Credentials | None:
        """Read a user secret; None if the option is not set."""
        if secret is None:
            return None
        try:
            content = secret.get_content(refresh=True)
        except (ops.SecretNotFoundError, ops.ModelError):
            raise ConfigurationError(
                f"the secret of {option} cannot be read",
                f"juju grant-secret NAME {self._charm.app.name}",
            ) from None
        try:
            # A value from a file (password#file=...) may end with a newline.
            return Credentials(
                content["username"].rstrip("\r\n"), content["password"].rstrip("\r\n")
            )
        except KeyError as error:
            raise ConfigurationError(
                f"the secret of {option} has no {error.args[0]}",
                "juju update-secret NAME username=... password=...",
            ) from None

    def _ca_certificates(self) -> str | None:
        """Join the CA certificates of ``registry-ca`` and the relation; None if there are none."""
        certificates = self.configuration.registry_ca, self._relations.ca_certificates()
        return "\n".join(filter(None, certificates)) or None

    def _source(self, name: str) -> Source:
        """Find an archive: at its URL, on the volume, or as a resource."""
        configuration = self.configuration
        url = configuration.images_url if name == "images" else configuration.charms_url
        if url:
            return ServedArchive(url, f"{name}-url", self._ca_certificates())
        return self._on_volume(name) or FileSource(self._resource(name))

    def _on_volume(self, name: str) -> FileSource | None:
        """Find an archive on the volume; None if there is none.

        Raises:
            ConfigurationError: There are several, or one cannot be read.
        """
        if name not in _ARCHIVES:
            return None
        for storage in self._model.storages["artifacts"]:
            if found := archive_in(storage.location, name):
                return found
        return None

    def _resource(self, name: str) -> Path:
        """Fetch a file resource."""
        path = self._optional_resource(name)
        if path is None:
            raise self._missing_error(name)
        return path

    def _missing_error(self, name: str) -> ConfigurationError:
        """Return the error for a missing file."""
        volumes = self._model.storages["artifacts"]
        if name in _ARCHIVES and volumes:
            return ConfigurationError(
                f"waiting for {name}.tar.gz on the volume, or for the resource {name}",
                f"juju scp ./{name}.tar.gz {self._charm.unit.name}:{volumes[0].location}/",
            )
        return ConfigurationError(
            f"waiting for the resource {name}",
            f"juju attach-resource {self._charm.app.name} {name}={_RESOURCE_FILES[name]}",
        )

    def _optional_resource(self, name: str) -> Path | None:
        """Fetch a file resource; an empty file counts as missing."""
        try:
            path = self._model.resources.fetch(name)
            return path if path.stat().st_size > 0 else None
        except (ops.ModelError, NameError, OSError):
            return None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
