"""Images to pack besides those of the charms: Juju's own, and those of lists and manifests."""

from collections.abc import Iterable
from typing import cast

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.untrusted_yaml import DocumentError, load_all_strings
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.juju.juju_images import all_images, default_repository
from ckf_airgap.juju.juju_version import JujuVersion


def juju_images(version: str, charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List Juju's own images: its agents, its database, and the bases of the charms.

    Args:
        version: The controller's version, for example ``3.6.8``.
        charms: The charms to deploy.

    Raises:
        ConfigurationError: It is not a version.
    """
    juju = JujuVersion.of_option(version)
    repository = default_repository(juju)
    return tuple(parse_image(f"{repository}/{name}") for name in all_images(juju, charms))


def images_in(text: str, name: str) -> tuple[ImageReference, ...]:
    """Find the images that a file names.

    Args:
        text: One image on each line, with comments after ``#``; or Kubernetes manifests in YAML,
            in which every value counts whose key and form are those of an image.
        name: The name of the file, for messages.

    Returns:
        The images, each once.

    Raises:
        ConfigurationError: A line is not an image reference, or the file names no image.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    words = [line.removeprefix("- ").strip("\"' ") for line in lines if line and line != "---"]
    if words and all(" " not in word and not word.endswith(":") for word in words):
        return tuple(dict.fromkeys(parse_image(word) for word in words))
    found: dict[ImageReference, None] = {}
    try:
        for document in load_all_strings(text):
            found |= dict.fromkeys(_images_below(document))
    except DocumentError as error:
        raise ConfigurationError(
            f"{name} is neither a list of images nor YAML", "write an image on each line"
        ) from error
    if not found:
        raise ConfigurationError(f"{name} names no image", "write an image on each line")
    return tuple(found)


def parse_image(text: str) -> ImageReference:
    """Read an image reference.

    Raises:
        ConfigurationError: It is not valid.
    """
    reference = ImageReference.parse(text)
    if reference is None:
        raise ConfigurationError(
            f"{text!r} is not an image", "give it as HOST/PATH:TAG or HOST/PATH@DIGEST"
        )
    return reference


def distinct_images(references: Iterable[ImageReference]) -> list[ImageReference]:
    """Merge different spellings of the same image.

    Args:
        references: The images.

    Returns:
        The images, sorted.

    Raises:
        ConfigurationError: Two would have the same name in the air-gapped registry.
    """
    found: dict[tuple[str, ImagePath], ImageReference] = {}
    for reference in sorted(references, key=str):
        found.setdefault(reference.upstream, reference)
    by_path: dict[ImagePath, ImageReference] = {}
    for reference in found.values():
        other = by_path.setdefault(image_path(reference), reference)
        if other is not reference:
            raise ConfigurationError(
                f"{other} and {reference} would both be {image_path(reference)} in the "
                "air-gapped registry",
                "leave one of them out",
            )
    return list(found.values())


def _images_below(node: object) -> Iterable[ImageReference]:
    if isinstance(node, list):
        for item in cast(list[object], node):
            yield from _images_below(item)
    if not isinstance(node, dict):
        return
    details = cast(dict[str, object], node)
    for key, value in details.items():
        # An environment variable has its name and its value in two keys.
        name = str(details.get("name")) if key == "value" else key
        if isinstance(value, str):
            reference = ImageReference.parse(value)
            if "image" in name.lower() and "/" in value and reference:
                yield reference
        else:
            yield from _images_below(value)
