"""The steps of an upgrade (a walk), as data: nothing is carried out here.

``words`` describes a step. ``arguments`` is its juju command, to show to the operator: images and
options are left out or abbreviated (``NAME=...``). It is empty for a wait.
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
    """The phases of a walk, in order; the value is the heading."""

    MESH = "The other service mesh"
    VERSIONS = "One minor version at a time"
    REPLACED = "Removed and deployed again"
    PODSPEC = "From podspec to sidecar charms"
    REST = "The other charms"
    RELATIONS = "Relations"


class Step(Protocol):
    """A step of a walk."""

    @property
    def words(self) -> str:
        """A description that begins with a verb."""
        ...

    @property
    def arguments(self) -> list[str]:
        """The arguments of its juju command."""
        ...


@dataclass(frozen=True)
class _Wait:
    """A wait for an application, without a juju command."""

    application: str

    @property
    def arguments(self) -> list[str]:
        """Empty: a wait has no juju command."""
        return []


@dataclass(frozen=True)
class _Targeted:
    """A step that brings an application to its planned state."""

    target: TargetApplication

    @property
    def application(self) -> str:
        """The application."""
        return self.target.name


@dataclass(frozen=True)
class ScaleDown:
    """Scale an application to 0.

    Attributes:
        application: The application.
        units: Its number of units before this step.
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
        deployment: The Deployment in the model's namespace that must also be gone, or None.
    """

    deployment: str | None = None

    @property
    def words(self) -> str:
        """What it does."""
        gone = f" and the Deployment {self.deployment} is gone" if self.deployment else ""
        return f"wait until {self.application} has no unit{gone}"


@dataclass(frozen=True)
class Refresh(_Targeted):
    """Refresh an application to another charm, together with its images and options.

    The options change in the same step, because the hook that upgrades the workload reads them:
    with the previous tag in its options, istio-pilot would wait forever for its new version.

    Attributes:
        target: The application as planned.
        before: The previous version, if known.
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
        version: Its new version, if known.
        minutes: The time limit.
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
    """Scale an application back up.

    Attributes:
        application: The application.
        units: The number of units to scale to.
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
    """Remove a relation that the new charms do not support, or whose application is removed."""

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
        destroys_storage: Whether its storage is destroyed.
        why: The reason why it is not refreshed, for the operator.
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
    """Wait until an application is no longer in the model."""

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
    """Attach other images to an application, which keeps its charm.

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
    """Set options of an application without changing its charm."""

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
    """A backup to make before the first step.

    Attributes:
        application: The application.
        data: A description of the data.
        command: The backup command that Canonical documents; empty if there is none.
        note: A note for the operator.
        is_lost: Whether the walk destroys the data.
    """

    application: str
    data: str
    command: str
    note: str
    is_lost: bool


@dataclass(frozen=True, kw_only=True)
class Walk:
    """An upgrade: its steps in order.

    Attributes:
        steps: Each step with its phase, in order; empty if there is nothing to upgrade.
        backups: The backups to make before the first step.
        memory: The state that later steps need and that Juju loses during the walk.
        before: The running release, if known.
        after: The planned release, if known.
        left: The applications that run a charm of Charmed Kubeflow, but that are not in the plan
            and that the walk does not remove.
    """

    steps: tuple[tuple[Phase, Step], ...]
    backups: tuple[Backup, ...] = ()
    memory: WalkMemory = field(default_factory=WalkMemory)
    before: ReleaseRule | None = None
    after: ReleaseRule | None = None
    left: tuple[str, ...] = ()

    @property
    def needs_cluster(self) -> bool:
        """Whether a step reads the Kubernetes API, to wait for a Deployment."""
        return any(isinstance(step, WaitGone) and step.deployment for _, step in self.steps)


def _pair(relation: Relation) -> str:
    return " - ".join(map(str, relation))
