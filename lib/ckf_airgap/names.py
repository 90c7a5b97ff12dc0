"""Image references, and the rule that names an image below the registry prefix.

The grammar is that of the distribution project's reference package: ``name[:tag][@digest]``, where
a name is an optional host and path components. An image keeps its path under the registry prefix:
``docker.io/istio/proxyv2:1.17.3`` is found at ``<prefix>/istio/proxyv2:1.17.3``.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ckf_airgap.errors import ConfigurationError

_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_LOCATION = re.compile(rf"(?P<host>{_HOST})(?P<path>(?:/{_COMPONENT})*)", re.ASCII)
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_DEFAULT_TAG = "latest"
# Nobody reads all of 190 names.
_MOST_NAMES = 20
_LONGEST_TAG = 128
# The length that the distribution project allows for a name, host included.
_LONGEST_NAME = 255
# How many characters the name of a repository may have in a registry (of the same project).
_LONGEST_REPOSITORY = 255
SHORTER_PATH = "give the option registry a shorter path"
"""What to do where the names of repositories are too long."""
_LONGEST_REFERENCE = 1024


@dataclass(frozen=True)
class ImageReference:
    """An image reference.

    Attributes:
        name: Host (where given) and repository, without tag and digest.
        tag: The tag, or None.
        digest: The digest with its algorithm (``sha256:...``), or None.
    """

    name: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference | None":
        """Read a reference.

        Args:
            text: For example ``docker.io/istio/proxyv2:1.17.3``.

        Returns:
            The reference, or None where the text is not one.
        """
        match = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST_REFERENCE else None
        if match is None or len(match["name"]) > _LONGEST_NAME:
            return None
        return cls(match["name"], match["tag"], match["digest"])

    @property
    def version(self) -> str:
        """The tag below the registry prefix.

        An image loses its digest when it is saved and pushed again, so the digest's hexadecimal
        part serves as the tag, as the public scripts do it.
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
        """The registry that a container runtime asks for it, and the path that it asks for.

        The names of Docker Hub are complete there: ``busybox`` is ``library/busybox``.
        """
        host = registry_host(self.name)
        repository = self.name.removeprefix(f"{host}/")
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
        """The last component of the repository: what an operator would call the image."""
        return self.repository.rpartition("/")[2]


def image_path(reference: ImageReference) -> ImagePath:
    """Return the path of an image below the registry prefix.

    The rule is that of the public retag script: with three components or more the first is
    dropped, be it a host or not; with fewer, the whole name is kept. A registry with a port or an
    address for a host, which that script would turn into an invalid name, is dropped as well.

    Args:
        reference: The image, under its original name or as retagged for a cache registry.

    Returns:
        The path below the prefix.
    """
    components = reference.components
    drop_first = len(components) >= 3 or (len(components) == 2 and _is_cache_host(components[0]))
    if not drop_first:
        # A host may be in upper case, a repository may not.
        components = [components[0].lower(), *components[1:]]
    return ImagePath("/".join(components[1:] if drop_first else components), reference.version)


def archived_paths(reference: ImageReference) -> frozenset[ImagePath]:
    """List the paths by which an image of the archive can be found.

    A name in the archive is either the original one or one already retagged for some registry; the
    two cannot be told apart, so that both readings count.

    Args:
        reference: A name from the archive (one of its RepoTags).

    Returns:
        One path or more.
    """
    components = reference.components
    paths = {image_path(reference)}
    if len(components) >= 2 and _may_be_host(components[0]):
        paths.add(ImagePath("/".join(components[1:]), reference.version))
    if len(components) == 3 and _is_cache_host(components[1]):
        # The public script keeps a host that has one component below it.
        paths.add(ImagePath(components[2], reference.version))
    if not _may_be_host(components[0]):
        # Docker shortens the names of its own hub: docker.io/library/ubuntu is saved as ubuntu.
        for hub in ("docker.io", "docker.io/library"):
            full = ImageReference(f"{hub}/{reference.name}", reference.tag, reference.digest)
            paths.add(image_path(full))
    return frozenset(paths)


