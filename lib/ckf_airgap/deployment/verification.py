"""Verifies that units are active, images come from the registry, and options are as planned."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ckf_airgap.deployment.deployer import Deployer
from ckf_airgap.deployment.mirror_trial import MirrorTrial, try_mirrors
from ckf_airgap.deployment.mirrored_images import separate_mirrored
from ckf_airgap.errors import ConfigurationError, listed
from ckf_airgap.juju.juju_model import JujuModel
from ckf_airgap.juju.juju_status import ModelState
from ckf_airgap.juju.juju_values import OptionValue
from ckf_airgap.kubernetes import cluster
from ckf_airgap.kubernetes.user_pull_secrets import namespaces_without_pull_secret
from ckf_airgap.planning.topology import charms_with_namespaces

_POLL_SECONDS = 5
# The time limit for replacing a pod that cannot pull its image.
_REPLACEMENT_SECONDS = 60
_SHOWN_UNITS = 3


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification.

    Attributes:
        host: Host and port of the registry.
        namespaces: The namespaces whose containers were checked.
        charm_namespaces: Those of them that options of charms name.
        not_active: Unit or application -> its status, for each that is not active.
        images: The origins of the containers' images.
        not_as_planned: A line for each charm or option in Juju that differs from the plan.
        not_compared: Why Juju was not compared with the plan; empty if it was.
        agent_images: The repository of Juju's own images, if they do not come from the internet.
        image_options: Application -> its options that name images, with their planned values.
        mirrors: The result of pulls by original names; None if not tried.
        gives_pull_secrets: Whether the charm gives users' namespaces their pull secret.
        without_pull_secret: The users' namespaces without it; empty if the registry is not known
            to need an account.
    """

    host: str
    namespaces: tuple[str, ...]
    not_active: Mapping[str, str]
    images: cluster.ImageReport
    not_as_planned: tuple[str, ...] = ()
    not_compared: str = ""
    agent_images: str | None = None
    image_options: Mapping[str, Mapping[str, OptionValue]] = field(
        default_factory=dict[str, Mapping[str, OptionValue]]
    )
    mirrors: MirrorTrial | None = None
    gives_pull_secrets: bool = False
    without_pull_secret: tuple[str, ...] = ()
    charm_namespaces: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """The problems in one sentence; empty if there are none."""
        parts = [
            f"{len(found)} {problem}"
            for found, problem in (
                (self.not_active, "units are not active"),
                (self.images.foreign, f"containers have an image from elsewhere than {self.host}"),
                (self.images.not_pulled, "containers cannot pull their image"),
                (self.not_as_planned, "options or charms are not as planned"),
                (
                    self.mirrors.failed if self.mirrors else (),
                    "images are not found by their original names",
                ),
                (
                    self.without_pull_secret if self.gives_pull_secrets else (),
                    "namespaces of users lack their pull secret",
                ),
            )
            if found
        ]
        if not parts and not self.images.containers:
            # Without any container, nothing was verified.
            return f"no container runs in {', '.join(self.namespaces)}"
        return ", ".join(parts)

    @property
    def summary(self) -> str:
        """The result in one sentence, if there is no problem."""
        text = (
            f"every unit is active and the images of all {self.images.containers} containers "
            f"come from {self.host}"
        )
        if mirrored := self.images.mirrored:
            names = listed(list(dict.fromkeys(image.image for image in mirrored)))
            text += (
                f", {len(mirrored)} of them through a mirror, which the nodes must keep: pods "
                f"name {names}"
            )
        if lacking := self.without_pull_secret:
            # The nodes may have the account instead, but the cluster does not show that.
            text += (
                f"; {self.host} requires an account, and {len(lacking)} namespaces of users have "
                "no pull secret (action user-pull-secrets)"
            )
        if self.not_compared:
            return f"{text}; options were not compared: {self.not_compared}"
        return text


