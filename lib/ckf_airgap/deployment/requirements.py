"""Checks the requirements on Juju and the model, before anything changes."""

from collections.abc import Iterable, Iterator

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import OWN_APPLICATION, ConfigurationError, JujuError, PlanError
from ckf_airgap.juju.juju_command import require_values
from ckf_airgap.juju.juju_model import JujuModel, JujuVersions
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_version import JujuVersion
from ckf_airgap.planning.plan import Plan


def require_matching_client(versions: JujuVersions) -> None:
    """Check that the client has the major version of the model.

    A client of another major version can read the model, but cannot deploy a bundle.

    Args:
        versions: The versions of the client and the model.

    Raises:
        ConfigurationError: The major versions differ.
    """
    if versions.client.partition(".")[0] != versions.model.partition(".")[0]:
        raise ConfigurationError(
            f"the juju client is {versions.client}, and the model is {versions.model}",
            "attach a client of the model's major version: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        )


def require_admin(model: JujuModel) -> None:
    """Check that the user is an administrator of the model.

    Users with less access can deploy, but cannot write the record, a secret of the model.

    Args:
        model: The model, after login.

    Raises:
        ConfigurationError: The user has less access; unknown access is accepted.
        JujuError: Juju fails.
    """
    user, access = model.user, model.access
    if access and access != "admin":
        raise ConfigurationError(
            f"the user {user} has only {access} access to the model",
            f"juju grant {user} admin {model.name}",
        )


def unsupported_charms(charms: Iterable[CharmFile], juju: str) -> Iterator[tuple[str, str]]:
    """List the charms that a controller cannot deploy.

    Args:
        charms: The charms that applications are deployed from.
        juju: The controller's version.

    Yields:
        The problem and the cure of each of these charms.

    Raises:
        JujuError: The version is not valid.
    """
    version = JujuVersion.of_controller(juju)
    for charm in charms:
        if charm.is_podspec and not version.has_podspec:
            yield (
                f"{charm.name} is a podspec charm, which Juju {juju} no longer deploys",
                "use a Juju 3 controller or a newer revision of the charm, or leave its "
                "application out in the overlay",
            )
        elif problem := charm.assumes.problem(juju):
            yield (
                f"{charm.name} {problem}",
                "use a controller of such a version, or another revision of the charm",
            )


def require_deployable(charms: Iterable[CharmFile], model: JujuModel) -> None:
    """Check that the model accepts the user, the client and the charms.

    Args:
        charms: The charms that applications are deployed from.
        model: The model, after login.

    Raises:
        AirgapError: The model does not accept one of them.
    """
    require_admin(model)
    versions = model.versions()
    require_matching_client(versions)
    require_supported_charms(charms, versions.model)


def require_supported_charms(charms: Iterable[CharmFile], juju: str) -> None:
    """Check that a controller can deploy charms.

    Args:
        charms: The charms that applications are deployed from.
        juju: The controller's version.

    Raises:
        PlanError: It cannot deploy some; the message names all of them.
        JujuError: The version is not valid.
    """
    unsupported = list(unsupported_charms(charms, juju))
    if unsupported:
        raise PlanError(
            "; ".join(problem for problem, _ in unsupported),
            "; ".join(dict.fromkeys(cure for _, cure in unsupported)),
        )


def require_settable(plan: Plan, model: JujuModel, state: ModelState, *, upgrade: bool) -> None:
    """Check that the juju client can set the planned options.

    The client reads any value from a bundle, but only some from its command line.

    Args:
        plan: The plan.
        model: The model, after login.
        state: The state of the model.
        upgrade: Whether applications are refreshed, which sets all of their options; a deployment
            sets only those that differ.

    Raises:
        ConfigurationError: The client cannot set an option.
        JujuError: Juju fails.
    """
    for item in plan.applications:
        is_deployed = item.name in state.applications
        if not (is_deployed or item.is_excluded):
            continue
        try:
            require_values(item.name, item.options)
        except ConfigurationError:
            if item.is_excluded or upgrade:
                raise
            require_values(item.name, model.changed_options(item.local()))


def require_none_leaving(plan: Plan, state: ModelState) -> None:
    """Check that Juju is not removing an application of the plan.

    Args:
        plan: The plan.
        state: The state of the model.

    Raises:
        JujuError: Some are being removed; the message names all of them.
    """
    leaving = sorted(item.name for item in plan.applications if item.name in state.leaving)
    if leaving:
        raise JujuError(
            f"{', '.join(leaving)} cannot be deployed while it is being removed from the model",
            "wait until juju status no longer lists it (if it is stuck: juju remove-application "
            "--force), then run the action again",
        )
