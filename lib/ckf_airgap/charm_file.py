"""One ``.charm`` file: what it is, which images it takes, what it can be related with.

A ``.charm`` is a zip archive with ``metadata.yaml``, ``config.yaml`` and ``manifest.yaml`` (Juju
documentation, "Charm"). Its images are found by rule, without a table of charms: the resources of
type ``oci-image`` with their ``upstream-source``, and each option that has "image" in its name and
an image reference for its value, in ``config.yaml`` or in a default file in ``src/``.
"""

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from ckf_airgap import juju_names
from ckf_airgap.assumptions import Assumption
from ckf_airgap.charm_documents import CURE, BoundedFile, CharmDocuments, dashed
from ckf_airgap.documents import Budget, DocumentError, read_json_texts, read_texts
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import ImageReference
from ckf_airgap.planning.exceptions import required_images

_BASE = re.compile(r"[a-z][a-z0-9-]*@[A-Za-z0-9][A-Za-z0-9._-]*")

Find = Callable[[str], str | None]
"""Gives the reference in the air-gapped registry for an image, or None where it is missing."""


class ImageOption(Protocol):
    """An option whose value names images."""

    @property
    def name(self) -> str:
        """The option's name."""
        ...

    @property
    def images(self) -> tuple[str, ...]:
        """The images of its default value, as they are written there."""
        ...

    def value(self, find: Find) -> str | None:
        """Give the value that takes the images from the air-gapped registry.

        Args:
            find: Resolves one image.

        Returns:
            The value, or None where nothing can be set. It never holds an empty string in place
            of an image: to many charms that means the image on the internet.
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
        """Give the reference in the registry."""
        return find(self.image)


@dataclass(frozen=True)
class ImageListOption:
    """An option that is a YAML list of image references, the default one first."""

    name: str
    images: tuple[str, ...]

    def value(self, find: Find) -> str | None:
        """Give the list of those that were found, as JSON, which is YAML."""
        found = [reference for image in self.images if (reference := find(image))]
        return json.dumps(found) if found else None


@dataclass(frozen=True)
class ImageMapOption:
    """An option that is a YAML map of keys to image references.

    Attributes:
        name: The option's name.
        entries: Keys and images.
        others: Keys and values that are no images, which are passed on.
    """

    name: str
    entries: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, Any], ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """The images in the order of the default."""
        return tuple(image for _, image in self.entries)

    def value(self, find: Find) -> str | None:
        """Give the map of those that were found, as JSON, which is YAML."""
        found = {key: reference for key, image in self.entries if (reference := find(image))}
        return json.dumps({**dict(self.others), **found}) if found or self.others else None


@dataclass(frozen=True)
class HubImageOption:
    """An option like that of istio-pilot: a hub, a tag, and names that both apply to.

    Attributes:
        name: The option's name.
        settings: The whole default value.
    """

    name: str
    settings: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images that hub, name and tag make up, each once."""
        return tuple(dict.fromkeys(self._image(key) for key in self._image_keys))

    def value(self, find: Find) -> str | None:
        """Give the settings with the registry's hub and tag.

        There is one hub and one tag for all names, so that nothing can be set where an image is
        missing or where the images do not stand beside each other with the same tag.
        """
        settings = dict(self.settings)
        places: set[tuple[str, str]] = set()
        for key in self._image_keys:
            reference = find(self._image(key))
            parsed = ImageReference.parse(reference) if reference else None
            if parsed is None or parsed.tag is None:
                return None
            hub, _, settings[key] = parsed.name.rpartition("/")
            places.add((hub, parsed.tag))
        if len(places) != 1:
            return None
        settings["global-hub"], settings["global-tag"] = places.pop()
        return json.dumps(settings)

    @property
    def _image_keys(self) -> list[str]:
        return [key for key, _ in self.settings if key.endswith("-image")]

    def _image(self, key: str) -> str:
        settings = dict(self.settings)
        return f"{settings['global-hub']}/{settings[key]}:{settings['global-tag']}"


