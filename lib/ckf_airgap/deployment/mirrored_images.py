"""Checks whether images with names of other registries were pulled from the operator's registry.

With a mirror, a pod still names an image by its original registry. If the digest that the node
pulled equals the digest in the operator's registry, the container runs the pushed image. On the
original registry, the tag usually has another digest, that of a multi-platform index.
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
_UNKNOWN = "it can be compared with the registry only after images.tar.gz was pushed"


def separate_mirrored(
    report: ImageReport,
    charms: Iterable[str],
    location: RegistryLocation | None,
    manifest_digest: Callable[[str, str], str | None],
) -> ImageReport:
    """Separate the foreign images that a mirror served from the others.

    Args:
        report: The origins of the images.
        charms: The names of the deployed charms.
        location: The registry prefix behind a mirror; None if unknown.
        manifest_digest: Returns a manifest's digest, by its repository and its tag or digest.

    Returns:
        The report. An image counts as mirrored if the node pulled the digest that the registry
        has under the name that a mirror requests. Every other image stays foreign, with a note on
        the cause and the cure if its name is one that a mirror can serve.
    """
    names = set(charms)
    in_code = {
        _repository(reference)
        for fixed in load_unlisted_images().fixed
        if fixed.charm in names
        for reference in map(ImageReference.parse, fixed.images)
        if reference
    }
    digests: dict[tuple[ImagePath, str], tuple[str, str]] = {}
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
        tag_or_digest = reference.digest or path.tag
        if (path, tag_or_digest) not in digests:
            digests[path, tag_or_digest] = _registry_digest(
                reference, path, tag_or_digest, location, manifest_digest
            )
        digest, problem = digests[path, tag_or_digest]
        if digest and digest == image.digest:
            mirrored.append(image)
        else:
            problem = problem or _difference(path, image, location)
            foreign.append(replace(image, note=f"{reason}{problem}; {CONFIGURE_NODES}"))
    return replace(report, foreign=tuple(foreign), mirrored=tuple(mirrored))


def _repository(reference: ImageReference) -> tuple[str, str]:
    host, path = reference.upstream
    return host, path.repository


def _registry_digest(
    reference: ImageReference,
    path: ImagePath,
    tag_or_digest: str,
    location: RegistryLocation,
    manifest_digest: Callable[[str, str], str | None],
) -> tuple[str, str]:
    """Return the digest of an image in the registry, or why there is none."""
    try:
        digest = manifest_digest(location.repository(path), tag_or_digest)
    except RegistryError as error:
        return "", f"could not check whether {location} has it ({error.problem})"
    return (
        (digest, "")
        if digest
        else ("", f"{location} lacks it: add {reference} to images.tar.gz and push it")
    )


def _difference(path: ImagePath, image: RunningImage, location: RegistryLocation) -> str:
    if image.pull_failure:
        return f"the registry has it as {location.reference(path)}"
    if image.digest:
        return "the node has pulled another image than the registry has"
    return "the node does not report which image it has pulled"
