"""The versions of Istio in the charms of a release, and of those between releases."""

import re
from dataclasses import replace
from pathlib import Path

from tests.sample_release.acting import istio_pilot
from tests.sample_release.release import Charm, Option

PILOT, GATEWAY = "istio-pilot", "istio-gateway"
ISTIO_VERSIONS = (
    *("1.17.3", "1.18.7", "1.19.10", "1.20.6", "1.21.2", "1.22.0"),
    *("1.23.4", "1.24.2", "1.25.5", "1.26.8", "1.27.5", "1.28.0"),
)
"""What the charms have on the branches track/1.17 to track/1.28 of canonical/istio-operators.

But for their image-configuration the charms between do not differ from those of the releases.
"""
_TAG = re.compile(r"global-tag: *'?([^'\s]+)")
_OPTIONS = ("image-configuration", "proxy-image")
_ACTING = Path(istio_pilot.__file__).parent


def istio_version(pilot: Charm) -> str:
    """Tell the version that an istio-pilot installs."""
    (text,) = (str(item.default) for item in pilot.options if item.name == "image-configuration")
    match = _TAG.search(text)
    assert match, text
    return match[1]


def at_istio_version(charm: Charm, before: str, after: str) -> Charm:
    """Make of a charm of Istio the one of another version.

    Args:
        charm: The charm.
        before: Its version.
        after: The other version.
    """

    def changed(option: Option) -> Option:
        if option.name not in _OPTIONS:
            return option
        return replace(option, default=str(option.default).replace(before, after))

    return replace(charm, options=tuple(map(changed, charm.options)))


def minor(version: str) -> tuple[int, int]:
    """Give major and minor of a version."""
    first, second, *_ = version.split(".")
    return int(first), int(second)


def acting_files(charm: Charm) -> dict[str, str]:
    """Give the files that let a charm of Istio act: path to content; none for other charms."""
    if charm.name == GATEWAY:
        return {"dispatch": _ACTING.joinpath("istio_gateway.py").read_text()}
    if charm.name == PILOT:
        return {
            "dispatch": _ACTING.joinpath("istio_pilot.py").read_text(),
            istio_pilot.VERSION_FILE: f"{istio_version(charm)}\n",
        }
    return {}
