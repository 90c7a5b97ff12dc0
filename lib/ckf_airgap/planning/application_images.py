"""Finds the images of each application in the archive, and lists missing images."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import (
    OptionImages,
    PlainImageOption,
    option_text,
    parsed_value,
)
from ckf_airgap.charms.unlisted_images import FixedImages, MapImages, load_unlisted_images
from ckf_airgap.errors import listed
from ckf_airgap.images.naming import image_path, mirror_path
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.juju.juju_values import OptionValue
from ckf_airgap.planning.image_lookup import Match, Resolution, Resolver
from ckf_airgap.planning.image_overrides import overridden_image_options
from ckf_airgap.planning.notebook_images import with_notebook_images

_DIFFERENT_HUBS_OR_TAGS = (
    "the option has one hub and one tag for all its images, but in the archive their hubs or tags "
    "differ"
)


@dataclass(frozen=True)
class MissingImage:
    """An image that the archive lacks.

    Attributes:
        image: The image as the charms name it.
        wanted_by: What needs it: ``application/resource``, ``application/option``, or
            ``application`` if the image is in the charm's code.
        note: Why none was found, for example the images between which the choice is ambiguous; or
            an empty string.
    """

    image: str
    wanted_by: tuple[str, ...]
    note: str

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.image} (for {listed(self.wanted_by, separator=', ')}{note})"


@dataclass(frozen=True)
class FixedImage:
    """An image in the code of a charm, which no option can change.

    Attributes:
        image: The image.
        application: The application that uses it.
        purpose: Its purpose.
        is_required: Whether the application requires it.
        mirror: The reference that a node with a mirror configuration requests.
    """

    image: str
    application: str
    purpose: str
    is_required: bool
    mirror: str


@dataclass(frozen=True)
class FoundOptions:
    """The options of an application that name images.

    Attributes:
        values: The value of each, with references in the operator's registry.
        missing: The names of options with missing images.
    """

    values: Mapping[str, str]
    missing: frozenset[str]


def lacking_workload(charm: CharmFile, missing: Collection[str]) -> tuple[str, ...]:
    """List the options whose missing images keep an application from running.

    These are the single-image options of a charm without oci-image resources.

    Args:
        charm: The charm.
        missing: The options with missing images.
    """
    if charm.resources:
        return ()
    plain = (item.name for item in charm.image_options if isinstance(item, PlainImageOption))
    return tuple(name for name in plain if name in missing)


class ApplicationImages:
    """Finds the images of each application, and records which application needs which image."""

    def __init__(self, inventory: Inventory, location: RegistryLocation) -> None:
        self._user_images = inventory.user_images
        self._resolver = Resolver(inventory)
        self._location = location
        self._resolutions: dict[str, Resolution] = {}
        # The inner maps are ordered sets: their values are unused.
        self._wanted_by: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._users: defaultdict[str, dict[str, None]] = defaultdict(dict)
        # Missing images that are not in _resolutions.
        self._other_missing: list[MissingImage] = []
        self._warnings: list[tuple[str, str]] = []
        self._fixed: list[FixedImage] = []
        # Only the operator's own images may be references in the operator's registry. A charm that
        # names the same host means the host on the internet.
        self._operator_images: set[str] = set()

    def resources(
        self, application: str, charm: CharmFile, operator_images: Mapping[str, str]
    ) -> dict[str, str]:
        """Find the image of each oci-image resource.

        Args:
            application: The application.
            charm: Its charm.
            operator_images: The operator's images: resource -> image.

        Returns:
            Resource -> reference in the registry, for the found images.
        """
        found: dict[str, str] = {}
        self._operator_images.update(operator_images.values())
        for resource, default in charm.resources.items():
            image = operator_images.get(resource, default)
            if not image:
                self._warnings.append(
                    (
                        f"charm {charm.name} does not say which image its resource {resource} is",
                        f"name it in the overlay, under applications, {application}, resources",
                    )
                )
            elif reference := self._find(image, f"{application}/{resource}"):
                found[resource] = reference
        return found

    def options(
        self, application: str, charm: CharmFile, operator_options: Mapping[str, OptionValue]
    ) -> FoundOptions:
        """Find the value of each option that names images.

        A missing image gets the reference that it will have once it is pushed, so that the charm
        never pulls from the internet.

        Args:
            application: The application.
            charm: Its charm.
            operator_options: The options that the operator sets.

        Returns:
            The values, and the options with a missing image.

        Raises:
            ConfigurationError: A value of the operator does not name images.
        """
        values: dict[str, OptionImages] = {}
        missing: set[str] = set()
        options = overridden_image_options(application, charm, operator_options)
        for option in with_notebook_images(options, charm, operator_options, self._user_images):
            wanted_by = f"{application}/{option.name}"
            default = charm.image_option(option.name)
            packed = {image for images in self._user_images.values() for image in images}
            self._operator_images.update(
                set(option.images) - set(default.images if default else ()) - packed
            )
            # A list, not a generator: all() would stop at the first missing image, and not list
            # the others.
            if not all([self._find(image, wanted_by) for image in option.images]):
                missing.add(option.name)
            value = option.value(self._found_or_expected)
            if value is None and option.name not in missing:
                self._other_missing += [
                    MissingImage(image, (wanted_by,), _DIFFERENT_HUBS_OR_TAGS)
                    for image in option.images
                ]
                missing.add(option.name)
            value = option.value(self._expected) if value is None else value
            if value is not None:
                values[option.name] = value
        missing |= self._complete_maps(application, charm, values)
        for alias in load_unlisted_images().aliases:
            if (
                alias.charm == charm.name
                and alias.option in charm.options
                and not operator_options.get(alias.option)
            ):
                images = values.get(alias.of)
                if isinstance(images, dict) and alias.key in images:
                    values[alias.option] = images[alias.key]
                    self._users[images[alias.key]][f"{application}/{alias.option}"] = None
        texts = {name: option_text(value) for name, value in values.items()}
        return FoundOptions(texts, frozenset(missing))

    def report_fixed(
        self, application: str, charm: CharmFile, given_options: Mapping[str, object]
    ) -> tuple[str, ...]:
        """Warn of the images in a charm's code, which no option can change.

        Required ones that the archive lacks are also listed in ``missing``.

        Args:
            application: The application.
            charm: Its charm.
            given_options: The options that the operator sets.

        Returns:
            The required images that are missing.
        """
        lacking: list[str] = []
        for fixed in load_unlisted_images().fixed:
            if not fixed.concerns(charm.name, charm.options, charm.code, given_options):
                continue
            for image in fixed.images:
                if fixed.is_required and not self._find(image, application):
                    lacking.append(image)
                elif not fixed.is_required and (path := self._same_repository(image).path):
                    self._users[self._location.reference(path)][application] = None
            self._warnings.append(self._fixed_warning(application, fixed))
            self._fixed += [
                FixedImage(
                    image,
                    application,
                    fixed.purpose,
                    fixed.is_required,
                    self._mirror_reference(reference),
                )
                for image in fixed.images
                if (reference := ImageReference.parse(image))
            ]
        return tuple(lacking)

    @property
    def resolved(self) -> tuple[Resolution, ...]:
        """How each image was found, sorted."""
        found = (item for item in self._resolutions.values() if item.path)
        return tuple(sorted(found, key=lambda item: item.image))

    @property
    def missing(self) -> tuple[MissingImage, ...]:
        """The missing images, sorted."""
        missing = [
            MissingImage(item.image, tuple(self._wanted_by[item.image]), item.note)
            for item in self._resolutions.values()
            if not item.path
        ]
        return tuple(sorted(missing + self._other_missing, key=lambda item: item.image))

    @property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """Reference in the registry -> users of the image, as in ``MissingImage.wanted_by``."""
        return {reference: tuple(users) for reference, users in self._users.items()}

    @property
    def fixed(self) -> tuple[FixedImage, ...]:
        """The images that no option can change, sorted."""
        return tuple(sorted(self._fixed, key=lambda item: (item.image, item.application)))

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """The warnings for the operator, each with its problem and its cure."""
        substituted = (
            (
                f"{item.image} is not in the archive under its name; {item.path} is used instead",
                "if the charm needs another version, add that one",
            )
            for item in self.resolved
            if item.by is not Match.EXACT
        )
        return (*self._warnings, *substituted)

    def _complete_maps(
        self, application: str, charm: CharmFile, values: dict[str, OptionImages]
    ) -> set[str]:
        """Add the images of map keys for which neither the charm nor the operator names one.

        Returns:
            The options with missing images.
        """
        return {
            unlisted.option
            for unlisted in load_unlisted_images().maps
            if unlisted.charm == charm.name
            and unlisted.option in charm.options
            and not self._complete(application, charm, unlisted, values)
        }

    def _complete(
        self,
        application: str,
        charm: CharmFile,
        unlisted: MapImages,
        values: dict[str, OptionImages],
    ) -> bool:
        """Add the images of one map; return whether all required ones are in the archive."""
        value = values.get(unlisted.option)
        images = value if isinstance(value, dict) else dict[str, Any]()
        is_without_images = charm.image_option(unlisted.option) is None
        # If the charm names any image in this option, it names all required ones.
        required: Mapping[str, str] = unlisted.keys if is_without_images else {}
        default = parsed_value(charm.options[unlisted.option]) if is_without_images else None
        listed_keys = cast(dict[str, Any], default) if isinstance(default, dict) else {}
        is_complete = True
        for key, tail in {**required, **unlisted.extra_keys}.items():
            image = f"{unlisted.registry}/{tail}"
            expected = self._expected(image)
            if key in images or expected is None:
                continue
            resolution = self._resolver.resolve_tail(tail)
            if resolution.path:
                images[key] = self._location.reference(resolution.path)
                self._users[images[key]][f"{application}/{unlisted.option}"] = None
                continue
            # A missing image gets the reference that it will have once it is pushed, never the
            # original one.
            if key in required or key in listed_keys:
                images[key] = str(expected)
            version = charm.options.get("version") or "that this charm deploys"
            if key in required:
                is_complete = False
                note = (
                    resolution.note
                    or f"the charm names no image: add that of the version {version}"
                )
                wanted_by = f"{application}/{unlisted.option}"
                self._other_missing.append(MissingImage(image, (wanted_by,), note))
            elif key in listed_keys:
                self._warnings.append(
                    (
                        f"{application}/{unlisted.option} has no image in the archive for {key}, "
                        "which not every version of Knative deploys",
                        f"if the version {version} does, add {image} of that version",
                    )
                )
        if images:
            values[unlisted.option] = images
        return is_complete

    def _same_repository(self, image: str) -> Resolution:
        """Find a fixed image, which nodes request by its own repository."""
        resolution = self._resolver.resolve(image)
        return Resolution(image) if resolution.by is Match.NAME else resolution

    def _fixed_warning(self, application: str, fixed: FixedImages) -> tuple[str, str]:
        references = list(filter(None, map(ImageReference.parse, fixed.images)))
        registries = dict.fromkeys(reference.components[0] for reference in references)
        advice = [
            f"configure the nodes with the mirrors of {' and '.join(registries)} (output of "
            "ckf-airgap mirrors), so that they request "
            + ", ".join(self._mirror_reference(reference) for reference in references)
        ]
        for reference in references:
            resolution = self._same_repository(str(reference))
            if resolution.path is None:
                advice.append(
                    f"images.tar.gz lacks {reference}: pack it with --add-image {reference}"
                )
            elif resolution.by is Match.REPOSITORY and reference.tag:
                advice.append(
                    f"images.tar.gz has {resolution.path} instead of {reference}: "
                    f"pack it with --add-image {reference}"
                )
        return (
            f"{application} uses {' and '.join(fixed.images)} for {fixed.purpose}; no option of "
            "the charm sets another image",
            ("" if fixed.is_required else "if you need this, ") + "; ".join(advice),
        )

    def _mirror_reference(self, image: ImageReference) -> str:
        """Return the reference that a node with a mirror of the image's registry requests."""
        path = mirror_path(image)
        tag = f":{image.tag}" if image.tag else ""
        return f"{self._location}/{path.repository if path else image.name}{tag}"

    def _find(self, image: str, wanted_by: str) -> str | None:
        """Return the reference of an image in the registry; None if it is missing."""
        if self._is_in_registry(image):
            return image
        resolution = self._resolutions.get(image) or self._resolver.resolve(image)
        self._resolutions[image] = resolution
        self._wanted_by[image][wanted_by] = None
        if resolution.path is None:
            return None
        reference = self._location.reference(resolution.path)
        self._users[reference][wanted_by] = None
        return reference

    def _found_or_expected(self, image: str) -> ImageReference | None:
        """Return the reference of an image in the registry, or the one that it will have."""
        resolution = self._resolutions.get(image)
        if resolution and resolution.path:
            return self._location.image(resolution.path)
        return self._expected(image)

    def _expected(self, image: str) -> ImageReference | None:
        """Return the reference of an image in the registry, derived from its name."""
        reference = ImageReference.parse(image)
        if reference is None or self._is_in_registry(image):
            return reference
        return self._location.image(image_path(reference))

    def _is_in_registry(self, image: str) -> bool:
        """Return whether the operator gave this image by its reference in the registry."""
        return (
            image in self._operator_images
            and image.startswith(f"{self._location.host}/")
            and ImageReference.parse(image) is not None
        )
