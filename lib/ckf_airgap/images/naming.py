"""The rule that names an image below the registry prefix.

An image keeps its path there: ``docker.io/istio/proxyv2:1.17.3`` is found at
``<prefix>/istio/proxyv2:1.17.3``. What pods name by its original registry is found by its whole
name, at ``<prefix>/docker.io/istio/proxyv2:1.17.3``: a mirror has no other name to go by, and the
path alone may be that of several registries.
"""

import ipaddress
import re
from collections.abc import Iterable

from ckf_airgap.images.reference import (
    LONGEST_REFERENCE,
    ImagePath,
    ImageReference,
    is_repository,
    may_be_host,
)


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
    if len(components) >= 2 and may_be_host(components[0]):
        paths.add(ImagePath("/".join(components[1:]), reference.version))
    if len(components) == 3 and _is_cache_host(components[1]):
        # The public script keeps a host that has one component below it.
        paths.add(ImagePath(components[2], reference.version))
    if not may_be_host(components[0]):
        # Docker shortens the names of its own hub: docker.io/library/ubuntu is saved as ubuntu.
        for hub in ("docker.io", "docker.io/library"):
            full = ImageReference(f"{hub}/{reference.name}", reference.tag, reference.digest)
            paths.add(image_path(full))
    return frozenset(paths)


def mirror_path(reference: ImageReference) -> ImagePath | None:
    """Return the path below the registry prefix at which the mirror of a registry finds an image.

    It is ``HOST/REPOSITORY``, with the host and the repository that a container runtime asks for:
    ``busybox`` is ``docker.io/library/busybox``. So no two images have the same one.

    Args:
        reference: The image, under its original name or as retagged for a cache registry.

    Returns:
        The path, or None where the name does not tell the original registry.
    """
    components = reference.components
    if len(components) >= 3 and _is_cache_host(components[0]) and may_be_host(components[1]):
        # The public script keeps a host that has one component below it.
        name = "/".join(components[1:])
        return mirror_path(ImageReference(name, reference.tag, reference.digest))
    host, path = reference.upstream
    repository = f"{host.lower()}/{path.repository}"
    if _is_cache_host(host) or not is_repository(repository):
        return None
    return ImagePath(repository, path.tag)


def mirror_paths(
    archived: Iterable[ImageReference], wanted: Iterable[ImageReference], own_host: str
) -> dict[ImageReference, ImagePath]:
    """List the paths at which mirrors find the images of an archive.

    Args:
        archived: The names from the archive.
        wanted: The images that the charms take: they tell the original names of images whose own
            name does not.
        own_host: Host and port of the registry itself, which needs no mirror.

    Returns:
        The path of each original name.
    """
    names = list(archived)
    retagged = {image_path(name) for name in names if mirror_path(name) is None}
    names += [name for name in wanted if image_path(name) in retagged]
    paths = {name: mirror_path(name) for name in names if name.upstream[0] != own_host}
    return {name: path for name, path in paths.items() if path}


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
        if len(file_name) > LONGEST_REFERENCE:
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


def _is_cache_host(component: str) -> bool:
    """Tell a pull-through cache from a public registry, which has a name and no port."""
    if ":" in component or component == "localhost":
        return True
    try:
        ipaddress.ip_address(component)
    except ValueError:
        return False
    return True
