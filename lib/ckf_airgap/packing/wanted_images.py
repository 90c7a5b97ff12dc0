"""Lists Juju's own images, parses image references, and merges spellings of the same image."""

from collections.abc import Iterable

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.naming import image_path
from ckf_airgap.images.reference import ImagePath, ImageReference
from ckf_airgap.juju.juju_images import all_images, default_repository
from ckf_airgap.juju.juju_version import JujuVersion


def juju_images(version: str, charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List Juju's own images: agents, database, and bases of the controller and of the charms.

    Args:
        version: The controller's version, for example ``3.6.8``.
        charms: The charms to deploy.

    Raises:
        ConfigurationError: ``version`` is not a version of Juju.
    """
    juju = JujuVersion.of_option(version)
    repository = default_repository(juju)
    return tuple(parse_image(f"{repository}/{name}") for name in all_images(juju, charms))


def parse_image(text: str) -> ImageReference:
    """Read an image reference.

    Raises:
        ConfigurationError: It is not valid.
    """
    reference = ImageReference.parse(text)
    if reference is None:
        raise ConfigurationError(
            f"{text!r} is not an image reference", "give it as HOST/PATH:TAG or HOST/PATH@DIGEST"
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
