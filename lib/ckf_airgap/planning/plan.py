"""The plan: every application with its images and options, every relation, and what is missing."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckf_airgap.artifacts.inventory import Inventory
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError, PlanError
from ckf_airgap.names import RegistryLocation
from ckf_airgap.planning.exceptions import MapException, load_exceptions
from ckf_airgap.planning.resolution import Match, Resolution, Resolver
from ckf_airgap.planning.topology import OptionValue, Relation, Side, Topology, load_topology

AUTOMATIC = "auto"


@dataclass(frozen=True)
class PlannedApplication:
    """An application as it is to be deployed.

    Attributes:
        name: The application's name.
        charm: The charm's name.
        file: The ``.charm`` file.
        base: The base to deploy it on, for example ``ubuntu@24.04``, or None.
        is_excluded: Whether it is deployed by itself, outside the bundle.
        scale: The number of units.
        constraints: Juju constraints, or None.
        resources: Each oci-image resource with its reference in the registry.
        options: The options to set, those that name images included.
    """

    name: str
    charm: str
    file: Path
    base: str | None
    is_excluded: bool
    scale: int
    constraints: str | None
    resources: Mapping[str, str]
    options: Mapping[str, OptionValue]


@dataclass(frozen=True)
class MissingImage:
    """An image that the archive does not hold.

    Attributes:
        image: As the charms name it.
        wanted_by: Who takes it: ``application/resource`` or ``application/option``.
        note: What came close, or an empty string.
    """

    image: str
    wanted_by: tuple[str, ...]
    note: str

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.image} (for {', '.join(self.wanted_by)}{note})"


@dataclass(frozen=True)
class Plan:
    """What is to be deployed.

    Attributes:
        applications: Sorted by name.
        relations: Sorted; those that concern an excluded application included.
        resolved: How each image was found, sorted by image.
        missing: The images that were not.
        warnings: What the operator should know although the plan can be carried out.
    """

    applications: tuple[PlannedApplication, ...]
    relations: tuple[Relation, ...]
    resolved: tuple[Resolution, ...]
    missing: tuple[MissingImage, ...]
    warnings: tuple[str, ...]

    @property
    def bundled(self) -> tuple[PlannedApplication, ...]:
        """The applications that the bundle holds."""
        return tuple(item for item in self.applications if not item.is_excluded)

    @property
    def excluded(self) -> tuple[PlannedApplication, ...]:
        """The applications that are deployed one by one."""
        return tuple(item for item in self.applications if item.is_excluded)

    @property
    def bundled_relations(self) -> tuple[Relation, ...]:
        """The relations whose both sides the bundle holds."""
        bundled = {item.name for item in self.bundled}
        return tuple(
            (first, second)
            for first, second in self.relations
            if first.application in bundled and second.application in bundled
        )

    def only(self, names: Collection[str]) -> "Plan":
        """Give the same plan for some applications alone, with the relations among them."""
        applications = tuple(item for item in self.applications if item.name in names)
        relations = tuple(
            (first, second)
            for first, second in self.relations
            if first.application in names and second.application in names
        )
        return dataclasses.replace(self, applications=applications, relations=relations)

    def require_all_images(self) -> None:
        """Refuse to go on without images that the charms take.

        Raises:
            PlanError: Some are missing; the message names all of them.
        """
        if self.missing:
            listed = "; ".join(map(str, self.missing))
            raise PlanError(
                f"images.tar.gz lacks {len(self.missing)} images that the charms take: {listed}",
                "add them to the archive, or run deploy with allow-missing=true",
            )


def make_plan(
    charms: Iterable[CharmFile],
    inventory: Inventory,
    location: RegistryLocation,
    *,
    model: str,
    excluded_charms: str = AUTOMATIC,
    topology: Topology | None = None,
) -> Plan:
    """Work out the deployment from the two artifacts.

    Args:
        charms: The charms at hand.
        inventory: What images.tar.gz holds.
        location: The registry prefix that the images stand under.
        model: The name of the model, which some options hold.
        excluded_charms: ``auto`` for the podspec charms, or the names of the charms or of the
            applications to deploy outside the bundle, separated by commas.
        topology: The applications and relations; by default the table of this package.

    Returns:
        The plan.

    Raises:
        ConfigurationError: ``excluded_charms`` names something that is not there.
        PlanError: None of the charms belongs to the topology.
    """
    topology = topology or load_topology()
    by_name = {charm.name: charm for charm in charms}
    deployed = [item for item in topology.applications if item.charm in by_name]
    if not deployed:
        raise PlanError(
            f"charms.tar.gz holds no charm of Charmed Kubeflow, but {', '.join(sorted(by_name))}",
            "give the charms.tar.gz of a Charmed Kubeflow release",
        )
    applications = {item.name: by_name[item.charm] for item in deployed}
    excluded = _excluded(excluded_charms, applications)
    finder = _ImageFinder(Resolver(inventory), location)
    planned = tuple(
        PlannedApplication(
            name=item.name,
            charm=item.charm,
            file=by_name[item.charm].path,
            base=by_name[item.charm].base,
            is_excluded=item.name in excluded,
            scale=1,
            constraints=item.constraints,
            resources=finder.resources(item.name, by_name[item.charm]),
            options={
                **{
                    option: value.format(model=model) if isinstance(value, str) else value
                    for option, value in item.options.items()
                    if option in by_name[item.charm].options
                },
                **finder.options(item.name, by_name[item.charm]),
            },
        )
        for item in sorted(deployed, key=lambda item: item.name)
    )
    known_charms = {item.charm for item in topology.applications}
    unknown = sorted(set(by_name) - known_charms)
    warnings = [
        f"charm {name} belongs to no application of Charmed Kubeflow and is not deployed"
        for name in unknown
    ]
    return Plan(
        applications=planned,
        relations=_relations(topology, applications),
        resolved=finder.resolved,
        missing=finder.missing,
        warnings=(*warnings, *finder.warnings),
    )


class _ImageFinder:
    """Gives the images of each application, and remembers what was asked for by whom."""

    def __init__(self, resolver: Resolver, location: RegistryLocation) -> None:
        self._resolver = resolver
        self._location = location
        self._resolutions: dict[str, Resolution] = {}
        self._wanted_by: defaultdict[str, list[str]] = defaultdict(list)
        self._not_expressible: list[str] = []
        self._unset: list[str] = []

    def resources(self, application: str, charm: CharmFile) -> dict[str, str]:
        found = {
            resource: self._find(f"{application}/{resource}")(image)
            for resource, image in charm.resources.items()
        }
        return {resource: reference for resource, reference in found.items() if reference}

    def options(self, application: str, charm: CharmFile) -> dict[str, str]:
        values: dict[str, str] = {}
        for option in charm.image_options:
            find = self._find(f"{application}/{option.name}")
            value = option.value(find)
            if value is not None:
                values[option.name] = value
            # Each is asked for, so that all that are missing are listed.
            elif all([find(image) for image in option.images]):
                self._not_expressible.append(
                    f"{application}/{option.name} takes one hub and one tag for all its images, "
                    f"but the archive holds them in different places: {', '.join(option.images)}"
                )
        for exception in load_exceptions().maps:
            if exception.charm == charm.name and exception.option in charm.options:
                self._complete(application, exception, values)
        for alias in load_exceptions().aliases:
            if alias.charm == charm.name and alias.option in charm.options:
                images = json.loads(values.get(alias.of, "{}"))
                if alias.key in images:
                    values[alias.option] = images[alias.key]
        return values

    def _complete(self, application: str, exception: MapException, values: dict[str, str]) -> None:
        """Add the images of keys that the charm gives none for."""
        images: dict[str, str] = json.loads(values.get(exception.option, "{}"))
        unset: list[str] = []
        # A charm that names some of its images names all that it must have.
        required = dict[str, str]() if images else exception.keys
        for key, tail in {**required, **exception.extra_keys}.items():
            if key in images:
                continue
            resolution = self._resolver.resolve_tail(tail)
            if resolution.path:
                images[key] = self._location.reference(resolution.path)
            elif key in required:
                unset.append(key)
        if images:
            values[exception.option] = json.dumps(images)
        if unset:
            self._unset.append(
                f"{application}/{exception.option} has no image in the archive for "
                f"{', '.join(unset)}: what runs under these keys comes from the internet"
            )

    @property
    def resolved(self) -> tuple[Resolution, ...]:
        found = (item for item in self._resolutions.values() if item.path)
        return tuple(sorted(found, key=lambda item: item.image))

    @property
    def missing(self) -> tuple[MissingImage, ...]:
        missing = (item for item in self._resolutions.values() if not item.path)
        return tuple(
            MissingImage(item.image, tuple(self._wanted_by[item.image]), item.note)
            for item in sorted(missing, key=lambda item: item.image)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        stood_in = [
            f"{item.image} is not in the archive under its name; {item.path} stands in for it"
            for item in self.resolved
            if item.by is not Match.EXACT
        ]
        return (*self._not_expressible, *self._unset, *stood_in)

    def _find(self, wanted_by: str) -> Callable[[str], str | None]:
        def find(image: str) -> str | None:
            resolution = self._resolutions.get(image) or self._resolver.resolve(image)
            self._resolutions[image] = resolution
            if wanted_by not in self._wanted_by[image]:
                self._wanted_by[image].append(wanted_by)
            return self._location.reference(resolution.path) if resolution.path else None

        return find


def _excluded(setting: str, applications: Mapping[str, CharmFile]) -> set[str]:
    """Give the applications to deploy outside the bundle."""
    if setting.strip() == AUTOMATIC:
        return {name for name, charm in applications.items() if charm.is_podspec}
    excluded: set[str] = set()
    for wanted in filter(None, (part.strip() for part in setting.split(","))):
        found = {name for name, charm in applications.items() if wanted in (name, charm.name)}
        if not found:
            raise ConfigurationError(
                f"excluded-charms names {wanted}, which is no charm or application at hand",
                f"use {AUTOMATIC} or names out of: {', '.join(sorted(applications))}",
            )
        excluded |= found
    return excluded


def _relations(topology: Topology, applications: Mapping[str, CharmFile]) -> tuple[Relation, ...]:
    """Keep the relations whose both sides are there and fit each other."""

    def interface(side: Side) -> str | None:
        charm = applications.get(side.application)
        endpoints = charm.endpoints if charm else ()
        return next((e.interface for e in endpoints if e.name == side.endpoint), None)

    return tuple(
        (first, second)
        for first, second in topology.relations
        if interface(first) is not None and interface(first) == interface(second)
    )
