"""The registry prefix that the operator gives: ``host[:port][/path]``."""

import re
from dataclasses import dataclass

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.reference import (
    COMPONENT,
    HOST,
    LONGEST_NAME,
    LONGEST_REPOSITORY,
    ImagePath,
    ImageReference,
    registry_host,
)

_LOCATION = re.compile(rf"(?P<host>{HOST})(?P<path>(?:/{COMPONENT})*)", re.ASCII)
SHORTER_PATH = "give the option registry a shorter path"
"""The cure for repository names that are too long."""


@dataclass(frozen=True)
class RegistryLocation:
    """The registry prefix that the operator gives: ``host[:port][/path]``.

    Attributes:
        host: Host and port, for example ``registry.corp:5000``.
        path: The path below it, without leading and trailing slashes; may be empty.
    """

    host: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "RegistryLocation":
        """Parse a registry prefix, for example ``registry.corp:5000/ckf``.

        Raises:
            ConfigurationError: It is invalid; the message says why.
        """
        if "@" in text:
            # The message must not quote the text, which may contain a password.
            raise ConfigurationError(
                "registry has an account in it",
                "remove the part before the @; give it as the secret registry-credentials",
            )
        problem = _location_problem(text)
        if problem:
            raise ConfigurationError(
                f"registry {text[:LONGEST_NAME]!r} {problem}",
                "give it as HOST[:PORT][/PATH], for example registry.corp:5000/ckf",
            )
        match = _LOCATION.fullmatch(text)
        if match is None:
            raise AssertionError(text)
        return cls(match["host"], match["path"].strip("/"))

    def repository(self, path: ImagePath) -> str:
        """Return the repository of an image in this registry, without the host."""
        return f"{self.path}/{path.repository}" if self.path else path.repository

    def length_problem(self, path: ImagePath) -> str:
        """Describe why the repository name of an image is too long; empty if it is not."""
        length = len(self.repository(path))
        if length <= LONGEST_REPOSITORY:
            return ""
        return (
            f"its repository below the prefix has a name of {length} characters, and registries "
            f"allow {LONGEST_REPOSITORY}"
        )

    def image(self, path: ImagePath) -> ImageReference:
        """Return the reference with which Kubernetes pulls an image from this registry."""
        return ImageReference(f"{self.host}/{self.repository(path)}", path.tag)

    def reference(self, path: ImagePath) -> str:
        """Return ``image`` as text."""
        return str(self.image(path))

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


def _location_problem(text: str) -> str:
    """Describe what is wrong with a registry prefix; empty if nothing is."""
    if not text:
        return "is empty"
    if "://" in text:
        return "has a scheme in front"
    if text != text.strip() or " " in text:
        return "has a space in it"
    if len(text) > LONGEST_NAME:
        return "is too long"
    if text.endswith("/"):
        return "ends with a slash"
    match = _LOCATION.fullmatch(text)
    if match is None:
        _, _, path = text.partition("/")
        return (
            "has upper case letters in its path" if path != path.lower() else "is not a valid name"
        )
    if registry_host(f"{match['host']}/image") != match["host"]:
        # Container runtimes would pull from Docker Hub.
        return "begins with a host that has neither a dot nor a port"
    port = re.search(r":([0-9]+)$", match["host"])
    if port and not 0 < int(port[1]) < 65536:
        return f"has the port {port[1]}, which is out of range"
    return ""
