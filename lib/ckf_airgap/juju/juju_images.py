"""Juju's own images, which no charm names.

The rules are those of Juju's source: ``cloudconfig/podcfg/image.go`` for names, tags and the
default repository, ``controller/config.go`` for the channel of the database,
``caasoperatorprovisioner`` for the operators of podspec charms, ``DefaultSupportedLTSBase`` for
the controller's own pod; and the release notes of 3.6.9 and 3.6.19, which changed the rules.
"""

from collections.abc import Iterable
from typing import Protocol

from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju.juju_version import JujuVersion

_CONTROLLER_BASE = "ubuntu@24.04"
_PODSPEC_BASE = "ubuntu@20.04"
_REPOSITORIES = ("docker.io/jujusolutions", "ghcr.io/juju")
_NAMES = ("charm-base", "juju-db", "jujud-operator")


class CharmWithBase(Protocol):
    """The properties of a charm that decide the base image of its operator and containers."""

    @property
    def is_podspec(self) -> bool:
        """Whether an operator pod of Juju runs it."""
        ...

    @property
    def base(self) -> str | None:
        """The base, for example ``ubuntu@22.04``; None for charms of the old format."""
        ...


def default_repository(juju: JujuVersion) -> str:
    """Return the default repository of the images of a version."""
    return _REPOSITORIES[juju.release >= (3, 6, 9)]


def controller_images(juju: JujuVersion) -> tuple[str, ...]:
    """List name and tag of each image of the controller's own pod, except its agent's."""
    return (*_database_images(juju), _charm_base(_CONTROLLER_BASE))


def model_images(juju: JujuVersion, charms: Iterable[CharmWithBase]) -> tuple[str, ...]:
    """List the images that a model uses.

    Args:
        juju: The model's version.
        charms: The charms to deploy.

    Returns:
        Name and tag of each, the agent first.
    """
    bases = {_PODSPEC_BASE if charm.is_podspec else charm.base for charm in charms}
    return (
        f"jujud-operator:{juju}",
        *(_charm_base(base) for base in sorted(filter(None, bases))),
    )


def all_images(juju: JujuVersion, charms: Iterable[CharmWithBase]) -> tuple[str, ...]:
    """List the images that a controller and a model use, each once."""
    return tuple(dict.fromkeys([*model_images(juju, charms), *controller_images(juju)]))


def is_juju_image(image: ImageReference) -> bool:
    """Return whether an image is one of Juju's own in a default repository."""
    repository, _, name = image.name.rpartition("/")
    return repository in _REPOSITORIES and name in _NAMES


def _database_images(juju: JujuVersion) -> tuple[str, ...]:
    """List the image of the controller's database, which is part of the agent in 4.0."""
    if juju.major >= 4:
        return ()
    return ("juju-db:4.4.30" if juju.release >= (3, 6, 19) else "juju-db:4.4",)


def _charm_base(base: str) -> str:
    return f"charm-base:{base.replace('@', '-')}"
