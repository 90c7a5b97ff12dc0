"""The release that a packed one upgrades, and the charms between them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import Version, known_versions
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.juju.charm_download import CharmOrigin
from ckf_airgap.planning.bundle_and_overlay import read_bundle
from ckf_airgap.upgrades.rules import ReleaseRule, load_rules


@dataclass(frozen=True)
class UpgradeStart:
    """The running release before an upgrade.

    Attributes:
        name: The operator's name for it: a release, or the bundle.
        versions: The known versions of the charms that the rules depend on.
    """

    name: str
    versions: Mapping[str, Version]

    @classmethod
    def of_release(cls, name: str) -> "UpgradeStart | None":
        """Return a release of Charmed Kubeflow; None if the rules have none of this name."""
        for rule in load_rules().releases:
            if rule.release == name:
                return cls(name, rule.versions)
        return None

    @classmethod
    def of_bundle(cls, name: str, text: str) -> "UpgradeStart":
        """Return the release of a bundle, from the channels of its charms.

        Args:
            name: Its name in messages.
            text: The bundle.

        Raises:
            ConfigurationError: It is not a bundle, or lacks a version.
        """
        rules = load_rules()
        versions: dict[str, Version] = {}
        for item in read_bundle(text).applications:
            version = Version.find(item.channel or "")
            if item.charm in rules.charms_with_versions and version:
                # Of several applications, the one with the most steps.
                versions[item.charm] = min(version, versions.get(item.charm, version))
        release = rules.release_of(versions.items())
        for charm in (rule.charm for rule in rules.minors):
            if charm not in versions and release and charm in release.versions:
                versions[charm] = release.versions[charm]
        lacking = [rule.charm for rule in rules.minors if rule.charm not in versions]
        if lacking:
            raise ConfigurationError(
                f"{name} does not tell the version of {', '.join(lacking)}",
                "give a bundle with its channel, or the release that runs: --upgrade-from 1.10",
            )
        return cls(name, versions)

    @property
    def release(self) -> ReleaseRule | None:
        """The release, if the versions show it."""
        return load_rules().release_of(self.versions.items())

    def require_next(self, charms: Iterable[CharmFile]) -> None:
        """Refuse to pack a release that this one cannot be upgraded to.

        Args:
            charms: The charms of the release to pack.

        Raises:
            ConfigurationError: A release lies between, or it is older.
        """
        rules = load_rules()
        after = rules.release_in(known_versions(charms))
        if self.release is None or after is None:
            return
        first, last = map(rules.releases.index, (self.release, after))
        if last < first:
            raise ConfigurationError(
                f"what is packed is Charmed Kubeflow {after.release}, which is older than "
                f"{self.release.release}",
                "no charm goes back: pack the release after the one that runs",
            )
        if last > first + 1:
            between = rules.releases[first + 1].release
            raise ConfigurationError(
                f"what is packed is Charmed Kubeflow {after.release}, and an upgrade goes from "
                f"{self.release.release} to {between} first",
                f"pack {between} with --upgrade-from {self.release.release}, and then "
                f"{after.release} with --upgrade-from {between}",
            )

    def origins_between(self, charms: Iterable[CharmFile]) -> list[CharmOrigin]:
        """List the charms between, through which an upgrade passes.

        Args:
            charms: The available charms: of the release to pack, and any between.

        Returns:
            The charms to download besides these.
        """
        told = known_versions(charms)
        origins: list[CharmOrigin] = []
        for rule in load_rules().minors:
            there = [version for name, version in told if name == rule.charm]
            first = self.versions.get(rule.charm)
            if not there or first is None:
                continue
            held = {version.minor_release for version in there}
            origins += [
                CharmOrigin(rule.charm, rule.channel_of(minor))
                for minor in rule.between(first, max(there))
                if minor not in held
            ]
        return origins