def verify(
    model: JujuModel,
    *,
    model_name: str,
    host: str,
    own_application: str,
    timeout: float,
    report: Callable[[str], None],
    deployer: Deployer | None,
    not_compared: str = "",
    mirrors: bool = False,
    gives_pull_secrets: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Verification:
    """Wait until all units are active, then check the image of every container.

    Args:
        model: The model, after login.
        model_name: Its name, which is also its namespace.
        host: Host and port of the registry.
        own_application: The application that runs this action, and is not active meanwhile.
        timeout: The time limit for the units, in seconds.
        report: Called with a line of text while waiting.
        deployer: Compares Juju with the plan: if only an option names an image, no pod shows it
            until a user starts something. None if the plan is not available.
        not_compared: Why the plan is not available.
        mirrors: Whether to test that the nodes pull images by their original names.
        gives_pull_secrets: Whether the charm gives users' namespaces their pull secret.
        clock: Returns the time in seconds.
        sleep: Waits for a number of seconds.

    Returns:
        The result.

    Raises:
        JujuError: Juju fails.
        ClusterError: The Kubernetes API fails.
        ConfigurationError: Inputs for the test of original names are missing.
        AirgapError: An archive or the registry cannot be read.
    """
    deadline = clock() + timeout
    while True:
        state = model.state()
        waiting = {
            name: status
            for name, status in state.not_active.items()
            if name.partition("/")[0] != own_application
        }
        if not waiting or clock() >= deadline:
            break
        shown = ", ".join(f"{name} ({s})" for name, s in list(waiting.items())[:_SHOWN_UNITS])
        more = f" and {len(waiting) - _SHOWN_UNITS} more" if len(waiting) > _SHOWN_UNITS else ""
        report(f"waiting for {shown}{more}")
        sleep(_POLL_SECONDS)
    charm_namespaces = _charm_namespaces(model, state)
    namespaces = namespaces_of_kubeflow(model_name, charm_namespaces)
    deadline = clock() + min(timeout, _REPLACEMENT_SECONDS)
    agent_images = model.agent_images()
    while True:
        images = cluster.report_images(cluster.running_images(namespaces), host, agent_images)
        if not images.not_pulled or clock() >= deadline:
            break
        sleep(_POLL_SECONDS)
    release = deployer.release if deployer else None
    images = separate_mirrored(
        images,
        (charm.name for charm in state.charms.values()),
        release.inputs.settings.location if release and images.foreign else None,
        lambda repository, tag: release and release.registry.manifest_digest(repository, tag),
    )
    if mirrors and release is None:
        raise ConfigurationError(
            f"original names cannot be tried: {not_compared}", "give the charm all of its inputs"
        )
    trial = None
    if mirrors and release:
        names = release.original_names(release.inventory())
        trial = try_mirrors(names, release.registry, model_name, report)
    plan = release.known_plan() if release else None
    if release and plan is None:
        not_compared = "images.tar.gz was not pushed by this unit"
    wants_account = gives_pull_secrets or bool(release and plan and release.pull_account(plan))
    return Verification(
        host=host,
        namespaces=namespaces,
        not_active=waiting,
        images=images,
        not_as_planned=tuple(deployer.differences(plan, state) if deployer and plan else ()),
        not_compared=not_compared,
        agent_images=agent_images,
        image_options={
            item.name: {name: item.options[name] for name in item.image_options}
            for item in (plan.without_incomplete().applications if plan else ())
            if item.image_options
        },
        mirrors=trial,
        gives_pull_secrets=gives_pull_secrets,
        without_pull_secret=tuple(namespaces_without_pull_secret() if wants_account else ()),
        charm_namespaces=charm_namespaces,
    )


def namespaces_of_kubeflow(model_name: str, charm_namespaces: Iterable[str]) -> tuple[str, ...]:
    """List the namespaces of Kubeflow: its model's, Knative's, and those of user profiles.

    Args:
        model_name: The model's name, which is also its namespace.
        charm_namespaces: The namespaces that options of charms name.

    Raises:
        ClusterError: The Kubernetes API fails.
    """
    found = [*charm_namespaces, *cluster.knative_namespaces(), *cluster.profile_namespaces()]
    return tuple(dict.fromkeys([model_name, *found]))


def _charm_namespaces(model: JujuModel, state: ModelState) -> tuple[str, ...]:
    return tuple(
        str(namespace)
        for application, charm in sorted(state.charms.items())
        if charm.name in charms_with_namespaces()
        and (namespace := model.option_values(application).get("namespace"))
    )
