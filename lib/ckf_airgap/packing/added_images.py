"""The files of ``pack --add-images``: lists of images, Kubernetes manifests, maps of purposes."""

from collections.abc import Iterable
from typing import cast

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.files.untrusted_yaml import DocumentError, load_all_strings
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.packing.user_images import UserImages, read_user_images
from ckf_airgap.packing.wanted_images import parse_image


def read_added_images(
    files: Iterable[tuple[str, str]],
) -> tuple[tuple[ImageReference, ...], UserImages]:
    """Read the files of ``--add-images``.

    Args:
        files: The name and the text of each file.

    Returns:
        The images of lists and manifests, and those with a purpose.

    Raises:
        ConfigurationError: A file is none of the three, is invalid, or names no image.
    """
    images: list[ImageReference] = []
    user_images = UserImages()
    for name, text in files:
        if with_purposes := read_user_images(text, name):
            user_images = user_images.joined(with_purposes)
        else:
            images += images_in(text, name)
    return tuple(images), user_images


def images_in(text: str, name: str) -> tuple[ImageReference, ...]:
    """Find the images that a file names.

    Args:
        text: One image on each line, with comments after ``#``; or Kubernetes manifests in YAML.
            In manifests, a value counts if it is an image reference with a ``/``, and "image" is
            in its key or, for an environment variable, in the name of the variable.
        name: The name of the file, for messages.

    Returns:
        The images, each once.

    Raises:
        ConfigurationError: A line is not an image reference, the text is neither a list nor YAML,
            or it names no image.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    items = [line.removeprefix("- ").strip("\"' ") for line in lines if line and line != "---"]
    if items and all(" " not in item and not item.endswith(":") for item in items):
        return tuple(dict.fromkeys(parse_image(item) for item in items))
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
