"""The images that no rule finds in the charms: ``exceptions.yaml``, with the reason for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class MapException:
    """Images for the keys of a map option that the charm gives none for.

    Attributes:
        charm: The charm.
        option: Its option.
        keys: For each key the end of the image's upstream repository.
        extra_keys: The same, for keys that are set only where the archive holds the image.
    """

    charm: str
    option: str
    keys: Mapping[str, str]
    extra_keys: Mapping[str, str]


@dataclass(frozen=True)
class Alias:
    """An option that takes the image of a key of another option.

    Attributes:
        charm: The charm.
        option: Its option.
        of: The other option, a map.
        key: The key in that map.
    """

    charm: str
    option: str
    of: str
    key: str


@dataclass(frozen=True)
class FixedImages:
    """Images that a charm or its workload uses and that no option changes.

    Attributes:
        charm: The charm.
        images: Their repositories.
        purpose: What they are for.
        unless_option: An option that changes them in other versions of the charm, or None.
        if_options: The options without which they are not used.
    """

    charm: str
    images: tuple[str, ...]
    purpose: str
    unless_option: str | None = None
    if_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exceptions:
    """All of them."""

    maps: tuple[MapException, ...]
    aliases: tuple[Alias, ...]
    fixed: tuple[FixedImages, ...]


@cache
def load_exceptions() -> Exceptions:
    """Read the table that comes with this package."""
    text = files("ckf_airgap.planning").joinpath("exceptions.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return Exceptions(
        maps=tuple(MapException(**entry) for entry in document["maps"]),
        aliases=tuple(Alias(**entry) for entry in document["aliases"]),
        fixed=tuple(
            FixedImages(
                entry["charm"],
                tuple(entry["images"]),
                entry["purpose"],
                entry.get("unless_option"),
                tuple(entry.get("if_options", ())),
            )
            for entry in document["fixed"]
        ),
    )
