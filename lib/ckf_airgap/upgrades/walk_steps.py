"""The steps of an upgrade, as values.

Each step says in ``words`` what it does, and in ``arguments`` with which juju command (the images
and options that go with it are left out; empty for a wait).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.juju.juju_values import OptionValue, Relation
from ckf_airgap.upgrades.rules import ReleaseRule
from ckf_airgap.upgrades.start_and_target import TargetApplication, WalkMemory


class Phase(Enum):
    """The parts of a walk, in their order; the value is the heading."""

    MESH = "The other service mesh"
    VERSIONS = "One minor version at a time"
    REPLACED = "Removed and deployed again"
    PODSPEC = "From podspec to sidecar charms"
    REST = "The other charms"
    RELATIONS = "Relations"


class Step(Protocol):
    """What every step has."""

    @property
    def words(self) -> str:
        """What it does: words that begin with a verb."""
        ...

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        ...


@dataclass(frozen=True)
class _Wait:
    """A wait for an application: no juju command."""

    application: str

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return []


@dataclass(frozen=True)
class _Targeted:
    """What brings an application to what it is to be."""

    target: TargetApplication

    @property
    def application(self) -> str:
        """The application."""
        return self.target.name


@dataclass(frozen=True)
class ScaleDown:
    """Take all units from an application.

    Attributes:
        application: The application.
        units: How many it is to have, before.
    """

    application: str
    units: int

    @property
    def words(self) -> str:
        """What it does."""
        return f"scale {self.application} to 0 (it has {self.units})"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["scale-application", self.application, "0"]


@dataclass(frozen=True)
class WaitGone(_Wait):
    """Wait until an application has no units.

    Attributes:
        application: The application.
        deployment: The Deployment in the model's namespace that has to be gone too, or None.
    """

    deployment: str | None = None

    @property
    def words(self) -> str:
        """What it does."""
        gone = f" and the Deployment {self.deployment} is gone" if self.deployment else ""
        return f"wait until {self.application} has no unit{gone}"


@dataclass(frozen=True)
class Refresh(_Targeted):
    """Bring an application to another charm, with its images and options at once.

    At once, because the hook that upgrades the workload reads the options: with the tag of the
    version before, istio-pilot waits in vain for its own version to come up.

    Attributes:
        target: What to bring it to.
        before: The version that it comes from, where that is known.
        base: The base to move it to; None to keep its own.
    """

    before: Version | None = None
    base: str | None = None

    @property
    def words(self) -> str:
        """What it does."""
        before = f" from {self.before}" if self.before else ""
        base = f" on {self.base}" if self.base else ""
        return f"refresh {self.application}{before} to {self.target.title}{base}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        base = ["--base", self.base] if self.base else []
        return ["refresh", self.application, "--path", self.target.file, *base]


@dataclass(frozen=True)
class WaitActive(_Wait):
    """Wait until all units of an application are active.

    Attributes:
        application: The application.
        version: The version that it comes to, where that is known.
        minutes: How long that may take.
    """

    version: Version | None
    minutes: int

    @property
    def words(self) -> str:
        """What it does."""
        version = f" at {self.version}" if self.version else ""
        return f"wait until {self.application} is active{version}"


@dataclass(frozen=True)
class ScaleUp:
    """Give an application its units back.

    Attributes:
        application: The application.
        units: How many.
    """

    application: str
    units: int

    @property
    def words(self) -> str:
        """What it does."""
        return f"scale {self.application} to {self.units}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["scale-application", self.application, str(self.units)]


@dataclass(frozen=True)
class RemoveRelation:
    """Remove a relation that the new charms do not have, or whose application goes."""

    relation: Relation

    @property
    def words(self) -> str:
        """What it does."""
        return f"remove the relation {_pair(self.relation)}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["remove-relation", *map(str, self.relation)]


@dataclass(frozen=True)
class Remove:
    """Remove an application.

    Attributes:
        application: The application.
        destroys_storage: Whether what is on its storage goes with it.
        why: Why it is not refreshed, in words.
    """

    application: str
    destroys_storage: bool
    why: str

    @property
    def words(self) -> str:
        """What it does."""
        storage = " with its storage" if self.destroys_storage else ""
        return f"remove {self.application}{storage} ({self.why})"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        storage = ["--destroy-storage"] if self.destroys_storage else []
        return ["remove-application", self.application, "--no-prompt", *storage]


@dataclass(frozen=True)
class WaitRemoved(_Wait):
    """Wait until an application is not in the model any more."""

    @property
    def words(self) -> str:
        """What it does."""
        return f"wait until {self.application} is removed"


@dataclass(frozen=True)
class Deploy(_Targeted):
    """Deploy an application."""

    @property
    def words(self) -> str:
        """What it does."""
        return f"deploy {self.application} {self.target.title}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["deploy", self.target.file, self.application]


@dataclass(frozen=True)
class AttachImages(_Targeted):
    """Give an application other images, with the charm that it has.

    Attributes:
        target: The application as planned.
        resources: The resources to attach.
    """

    resources: tuple[str, ...]

    @property
    def words(self) -> str:
        """What it does."""
        return f"attach {', '.join(self.resources)} of {self.application}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        resources = [f"{name}=..." for name in self.resources]
        return ["attach-resource", self.application, *resources]


@dataclass(frozen=True)
class SetOptions:
    """Set options of an application that keeps its charm."""

    application: str
    options: Mapping[str, OptionValue] = field(hash=False)

    @property
    def words(self) -> str:
        """What it does."""
        return f"set {', '.join(self.options)} of {self.application}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["config", self.application, *(f"{name}=..." for name in self.options)]


@dataclass(frozen=True)
class AddRelation:
    """Add a relation."""

    relation: Relation

    @property
    def words(self) -> str:
        """What it does."""
        return f"add the relation {_pair(self.relation)}"

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        return ["integrate", *map(str, self.relation)]


@dataclass(frozen=True)
class Backup:
    """What to keep before the first step.

    Attributes:
        application: The application.
        data: What it is, in words.
        command: The command that keeps it; empty where no guide has one.
        note: What belongs to it.
        is_lost: Whether the walk destroys it.
    """

    application: str
    data: str
    command: str
    note: str
    is_lost: bool


@dataclass(frozen=True, kw_only=True)
class Walk:
    """An upgrade: its steps in their order.

    Attributes:
        steps: Phase and step; empty where all is as planned.
        backups: What to keep before the first one.
        memory: What has to be kept for as long as the walk is not at its end.
        before: The release that runs, where that is known.
        after: The release that is planned, where that is known.
        left: Applications that are in the model and in no plan, but whose charm is of the release.
    """

    steps: tuple[tuple[Phase, Step], ...]
    backups: tuple[Backup, ...] = ()
    memory: WalkMemory = field(default_factory=WalkMemory)
    before: ReleaseRule | None = None
    after: ReleaseRule | None = None
    left: tuple[str, ...] = ()

    @property
    def needs_cluster(self) -> bool:
        """Whether a step looks at the cluster."""
        return any(isinstance(step, WaitGone) and step.deployment for _, step in self.steps)


def _pair(relation: Relation) -> str:
    return " - ".join(map(str, relation))
