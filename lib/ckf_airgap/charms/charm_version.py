"""The version of a charm's workload, from its image references."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import HubImageOption, ImageOption, PlainImageOption
from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.reference import ImageReference

# The numbers of a tag such as ``1.22.0``, ``v3.4.17-a0b1c2d`` or ``ckf-1.10-b40ac43``.
_NUMBERS = re.compile(r"(?<![\d.])(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?![\d])", re.ASCII)


@dataclass(frozen=True, order=True)
class Version:
    """A version of a workload: major, minor and patch."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def find(cls, text: str) -> "Version | None":
        """Find the first version in a text, for example in a tag.

        Returns:
            The version, a missing patch as 0; None if the text has none.
        """
        match = _NUMBERS.search(text)
        return cls(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None

    @property
    def minor_release(self) -> tuple[int, int]:
        """Major and minor, which decide upgrades."""
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def version_of(charm: CharmFile) -> Version | None:
    """Return the workload version of a charm, which only its image references show.

    Options with a hub and a tag come first because of istio-pilot, which has no image resource:
    the tag in its option ``image-configuration`` is the version that its ``istioctl`` has and
    installs (canonical/istio-operators, ``charms/istio-pilot``: ``charmcraft.yaml`` and
    ``config.yaml`` agree on the branches track/1.16 to track/1.28).

    Args:
        charm: The charm.

    Returns:
        The version in the first of its images that has one; None if none has.
    """
    return version_in(charm.image_options, charm.resources.values())


def version_in(options: Iterable[ImageOption], resources: Iterable[str] = ()) -> Version | None:
    """Return the version in the defaults of image options or in the images of resources.

    Juju shows the defaults of a running charm's options, so the version of istio-pilot is known
    even if somebody else deployed it.

    Args:
        options: The image options.
        resources: The upstream images of the resources.
    """
    options = list(options)
    hubs = [
        image
        for option in options
        if isinstance(option, HubImageOption)
        for image in option.images
    ]
    plain = [option.image for option in options if isinstance(option, PlainImageOption)]
    for image in (*hubs, *resources, *plain):
        reference = ImageReference.parse(image)
        version = Version.find(reference.tag or "") if reference else None
        if version:
            return version
    return None


def known_versions(charms: Iterable[CharmFile]) -> list[tuple[str, Version]]:
    """List the name and the version of each charm that has a version."""
    versions = ((charm.name, version_of(charm)) for charm in charms)
    return [(name, version) for name, version in versions if version]


class CharmVersions:
    """Charms by name, each in one or several versions.

    Attributes:
        place: The name of the archive or directory that contains them, for messages.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._found: dict[str, dict[Version | None, CharmFile]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, charm: CharmFile) -> None:
        """Add a charm.

        Raises:
            ArtifactError: Another charm has the same name, and the same or an unknown version.
        """
        versions = self._found.setdefault(charm.name, {})
        version = version_of(charm)
        if version is None or None in versions:
            other = next(iter(versions.values()), charm)
        else:
            other = versions.get(version, charm)
        if other is not charm:
            which = f" {version}" if version else ""
            raise ArtifactError(
                f"{self.place} contains the charm {charm.name}{which} twice: in {other.label} and "
                f"in {charm.label}",
                "keep only one of the two files",
            )
        versions[version] = charm

    @property
    def newest(self) -> tuple[CharmFile, ...]:
        """The newest version of each charm, sorted by name."""
        return tuple(versions[-1] for versions in self._in_order())

    @property
    def intermediate(self) -> tuple[CharmFile, ...]:
        """The older versions, through which an upgrade passes, sorted by name and version."""
        return tuple(charm for versions in self._in_order() for charm in versions[:-1])

    def _in_order(self) -> list[list[CharmFile]]:
        return [
            # If there are several, each has a version.
            [versions[version] for version in sorted(filter(None, versions))]
            or list(versions.values())
            for _, versions in sorted(self._found.items())
        ]
