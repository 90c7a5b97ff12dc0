"""Plans applications, their images and options, and relations; lists missing images and charms."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_file import CharmFile, UnreadableCharm
from ckf_airgap.errors import ConfigurationError, PlanError, listed
from ckf_airgap.juju.juju_values import LocalApplication, OptionValue, Relation
from ckf_airgap.planning.application_images import (
    ApplicationImages,
    FixedImage,
    MissingImage,
    lacking_workload,
)
from ckf_airgap.planning.charm_selection import (
    MissingCharm,
    select_charms,
    unreadable_warnings,
)
from ckf_airgap.planning.image_lookup import Resolution
from ckf_airgap.planning.nearest_names import to_choose_from
from ckf_airgap.planning.plan_warnings import (
    PlanWarning,
    left_out_settings,
    not_pushed,
    wrong_model,
)
from ckf_airgap.planning.relations import fitting_relations
from ckf_airgap.planning.settings import AUTOMATIC, PlanSettings
from ckf_airgap.planning.topology import Topology, TopologyApplication

_GATEWAY_OPTION = "gateway_service_type"
# The registries whose tags Knative must not resolve to digests, because it does not trust the
# certificate authorities of the nodes (knative/serving#13771).
_TAG_OPTION = "registries-skipping-tag-resolving"


@dataclass(frozen=True, kw_only=True)
class PlannedApplication:
    """A planned application.

    Attributes:
        name: The application's name.
        charm: The charm's name.
        file: The ``.charm`` file.
        base: The base to deploy it on, for example ``ubuntu@24.04``, or None.
        is_excluded: Whether it is deployed outside the bundle.
        scale: The number of units.
        trust: Whether Juju gives it access to the cluster (``--trust``).
        constraints: Juju constraints, or None.
        resources: The reference in the registry of each oci-image resource whose image was found.
        options: The options to set, including those that name images.
        image_options: The names of the options that name images.
        lacking: What keeps it from being deployed: resources without an image; options without an
            image, if the charm has no resources; and missing required images in its charm's code.
        settings: The keys of the application in the bundle that are passed on to Juju.
        label: The path of the file in charms.tar.gz.
    """

    name: str
    charm: str
    file: Path
    base: str | None
    is_excluded: bool
    scale: int = 1
    trust: bool = True
    constraints: str | None = None
    resources: Mapping[str, str]
    options: Mapping[str, OptionValue]
    image_options: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    label: str = ""

    @property
    def lacking_in_words(self) -> str:
        """The names in ``lacking``, shortened for a message."""
        return listed(self.lacking, separator=", ")

    def local(
        self, resource_files: Mapping[tuple[str, str], Path] | None = None
    ) -> LocalApplication:
        """Return the application for the juju client.

        Args:
            resource_files: (application, resource) -> file with the image reference and its pull
                credentials, which replaces the reference.
        """
        files = resource_files or {}
        return LocalApplication(
            name=self.name,
            file=self.file,
            base=self.base,
            resources={
                resource: str(files.get((self.name, resource), reference))
                for resource, reference in self.resources.items()
            },
            options=self.options,
            constraints=self.constraints,
            scale=self.scale,
            trust=self.trust,
            storage=self.settings.get("storage"),
        )


@dataclass(frozen=True)
class Plan:
    """A deployment: applications, relations, and missing images and charms.

    Attributes:
        applications: The applications, sorted by name.
        relations: The relations, including those of excluded applications.
        resolved: How each image was found, sorted by image.
        missing: The missing images.
        missing_charms: The needed charms that charms.tar.gz lacks.
        warnings: Warnings for the operator.
        fixed_images: The images in the charms' code, which no option can change.
        intermediate: Application -> plans with its intermediate charms, through which an upgrade
            passes.
    """

    applications: tuple[PlannedApplication, ...]
    relations: tuple[Relation, ...]
    resolved: tuple[Resolution, ...]
    missing: tuple[MissingImage, ...]
    missing_charms: tuple[MissingCharm, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    fixed_images: tuple[FixedImage, ...] = ()
    intermediate: Mapping[str, tuple[PlannedApplication, ...]] = field(
        default_factory=dict[str, tuple[PlannedApplication, ...]]
    )

    @property
    def bundled(self) -> tuple[PlannedApplication, ...]:
        """The applications in the bundle."""
        return tuple(item for item in self.applications if not item.is_excluded)

    @property
    def excluded(self) -> tuple[PlannedApplication, ...]:
        """The applications that are deployed one by one."""
        return tuple(item for item in self.applications if item.is_excluded)

    @property
    def bundled_relations(self) -> tuple[Relation, ...]:
        """The relations with both sides in the bundle."""
        return self.only([item.name for item in self.bundled]).relations

    @property
    def incomplete(self) -> tuple[PlannedApplication, ...]:
        """The applications that cannot be deployed because of missing images."""
        return tuple(item for item in self.applications if item.lacking)

    def only(self, names: Collection[str]) -> "Plan":
        """Return the plan reduced to some applications and the relations among them."""
        applications = tuple(item for item in self.applications if item.name in names)
        relations = tuple(
            relation
            for relation in self.relations
            if all(side.application in names for side in relation)
        )
        return dataclasses.replace(self, applications=applications, relations=relations)

    def without_incomplete(self) -> "Plan":
        """Return the plan without applications that cannot be deployed."""
        intermediate = {
            name: tuple(item for item in items if not item.lacking)
            for name, items in self.intermediate.items()
        }
        complete = [item.name for item in self.applications if not item.lacking]
        return dataclasses.replace(self.only(complete), intermediate=intermediate)

    def require_complete(self) -> None:
        """Require all charms that the deployment needs, and all images of the charms.

        Raises:
            PlanError: Some are missing; the message names them, as far as they fit.
        """
        problems: list[str] = []
        if self.missing:
            problems.append(
                f"images.tar.gz lacks {len(self.missing)} images that the charms need: "
                + "; ".join(map(str, self.missing))
            )
        if self.missing_charms:
            problems.append(_lacking_charms(self.missing_charms))
        if problems:
            raise PlanError(
                " -- and ".join(problems),
                "add them to the archives, or go on without them: allow-missing=true",
            )


def make_plan(
    charms: Iterable[CharmFile],
    inventory: Inventory,
    settings: PlanSettings,
    unreadable: Sequence[UnreadableCharm] = (),
    intermediate: Iterable[CharmFile] = (),
) -> Plan:
    """Plan a deployment from the two archives.

    Args:
        charms: The available charms.
        inventory: The content of images.tar.gz.
        settings: The settings of the operator.
        unreadable: The unreadable charms of charms.tar.gz.
        intermediate: The intermediate charms, through which an upgrade passes.

    Returns:
        The plan.

    Raises:
        ArtifactError: Needed charms cannot be read.
        ConfigurationError: A setting is not valid, or names something unknown.
        PlanError: None of the charms belongs to the topology.
    """
    by_name = {charm.name: charm for charm in charms}
    selection = select_charms(by_name.values(), settings, unreadable).require_readable()
    topology = selection.topology
    deployed = sorted(
        (item for item in topology.applications if item.charm in by_name),
        key=lambda item: item.name,
    )
    if not deployed:
        raise PlanError(
            f"charms.tar.gz has no charm of this deployment, only {', '.join(sorted(by_name))}",
            "give the charms.tar.gz of a Charmed Kubeflow release",
        )
    applications = {item.name: by_name[item.charm] for item in deployed}
    excluded = _excluded(settings.excluded_charms, applications)
    finder = ApplicationImages(inventory, settings.location)
    planned = tuple(
        _planned(item, applications[item.name], item.name in excluded, finder, settings)
        for item in deployed
    )
    older = sorted(intermediate, key=lambda charm: charm.label)
    planned_intermediate = {
        item.name: tuple(
            _planned(_for_older(item, charm), charm, item.name in excluded, finder, settings)
            for charm in older
            if charm.name == item.charm
        )
        for item in deployed
    }
    return Plan(
        applications=planned,
        intermediate={name: items for name, items in planned_intermediate.items() if items},
        relations=fitting_relations(topology, applications),
        resolved=finder.resolved,
        missing=finder.missing,
        fixed_images=finder.fixed,
        missing_charms=selection.missing,
        warnings=(
            *map(PlanWarning, topology.warnings),
            *unreadable_warnings(unreadable),
            *_unused_charms(topology, by_name),
            *_unused_gateway_type(settings, applications),
            *wrong_model(applications.values(), settings.model),
            *(
                warning
                for item in planned
                if item.is_excluded
                for warning in left_out_settings(item.name, item.settings)
            ),
            *(PlanWarning(*warning) for warning in finder.warnings),
            *not_pushed(inventory),
        ),
    )


def _lacking_charms(missing: Sequence[MissingCharm]) -> str:
    return f"charms.tar.gz lacks {len(missing)} charms: {'; '.join(map(str, missing))}"


def _planned(
    item: TopologyApplication,
    charm: CharmFile,
    is_excluded: bool,
    finder: ApplicationImages,
    settings: PlanSettings,
) -> PlannedApplication:
    _require_known(item, charm)
    resources = finder.resources(item.name, charm, item.resource_overrides)
    images = finder.options(item.name, charm, item.given_options)
    fixed = finder.report_fixed(item.name, charm, item.given_options)
    return PlannedApplication(
        name=item.name,
        charm=item.charm,
        file=charm.path,
        base=item.base if item.base in charm.bases else charm.base,
        is_excluded=is_excluded,
        scale=item.scale,
        trust=item.trust,
        constraints=item.constraints,
        resources=resources,
        options={**_options(item, charm, settings), **item.option_overrides, **images.values},
        image_options=tuple(images.values),
        lacking=(
            *sorted({*charm.resources} - {*resources}),
            *lacking_workload(charm, images.missing),
            *fixed,
        ),
        settings=item.settings,
        label=charm.label,
    )


def _for_older(item: TopologyApplication, charm: CharmFile) -> TopologyApplication:
    """Omit the operator's options and resources that an older charm does not have."""
    return dataclasses.replace(
        item,
        options={name: value for name, value in item.options.items() if name in charm.options},
        option_overrides={
            name: value for name, value in item.option_overrides.items() if name in charm.options
        },
        resource_overrides={
            name: image
            for name, image in item.resource_overrides.items()
            if name in charm.resources
        },
    )