class MemberNames:
    """Names images without a name after their files.

    The public scripts name a file after its image with ``/`` and ``:`` turned into ``-``. That
    cannot be turned back, so the wanted names are turned forward and compared.
    """

    def __init__(self, wanted: Iterable[ImageReference]) -> None:
        """Prepare.

        Args:
            wanted: The images that the charms take.
        """
        self._originals: dict[str, set[ImageReference]] = {}
        self._retagged: dict[str, set[ImageReference]] = {}
        for reference in wanted:
            digest = f"@{reference.digest}" if reference.digest else ""
            tag = f":{reference.tag}" if reference.tag else ""
            original = re.sub("[/:]", "-", f"{reference.name}{tag}{digest}")
            path = image_path(reference)
            is_plain = reference.tag is None and reference.digest is None
            retagged = re.sub("[/:]", "-", path.repository if is_plain else str(path))
            self._originals.setdefault(original, set()).add(reference)
            self._retagged.setdefault(retagged, set()).add(reference)

    def find(self, file_name: str) -> ImageReference | None:
        """Find the wanted image that a file is named after.

        Args:
            file_name: The base name of the file, without its ending.

        Returns:
            The image with the longest matching name, or None where none or more than one matches.
        """
        if len(file_name) > _LONGEST_REFERENCE:
            return None
        found = self._originals.get(file_name)
        # What stands in front of the name is the registry that it was retagged for.
        rest: str | None = file_name
        while not found and rest is not None:
            found = self._retagged.get(rest)
            _, hyphen, rest = rest.partition("-")
            rest = rest if hyphen else None
        if not found:
            return None
        # Two ways to write one image are no two images.
        is_one = len({image_path(reference) for reference in found}) == 1
        return min(found, key=str) if is_one else None


@dataclass(frozen=True)
class RegistryLocation:
    """The registry prefix that the operator gives: ``host[:port][/path]``.

    Attributes:
        host: Host and port, for example ``registry.corp:5000``.
        path: The path below it without slashes at its ends, or an empty string.
    """

    host: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "RegistryLocation":
        """Read a registry prefix.

        Args:
            text: For example ``registry.corp:5000/ckf``.

        Raises:
            ConfigurationError: The text is not of that form; the message says in what.
        """
        if "@" in text:
            # Perhaps a password; it is not repeated.
            raise ConfigurationError(
                "registry has an account in it",
                "take out what stands before the @; give it as the secret registry-credentials",
            )
        problem = _location_problem(text)
        if problem:
            raise ConfigurationError(
                f"registry {text[:_LONGEST_NAME]!r} {problem}",
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
        """Describe how the repository of an image is too long; an empty string if it is not."""
        length = len(self.repository(path))
        if length <= _LONGEST_REPOSITORY:
            return ""
        return (
            f"its repository below the prefix has a name of {length} characters, and registries "
            f"take {_LONGEST_REPOSITORY}"
        )

    def reference(self, path: ImagePath) -> str:
        """Return the reference with which Kubernetes pulls an image from this registry."""
        return f"{self.host}/{self.repository(path)}:{path.tag}"

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


def is_repository(text: str) -> bool:
    """Return whether a text is a repository name, without the host."""
    return len(text) <= _LONGEST_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def to_choose_from(wanted: str, names: Iterable[str]) -> str:
    """List names for a message, those first that resemble an unknown one.

    Args:
        wanted: The name that is none of them.
        names: The names.

    Returns:
        As ``minio, mlmd, argo-controller and 35 more``; ``none`` where there are none.
    """
    known = sorted(names)
    plain = [name.replace("_", "-").lower() for name in known]
    near = difflib.get_close_matches(wanted.replace("_", "-").lower(), plain)
    nearest = [known[plain.index(name)] for name in near]
    ordered = list(dict.fromkeys([*nearest, *known]))
    shown = ", ".join(ordered[:_MOST_NAMES])
    rest = len(ordered) - _MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown or "none"


def registry_host(reference: str) -> str:
    """Return the registry that an image reference of a pod is pulled from.

    Args:
        reference: As it stands in the pod. A first component without a dot, a colon and not
            ``localhost`` is not a host: such an image comes from Docker Hub.

    Returns:
        Host and port, ``docker.io`` where the reference names none.
    """
    first, slash, _ = reference.partition("/")
    if slash and _may_be_host(first):
        return first
    return "docker.io"


def _may_be_host(component: str) -> bool:
    return "." in component or ":" in component or component == "localhost"


def _is_cache_host(component: str) -> bool:
    """Tell a pull-through cache from a public registry, which has a name and no port."""
    if ":" in component or component == "localhost":
        return True
    try:
        ipaddress.ip_address(component)
    except ValueError:
        return False
    return True


def _location_problem(text: str) -> str:
    """Describe what is wrong with a registry prefix; an empty string if nothing is."""
    if not text:
        return "is empty"
    if "://" in text:
        return "has a scheme in front"
    if text != text.strip() or " " in text:
        return "has a space in it"
    if len(text) > _LONGEST_NAME:
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
        # Container runtimes would look for it on Docker Hub.
        return "begins with a host that has neither a dot nor a port"
    port = re.search(r":([0-9]+)$", match["host"])
    if port and not 0 < int(port[1]) < 65536:
        return f"has the port {port[1]}, which is out of range"
    return ""
