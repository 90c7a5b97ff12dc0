"""Images of charms that the rules of ``charm_file`` do not find."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml


@dataclass(frozen=True)
class MapImages:
    """Images for the keys of a map option that the charm gives no image for.

    Attributes:
        charm: The charm.
        option: Its option.
        registry: The upstream registry of the images.
        keys: Key -> the rest of the image's upstream repository, without the registry.
        extra_keys: The same, for keys that not every version uses.
    """

    charm: str
    option: str
    registry: str
    keys: Mapping[str, str]
    extra_keys: Mapping[str, str]


@dataclass(frozen=True)
class Alias:
    """An option that gets the image of a key of another option.

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
        images: Their full references; without a tag if it differs between the charm's versions.
        purpose: Their purpose.
        is_required: Whether the application requires them.
        unless_option: An option that changes them in other versions of the charm, or None.
        if_options: They are used only if the operator sets all of these options.
        if_code: They are used only by charm versions whose code contains all of these texts.
        unless_code: They are used only by charm versions whose code contains none of these texts.
        is_newest: Whether they count if the charm has no ``src/charm.py``.
    """

    charm: str
    images: tuple[str, ...]
    purpose: str
    is_required: bool = False
    unless_option: str | None = None
    if_options: tuple[str, ...] = ()
    if_code: frozenset[str] = frozenset()
    unless_code: frozenset[str] = frozenset()
    is_newest: bool = False

    def concerns(
        self,
        charm: str,
        options: Collection[str],
        code: Collection[str] | None,
        given_options: Mapping[str, object] = MappingProxyType({}),
    ) -> bool:
        """Return whether a charm uses these images.

        Args:
            charm: Its name.
            options: The names of its options.
            code: Which of ``code_marks`` are in its code; None if it has no ``src/charm.py``.
            given_options: The options that the operator sets.
        """
        return (
            self.charm == charm
            and self.unless_option not in options
            and all(given_options.get(option) for option in self.if_options)
            and self._is_of(code)
        )

    def _is_of(self, code: Collection[str] | None) -> bool:
        if not (self.if_code or self.unless_code):
            return True
        if code is None:
            return self.is_newest
        return self.if_code.issubset(code) and self.unless_code.isdisjoint(code)


@dataclass(frozen=True)
class UnlistedImages:
    """The content of ``unlisted_images.yaml``."""

    maps: tuple[MapImages, ...]
    aliases: tuple[Alias, ...]
    fixed: tuple[FixedImages, ...]


@cache
def load_unlisted_images() -> UnlistedImages:
    """Read ``unlisted_images.yaml``."""
    text = files("ckf_airgap.charms").joinpath("unlisted_images.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return UnlistedImages(
        maps=tuple(MapImages(**entry) for entry in document["maps"]),
        aliases=tuple(Alias(**entry) for entry in document["aliases"]),
        fixed=tuple(
            FixedImages(
                entry["charm"],
                tuple(entry["images"]),
                entry["purpose"],
                entry.get("required", False),
                entry.get("unless_option"),
                tuple(entry.get("if_options", ())),
                frozenset(entry.get("if_code", ())),
                frozenset(entry.get("unless_code", ())),
                entry.get("newest", False),
            )
            for entry in document["fixed"]
        ),
    )


def code_marks(charm: str) -> frozenset[str]:
    """List the texts that distinguish versions of a charm's code."""
    marks = (
        fixed.if_code | fixed.unless_code
        for fixed in load_unlisted_images().fixed
        if fixed.charm == charm
    )
    return frozenset[str]().union(*marks)


def required_images(
    charm: str, options: Collection[str], code: Collection[str] | None
) -> tuple[str, ...]:
    """List the images in the code of a charm that its application requires.

    Args:
        charm: The charm's name.
        options: The names of its options.
        code: As for ``FixedImages.concerns``.
    """
    return tuple(
        image
        for fixed in load_unlisted_images().fixed
        if fixed.is_required and fixed.concerns(charm, options, code)
        for image in fixed.images
    )