def _require_known(item: TopologyApplication, charm: CharmFile) -> None:
    """Check that the charm has the options and resources that the operator sets.

    Juju would refuse unknown ones in the middle of the deployment.

    Raises:
        ConfigurationError: The charm lacks one of them.
    """
    options = [*item.option_overrides, *(() if item.is_template else item.options)]
    for kind, names, known in (
        ("option", options, charm.options),
        ("resource", list(item.resource_overrides), charm.resources),
    ):
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise ConfigurationError(
                f"the bundle or the overlay sets the {kind} {', '.join(unknown)} of {item.name}, "
                f"which its charm {charm.name} does not have",
                f"correct the name; it has: {to_choose_from(unknown[0], known)}",
            )


def _options(
    item: TopologyApplication, charm: CharmFile, settings: PlanSettings
) -> dict[str, OptionValue]:
    """Return the options without those of the overlay and the images, which take precedence."""
    options = dict(item.options)
    for endpoint, values in item.options_without.items():
        if charm.endpoint(endpoint) is None:
            options.update(values)
    if item.is_template:
        options = {
            name: value.format(model=settings.model) if isinstance(value, str) else value
            for name, value in options.items()
            # The table also has options of other releases.
            if name in charm.options
        }
    if settings.gateway_service_type and _GATEWAY_OPTION in charm.options:
        options[_GATEWAY_OPTION] = settings.gateway_service_type
    if _TAG_OPTION in charm.options:
        value = str(options.get(_TAG_OPTION, charm.options[_TAG_OPTION]))
        registries = [name.strip() for name in value.split(",") if name.strip()]
        registries.append(settings.location.host)
        options[_TAG_OPTION] = ",".join(dict.fromkeys(registries))
    return options


