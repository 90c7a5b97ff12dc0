"""Applies the operator's values to charm options that name images."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import (
    HubImageOption,
    ImageListOption,
    ImageMapOption,
    ImageOption,
    PlainImageOption,
    image_option,
    is_image,
    parsed_value,
)
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju.juju_values import OptionValue


def overridden_image_options(
    application: str, charm: CharmFile, operator_options: Mapping[str, OptionValue]
) -> Iterator[ImageOption]:
    """Return the image options of an application, with the operator's values.

    If the operator sets only some keys of a map or hub, the charm's defaults fill in the others.
    Empty strings and maps are ignored, because with them many charms use the public image. For an
    empty list, no option is returned: the list stays as the operator set it.

    Args:
        application: The application.
        charm: Its charm.
        operator_options: The options that the operator sets.

    Raises:
        ConfigurationError: A value does not name images.
    """
    for default in charm.image_options:
        value = operator_options.get(default.name)
        parsed = parsed_value(value.strip()) if isinstance(value, str) else value
        if parsed is None or parsed == "" or parsed == {}:
            yield default
        elif parsed != []:
            option = _replaced(default, parsed)
            if option is None:
                raise ConfigurationError(
                    f"the bundle or the overlay sets {application}/{default.name} to "
                    f"{str(value)[:80]!r}, which names no image",
                    "set image references, in the same form as the charm's default",
                )
            yield option
    for name, value in operator_options.items():
        # Options that the first loop does not cover: their default is empty or names no image.
        if "image" in name and charm.image_option(name) is None:
            parsed = parsed_value(value)
            option = image_option(name, parsed)
            if isinstance(option, ImageMapOption):
                option = _map(name, cast(dict[str, Any], parsed), {})
            if option:
                yield option


def _replaced(default: ImageOption, value: object) -> ImageOption | None:
    """Read the operator's value; None if it names no image. A single word counts as an image."""
    name = default.name
    if isinstance(value, str):
        return PlainImageOption(name, value) if ImageReference.parse(value) else None
    if isinstance(value, list):
        images = cast(list[object], value)
        if not all(isinstance(item, str) and ImageReference.parse(item) for item in images):
            return None
        return ImageListOption(name, tuple(cast(list[str], images)))
    if not isinstance(value, dict):
        return None
    settings = cast(dict[str, Any], value)
    if isinstance(default, HubImageOption):
        return cast(ImageOption | None, _hub(default, settings))
    if isinstance(default, ImageMapOption):
        return _map(name, settings, dict(default.entries))
    return image_option(name, settings)


def _hub(default: HubImageOption, changes: Mapping[str, Any]) -> HubImageOption | None:
    settings = {**dict(default.settings), **{key: item for key, item in changes.items() if item}}
    option = HubImageOption(default.name, tuple(settings.items()))
    is_text = all(isinstance(item, str) for item in settings.values())
    return option if is_text and all(map(ImageReference.parse, option.images)) else None


def _map(name: str, changes: Mapping[str, Any], default: Mapping[str, str]) -> ImageMapOption:
    entries = dict(default)
    other_items: dict[str, Any] = {}
    for key, item in changes.items():
        text = item if isinstance(item, str) else ""
        if is_image(text) or (key in default and ImageReference.parse(text)):
            entries[key] = text
        # Empty values are ignored: with them, many charms use the public image.
        elif item and key not in default:
            other_items[key] = item
    return ImageMapOption(name, tuple(entries.items()), tuple(other_items.items()))
