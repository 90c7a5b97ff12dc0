"""Images that the code of charms names elsewhere: whether the nodes run what the registry holds.

No option changes such an image, so the pods go on naming it by its original registry, whatever a
mirror does. What a node has pulled is known by its digest: where the registry holds the same, the
container runs what was pushed. A tag of another registry commonly stands for an index of several
architectures, and so has another digest.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ckf_airgap.cluster import ImageReport, RunningImage
from ckf_airgap.errors import RegistryError
from ckf_airgap.names import ImageReference, RegistryLocation, registry_host
from ckf_airgap.planning.exceptions import load_exceptions


@dataclass(frozen=True)
class _Upstream:
    """An image by its full name.

    Attributes:
        host: Its registry.
        repository: Its repository there.
        version: Its tag.
    """

    host: str
    repository: str
    version: str

    @classmethod
    def parse(cls, image: str) -> "_Upstream | None":
        reference = ImageReference.parse(image)
        if reference is None:
            return None
        host = registry_host(reference.name)
        repository = reference.name.removeprefix(f"{host}/")
        if host == "docker.io" and "/" not in repository:
            repository = f"library/{repository}"
        return cls(host, repository, reference.version)


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
        (upstream.host, upstream.repository)
        for fixed in load_exceptions().fixed
        if fixed.charm in names
        for upstream in map(_Upstream.parse, fixed.images)
        if upstream
    }
    held: dict[_Upstream, tuple[str, str]] = {}
    foreign: list[RunningImage] = []
    mirrored: list[RunningImage] = []
    for image in report.foreign:
        upstream = _Upstream.parse(image.image)
        if upstream is None or (upstream.host, upstream.repository) not in known:
            foreign.append(image)
            continue
        if location is None:
            foreign.append(replace(image, note=f"{_IN_CODE}; {_UNKNOWN}"))
            continue
        if upstream not in held:
            held[upstream] = _held(upstream, location, manifest_digest)
        digest, problem = held[upstream]
        if digest and digest == image.digest:
            mirrored.append(image)
        else:
            foreign.append(replace(image, note=_note(upstream, image, location, problem)))
    return replace(report, foreign=tuple(foreign), mirrored=tuple(mirrored))


_IN_CODE = "the code of a charm names it, and no option changes it"
_UNKNOWN = "whether the registry holds the same is not known before images.tar.gz was pushed"


def _held(
    upstream: _Upstream,
    location: RegistryLocation,
    manifest_digest: Callable[[str, str], str | None],
) -> tuple[str, str]:
    """Give the digest of an image in the registry, and why there is none."""
    repository = f"{location.path}/{upstream.repository}".lstrip("/")
    try:
        digest = manifest_digest(repository, upstream.version)
    except RegistryError as error:
        return "", f"whether {location} holds it cannot be told ({error.problem})"
    place = f"{location}/{upstream.repository}:{upstream.version}"
    return (digest, "") if digest else ("", f"push it as {place}")


def _note(
    upstream: _Upstream, image: RunningImage, location: RegistryLocation, problem: str
) -> str:
    if not problem and image.pull_failure:
        problem = f"the registry has it as {location}/{upstream.repository}:{upstream.version}"
    elif not problem and image.digest:
        problem = "the node has pulled another image than the registry holds"
    elif not problem:
        problem = "the node does not tell which image it has pulled"
    mirror = f"let the nodes' container runtime mirror {upstream.host} from {location}"
    return f"{_IN_CODE}; {problem}; {mirror}"
