"""Images that pods name elsewhere: whether the nodes run what the registry holds.

A pod goes on naming an image by its original registry, whatever a mirror does. What a node has
pulled is known by its digest: where the registry holds the same under the name that a mirror asks
for, the container runs what was pushed. A tag of another registry commonly stands for an index of
several architectures, and so has another digest.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from ckf_airgap.charms.unlisted_images import load_unlisted_images
from ckf_airgap.errors import RegistryError
from ckf_airgap.images.naming import mirror_path
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.cluster import ImageReport, RunningImage
from ckf_airgap.mirrors.original_names import CONFIGURE_NODES

_IN_CODE = "the code of a charm names it, and no option changes it"
_UNKNOWN = "whether the registry holds the same is not known before images.tar.gz was pushed"


def sort_out_mirrored(
    report: ImageReport,
    charms: Iterable[str],
    location: RegistryLocation | None,
    manifest_digest: Callable[[str, str], str | None],
) -> ImageReport:
    """Tell images that a mirror served from other foreign images.

    Args:
        report: Where the images come from.
        charms: The names of the charms that are deployed.
        location: The registry prefix that a mirror takes them from; None where it is not known.
        manifest_digest: Looks up a tag or a digest in a repository of the registry.

    Returns:
        The report. An image counts as mirrored where the node has pulled what the registry holds
        under the name that a mirror asks for; it stays foreign, with what to do, where that is
        not so or cannot be told.
    """
    names = set(charms)
    in_code = {
        _repository(reference)
        for fixed in load_unlisted_images().fixed
        if fixed.charm in names
        for reference in map(ImageReference.parse, fixed.images)
        if reference
    }
    held: dict[tuple[ImagePath, str], tuple[str, str]] = {}
    foreign: list[RunningImage] = []
    mirrored: list[RunningImage] = []
    for image in report.foreign:
        reference = ImageReference.parse(image.image)
        path = mirror_path(reference) if reference else None
        if reference is None or path is None:
            foreign.append(image)
            continue
        reason = f"{_IN_CODE}; " if _repository(reference) in in_code else ""
        if location is None:
            foreign.append(replace(image, note=f"{reason}{_UNKNOWN}"))
            continue
        version = reference.digest or path.tag
        if (path, version) not in held:
            held[path, version] = _held(reference, path, version, location, manifest_digest)
        digest, problem = held[path, version]
        if digest and digest == image.digest:
            mirrored.append(image)
        else:
            problem = problem or _difference(path, image, location)
            foreign.append(replace(image, note=f"{reason}{problem}; {CONFIGURE_NODES}"))
    return replace(report, foreign=tuple(foreign), mirrored=tuple(mirrored))


def _repository(reference: ImageReference) -> tuple[str, str]:
    host, path = reference.upstream
    return host, path.repository


def _held(
    reference: ImageReference,
    path: ImagePath,
    version: str,
    location: RegistryLocation,
    manifest_digest: Callable[[str, str], str | None],
) -> tuple[str, str]:
    """Give the digest of an image in the registry, and why there is none."""
    try:
        digest = manifest_digest(location.repository(path), version)
    except RegistryError as error:
        return "", f"whether {location} holds it cannot be told ({error.problem})"
    return (
        (digest, "")
        if digest
        else ("", f"{location} does not hold it: add {reference} to images.tar.gz and push it")
    )


def _difference(path: ImagePath, image: RunningImage, location: RegistryLocation) -> str:
    if image.pull_failure:
        return f"the registry has it as {location.reference(path)}"
    if image.digest:
        return "the node has pulled another image than the registry holds"
    return "the node does not tell which image it has pulled"
