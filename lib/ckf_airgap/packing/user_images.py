"""The images that users choose, by purpose."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.charm_version import known_versions
from ckf_airgap.errors import ConfigurationError, listed, printable
from ckf_airgap.files.untrusted_yaml import DocumentError, load_all_strings, load_strings
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.packing.wanted_images import parse_image
from ckf_airgap.upgrades.rules import load_rules

PURPOSES = ("jupyter", "vscode", "rstudio", "pipelines", "runtimes", "other")
"""The purposes that an image may have; the first three are for notebooks."""
PIPELINES = "pipelines"
DEFAULT = "default"
"""The placeholder for the base image that the pipelines' SDK uses for steps without an image."""

# The base images by release: of the SDK in the release's own notebooks (kubeflow/kubeflow,
# requirements.txt of the example-notebook-servers), and of the SDK that has the version of the
# release's backend. Each is _DEFAULT_BASE_IMAGE in sdk/python/kfp/dsl/component_factory.py of
# kubeflow/pipelines.
_BASE_IMAGES: Mapping[str, tuple[str, ...]] = {
    "1.7": ("python:3.7",),
    "1.8": ("python:3.7",),
    "1.9": ("python:3.7",),
    "1.10": ("python:3.9",),
    "1.11": ("python:3.9", "python:3.11"),
}
BASE_IMAGES_OF_SDKS = (
    "python:3.7 of the kfp SDK up to 2.7, python:3.8 of 2.8 and 2.9, python:3.9 of 2.10 to 2.14, "
    "python:3.11 from 2.15"
)


@dataclass(frozen=True)
class UserImages:
    """Images by purpose.

    Attributes:
        images: The images of each purpose.
        with_default: Whether to add the base images of pipelines, which depend on the release.
    """

    images: Mapping[str, tuple[ImageReference, ...]] = field(
        default_factory=dict[str, tuple[ImageReference, ...]]
    )
    with_default: bool = False

    @property
    def references(self) -> tuple[ImageReference, ...]:
        """All images."""
        return tuple(image for images in self.images.values() for image in images)

    def joined(self, other: "UserImages") -> "UserImages":
        """Return these images and those of ``other``, each once per purpose."""
        both = {
            purpose: tuple(
                dict.fromkeys((*self.images.get(purpose, ()), *other.images.get(purpose, ())))
            )
            for purpose in PURPOSES
        }
        return UserImages(
            {purpose: images for purpose, images in both.items() if images},
            self.with_default or other.with_default,
        )

    def for_release(self, charms: Iterable[CharmFile]) -> "UserImages":
        """Return the images, with the base images of the release if they are requested.

        Args:
            charms: The charms of the release.

        Raises:
            ConfigurationError: The default is requested, but the release of the charms is unknown.
        """
        if not self.with_default:
            return self
        release = load_rules().release_in(known_versions(charms))
        if release is None:
            raise ConfigurationError(
                f"the release of these charms is unknown, so the image for {PIPELINES}: {DEFAULT} "
                "is unknown too",
                f"specify the image: {BASE_IMAGES_OF_SDKS}",
            )
        defaults = tuple(map(parse_image, _BASE_IMAGES[release.release]))
        return UserImages(self.images).joined(UserImages({PIPELINES: defaults}))


def read_user_images(text: str, name: str) -> UserImages | None:
    """Read a map of purposes to images.

    Args:
        text: YAML.
        name: The name of the file, for messages.

    Returns:
        The images; None if the text is something else: a list, or Kubernetes manifests.

    Raises:
        ConfigurationError: The text is such a map, but not valid.
    """
    try:
        documents = load_all_strings(text)
    except DocumentError:
        return None
    if len(documents) != 1 or not _has_purposes(documents[0]):
        return None
    try:
        document = cast(dict[Any, Any], load_strings(text))
    except DocumentError as error:
        raise ConfigurationError(f"{name} is not valid YAML{error}", "correct it") from error
    found = UserImages()
    for purpose, images in document.items():
        if purpose not in PURPOSES:
            raise ConfigurationError(
                f"{name} has images for {printable(str(purpose)[:80])!r}, which is no purpose",
                f"use {listed(PURPOSES, separator=', ')}",
            )
        found = found.joined(_of_purpose(purpose, images, name))
    return found


def _has_purposes(document: object) -> bool:
    """Return whether a document is a map of purposes, even if all of them are unknown."""
    if not isinstance(document, dict) or "apiVersion" in document or "kind" in document:
        return False
    content = cast(dict[Any, Any], document)
    return bool(content) and (
        any(purpose in content for purpose in PURPOSES)
        or all(map(_is_list_of_texts, content.values()))
    )


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) for x in cast(list[object], value))


def _of_purpose(purpose: str, images: object, name: str) -> UserImages:
    """Read the value of a purpose: a list of images, or a single image."""
    items = [images] if isinstance(images, str) and images else images
    if not _is_list_of_texts(items):
        raise ConfigurationError(
            f"{name} gives no list of images for {purpose}", "write an image on each line, after -"
        )
    texts = cast(list[str], items)
    with_default = purpose == PIPELINES and DEFAULT in texts
    named = [text for text in texts if not (with_default and text == DEFAULT)]
    if DEFAULT in named:
        raise ConfigurationError(
            f"{name} has {DEFAULT} for {purpose}, but it is only valid for {PIPELINES}",
            "name the image",
        )
    return UserImages({purpose: tuple(map(parse_image, named))}, with_default)
