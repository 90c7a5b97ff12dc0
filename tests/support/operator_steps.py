"""What an operator does with the charm, for the demo and the integration tests."""

import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jubilant

from testbed import Testbed
from tests.sample_release import (
    Charm,
    CharmOptions,
    ImageOptions,
    Release,
    SampleRelease,
    write_release,
)

PROJECT = Path(__file__).parents[2]
APPLICATION = "ckf-airgap"
UNIT = f"{APPLICATION}/0"
# Podspec charms in the release, which Juju 4 does not take: sidecar charms stand in for them, and
# are named for what the charm would find by their metadata.
EXCLUDED = ("argo-controller", "katib-controller", "kubeflow-volumes", "minio")


@dataclass(frozen=True)
class Site:
    """Where the charm is tried: a controller and a registry that its cluster pulls from.

    Attributes:
        juju: The juju command, a path or a name.
        client: The juju client to give to the charm.
        registry: The registry prefix.
        registry_ca: The certificate of its authority, or None.
    """

    juju: str
    client: Path
    registry: str
    registry_ca: Path | None


def site_of_testbed(testbed: Testbed) -> Site:
    """Give the testbed as a site."""
    return Site(
        juju=str(testbed.juju_wrapper),
        client=testbed.juju_client,
        registry=f"{testbed.registry.host}/ckf",
        registry_ca=testbed.registry.ca,
    )


def make_artifacts(folder: Path) -> SampleRelease:
    """Make images.tar.gz and charms.tar.gz of a part of Charmed Kubeflow 1.8."""
    return write_release(
        Release.builtin(), folder, ImageOptions(), CharmOptions(podspec_as_sidecar=True)
    )


def next_release(release: Release) -> Release:
    """Change the image of one charm's resource, and the default of another charm's option."""
    changes = {
        "gcr.io/ml-pipeline/frontend:2.0.5": "gcr.io/ml-pipeline/frontend:2.0.6",
        "charmedkubeflow/argoexec:3.3.10-c88862f": "charmedkubeflow/argoexec:3.4",
    }

    def changed(charm: Charm) -> Charm:
        resources = tuple(
            replace(item, upstream_source=changes.get(item.upstream_source, item.upstream_source))
            for item in charm.resources
        )
        options = tuple(
            replace(item, default=changes.get(str(item.default), item.default))
            for item in charm.options
        )
        return replace(charm, resources=resources, options=options)

    return replace(
        release,
        charms=tuple(map(changed, release.charms)),
        images=tuple(changes.get(image, image) for image in release.images),
    )


