"""Options that name images: the rule that finds them, and the four forms of their values."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ckf_airgap.charms.charm_documents import CharmDocuments, dashed
from ckf_airgap.files.untrusted_yaml import Budget, DocumentError, load_json_strings, load_strings
from ckf_airgap.images.reference import ImageReference

Find = Callable[[str], ImageReference | None]
"""Maps an image of a charm to its reference in the air-gapped registry; None if it is missing."""

OptionImages = str | list[str] | dict[str, Any]
"""The value of an image option, before it is serialized for Juju."""


class ImageOption(Protocol):
    """An option whose value names images."""

    @property
    def name(self) -> str:
        """The option's name."""
        ...

    @property
    def images(self) -> tuple[str, ...]:
        """The images in its value, as written."""
        ...

    def value(self, find: Find) -> OptionImages | None:
        """Return the value with all images replaced by references to the air-gapped registry.

        Args:
            find: Finds one image in the registry.

        Returns:
            The value, or None if nothing can be set. Missing images are left out, never set to an
            empty string: many charms would then use the image on the internet.
        """
        ...


@dataclass(frozen=True)
class PlainImageOption:
    """An option that is one image reference."""

    name: str
    image: str

    @property
    def images(self) -> tuple[str, ...]:
        """The one image."""
        return (self.image,)

    def value(self, find: Find) -> str | None:
        """Return the reference in the registry."""
        found = find(self.image)
        return str(found) if found else None


@dataclass(frozen=True)
class ImageListOption:
    """An option that is a YAML list of image references, the default one first."""

    name: str
    images: tuple[str, ...]

    def value(self, find: Find) -> list[str] | None:
        """Return the list of the found images."""
        return [str(reference) for image in self.images if (reference := find(image))] or None


@dataclass(frozen=True)
class ImageMapOption:
    """An option that is a YAML map of keys to image references.

    Attributes:
        name: The option's name.
        entries: Keys and images.
        other_items: Items that are not images, kept unchanged.
    """

    name: str
    entries: tuple[tuple[str, str], ...]
    other_items: tuple[tuple[str, Any], ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """The images in the order of the default."""
        return tuple(image for _, image in self.entries)

    def value(self, find: Find) -> dict[str, Any] | None:
        """Return the map of the found images."""
        found = {key: str(item) for key, image in self.entries if (item := find(image))}
        return {**dict(self.other_items), **found} or None


@dataclass(frozen=True)
class HubImageOption:
    """An option like that of istio-pilot: image names that share a hub and a tag.

    Attributes:
        name: The option's name.
        settings: All items of its value.
    """

    name: str
    settings: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The distinct images, each built from hub, name and tag."""
        return tuple(dict.fromkeys(self._image(key) for key in self._image_keys))

    def value(self, find: Find) -> dict[str, Any] | None:
        """Return the settings with the registry's hub and tag.

        Returns:
            The settings; None if an image is missing, or if the images do not share one path and
            one tag.
        """
        settings = dict(self.settings)
        hubs_and_tags: set[tuple[str, str]] = set()
        for key in self._image_keys:
            found = find(self._image(key))
            if found is None or found.tag is None:
                return None
            hub, _, settings[key] = found.name.rpartition("/")
            hubs_and_tags.add((hub, found.tag))
        if len(hubs_and_tags) != 1:
            return None
        settings["global-hub"], settings["global-tag"] = hubs_and_tags.pop()
        return settings

    @property
    def _image_keys(self) -> list[str]:
        return [key for key, _ in self.settings if key.endswith("-image")]

    def _image(self, key: str) -> str:
        settings = dict(self.settings)
        return f"{settings['global-hub']}/{settings[key]}:{settings['global-tag']}"


def find_image_options(
    options: Mapping[str, Mapping[str, Any]], documents: CharmDocuments
) -> list[ImageOption]:
    """Find the options of a charm that name images.

    The name must contain "image" **and** the default value must contain image references. The
    value alone would match ``NAMESPACE/GATEWAY``, the name alone would match a pull policy.

    Args:
        options: The options in ``config.yaml``, by name.
        documents: The documents of the charm.

    Raises:
        ArtifactError: A default file is not valid, or an image reference is not printable.
    """
    found: list[ImageOption] = []
    default_files = documents.default_files
    for name, details in options.items():
        if "image" not in name:
            continue
        # The keys of the file count: the charm reads them, and config.yaml may list other keys.
        file = default_files.get(dashed(name))
        default = (
            documents.default_images(file)
            if file
            else parsed_value(details.get("default"), documents.budget)
        )
        option = image_option(name, default)
        if option:
            for image in option.images:
                documents.image(file or "config.yaml", name, image)
            found.append(option)
    return found


def option_text(value: OptionImages) -> str:
    """Serialize the value of an option for Juju: lists and maps as JSON, which is also YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def parsed_value(value: object, budget: Budget | None = None) -> object:
    """Parse an option value: a string that contains YAML or JSON.

    Args:
        value: The value.
        budget: Limits the number of parsed values; None for a new limit.

    Returns:
        The parsed value; the string itself if it is neither; None if the value is not a string.
    """
    if not isinstance(value, str):
        return None
    with suppress(DocumentError):
        return load_json_strings(value, budget)
    with suppress(DocumentError):
        return load_strings(value, budget, last_wins=True)
    return value


def image_option(name: str, value: object) -> ImageOption | None:
    """Recognize an image option by its value.

    Args:
        name: The option's name.
        value: Its value, parsed.

    Returns:
        The option, or None if the value is in none of the four forms.
    """
    if isinstance(value, str):
        return PlainImageOption(name, value) if is_image(value) and "/" in value else None
    if isinstance(value, list):
        images = tuple(item for item in cast(list[object], value) if item)
        is_list = bool(images) and all(map(is_image, images))
        return ImageListOption(name, cast(tuple[str, ...], images)) if is_list else None
    if not isinstance(value, dict):
        return None
    items = cast(dict[Any, Any], value).items()
    settings = {str(key): item for key, item in items if isinstance(item, str) and item}
    if "global-hub" in settings and "global-tag" in settings:
        return HubImageOption(name, tuple(settings.items()))
    entries = tuple((key, item) for key, item in settings.items() if is_image(item))
    return ImageMapOption(name, entries) if entries else None


def is_image(value: object) -> bool:
    """Return whether a value is an image reference with a path or a tag; a bare word is not."""
    if not isinstance(value, str) or not re.search("[/:]", value):
        return False
    return ImageReference.parse(value) is not None