@dataclass(frozen=True)
class Endpoint:
    """A named point where a charm can be related.

    Attributes:
        name: Its name.
        role: ``provides`` or ``requires``.
        interface: The interface that both sides have to share.
        is_optional: Whether the charm says that it works without.
    """

    name: str
    role: str
    interface: str
    is_optional: bool = False


@dataclass(frozen=True)
class CharmFile:
    """One ``.charm`` file.

    Attributes:
        path: Where the file is.
        label: What it is called in messages: its name, or its path in charms.tar.gz.
        name: The charm's name according to its metadata; the file's name says nothing.
        resources: The oci-image resources: name -> upstream image, an empty string where the
            charm names none.
        image_options: The options that name images.
        options: All its options: name -> default, as it is written; an empty string for none.
        endpoints: What it can be related with.
        bases: Those it runs on, for example ``ubuntu@24.04``; empty for charms of the old format.
        is_podspec: Whether it is a charm of the podspec kind, which no bundle holds and which Juju
            4 no longer takes.
        has_storage: Whether it asks for storage.
        needs_operator_storage: Whether Juju gives its operator storage: that of a podspec charm
            for Juju before 2.8.
        assumes: What it demands of the controller.
        required_model: The only name of a model that it runs in; empty where any will do.
    """

    path: Path
    label: str
    name: str
    resources: Mapping[str, str]
    image_options: tuple[ImageOption, ...]
    options: Mapping[str, str]
    endpoints: tuple[Endpoint, ...]
    bases: tuple[str, ...]
    is_podspec: bool
    has_storage: bool = False
    needs_operator_storage: bool = False
    assumes: Assumption = field(default_factory=Assumption)
    required_model: str = ""

    @classmethod
    def read(cls, path: Path, label: str | None = None) -> "CharmFile":
        """Read what matters from a ``.charm`` file.

        Args:
            path: The file.
            label: What to call it in messages, where that is not the file's name.

        Returns:
            The charm.

        Raises:
            ArtifactError: The file is not a charm, or damaged.
        """
        label = label or path.name
        try:
            with BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
                documents = CharmDocuments(archive, label)
                return _read(path, documents)
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            # Names of files that are not in the encoding that they should be in, and the like.
            ValueError,
            struct.error,
        ) as error:
            raise ArtifactError(f"{label} is not a readable charm ({error})", CURE) from error

    @property
    def base(self) -> str | None:
        """The base to deploy it on: the newest that it names."""
        return max(self.bases, default=None)

    @property
    def images(self) -> tuple[str, ...]:
        """All images that it takes, each once."""
        options = [image for option in self.image_options for image in option.images]
        return tuple(dict.fromkeys([*filter(None, self.resources.values()), *options]))

    def image_option(self, name: str) -> ImageOption | None:
        """Give the image option of a name, or None."""
        return next((option for option in self.image_options if option.name == name), None)

    def endpoint(self, name: str) -> Endpoint | None:
        """Give the endpoint of a name, or None."""
        return next((endpoint for endpoint in self.endpoints if endpoint.name == name), None)


