"""Options that name images, in the four forms that charms use."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ckf_airgap.files.untrusted_yaml import Budget, DocumentError, load_json_strings, load_strings
from ckf_airgap.images.reference import ImageReference

Find = Callable[[str], ImageReference | None]
"""Returns the reference of an image in the air-gapped registry, or None if it is missing."""

OptionImages = str | list[str] | dict[str, Any]
"""The value of an option that names images, before it becomes text for Juju."""


class ImageOption(Protocol):
    """An option whose value names images."""

    @property
    def name(self) -> str:
        """The option's name."""
        ...

    @property
    def images(self) -> tuple[str, ...]:
        """The images of its default value, as written there."""
        ...

    def value(self, find: Find) -> OptionImages | None:
        """Return the value that names the images in the air-gapped registry.

        Args:
            find: Resolves one image.

        Returns:
            The value, or None if nothing can be set. It never has an empty string in place of an
            image: for many charms that means the image on the internet.
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
        others: Keys and values that are not images, which stay unchanged.
    """

    name: str
    entries: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, Any], ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """The images in the order of the default."""
        return tuple(image for _, image in self.entries)

    def value(self, find: Find) -> dict[str, Any] | None:
        """Return the map of the found images."""
        found = {key: str(item) for key, image in self.entries if (item := find(image))}
        return {**dict(self.others), **found} or None


@dataclass(frozen=True)
class HubImageOption:
    """An option like that of istio-pilot: a hub, a tag, and names to combine with them.

    Attributes:
        name: The option's name.
        settings: The whole default value.
    """

    name: str
    settings: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images made up of hub, name and tag, each once."""
        return tuple(dict.fromkeys(self._image(key) for key in self._image_keys))

    def value(self, find: Find) -> dict[str, Any] | None:
        """Return the settings with the registry's hub and tag.

        All names share one hub and one tag, so nothing can be set if an image is missing, or if
        the images are not in one path with the same tag.
        """
        settings = dict(self.settings)
        places: set[tuple[str, str]] = set()
        for key in self._image_keys:
            found = find(self._image(key))
            if found is None or found.tag is None:
                return None
            hub, _, settings[key] = found.name.rpartition("/")
            places.add((hub, found.tag))
        if len(places) != 1:
            return None
        settings["global-hub"], settings["global-tag"] = places.pop()
        return settings

    @property
    def _image_keys(self) -> list[str]:
        return [key for key, _ in self.settings if key.endswith("-image")]

    def _image(self, key: str) -> str:
        settings = dict(self.settings)
        return f"{settings['global-hub']}/{settings[key]}:{settings['global-tag']}"


def option_text(value: OptionImages) -> str:
    """Write the value of an option for Juju: lists and maps as JSON, which is also YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def parsed_value(value: object, budget: Budget | None = None) -> object:
    """Read the value of an option, which is itself YAML or JSON in a string.

    Args:
        value: The value.
        budget: The remaining budget of values; None for a new one.
    """
    if not isinstance(value, str):
        return None
    with suppress(DocumentError):
        return load_json_strings(value, budget)
    with suppress(DocumentError):
        return load_strings(value, budget, last_wins=True)
    return value


def image_option(name: str, value: object) -> ImageOption | None:
    """Return the image option for the value of an option.

    Args:
        name: The option's name.
        value: Its value, parsed.

    Returns:
        The option, or None if the value is not made of image references.
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
    """Return whether a text is an image reference; the grammar also accepts a bare word."""
    if not isinstance(value, str) or not re.search("[/:]", value):
        return False
    return ImageReference.parse(value) is not None
