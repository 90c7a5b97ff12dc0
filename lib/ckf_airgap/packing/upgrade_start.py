"""The release that runs before an upgrade (``pack --upgrade-from``), and the intermediate charms.

Intermediate charms are the versions of a charm that the upgrade must pass through.
"""

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
        name: The name that the operator gave: of a release, or of a bundle file.
        versions: The known versions of the charms that the rules depend on.
    """

    name: str
    versions: Mapping[str, Version]

    @classmethod
    def of_release(cls, name: str) -> "UpgradeStart | None":
        """Return a release of Charmed Kubeflow.

        Args:
            name: The name of the release, for example ``1.10``.

        Returns:
            The release; None if the rules have no release with this name.
        """
        for rule in load_rules().releases:
            if rule.release == name:
                return cls(name, rule.versions)
        return None

    @classmethod
    def of_bundle(cls, name: str, text: str) -> "UpgradeStart":
        """Find out which release a bundle deploys.

        A version is in the channel of the charm, or else it is that of the release that the other
        charms identify.

        Args:
            name: The file name of the bundle, for messages.
            text: The bundle.

        Returns:
            The running release before an upgrade.

        Raises:
            ConfigurationError: The text is not a bundle, or does not show the version of a charm
                that is upgraded one minor version at a time.
        """
        rules = load_rules()
        versions: dict[str, Version] = {}
        topology = read_bundle(text, name, "correct it (the file of --upgrade-from)")
        deployed = {application.charm for application in topology.applications}
        for application in topology.applications:
            charm = application.charm
            version = Version.find(application.channel or "")
            if charm in rules.charms_with_versions and version:
                # Of several applications, use the oldest: its upgrade has the most steps.
                versions[charm] = min(version, versions.get(charm, version))
        release = rules.release_of(versions.items())
        for charm in (rule.charm for rule in rules.minors):
            if charm not in versions and release and charm in release.versions:
                versions[charm] = release.versions[charm]
        lacking = [
            rule.charm
            for rule in rules.minors
            if rule.charm in deployed and rule.charm not in versions
        ]
        if lacking:
            raise ConfigurationError(
                f"{name} does not specify the version of {', '.join(lacking)}",
                "give a bundle with the channels of these charms, or the release that runs, for "
                "example --upgrade-from 1.10",
            )
        return cls(name, versions)

    @property
    def release(self) -> ReleaseRule | None:
        """The release of these versions, or None if it is unknown."""
        return load_rules().release_of(self.versions.items())

    def require_next(self, charms: Iterable[CharmFile]) -> None:
        """Require that this release can be upgraded directly to the release to pack.

        Args:
            charms: The charms of the release to pack.

        Raises:
            ConfigurationError: The release to pack is older, or there is another release between
                the two.
        """
        rules = load_rules()
        after = rules.release_in(known_versions(charms))
        if self.release is None or after is None:
            return
        first, last = map(rules.releases.index, (self.release, after))
        if last < first:
            raise ConfigurationError(
                f"the charms to pack are of Charmed Kubeflow {after.release}, which is older than "
                f"{self.release.release}",
                "charms cannot be downgraded: pack the release after the one that runs",
            )
        if last > first + 1:
            between = rules.releases[first + 1].release
            raise ConfigurationError(
                f"the charms to pack are of Charmed Kubeflow {after.release}, but "
                f"{self.release.release} must be upgraded to {between} first",
                f"pack {between} with --upgrade-from {self.release.release}, then "
                f"{after.release} with --upgrade-from {between}",
            )

    def origins_between(self, charms: Iterable[CharmFile]) -> list[CharmOrigin]:
        """List the intermediate charms of the upgrade that are not available.

        Args:
            charms: The available charms: those of the release to pack, and intermediate ones.

        Returns:
            The missing intermediate charms, to download.
        """
        versions = known_versions(charms)
        origins: list[CharmOrigin] = []
        for rule in load_rules().minors:
            available = [version for name, version in versions if name == rule.charm]
            first = self.versions.get(rule.charm)
            if not available or first is None:
                continue
            minors = {version.minor_release for version in available}
            origins += [
                CharmOrigin(rule.charm, rule.channel_of(minor))
                for minor in rule.between(first, max(available))
                if minor not in minors
            ]
        return origins