def wanted_images(charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List the images that charms take, each once; what is no valid reference is left out.

    The images in the code of a charm that its application does not run without are among them.
    """
    references = (
        ImageReference.parse(image)
        for charm in charms
        for image in (*charm.images, *required_images(charm.name, charm.options))
    )
    return tuple(dict.fromkeys(reference for reference in references if reference))


def _read(path: Path, documents: CharmDocuments) -> CharmFile:
    metadata = documents.mapping("metadata.yaml", required=True)
    name = metadata.get("name")
    if not isinstance(name, str) or not juju_names.is_charm(name):
        raise ArtifactError(
            f"metadata.yaml of {documents.label} names no charm, but {str(name)[:80]!r}", CURE
        )
    is_podspec = metadata.get("series") == ["kubernetes"] and not metadata.get("containers")
    resources = documents.section("metadata.yaml", metadata, "resources", juju_names.is_resource)
    storage = documents.section("metadata.yaml", metadata, "storage", juju_names.is_storage)
    options = documents.section(
        "config.yaml", documents.mapping("config.yaml"), "options", juju_names.is_option
    )
    return CharmFile(
        path=path,
        label=documents.label,
        name=name,
        resources={
            resource: documents.image(
                "metadata.yaml", resource, str(details.get("upstream-source") or "")
            )
            for resource, details in resources.items()
            if details.get("type") == "oci-image"
        },
        image_options=tuple(_image_options(options, documents)),
        options={option: str(details.get("default") or "") for option, details in options.items()},
        endpoints=tuple(
            _endpoint(documents, endpoint, role, details)
            for role in ("provides", "requires")
            for endpoint, details in documents.section(
                "metadata.yaml", metadata, role, juju_names.is_endpoint
            ).items()
        ),
        bases=_bases(documents.mapping("manifest.yaml")),
        is_podspec=is_podspec,
        has_storage=bool(storage),
        needs_operator_storage=is_podspec and _is_for_old_juju(metadata),
        assumes=Assumption.of_charm(metadata),
        required_model=documents.required_model(),
    )


def _is_for_old_juju(metadata: dict[str, Any]) -> bool:
    minimum = metadata.get("min-juju-version")
    return not minimum or Assumption(feature="juju < 2.8").holds(str(minimum))


def _endpoint(
    documents: CharmDocuments, name: str, role: str, details: dict[str, Any]
) -> Endpoint:
    interface = str(details.get("interface", ""))
    documents.require(
        not interface or juju_names.is_interface(interface),
        "metadata.yaml",
        f"gives {name} the interface {interface[:80]!r}",
    )
    return Endpoint(name, role, interface, is_optional=details.get("optional") == "true")


def _bases(manifest: dict[str, Any]) -> tuple[str, ...]:
    bases = manifest.get("bases")
    if not isinstance(bases, list):
        return ()
    found = [
        cast(dict[str, Any], base) for base in cast(list[Any], bases) if isinstance(base, dict)
    ]
    texts = [
        f"{base['name']}@{str(base['channel']).partition('/')[0]}"
        for base in found
        if "name" in base and "channel" in base
    ]
    return tuple(text for text in texts if _BASE.fullmatch(text))


def _image_options(
    options: dict[str, dict[str, Any]], documents: CharmDocuments
) -> list[ImageOption]:
    """Find the options that name images.

    An option is one if its name has "image" in it **and** its value is image references: by the
    value alone a namespace with a gateway would be one, by the name alone a pull policy.
    """
    found: list[ImageOption] = []
    default_files = documents.default_files
    for name, details in options.items():
        if "image" not in name:
            continue
        # The keys of the file count: config.yaml lists fewer, or others, than the charm reads.
        file = default_files.get(dashed(name))
        default = (
            documents.document(file)
            if file
            else parsed_value(details.get("default"), documents.budget)
        )
        option = image_option(name, default)
        if option:
            for image in option.images:
                documents.image(file or "config.yaml", name, image)
            found.append(option)
    return found


def parsed_value(value: object, budget: Budget | None = None) -> object:
    """Read the value of an option, which is itself YAML or JSON in a string.

    Args:
        value: The value.
        budget: What is left to spend on values; one of its own where not given.
    """
    if not isinstance(value, str):
        return None
    for read in (read_json_texts, read_texts):
        with suppress(DocumentError):
            return read(value, budget)
    return value


def image_option(name: str, value: object) -> ImageOption | None:
    """Tell which images a value of an option names.

    Args:
        name: The option's name.
        value: Its value, parsed.

    Returns:
        The option, or None where the value is something else than image references.
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
    """Tell an image reference from a bare word, which would be one by the letter."""
    if not isinstance(value, str) or not re.search("[/:]", value):
        return False
    return ImageReference.parse(value) is not None
