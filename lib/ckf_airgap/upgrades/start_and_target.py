"""What an upgrade starts from and what it goes to, as values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version, version_of
from ckf_airgap.juju.juju_values import OptionValue, Relation, Side
from ckf_airgap.planning.plan import Plan, PlannedApplication


@dataclass(frozen=True, kw_only=True)
class RunningApplication:
    """An application of the model. What is not known of it is None.

    Attributes:
        name: Its name.
        charm: The name of its charm.
        digest: The SHA-256 of its charm's file.
        version: The version that its charm runs.
        is_podspec: Whether its charm is of the podspec kind.
        has_storage: Whether its charm asks for storage.
        fixed: The digest of what no refresh changes, as ``CharmFile.fixed``.
        base: The base that it runs on, for example ``ubuntu@20.04``.
        scale: How many units it is to have.
        units: How many it has.
        is_active: Whether all that it is to have are there and active, their agents at rest.
        is_leaving: Whether it is being removed.
        other_images: The resources that have another image, or another account to pull it with,
            than planned.
        other_options: The options that have another value than is planned with the charm that it
            runs, with that value.
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
        """Its sides in no order."""
        return frozenset(self.sides)


@dataclass(frozen=True, kw_only=True)
class RunningModel:
    """What the model holds.

    Attributes:
        name: Its name, which is its namespace too.
        applications: The applications, by name.
        relations: The relations between applications; those of one with itself are left out.
        juju: The version of Juju, for example ``3.6.25``.
        kubernetes: The version of the oldest node; None where it is not known.
        deployments: The names of the Deployments in its namespace.
    """

    name: str
    applications: Mapping[str, RunningApplication]
    relations: frozenset[RunningRelation]
    juju: str
    kubernetes: Version | None = None
    deployments: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TargetApplication:
    """An application as it is to be.

    Attributes:
        planned: As it is planned: the file, the images, the options.
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
        """The version that its charm runs."""
        return version_of(self.charm)

    @property
    def title(self) -> str:
        """What to call its charm: the version, or the file where that tells none."""
        return str(self.version) if self.version else self.file

    @property
    def file(self) -> str:
        """Its charm's file in charms.tar.gz, as juju takes it."""
        name = self.charm.label
        return name if name.startswith(("/", "./")) else f"./{name}"

    def has_endpoint(self, name: str, interface: str) -> bool:
        """Tell whether its charm can keep a relation (Juju's ``Relation.ImplementedBy``)."""
        endpoint = self.charm.endpoint(name)
        return endpoint is not None and endpoint.interface == interface


@dataclass(frozen=True, kw_only=True)
class UpgradeTarget:
    """What the model is to hold.

    Attributes:
        applications: The applications, by name.
        relations: The relations among them.
        between: For applications that go through versions, what the archive has of them beside
            the target, in any order.
    """

    applications: Mapping[str, TargetApplication]
    relations: tuple[Relation, ...] = ()
    between: Mapping[str, tuple[TargetApplication, ...]] = field(
        default_factory=dict[str, tuple[TargetApplication, ...]]
    )

    @classmethod
    def of_plan(
        cls, plan: Plan, charms: Iterable[CharmFile], digest: Callable[[CharmFile], str]
    ) -> "UpgradeTarget":
        """Return what a plan makes of a model.

        Args:
            plan: The plan.
            charms: The charms at hand.
            digest: Gives the SHA-256 of a charm's file.
        """
        files = {charm.path: charm for charm in charms}

        def target(item: PlannedApplication) -> TargetApplication:
            charm = files[item.file]
            return TargetApplication(item, charm, digest(charm))

        return cls(
            applications={item.name: target(item) for item in plan.applications},
            relations=plan.relations,
            between={name: tuple(map(target, items)) for name, items in plan.between.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What the operator allows.

    Attributes:
        data_loss: The applications whose storage may be destroyed.
        to_mesh: The name of the service mesh to move to: ``ambient``; empty for none.
    """

    data_loss: frozenset[str] = frozenset()
    to_mesh: str = ""


@dataclass(frozen=True, kw_only=True)
class WalkMemory:
    """What a walk has to know that the model does not tell any more once it has begun.

    Attributes:
        scales: For each application that it scales down, how many units it is to get back.
        replacing: The applications that it removes to deploy them again.
        relations: The relations of these that no plan has: somebody else has made them.
    """

    scales: Mapping[str, int] = field(default_factory=dict[str, int])
    replacing: frozenset[str] = frozenset()
    relations: tuple[Relation, ...] = ()
