"""Releases to upgrade from and to, with the charms between them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml

from tests.sample_release.istio import (
    GATEWAY,
    ISTIO_VERSIONS,
    PILOT,
    at_istio_version,
    istio_version,
    minor,
)
from tests.sample_release.release import Charm, Endpoint, Release, images_named_by

UPGRADED_CHARMS = (
    "envoy",
    "istio-gateway",
    "istio-pilot",
    "katib-controller",
    "katib-db-manager",
    "kfp-metadata-writer",
    "kubeflow-volumes",
    "mlmd",
)
"""The charms whose way from 1.8 to 1.9 has special steps."""

_STATED = Path(__file__).with_name("upgrades.yaml")


def stated_release(name: str) -> Release:
    """Give the project's own part of a release for upgrades: ``1.8``, ``1.9`` or ``1.10``.

    Of 1.10 it states that Istio is newer, which is what tells the release.
    """
    documents = cast(dict[str, dict[str, Any]], yaml.safe_load(_STATED.read_text()))
    if name != "1.10":
        return Release.from_document(documents[name])
    release = Release.from_document(documents["1.9"])
    before, after = istio_version(pilot_of(release)), "1.24.2"
    return replace(
        release,
        name=name,
        charms=tuple(
            at_istio_version(charm, before, after) if charm.name in (PILOT, GATEWAY) else charm
            for charm in release.charms
        ),
        images=tuple(
            image.replace(f":{before}", f":{after}") if "/istio/" in image else image
            for image in release.images
        ),
    )


def pilot_of(release: Release) -> Charm:
    """Give the istio-pilot of a release."""
    return next(charm for charm in release.charms if charm.name == PILOT)


def with_later_endpoints(releases: Sequence[Release]) -> tuple[Release, ...]:
    """Give releases whose charms have the endpoints that they get later from the beginning.

    Juju 4.1-beta2 refreshes no application to a charm that has more endpoints than the one that
    runs: its client names the bindings of all endpoints of the new charm, and the controller looks
    for them among those of the old one ("one or more of the provided endpoints ... do not exist").
    What is related stays as in the releases.

    Args:
        releases: The releases, oldest first.
    """
    later: dict[str, dict[str, Endpoint]] = {}
    found: list[Release] = []
    for release in reversed(releases):
        charms: list[Charm] = []
        for charm in release.charms:
            known = later.setdefault(charm.name, {})
            known |= {endpoint.name: endpoint for endpoint in charm.endpoints}
            own = {endpoint.name for endpoint in charm.endpoints}
            more = [known[name] for name in sorted(known.keys() - own)]
            charms.append(replace(charm, endpoints=(*charm.endpoints, *more)))
        found.append(replace(release, charms=tuple(charms)))
    return tuple(reversed(found))


def with_charms_between(before: Release, after: Release) -> Release:
    """Give a release as it is carried to where another one runs.

    Args:
        before: The release that runs.
        after: The one that is to run.

    Returns:
        The release with an istio-pilot more for each minor version between, and its images.
    """
    pilot = pilot_of(after)
    first, last = istio_version(pilot_of(before)), istio_version(pilot)
    between = [
        at_istio_version(pilot, last, version)
        for version in ISTIO_VERSIONS
        if minor(first) < minor(version) < minor(last)
    ]
    images = {image for charm in between for image in images_named_by(charm)}
    return replace(
        after,
        charms=(*after.charms, *between),
        images=(*after.images, *sorted(images - set(after.images))),
    )
