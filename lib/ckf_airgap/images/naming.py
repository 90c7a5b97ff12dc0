"""The rule that names an image below the registry prefix.

``docker.io/istio/proxyv2:1.17.3`` becomes ``<prefix>/istio/proxyv2:1.17.3``: the first of three or
more components is dropped. Images of several registries may get the same path in this way. So each
image also gets its full original name, ``<prefix>/docker.io/istio/proxyv2:1.17.3``. A node with a
mirror configuration asks for this name and no other.
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

    The rule is that of Canonical's public retag script: drop the first of three or more
    components, whether or not it is a host; keep a shorter name. Exception: of two components,
    drop a host with a port, an IP address or ``localhost``, because the script would make an
    invalid name.

    Args:
        reference: The image, under its original name or as retagged for a local registry (host
            with a port, IP address or localhost), as the public scripts do.
    """
    components = reference.components
    drop_first = len(components) >= 3 or (
        len(components) == 2 and _is_local_registry(components[0])
    )
    if not drop_first:
        # A host may have upper case letters, a repository may not.
        components = [components[0].lower(), *components[1:]]
    return ImagePath("/".join(components[1:] if drop_first else components), reference.version)


def archived_paths(reference: ImageReference) -> frozenset[ImagePath]:
    """List the paths that match an image of the archive.

    The name in the archive is the original one, or one retagged for some registry. It does not
    show which of the two, so the paths of both are returned.

    Args:
        reference: A name from the archive (one of its RepoTags).

    Returns:
        One or more paths.
    """
    components = reference.components
    paths = {image_path(reference)}
    if len(components) >= 2 and may_be_host(components[0]):
        paths.add(ImagePath("/".join(components[1:]), reference.version))
    if len(components) == 3 and _is_local_registry(components[1]):
        # The public script keeps the host of an original name of two components: localhost/app
        # becomes 172.17.0.2:5000/localhost/app.
        paths.add(ImagePath(components[2], reference.version))
    if not may_be_host(components[0]):
        # Docker shortens the names of Docker Hub: it saves docker.io/library/ubuntu as ubuntu.
        for hub in ("docker.io", "docker.io/library"):
            full = ImageReference(f"{hub}/{reference.name}", reference.tag, reference.digest)
            paths.add(image_path(full))
    return frozenset(paths)


def mirror_path(reference: ImageReference) -> ImagePath | None:
    """Return the path of an image below the registry prefix under its full original name.

    A node with a mirror configuration asks for this name and no other.

    It is ``HOST/REPOSITORY``, with the host and the repository that a container runtime asks for:
    ``busybox`` is ``docker.io/library/busybox``. So two registries never share a path.

    Args:
        reference: The image, under its original name or as retagged for a local registry (host
            with a port, IP address or localhost), as the public scripts do.

    Returns:
        The path; None if the name does not tell the original registry, because its host is a local
        registry, or if a repository cannot have such a name.
    """
    components = reference.components
    if len(components) >= 3 and _is_local_registry(components[0]) and may_be_host(components[1]):
        # The public script keeps the host of an original name of two components:
        # docker.io/ubuntu becomes 172.17.0.2:5000/docker.io/ubuntu.
        name = "/".join(components[1:])
        return mirror_path(ImageReference(name, reference.tag, reference.digest))
    host, path = reference.upstream
    repository = f"{host.lower()}/{path.repository}"
    if _is_local_registry(host) or not is_repository(repository):
        return None
    return ImagePath(repository, path.tag)


def is_retagged(name: ImageReference, own_host: str) -> bool:
    """Return whether the name of an archived image does not tell its original registry.

    Args:
        name: The name from the archive.
        own_host: Host and port of the operator's registry.
    """
    return mirror_path(name) is None or name.upstream[0] == own_host


def mirror_paths(
    archived: Iterable[ImageReference], wanted: Iterable[ImageReference], own_host: str
) -> dict[ImageReference, ImagePath]:
    """List the paths of the images of an archive under their full original names.

    A node with a mirror configuration asks for these names and no others.

    Args:
        archived: The names from the archive.
        wanted: The images that the charms use. They provide the original names of archived images
            whose names no longer contain the original registry.
        own_host: Host and port of the operator's registry, which needs no mirror.

    Returns:
        The path of each original name.
    """
    names = list(archived)
    retagged = {image_path(name) for name in names if is_retagged(name, own_host)}
    names += [name for name in wanted if image_path(name) in retagged]
    paths = {name: mirror_path(name) for name in names if name.upstream[0] != own_host}
    return {name: path for name, path in paths.items() if path}


class MemberNames:
    """Finds the wanted image that a file is named after, for images without a name in the archive.

    The public scripts name a file after its image, with ``-`` for each ``/`` and ``:``. This
    cannot be reversed, so the file names of the wanted images are computed and compared.
    """

    def __init__(self, wanted: Iterable[ImageReference]) -> None:
        """Index the wanted images by their possible file names.

        Args:
            wanted: The images that the charms use.
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
            file_name: The base name of the file, without its extension.

        Returns:
            The image with this original name, or else the one whose path is the longest end of
            the file name; None if there is none, or if several images have that name or path.
        """
        if len(file_name) > LONGEST_REFERENCE:
            return None
        found = self._originals.get(file_name)
        # The file name may begin with the registry that the image was retagged for.
        rest: str | None = file_name
        while not found and rest is not None:
            found = self._retagged.get(rest)
            _, hyphen, rest = rest.partition("-")
            rest = rest if hyphen else None
        if not found:
            return None
        # Two references to the same path are the same image.
        is_one = len({image_path(reference) for reference in found}) == 1
        return min(found, key=str) if is_one else None


def _is_local_registry(component: str) -> bool:
    """Return whether a host is a local registry: it has a port, or is localhost or an address."""
    if ":" in component or component == "localhost":
        return True
    try:
        ipaddress.ip_address(component)
    except ValueError:
        return False
    return True
