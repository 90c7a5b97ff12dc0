"""Versions of Juju (Juju's package ``version``, ``Number``)."""

import functools
import re
from dataclasses import dataclass

from ckf_airgap.errors import ConfigurationError, JujuError

_VERSION = re.compile(r"\d{1,9}\.\d{1,9}(?:\.\d{1,9}|-[a-z]{1,20}\d{1,9})(?:\.\d{1,9})?", re.ASCII)


@functools.total_ordering
@dataclass(frozen=True)
class JujuVersion:
    """A version of Juju.

    Attributes:
        text: The version as Juju writes it, for example ``3.6.8`` or ``4.1-beta2``; also the tag
            of its agent.
        release: Major, minor, patch; a pre-release counts as its release.
    """

    text: str
    release: tuple[int, int, int]

    @classmethod
    def find(cls, text: str) -> "JujuVersion | None":
        """Read a version; None if it is invalid."""
        return cls(text, release_numbers(text)) if _VERSION.fullmatch(text) else None

    @classmethod
    def of_option(cls, text: str) -> "JujuVersion":
        """Read the version in the option ``--juju-version``.

        Raises:
            ConfigurationError: It is invalid.
        """
        if (found := cls.find(text)) is None:
            raise ConfigurationError(
                f"--juju-version {text!r} is not a version of Juju",
                "give it as in --juju-version 3.6.8",
            )
        return found

    @classmethod
    def of_controller(cls, text: str) -> "JujuVersion":
        """Read the version that a controller gives as its own.

        Raises:
            JujuError: It is invalid.
        """
        if (found := cls.find(text)) is None:
            raise JujuError(
                f"the controller gives {text!r} as its version, which is not a version of Juju",
                "check the version in the output of juju status",
            )
        return found

    def __lt__(self, other: "JujuVersion") -> bool:
        return self.release < other.release

    def __str__(self) -> str:
        return self.text

    @property
    def major(self) -> int:
        """The major version, which client and controller must share."""
        return self.release[0]

    @property
    def has_podspec(self) -> bool:
        """Whether it deploys podspec charms."""
        return self.major < 4


def release_numbers(text: str) -> tuple[int, int, int]:
    """Return major, minor and patch; missing parts count as 0, a pre-release as its release."""
    numbers = re.findall(r"\d{1,9}", text.partition("-")[0])
    major, minor, patch, *_ = [*map(int, numbers), 0, 0, 0]
    return major, minor, patch
