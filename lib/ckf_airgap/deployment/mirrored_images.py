"""Images that the code of charms names elsewhere: whether the nodes run what the registry holds.

No option changes such an image, so the pods go on naming it by its original registry, whatever a
mirror does. What a node has pulled is known by its digest: where the registry holds the same, the
container runs what was pushed. A tag of another registry commonly stands for an index of several
architectures, and so has another digest.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from ckf_airgap.charms.unlisted_images import load_unlisted_images
from ckf_airgap.errors import RegistryError
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.cluster import ImageReport, RunningImage

# A registry, and what a mirror of it is asked for.
_Upstream = tuple[str, ImagePath]


def sort_out_mirrored(
    report: ImageReport,
    charms: Iterable[str],
    location: RegistryLocation | None,
    manifest_digest: Callable[[str, str], str | None],
) -> ImageReport:
    """Tell images that charms have in their code from other foreign images.

    Args:
        report: Where the images come from.
        charms: The names of the charms that are deployed.
        location: The registry prefix that a mirror takes them from; None where it is not known.
        manifest_digest: Looks up a tag in a repository of the registry.

    Returns:
        The report. An image in a charm's code counts as mirrored where the node has pulled what
        the registry holds under the name that a mirror asks for; it stays foreign, with what to
        do, where that is not so or cannot be told.
    """
    names = set(charms)
    known = {
        (host, path.repository)
        for fixed in load_unlisted_images().fixed
        if fixed.charm in names
        for reference in map(ImageReference.parse, fixed.images)
        if reference
        for host, path in [reference.upstream]
    }
    held: dict[_Upstream, tuple[str, str]] = {}
    foreign: list[RunningImage] = []
    mirrored: list[RunningImage] = []
    for image in report.foreign:
        reference = ImageReference.parse(image.image)
        upstream = reference.upstream if reference else None
        if upstream is None or (upstream[0], upstream[1].repository) not in known:
            foreign.append(image)
            continue
        if location is None:
            foreign.append(replace(image, note=f"{_IN_CODE}; {_UNKNOWN}"))
            continue
        if upstream not in held:
            held[upstream] = _held(upstream[1], location, manifest_digest)
        digest, problem = held[upstream]
        if digest and digest == image.digest:
            mirrored.append(image)
        else:
            foreign.append(replace(image, note=_note(upstream, image, location, problem)))
    return replace(report, foreign=tuple(foreign), mirrored=tuple(mirrored))


_IN_CODE = "the code of a charm names it, and no option changes it"
_UNKNOWN = "whether the registry holds the same is not known before images.tar.gz was pushed"


def _held(
    path: ImagePath,
    location: RegistryLocation,
    manifest_digest: Callable[[str, str], str | None],
) -> tuple[str, str]:
    """Give the digest of an image in the registry, and why there is none."""
    try:
        digest = manifest_digest(location.repository(path), path.tag)
    except RegistryError as error:
        return "", f"whether {location} holds it cannot be told ({error.problem})"
    return (digest, "") if digest else ("", f"push it as {location.reference(path)}")


def _note(
    upstream: _Upstream, image: RunningImage, location: RegistryLocation, problem: str
) -> str:
    host, path = upstream
    if not problem and image.pull_failure:
        problem = f"the registry has it as {location.reference(path)}"
    elif not problem and image.digest:
        problem = "the node has pulled another image than the registry holds"
    elif not problem:
        problem = "the node does not tell which image it has pulled"
    mirror = f"let the nodes' container runtime mirror {host} from {location}"
    return f"{_IN_CODE}; {problem}; {mirror}"