class Operator:
    """An operator with one model.

    Attributes:
        site: Where the operator works.
        juju: The operator's juju client.
        model: The name of the model.
    """

    def __init__(self, site: Site, model: str) -> None:
        self.site = site
        self.juju = jubilant.Juju(cli_binary=site.juju, wait_timeout=600)
        self.model = model

    def add_model(self) -> None:
        """Make the model, in place of one that is there."""
        self.destroy_model()
        self.juju.add_model(self.model)

    def destroy_model(self) -> None:
        """Remove the model with all that is in it, if it is there."""
        names = self.juju.cli("models", "--format", "json", include_model=False)
        if f'"short-name":"{self.model}"' in names:
            self.juju.destroy_model(self.model, destroy_storage=True, force=True)

    def begin_to_destroy_model(self) -> "subprocess.Popen[bytes]":
        """Remove the model with all that is in it; gives the process that ends when it is gone."""
        words = ["destroy-model", self.model, "--no-prompt", "--destroy-storage", "--force"]
        return subprocess.Popen(
            [self.site.juju, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def deploy_charm(
        self,
        charm: Path,
        artifacts: SampleRelease,
        *,
        with_bundle: bool = True,
        with_archives: bool = True,
        storage: Mapping[str, str] | None = None,
    ) -> None:
        """Deploy the charm with its resources, and wait until its agent is there.

        Args:
            charm: The packed charm.
            artifacts: The files.
            with_bundle: Whether to give the bundle: a part of a release needs it.
            with_archives: Whether to give images.tar.gz and charms.tar.gz as resources.
            storage: Volumes to give it: the name of a storage and what of it.
        """
        resources = {"juju": str(self.site.client)}
        if with_archives:
            resources["images"] = str(artifacts.images.path)
            resources["charms"] = str(artifacts.charms.path)
        if with_bundle:
            resources["bundle"] = str(artifacts.bundle)
        self.juju.deploy(
            charm, APPLICATION, trust=True, resources=resources, storage=storage or {}
        )
        self.juju.wait(jubilant.all_agents_idle)

    def attach(self, artifacts: SampleRelease, *, with_bundle: bool = True) -> None:
        """Give the charm other files, and wait until its agent is there again with them.

        Args:
            artifacts: The files.
            with_bundle: Whether to give the bundle too.
        """
        files = {"charms": artifacts.charms.path, "images": artifacts.images.path}
        if with_bundle:
            files["bundle"] = artifacts.bundle
        for name, path in files.items():
            self.juju.cli("attach-resource", APPLICATION, f"{name}={path}")
        self.juju.wait(jubilant.all_agents_idle, delay=2, successes=5)
        self.wait_until_says("ready", "verified", "dep")

    def configure(self, **options: str) -> None:
        """Set the registry, the excluded charms, and further options."""
        values: dict[str, str] = {
            "registry": self.site.registry,
            "model": self.model,
            "excluded-charms": ",".join(EXCLUDED),
        }
        if self.site.registry_ca:
            values["registry-ca"] = self.site.registry_ca.read_text()
        self.juju.config(APPLICATION, {**values, **options})

    def give_juju_user(self, password: str | None = None) -> str:
        """Give the charm a Juju user with a new password; gives the password."""
        user, password = f"{self.model}-deployer", password or secrets.token_urlsafe(24)
        users = self.juju.cli("users", "--format", "json", include_model=False)
        if f'"{user}"' not in users:
            self.juju.cli("add-user", user, include_model=False)
        self.juju.cli(
            "change-user-password", user, "--no-prompt", include_model=False, stdin=f"{password}\n"
        )
        try:
            self.juju.cli("grant", user, "admin", self.model, include_model=False)
        except jubilant.CLIError as error:
            if "already has" not in error.stderr:
                raise
        self.give_secret("juju-credentials", {"username": user, "password": password})
        return password

    def give_secret(self, option: str, content: Mapping[str, str]) -> None:
        """Store a secret, or another content of it, grant it to the charm, and set its option."""
        if any(secret.name == option for secret in self.juju.secrets()):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write("".join(f"{key}: {value}\n" for key, value in content.items()))
                file.flush()
                self.juju.cli("update-secret", option, "--file", file.name)
            return
        uri = self.juju.add_secret(option, content)
        self.juju.grant_secret(option, APPLICATION)
        self.juju.config(APPLICATION, {option: str(uri)})

    def picture(self) -> dict[str, Any]:
        """Give everything about the model that a deployment decides."""
        return {
            name: (
                application.charm,
                application.charm_rev,
                application.scale,
                sorted(
                    (endpoint, relation.related_app)
                    for endpoint, relations in application.relations.items()
                    for relation in relations
                ),
                dict(self.juju.config(name)),
                [unit.provider_id for unit in application.units.values()],
            )
            for name, application in self.juju.status().apps.items()
        }

    def message(self, status: jubilant.Status | None = None) -> str:
        """Give what the charm's unit says; an empty string where there is none."""
        status = status or self.juju.status()
        unit = status.apps[APPLICATION].units.get(UNIT)
        return unit.workload_status.message if unit else ""

    def wait_until_says(self, *beginnings: str) -> None:
        """Wait until what the charm's unit says begins with one of these."""
        self.juju.wait(lambda status: self.message(status).startswith(beginnings))

    def run(self, action: str, wait: float = 1800, **parameters: object) -> jubilant.Task:
        """Run an action of the charm to its end.

        Raises:
            jubilant.TaskError: The action failed.
        """
        return self.juju.run(UNIT, action, parameters or None, wait=wait)
