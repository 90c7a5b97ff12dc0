"""``manifest.json`` of an archive made by ``docker save``.

The format is described in the Docker Image Specification v1.2.0, "Combined Image JSON + Filesystem
Changeset Format". The document lists each image with its tags and the paths of its config and
layers. Docker stores a layer as ``<id>/layer.tar`` before version 25, and since then as
``blobs/sha256/<digest>``; podman, crane, jib and kaniko use other paths.
"""

from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.archives.image_config import MOST_LAYERS
from ckf_airgap.errors import ArtifactError
from ckf_airgap.files.untrusted_json import items_of, parse_json, text_of

MANIFEST = "manifest.json"
"""The file name of the document."""
LAYER_FILE = "layer.tar"
"""The file name of a layer, before Docker 25."""
RESAVE = "save this image again (docker save), then make the archive again"
"""The cure for a damaged image."""
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class DockerImage:
    """An entry of ``manifest.json``.

    Attributes:
        config: The path of its config.
        names: Its RepoTags; empty if it was saved by ID.
        layers: The paths of its layers, base layer first.
    """

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.names[0] if self.names else self.config


def read_docker_manifest(
    content: bytes, archive: str, *, is_at_top: bool
) -> tuple[list[DockerImage], list[ArtifactError]] | None:
    """Read ``manifest.json``.

    Args:
        content: The document.
        archive: The archive that contains it, for messages.
        is_at_top: Whether it is in the root directory of the archive. In another directory, it
            may be a different kind of document: web applications have files of this name, too.

    Returns:
        The images, and an error for each damaged entry; None for another kind of document.

    Raises:
        ArtifactError: It is not JSON, or not a list of images.
    """
    entries = parse_json(content, f"{MANIFEST} in {archive}", RESAVE)
    listed = cast(list[object], entries) if isinstance(entries, list) else []
    if not is_at_top and not _names_config(listed):
        return None
    if isinstance(entries, dict) and "schemaVersion" in entries:
        raise ArtifactError(
            f"{archive} has the format of skopeo copy dir:, which is not supported",
            "copy the image to docker-archive: or oci-archive: instead",
        )
    if not any(isinstance(entry, dict) for entry in listed):
        raise ArtifactError(f"{MANIFEST} in {archive} is not a list of images", RESAVE)
    images: list[DockerImage] = []
    damaged: list[ArtifactError] = []
    for entry in listed:
        try:
            images.append(_image(entry))
        except TypeError as error:
            problem = f"{MANIFEST} in {archive} has a damaged entry ({error})"
            damaged.append(ArtifactError(problem, RESAVE))
    return images, damaged


def _names_config(entries: list[object]) -> bool:
    return any("Config" in cast(Any, entry) for entry in entries[:1] if isinstance(entry, dict))


def _image(entry: object) -> DockerImage:
    if not isinstance(entry, dict):
        raise TypeError(f"{str(entry)[:_SHOWN_CHARACTERS]} is not an image")
    fields = cast(dict[str, Any], entry)
    config = text_of(fields, "Config")
    if not config:
        raise TypeError("it names no config")
    layers = _texts(fields, "Layers")
    if len(layers) > MOST_LAYERS:
        raise TypeError(f"{len(layers)} layers are too many")
    return DockerImage(config, _texts(fields, "RepoTags"), layers)


def _texts(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    items = items_of(fields, key)
    if not all(isinstance(item, str) for item in items):
        raise TypeError(f"{key} is not a list of strings")
    return tuple(items)
