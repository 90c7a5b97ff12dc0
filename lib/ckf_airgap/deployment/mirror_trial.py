"""Checks whether nodes find images by original names: each node pulls one per registry."""

from collections.abc import Callable
from dataclasses import dataclass

from ckf_airgap.errors import ArtifactError
from ckf_airgap.images.oci import sha256_of
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.kubernetes import cluster
from ckf_airgap.kubernetes.image_trial import TriedImage, try_images
from ckf_airgap.mirrors.original_names import OriginalNames, mirrored_host
from ckf_airgap.push.image_manifests import registry_manifest
from ckf_airgap.registry.client import RegistryClient
from ckf_airgap.registry.concurrent_requests import concurrent_requests

_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class MirrorTrial:
    """The result of pulls by original names.

    Attributes:
        tried: The pull of each image on each node.
        not_tried: The original registries of which the operator's registry has no image.
    """

    tried: tuple[TriedImage, ...]
    not_tried: tuple[str, ...]

    @property
    def failed(self) -> tuple[TriedImage, ...]:
        """The pulls that failed or gave another image than the registry has."""
        return tuple(each for each in self.tried if each.problem)


def try_mirrors(
    names: OriginalNames,
    registry: RegistryClient,
    namespace: str,
    report: Callable[[str], None],
) -> MirrorTrial:
    """Have each node pull the smallest image of each original registry, by its original name.

    Args:
        names: The original names of the images.
        registry: The operator's registry, to which the images were pushed.
        namespace: The namespace for the pods.
        report: Called with a line of text.

    Returns:
        The result.

    Raises:
        ArtifactError: There is no original name.
        RegistryError: The registry cannot be read.
        ClusterError: The Kubernetes API fails.
    """
    names.require_some()
    smallest = _smallest(names, registry)
    not_tried = tuple(host for host in names.hosts if host not in smallest)
    expected = {str(name): digest for name, digest in smallest.values()}
    nodes = [node.name for node in cluster.describe().nodes]
    tried: tuple[TriedImage, ...] = ()
    if expected:
        report(f"testing whether {len(nodes)} nodes pull {', '.join(expected)}")
        tried = try_images(namespace, nodes, expected, timeout=_TIMEOUT_SECONDS)
    return MirrorTrial(tried, not_tried)


def _smallest(
    names: OriginalNames, registry: RegistryClient
) -> dict[str, tuple[ImageReference, str]]:
    """Return the smallest image of each original registry, and its manifest's digest."""

    def size(item: tuple[ImageReference, ImagePath]) -> tuple[int, str] | None:
        name, path = item
        if names.location.length_problem(path):
            return None
        repository = names.location.repository(path)
        try:
            manifest = registry_manifest(registry, repository, name.digest or path.tag)
        except ArtifactError:
            return None
        if manifest is None:
            return None
        return sum(layer.size for layer in manifest.layers), sha256_of(manifest.content)

    items = sorted(names.paths.items(), key=str)
    smallest: dict[str, tuple[int, ImageReference, str]] = {}
    with concurrent_requests() as map_requests:
        for (name, path), found in zip(items, map_requests(size, items), strict=True):
            host = mirrored_host(path)
            if found and (host not in smallest or found[0] < smallest[host][0]):
                smallest[host] = found[0], name, found[1]
    return {host: (name, digest) for host, (_, name, digest) in sorted(smallest.items())}