def _excluded(setting: tuple[str, ...] | None, applications: Mapping[str, CharmFile]) -> set[str]:
    if setting is None:
        return {name for name, charm in applications.items() if charm.is_podspec}
    excluded: set[str] = set()
    for wanted in setting:
        found = {name for name, charm in applications.items() if wanted in (name, charm.name)}
        if not found:
            raise ConfigurationError(
                f"excluded-charms names {wanted}, which is not an available charm or application",
                f"use {AUTOMATIC}, or names from: {to_choose_from(wanted, applications)}",
            )
        excluded |= found
    return excluded


def _unused_charms(topology: Topology, charms: Mapping[str, CharmFile]) -> list[PlanWarning]:
    used = {item.charm for item in topology.applications}
    return [
        PlanWarning(
            f"charm {name} belongs to no application of this deployment and is not deployed",
            "to deploy it, add an application with this charm to the overlay",
        )
        for name in sorted(set(charms) - used)
    ]


def _unused_gateway_type(
    settings: PlanSettings, applications: Mapping[str, CharmFile]
) -> list[PlanWarning]:
    kind = settings.gateway_service_type
    if kind and not any(_GATEWAY_OPTION in charm.options for charm in applications.values()):
        return [
            PlanWarning(
                f"gateway-service-type {kind} has no effect: no available charm has this option"
            )
        ]
    return []
