"""The images that Juju itself uses, which no charm names.

The rules are those of Juju's source: ``cloudconfig/podcfg/image.go`` for names, tags and the
default repository, ``controller/config.go`` for the channel of the database,
``caasoperatorprovisioner`` for the operators of podspec charms, ``DefaultSupportedLTSBase`` for
the controller's own pod; and the release notes of 3.6.9 and 3.6.19, which changed them.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ckf_airgap.errors import ConfigurationError

_VERSION = re.compile(
    r"(?P<major>\d{1,9})\.(?P<minor>\d{1,9})(?:\.(?P<patch>\d{1,9})|-[a-z]{1,20}\d{1,9})(?:\.\d{1,9})?",
    re.ASCII,
)
_CONTROLLER_BASE = "ubuntu@24.04"
_PODSPEC_BASE = "ubuntu@20.04"


class CharmWithBase(Protocol):
    """A charm, as far as it decides what its operator or its containers are based on."""

    @property
    def is_podspec(self) -> bool:
        """Whether an operator pod of Juju runs it."""
        ...

    @property
    def base(self) -> str | None:
        """The base, for example ``ubuntu@22.04``; None for charms of the old format."""
        ...


@functools.total_ordering
@dataclass(frozen=True)
class JujuVersion:
    """A version of Juju.

    Attributes:
        text: As Juju writes it, for example ``3.6.8`` or ``4.1-beta2``: the tag of its agent.
        release: Major, minor, patch; a pre-release counts as its release.
    """

    text: str
    release: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> "JujuVersion":
        """Read a version (Juju's package ``version``, ``Number``).

        Raises:
            ValueError: It is none.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError("not a version of Juju")
        return cls(text, (int(match["major"]), int(match["minor"]), int(match["patch"] or 0)))

    @classmethod
    def of_option(cls, text: str) -> "JujuVersion":
        """Read the version in the option ``--juju-version``.

        Raises:
            ConfigurationError: It is none.
        """
        try:
            return cls.parse(text)
        except ValueError as error:
            raise ConfigurationError(
                f"--juju-version {text!r} is not a version of Juju", "give it as 3.6.8"
            ) from error

    def __lt__(self, other: "JujuVersion") -> bool:
        return self.release < other.release

    def __str__(self) -> str:
        return self.text

    @property
    def major(self) -> int:
        """The first number, which client and controller share."""
        return self.release[0]

    @property
    def has_podspec(self) -> bool:
        """Whether it deploys podspec charms."""
        return self.major < 4

    @property
    def repository(self) -> str:
        """Where its images are by default."""
        return "ghcr.io/juju" if self.release >= (3, 6, 9) else "docker.io/jujusolutions"

    @property
    def _database_image(self) -> str | None:
        """The image of the controller's database, which 4.0 has in the agent itself."""
        if self.major >= 4:
            return None
        return "juju-db:4.4.30" if self.release >= (3, 6, 19) else "juju-db:4.4"

    @property
    def controller_images(self) -> tuple[str, ...]:
        """Name and tag of each image of the controller's own pod, except its agent's."""
        return (*filter(None, [self._database_image]), _charm_base(_CONTROLLER_BASE))

    def images_of(self, charms: Iterable[CharmWithBase]) -> tuple[str, ...]:
        """List the images that a model uses.

        Args:
            charms: The charms that are to be deployed.

        Returns:
            Name and tag of each, that of the agent first.
        """
        bases = {_PODSPEC_BASE if charm.is_podspec else charm.base for charm in charms}
        return (
            f"jujud-operator:{self}",
            *(_charm_base(base) for base in sorted(filter(None, bases))),
        )

    def all_images(self, charms: Iterable[CharmWithBase]) -> tuple[str, ...]:
        """List the images that a controller and a model use, each once."""
        return tuple(dict.fromkeys([*self.images_of(charms), *self.controller_images]))


def _charm_base(base: str) -> str:
    return f"charm-base:{base.replace('@', '-')}"
