"""Image references (grammar of the distribution project's reference package).

A reference is ``name[:tag][@digest]``, where a name is an optional host and path components.
"""

import re
from dataclasses import dataclass

_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{HOST}/)?{COMPONENT}(?:/{COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_REPOSITORY = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*", re.ASCII)
_DEFAULT_TAG = "latest"
_LONGEST_TAG = 128
# The distribution project's limit for a name, host included.
LONGEST_NAME = 255
# The limit of its registry for the name of a repository, in characters.
LONGEST_REPOSITORY = 255
LONGEST_REFERENCE = 1024


@dataclass(frozen=True)
class ImageReference:
    """An image reference.

    Attributes:
        name: Host (if given) and repository, without tag and digest.
        tag: The tag, or None.
        digest: The digest with its algorithm (``sha256:...``), or None.
    """

    name: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference | None":
        """Parse a reference, for example ``docker.io/istio/proxyv2:1.17.3``; None if invalid."""
        match = _REFERENCE.fullmatch(text) if len(text) <= LONGEST_REFERENCE else None
        if match is None or len(match["name"]) > LONGEST_NAME:
            return None
        return cls(match["name"], match["tag"], match["digest"])

    @property
    def version(self) -> str:
        """The tag that the image gets below the registry prefix.

        An image loses its digest when it is saved and pushed again. So if the reference has no
        tag, the hexadecimal part of the digest becomes the tag, as in the public scripts. Without
        a digest, the tag is ``latest``.
        """
        if self.tag:
            return self.tag
        return self.digest.partition(":")[2][:_LONGEST_TAG] if self.digest else _DEFAULT_TAG

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def components(self) -> list[str]:
        """The parts of the name between the slashes, the host included."""
        return self.name.split("/")

    @property
    def upstream(self) -> "tuple[str, ImagePath]":
        """The registry that a container runtime pulls it from, and its path there.

        Paths on Docker Hub are complete: ``busybox`` is ``library/busybox``.
        """
        host = registry_host(self.name)
        repository = self.name.removeprefix(f"{host}/")
        if host == "index.docker.io":
            host = "docker.io"
        if host == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        return host, ImagePath(repository, self.version)


@dataclass(frozen=True, order=True)
class ImagePath:
    """The path of an image below the registry prefix.

    Attributes:
        repository: The repository below the prefix, for example ``istio/proxyv2``.
        tag: The tag.
    """

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def last_component(self) -> str:
        """The last component of the repository, the usual short name of the image."""
        return self.repository.rpartition("/")[2]


def is_repository(text: str) -> bool:
    """Return whether a text is a repository name, without the host."""
    return len(text) <= LONGEST_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def registry_host(reference: str) -> str:
    """Return the registry that Kubernetes pulls an image from.

    Args:
        reference: The image reference in the pod. If its first component has neither a dot nor a
            colon and is not ``localhost``, it is not a host, and the image is on Docker Hub.

    Returns:
        Host and port; ``docker.io`` if the reference has no host.
    """
    first, slash, _ = reference.partition("/")
    if slash and may_be_host(first):
        return first
    return "docker.io"


def may_be_host(component: str) -> bool:
    """Return whether the first component of a name can be a host."""
    return "." in component or ":" in component or component == "localhost"
