"""The manifests under which an image can be published."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckf_airgap.archives.decoding import Compression, compression_named
from ckf_airgap.archives.docker_manifest import RESAVE
from ckf_airgap.archives.image_config import read_config
from ckf_airgap.archives.oci_layout import OciManifest, read_manifest
from ckf_airgap.images import oci
from ckf_airgap.images.oci import Blob
from ckf_airgap.push.push_records import StoredLayer
from ckf_airgap.registry.client import Manifest, RegistryClient


@dataclass(frozen=True)
class _MediaTypes:
    manifest: str
    config: str
    layers: Mapping[Compression, str]


_DOCKER = _MediaTypes(
    oci.DOCKER_MANIFEST, oci.DOCKER_CONFIG, {Compression.GZIP: oci.DOCKER_GZIP_LAYER}
)
_OCI = _MediaTypes(
    oci.OCI_MANIFEST,
    oci.OCI_CONFIG,
    {
        Compression.NONE: oci.OCI_LAYER,
        Compression.GZIP: f"{oci.OCI_LAYER}+gzip",
        Compression.ZSTD: f"{oci.OCI_LAYER}+zstd",
    },
)


def possible_manifests(
    config: Blob, layers: Sequence[StoredLayer], own: OciManifest | None, *, keeps_own: bool
) -> list[Manifest]:
    """List the possible manifests of an image, the preferred one first.

    The first is the image's own manifest in the archive, if its blobs are stored unchanged. Then
    come a Docker manifest (Image Manifest Version 2, Schema 2), which most registries accept, and
    an OCI manifest (Image Specification, "Image Manifest"), which has media types for layers that
    are not compressed with gzip. An artifact has only its own manifest.

    Args:
        config: The image's config.
        layers: Its layers as stored, base layer first.
        own: Its manifest in the archive, or None.
        keeps_own: Whether its manifest in the archive comes first in any case: its blobs are those
            of an OCI layout, which are always stored unchanged.

    Returns:
        One or more, of different media types.
    """
    stored = [layer.blob for layer in layers]
    manifests: list[Manifest] = []
    if own and (keeps_own or stored == [Blob(each.digest, each.size) for each in own.layers]):
        manifests.append(Manifest(own.media_type, own.content))
    # New manifests cannot express the type of an artifact.
    if own is None or not own.artifact_type:
        manifests += [
            _make_manifest(config, layers, types)
            for types in (_DOCKER, _OCI)
            if all(layer.compression in types.layers for layer in layers)
        ]
    by_type: dict[str, Manifest] = {}
    for manifest in manifests:
        by_type.setdefault(manifest.media_type, manifest)
    return list(by_type.values())


def _make_manifest(config: Blob, layers: Sequence[StoredLayer], types: _MediaTypes) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": types.manifest,
        "config": {"mediaType": types.config, "size": config.size, "digest": config.digest},
        "layers": [
            {
                "mediaType": types.layers[layer.compression],
                "size": layer.blob.size,
                "digest": layer.blob.digest,
            }
            for layer in layers
        ],
    }
    return Manifest(types.manifest, json.dumps(document, indent=2).encode())


def registry_manifest(client: RegistryClient, repository: str, version: str) -> OciManifest | None:
    """Read the manifest of one image from a registry.

    Args:
        client: The registry.
        repository: The repository.
        version: A tag or a digest.

    Returns:
        The manifest; None if there is none, if it is too large, or if it is an index.

    Raises:
        ArtifactError: It is damaged.
        RegistryError: The registry fails.
    """
    content = client.read_manifest(repository, version)
    manifest = read_manifest(content, version) if content else None
    return manifest if isinstance(manifest, OciManifest) else None


@dataclass(frozen=True)
class RegistryImage:
    """An image in a registry.

    Attributes:
        manifest: Its manifest.
        layers: Its layers with their diff IDs, base layer first.
    """

    manifest: OciManifest
    layers: tuple[StoredLayer, ...]


def registry_image(client: RegistryClient, repository: str, version: str) -> RegistryImage | None:
    """Read the manifest and the config of one image from a registry.

    Args:
        client: The registry.
        repository: The repository.
        version: A tag or a digest.

    Returns:
        The image; None if there is none, if it is an index or an artifact, or if its manifest and
        its config list different numbers of layers.

    Raises:
        ArtifactError: Its manifest or its config is damaged.
        RegistryError: The registry fails.
    """
    manifest = registry_manifest(client, repository, version)
    if manifest is None or manifest.artifact_type:
        return None
    config = client.read_blob(repository, manifest.config.digest)
    diff_ids: tuple[str, ...] = read_config(config, version, RESAVE).diff_ids if config else ()
    if len(diff_ids) != len(manifest.layers):
        return None
    layers: list[StoredLayer] = []
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        blob = Blob(layer.digest, layer.size)
        layers.append(StoredLayer(blob, blob.digest, diff_id, compression_named(layer.media_type)))
    return RegistryImage(manifest, tuple(layers))
