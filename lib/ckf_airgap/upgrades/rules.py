"""The upgrade rules that no charm declares, from ``rules.yaml`` with their sources."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ckf_airgap.charms.charm_version import Version


@dataclass(frozen=True)
class ReleaseRule:
    """A release.

    Attributes:
        release: Its name, for example ``1.9``.
        versions: Charm -> the minimum version by which it identifies the release.
        juju: The oldest supported Juju.
        kubernetes: The oldest supported Kubernetes.
        source: The source of the rule.
    """

    release: str
    versions: Mapping[str, Version]
    juju: Version
    kubernetes: Version
    source: str


@dataclass(frozen=True)
class MinorRule:
    """A charm that is upgraded one minor version at a time.

    Attributes:
        charm: The charm.
        channel: The channel of a version; ``{version}`` means major and minor.
        without_units: Charm whose applications must have no units during the upgrade -> name of
            the Deployment that must be gone first; ``{option}`` means the value of an option.
        minutes: The time limit of a step.
        source: The source of the rule.
    """

    charm: str
    channel: str
    without_units: Mapping[str, str]
    minutes: int
    source: str

    def between(self, first: Version, last: Version) -> Iterator[tuple[int, int]]:
        """Yield the minor versions between two versions, without their own.

        None if the major versions differ: such an upgrade is refused anyway.
        """
        if first.major == last.major:
            for minor in range(first.minor + 1, last.minor):
                yield first.major, minor

    def deployment_of(self, charm: str, options: Mapping[str, str]) -> str:
        """Return the name of the Deployment of an application.

        Args:
            charm: Its charm, one of ``without_units``.
            options: Its options; an option that is not set counts as empty.
        """
        return self.without_units[charm].format_map(defaultdict(str, options))

    def channel_of(self, version: tuple[int, int]) -> str:
        """Return the channel of a minor version."""
        return self.channel.format(version=f"{version[0]}.{version[1]}")


@dataclass(frozen=True)
class MeshRule:
    """The change to another service mesh.

    Attributes:
        name: The other mesh, for example ``ambient``.
        removed: The charms whose applications are removed, in this order.
        deployed: The charms whose applications are then deployed instead, in this order.
        source: The source of the rule.
    """

    name: str
    removed: tuple[str, ...]
    deployed: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class BackupRule:
    """The backup of a charm's data.

    Attributes:
        charm: The charm.
        data: A description of the data.
        command: The command; ``{application}`` and ``{model}`` mean their names.
        note: A note for the operator.
        source: The source of the rule.
    """

    charm: str
    data: str
    command: str
    note: str
    source: str


@dataclass(frozen=True)
class UpgradeRules:
    """All rules.

    Attributes:
        releases: The releases, oldest first.
        minors: The charms that are upgraded one minor version at a time.
        mesh: The change to another service mesh.
        backups: The backups.
    """

    releases: tuple[ReleaseRule, ...]
    minors: tuple[MinorRule, ...]
    mesh: MeshRule
    backups: tuple[BackupRule, ...]

    def release_of(self, versions: Iterable[tuple[str, Version]]) -> ReleaseRule | None:
        """Identify the release of a model's charms.

        Args:
            versions: Charms and their versions.

        Returns:
            The oldest release that one of them identifies: in an unfinished upgrade, the release
            that it started from. None if none of them identifies a release.
        """
        identified: list[int] = []
        for charm, version in versions:
            reached = [
                number
                for number, rule in enumerate(self.releases)
                if charm in rule.versions and rule.versions[charm] <= version
            ]
            if reached:
                identified.append(reached[-1])
        return self.releases[min(identified)] if identified else None

    def release_in(self, versions: Iterable[tuple[str, Version]]) -> ReleaseRule | None:
        """Identify the release of an archive, which may also have intermediate charms.

        Args:
            versions: The charms of the archive with their versions.
        """
        newest: dict[str, Version] = {}
        for charm, version in versions:
            newest[charm] = max(version, newest.get(charm, version))
        return self.release_of(newest.items())

    def starts_of(self, versions: Collection[tuple[str, Version]], charms: Set[str]) -> list[str]:
        """List the releases from which an archive can upgrade a deployment.

        Args:
            versions: The charms of the archive, including intermediate ones, with their versions;
                without those whose version is unknown.
            charms: The names of all charms of the archive.

        Returns:
            Its own release; and the previous one if the archive has all intermediate charms and
            does not move to another mesh, which is possible only within a release.
        """
        available: defaultdict[str, list[Version]] = defaultdict(list)
        for charm, version in versions:
            available[charm].append(version)
        newest = self.release_in(versions)
        if newest is None:
            return []
        number = self.releases.index(newest)
        before = self.releases[number - 1] if number else None
        moves = self.mesh.deployed[0] in charms and charms.isdisjoint(self.mesh.removed)
        if (
            before is None
            or moves
            or not all(
                self._has_all_minors(rule, before, available[rule.charm])
                for rule in self.minors
                if rule.charm in available
            )
        ):
            return [newest.release]
        return [before.release, newest.release]

    def _has_all_minors(
        self, rule: MinorRule, before: ReleaseRule, available: Collection[Version]
    ) -> bool:
        first = before.versions.get(rule.charm)
        minors = {version.minor_release for version in available}
        return first is None or minors.issuperset(rule.between(first, max(available)))

    @property
    def charms_with_versions(self) -> frozenset[str]:
        """The charms whose versions the rules use."""
        named = {charm for rule in self.releases for charm in rule.versions}
        return frozenset(named.union(*((rule.charm, *rule.without_units) for rule in self.minors)))

    def backup(self, charm: str) -> BackupRule | None:
        """Return the backup of a charm's data, or None."""
        return next((rule for rule in self.backups if rule.charm == charm), None)


@cache
def load_rules() -> UpgradeRules:
    """Read the rules of this package."""
    text = files("ckf_airgap.upgrades").joinpath("rules.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    mesh = document["mesh"]
    return UpgradeRules(
        tuple(
            ReleaseRule(
                entry["release"],
                {charm: _version(least) for charm, least in entry["versions"].items()},
                _version(entry["juju"]),
                _version(entry["kubernetes"]),
                entry["source"],
            )
            for entry in document["releases"]
        ),
        tuple(MinorRule(**entry) for entry in document["one_minor_at_a_time"]),
        MeshRule(mesh["name"], tuple(mesh["removed"]), tuple(mesh["deployed"]), mesh["source"]),
        tuple(BackupRule(**entry) for entry in document["backups"]),
    )


def _version(text: str) -> Version:
    version = Version.find(text)
    if version is None:
        raise ValueError(f"{text!r} in rules.yaml is not a version")
    return version
