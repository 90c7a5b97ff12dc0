"""What a deployment requires of Juju, found before anything is done."""

from collections.abc import Iterable, Iterator

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import OWN_APPLICATION, ConfigurationError, PlanError
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_version import JujuVersion


def require_fitting_client(versions: JujuVersions) -> None:
    """Refuse to go on with a client of another major version than the model.

    Such a client can read a model, but cannot deploy a bundle there.

    Args:
        versions: Those of the client and the model.

    Raises:
        ConfigurationError: They differ.
    """
    if versions.client.partition(".")[0] != versions.model.partition(".")[0]:
        raise ConfigurationError(
            f"the client is {versions.client}, the model {versions.model}",
            "attach a client of the model's major version: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        )


def require_admin(model: JujuModel) -> None:
    """Refuse to go on with a user that is no admin of the model.

    Others deploy, but cannot keep what was deployed in a secret of the model.

    Args:
        model: The model, logged in to.

    Raises:
        ConfigurationError: The controller says that the user has less access.
        JujuError: Juju fails.
    """
    user, access = model.user, model.access
    if access and access != "admin":
        raise ConfigurationError(
            f"the user {user} has only {access} access to the model",
            f"juju grant {user} admin {model.name}",
        )


def unfit_charms(charms: Iterable[CharmFile], juju: str) -> Iterator[tuple[str, str]]:
    """List the charms that a controller does not take.

    Args:
        charms: The charms that applications are deployed from.
        juju: The controller's version.

    Yields:
        What is wrong with a charm, and what to do about it.

    Raises:
        JujuError: The version is none.
    """
    version = JujuVersion.of_controller(juju)
    for charm in charms:
        if charm.is_podspec and not version.has_podspec:
            yield (
                f"{charm.name} is a podspec charm, which Juju {juju} no longer deploys",
                "use a Juju 3 controller or a newer revision of the charm, or leave its "
                "application out by the overlay",
            )
        elif not charm.assumes.holds(juju):
            yield (
                f"{charm.name} demands {charm.assumes}, and this is Juju {juju}",
                "use a controller of such a version, or another revision of the charm",
            )


def require_deployable(charms: Iterable[CharmFile], model: JujuModel) -> None:
    """Refuse to go on where user, client or charms do not fit the model.

    Args:
        charms: The charms that applications are deployed from.
        model: The model, logged in to.

    Raises:
        AirgapError: One of them does not.
    """
    require_admin(model)
    versions = model.versions()
    require_fitting_client(versions)
    require_fit_charms(charms, versions.model)


def require_fit_charms(charms: Iterable[CharmFile], juju: str) -> None:
    """Refuse to go on with charms that a controller does not take.

    Args:
        charms: The charms that applications are deployed from.
        juju: The controller's version.

    Raises:
        PlanError: There are some; the message names all of them.
    """
    unfit = list(unfit_charms(charms, juju))
    if unfit:
        raise PlanError(
            "; ".join(problem for problem, _ in unfit),
            "; ".join(dict.fromkeys(cure for _, cure in unfit)),
        )
