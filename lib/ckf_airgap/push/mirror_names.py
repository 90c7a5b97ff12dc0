"""Gives each pushed image a second name: the full original name, which mirrors ask for.

The registry mounts the layers into the repository of that name: nothing is sent again, and each
layer is stored once.
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

# After so many refused names, if none was accepted, the rest is not tried.
_MOST_REFUSALS = 8
_MOST_SHOWN = 3


@dataclass(frozen=True)
class _Copy:
    """An image, and the second name to give to it.

    Attributes:
        source: The path under which it was pushed.
        digest: The digest of its manifest.
        target: The path at which mirrors find it.
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
    """Give pushed images the names by which mirrors find them, unless they have these already.

    Args:
        client: The registry.
        location: The registry prefix.
        images: The images of the archive, as they were pushed.
        wanted: The images that the charms use, by their original names.
        on_step: Called regularly.

    Returns:
        Lines for the operator: which images did not get such a name, and why. Empty if all have
        it. Nothing that is deployed depends on these names, so a refusal is no error.
    """
    copies = list(_copies(location, images, wanted))
    problems: dict[ImagePath, str] = {}
    accepted = 0

    def publish(copy: _Copy) -> str:
        if len(problems) >= _MOST_REFUSALS and not accepted:
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
                accepted += 1
    if not problems:
        return ()
    shown = ", ".join(map(location.reference, list(problems)[:_MOST_SHOWN]))
    more = f" and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
    causes = list(dict.fromkeys(problems.values()))
    return (
        f"the registry does not accept the second name of some images ({causes[0]}): nodes with a "
        f"mirror configuration cannot pull {shown}{more}; what is deployed does not need them",
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
        # If two images have the same original name, the first in the archive gets it.
        if source != target and target not in digests:
            copies.setdefault(target, _Copy(source, digests[source], target))
    return copies.values()


def _publish(client: RegistryClient, location: RegistryLocation, copy: _Copy) -> str:
    """Give an image its second name; return why that failed, or an empty string.

    Raises:
        ArtifactError: The manifest in the registry is damaged.
        RegistryError: The registry fails or refuses.
    """
    if problem := location.length_problem(copy.target):
        return problem
    source, target = map(location.repository, (copy.source, copy.target))
    if client.manifest_digest(target, copy.target.tag) == copy.digest:
        return ""
    manifest = registry_manifest(client, source, copy.digest)
    if manifest is None or sha256_of(manifest.content) != copy.digest:
        return f"the registry does not return the manifest {copy.digest} of {source}"
    for blob in (manifest.config, *manifest.layers):
        is_there = client.mount_blob(Blob(blob.digest, blob.size), source, target)
        if not is_there and not client.has_blob(target, blob.digest):
            return "the registry does not mount layers across repositories"
    client.publish(target, copy.target.tag, [Manifest(manifest.media_type, manifest.content)])
    return ""
