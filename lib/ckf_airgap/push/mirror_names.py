"""The second name of each image: the one by which a mirror of its original registry finds it.

The registry mounts the layers there, so that nothing is sent again, and stores them once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ckf_airgap.errors import ArtifactError, RegistryError
from ckf_airgap.images.naming import image_path, mirror_paths
from ckf_airgap.images.oci import Blob, sha256_of
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.image_manifests import registry_manifest
from ckf_airgap.push.push_records import PushedImage
from ckf_airgap.registry.client import Manifest, RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests

# So many names are refused, and none is taken, before the rest is not tried any more.
_MOST_REFUSALS = 8
_SHOWN = 3


@dataclass(frozen=True)
class _Copy:
    """An image that is to have a second name.

    Attributes:
        source: Where it stands.
        digest: The digest of its manifest.
        target: The path by which mirrors find it.
    """

    source: ImagePath
    digest: str
    target: ImagePath


def publish_mirror_names(
    client: RegistryClient,
    location: RegistryLocation,
    images: Iterable[PushedImage],
    wanted: Iterable[ImageReference],
    on_step: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Give pushed images the names by which mirrors find them, those that lack them.

    Args:
        client: The registry.
        location: The prefix.
        images: The images of the archive, as they were pushed.
        wanted: The images that the charms take, by their original names.
        on_step: Called now and then.

    Returns:
        What the operator should know, a line each: which images have no such name, and why.
        Nothing that is deployed depends on it.
    """
    copies = list(_copies(location, images, wanted))
    problems: dict[ImagePath, str] = {}
    taken = 0

    def publish(copy: _Copy) -> str:
        if len(problems) >= _MOST_REFUSALS and not taken:
            return next(iter(problems.values()))
        try:
            return _publish(client, location, copy)
        except (RegistryError, ArtifactError) as error:
            return error.problem

    with concurrent_requests() as map_requests:
        for copy, problem in zip(copies, map_requests(publish, copies), strict=True):
            on_step()
            if problem:
                problems[copy.target] = problem
            else:
                taken += 1
    if not problems:
        return ()
    shown = ", ".join(map(location.reference, list(problems)[:_SHOWN]))
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    causes = list(dict.fromkeys(problems.values()))
    return (
        f"nodes with a mirror configuration do not find {shown}{more}, which the registry does "
        f"not take as a second name ({causes[0]}); what is deployed does not need it",
    )


def _copies(
    location: RegistryLocation,
    images: Iterable[PushedImage],
    wanted: Iterable[ImageReference],
) -> Iterable[_Copy]:
    pushed = [each for each in images if not each.image.artifact_type]
    digests = {path: digest for each in pushed for path, digest in each.manifests.items()}
    names = [name for each in pushed for name in each.image.names if image_path(name) in digests]
    copies: dict[ImagePath, _Copy] = {}
    for name, target in mirror_paths(names, wanted, location.host).items():
        source = image_path(name)
        # One original name has one image: of two, the first in the archive has it.
        if source != target and target not in digests:
            copies.setdefault(target, _Copy(source, digests[source], target))
    return copies.values()


def _publish(client: RegistryClient, location: RegistryLocation, copy: _Copy) -> str:
    """Give an image its second name; return why that is not possible, or an empty string."""
    if problem := location.length_problem(copy.target):
        return problem
    source, target = map(location.repository, (copy.source, copy.target))
    if client.manifest_digest(target, copy.target.tag) == copy.digest:
        return ""
    manifest = registry_manifest(client, source, copy.digest)
    if manifest is None or sha256_of(manifest.content) != copy.digest:
        return f"the registry does not give the manifest {copy.digest} of {source}"
    for blob in (manifest.config, *manifest.layers):
        is_there = client.mount_blob(Blob(blob.digest, blob.size), source, target)
        if not is_there and not client.has_blob(target, blob.digest):
            return "the registry does not mount layers across repositories"
    client.publish(target, copy.target.tag, [Manifest(manifest.media_type, manifest.content)])
    return ""
