"""The start and the target of an upgrade, as values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version, version_of
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side
from ckf_airgap.planning.plan import Plan, PlannedApplication


@dataclass(frozen=True, kw_only=True)
class RunningApplication:
    """An application of the model. Unknown values are None.

    Attributes:
        name: Its name.
        charm: The name of its charm.
        digest: The SHA-256 of its charm's file.
        version: The version of its workload.
        is_podspec: Whether its charm is a podspec charm.
        has_storage: Whether its charm declares storage.
        fixed: A digest of what a refresh cannot change, as ``CharmFile.fixed``.
        base: Its base, for example ``ubuntu@20.04``.
        scale: The requested number of units.
        units: The present number of units.
        is_active: Whether all requested units exist and are active, with idle agents.
        is_leaving: Whether Juju is removing it.
        other_images: The resources whose image or pull account differs from the plan.
        other_options: Option whose value is not the one planned for its present charm -> the
            planned value.
    """

    name: str
    charm: str
    digest: str | None = None
    version: Version | None = None
    is_podspec: bool | None = None
    has_storage: bool | None = None
    fixed: str | None = None
    base: str | None = None
    scale: int = 1
    units: int = 1
    is_active: bool = True
    is_leaving: bool = False
    other_images: tuple[str, ...] = ()
    other_options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])


@dataclass(frozen=True)
class RunningRelation:
    """A relation of the model.

    Attributes:
        sides: Its two sides, of different applications.
        interface: Its interface.
    """

    sides: Relation
    interface: str

    @property
    def key(self) -> frozenset[Side]:
        """Its sides, unordered."""
        return frozenset(self.sides)


@dataclass(frozen=True, kw_only=True)
class RunningModel:
    """The present state of the model.

    Attributes:
        name: Its name, which is its namespace too.
        applications: The applications, by name.
        relations: The relations between different applications.
        juju: The version of Juju, for example ``3.6.25``.
        kubernetes: The version of the oldest node; None if unknown.
        deployments: The names of the Deployments in its namespace; None if unknown.
    """

    name: str
    applications: Mapping[str, RunningApplication]
    relations: frozenset[RunningRelation]
    juju: str
    kubernetes: Version | None = None
    deployments: frozenset[str] | None = frozenset()


@dataclass(frozen=True)
class TargetApplication:
    """The planned state of an application.

    Attributes:
        planned: Its plan: the file, the images, the options.
        charm: Its charm.
        digest: The SHA-256 of the charm's file.
    """

    planned: PlannedApplication
    charm: CharmFile
    digest: str

    @property
    def name(self) -> str:
        """The application's name."""
        return self.planned.name

    @cached_property
    def version(self) -> Version | None:
        """The version of its workload."""
        return version_of(self.charm)

    @property
    def title(self) -> str:
        """Its charm in messages: the version, or the file if the version is unknown."""
        return str(self.version) if self.version else self.file

    @property
    def file(self) -> str:
        """Path of the charm after unpacking charms.tar.gz by hand, for shown juju commands."""
        name = self.charm.label
        return name if name.startswith(("/", "./")) else f"./{name}"

    def has_endpoint(self, name: str, interface: str) -> bool:
        """Return whether its charm has an endpoint of this name with this interface."""
        endpoint = self.charm.endpoint(name)
        return endpoint is not None and endpoint.interface == interface


@dataclass(frozen=True, kw_only=True)
class UpgradeTarget:
    """The planned state of the model.

    Attributes:
        applications: The applications, by name.
        relations: The relations among the applications.
        intermediate: Application -> its intermediate charms in the archive, unordered.
    """

    applications: Mapping[str, TargetApplication]
    relations: tuple[Relation, ...] = ()
    intermediate: Mapping[str, tuple[TargetApplication, ...]] = field(
        default_factory=dict[str, tuple[TargetApplication, ...]]
    )

    @classmethod
    def of_plan(
        cls, plan: Plan, charms: Iterable[CharmFile], digest: Callable[[CharmFile], str]
    ) -> "UpgradeTarget":
        """Return the planned state of a model.

        Args:
            plan: The plan.
            charms: The available charms.
            digest: Returns the SHA-256 of a charm's file.
        """
        files = {charm.path: charm for charm in charms}

        def target(item: PlannedApplication) -> TargetApplication:
            charm = files[item.file]
            return TargetApplication(item, charm, digest(charm))

        return cls(
            applications={item.name: target(item) for item in plan.applications},
            relations=plan.relations,
            intermediate={
                name: tuple(map(target, items)) for name, items in plan.intermediate.items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The operator's permissions.

    Attributes:
        data_loss: The applications whose storage may be destroyed.
        to_mesh: The name of the service mesh to move to: ``ambient``; empty for none.
    """

    data_loss: frozenset[str] = frozenset()
    to_mesh: str = ""


@dataclass(frozen=True, kw_only=True)
class WalkMemory:
    """The state that an unfinished walk (the steps of an upgrade) needs and Juju no longer has.

    Attributes:
        scales: Application that the walk scales down -> its original number of units.
        replacing: The applications that the walk removes and deploys again.
        relations: The relations of these applications that are not in the plan, to add again.
    """

    scales: Mapping[str, int] = field(default_factory=dict[str, int])
    replacing: frozenset[str] = frozenset()
    relations: tuple[Relation, ...] = ()
