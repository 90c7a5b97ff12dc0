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

from ckf_airgap.assumptions import Assumption
from ckf_airgap.documents import DocumentError, read_json_texts, read_texts
from ckf_airgap.errors import ArtifactError
from ckf_airgap.names import ImageReference

# metadata.yaml and its like have some kilobytes; a larger one is damage or an attack.
_LARGEST_DOCUMENT = 1024 * 1024
# The rule of Juju for the names of charms.
_CHARM_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]*[a-z][a-z0-9]*)*")
_LONGEST_NAME = 128
_DEFAULT_FILE = re.compile(r"src/default-(?P<option>[\w-]+)\.(?:json|ya?ml)")
_CODE = "src/charm.py"
# The status of kubeflow-dashboard 1.8 to 1.11 in another model; no metadata says so.
_REQUIRED_MODEL = re.compile(
    rb"must be deployed to model named [`'\"]?(?P<model>[a-z0-9][a-z0-9-]{0,62})"
)
_CURE = "download the charm again (juju download) and make charms.tar.gz again"

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
            The value, or None where nothing can be set. A missing image is left out, never
            replaced by an empty string: to many charms that means the image on the internet.
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
    """An option that is a YAML map of keys to image references."""

    name: str
    entries: tuple[tuple[str, str], ...]

    @property
    def images(self) -> tuple[str, ...]:
        """The images in the order of the default."""
        return tuple(image for _, image in self.entries)

    def value(self, find: Find) -> str | None:
        """Give the map of those that were found, as JSON, which is YAML."""
        found = {key: reference for key, image in self.entries if (reference := find(image))}
        return json.dumps(found) if found else None


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
            with zipfile.ZipFile(path) as archive:
                documents = _Documents(archive, label)
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
            raise ArtifactError(f"{label} is not a readable charm ({error})", _CURE) from error

    @property
    def base(self) -> str | None:
        """The base to deploy it on: the newest that it names."""
        return max(self.bases, default=None)

    @property
    def images(self) -> tuple[str, ...]:
        """All images that it takes, each once."""
        options = [image for option in self.image_options for image in option.images]
        return tuple(dict.fromkeys([*filter(None, self.resources.values()), *options]))

    def endpoint(self, name: str) -> Endpoint | None:
        """Give the endpoint of a name, or None."""
        return next((endpoint for endpoint in self.endpoints if endpoint.name == name), None)


def wanted_images(charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List the images that charms take, each once; what is no valid reference is left out."""
    references = (ImageReference.parse(image) for charm in charms for image in charm.images)
    return tuple(dict.fromkeys(reference for reference in references if reference))


class _Documents:
    """The YAML and JSON files of a charm."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        self._archive = archive
        self.label = label

    @property
    def default_files(self) -> dict[str, str]:
        """The default image files: option name with dashes -> file name."""
        found = {name: _DEFAULT_FILE.fullmatch(name) for name in self._archive.namelist()}
        return {_dashed(match["option"]): name for name, match in found.items() if match}

    def required_model(self) -> str:
        """Give the name that the charm's code demands of its model, or an empty string."""
        if _CODE not in self._archive.namelist():
            return ""
        with self._archive.open(_CODE) as file:
            match = _REQUIRED_MODEL.search(file.read(_LARGEST_DOCUMENT))
        return match["model"].decode() if match else ""

    def mapping(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Read a file that is a map; an empty one where it is missing or empty."""
        if name not in self._archive.namelist():
            if required:
                raise ArtifactError(f"{self.label} has no {name}: it is not a charm", _CURE)
            return {}
        document = self.document(name)
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise ArtifactError(f"{name} of {self.label} is not a map", _CURE)
        return cast(dict[str, Any], document)

    def document(self, name: str) -> Any:
        """Read a file of any shape."""
        if self._archive.getinfo(name).file_size > _LARGEST_DOCUMENT:
            raise ArtifactError(f"{name} of {self.label} is too large to be right", _CURE)
        is_json = name.endswith(".json")
        read = read_json_texts if is_json else read_texts
        try:
            return read(self._archive.read(name))
        except DocumentError as error:
            language = "JSON" if is_json else "YAML"
            raise ArtifactError(
                f"{name} of {self.label} is not valid {language}{error}", _CURE
            ) from error


def _read(path: Path, documents: _Documents) -> CharmFile:
    metadata = documents.mapping("metadata.yaml", required=True)
    options = _section(documents.mapping("config.yaml"), "options")
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _CHARM_NAME.fullmatch(name):
        raise ArtifactError(
            f"metadata.yaml of {documents.label} names no charm, but {str(name)[:80]!r}", _CURE
        )
    is_podspec = metadata.get("series") == ["kubernetes"] and not metadata.get("containers")
    return CharmFile(
        path=path,
        label=documents.label,
        name=name,
        resources={
            resource: str(details.get("upstream-source") or "")
            for resource, details in _section(metadata, "resources").items()
            if details.get("type") == "oci-image"
        },
        image_options=tuple(_image_options(options, documents)),
        options={option: str(details.get("default") or "") for option, details in options.items()},
        endpoints=tuple(
            Endpoint(
                endpoint,
                role,
                str(details.get("interface", "")),
                is_optional=details.get("optional") == "true",
            )
            for role in ("provides", "requires")
            for endpoint, details in _section(metadata, role).items()
        ),
        bases=_bases(documents.mapping("manifest.yaml")),
        is_podspec=is_podspec,
        has_storage=bool(_section(metadata, "storage")),
        needs_operator_storage=is_podspec and _is_for_old_juju(metadata),
        assumes=Assumption.of_charm(metadata),
        required_model=documents.required_model(),
    )


def _is_for_old_juju(metadata: dict[str, Any]) -> bool:
    minimum = metadata.get("min-juju-version")
    return not minimum or Assumption(feature="juju < 2.8").holds(str(minimum))


def _section(document: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """Give a map of maps, without the entries that are something else."""
    section = document.get(key)
    if not isinstance(section, dict):
        return {}
    entries = cast(dict[str, Any], section).items()
    return {name: details for name, details in entries if isinstance(details, dict)}


def _bases(manifest: dict[str, Any]) -> tuple[str, ...]:
    bases = manifest.get("bases")
    if not isinstance(bases, list):
        return ()
    found = [
        cast(dict[str, Any], base) for base in cast(list[Any], bases) if isinstance(base, dict)
    ]
    return tuple(
        f"{base['name']}@{str(base['channel']).partition('/')[0]}"
        for base in found
        if "name" in base and "channel" in base
    )


def _image_options(options: dict[str, dict[str, Any]], documents: _Documents) -> list[ImageOption]:
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
        file = default_files.get(_dashed(name))
        default = documents.document(file) if file else _parsed(details.get("default"))
        option = _image_option(name, default)
        if option:
            found.append(option)
    return found


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _parsed(default: object) -> object:
    """Read a default value, which is itself YAML or JSON in a string."""
    if not isinstance(default, str):
        return None
    for read in (read_json_texts, read_texts):
        with suppress(DocumentError):
            return read(default)
    return default


def _image_option(name: str, default: object) -> ImageOption | None:
    if isinstance(default, str):
        return PlainImageOption(name, default) if _is_image(default) and "/" in default else None
    if isinstance(default, list):
        images = tuple(item for item in cast(list[object], default) if item)
        is_list = bool(images) and all(map(_is_image, images))
        return ImageListOption(name, cast(tuple[str, ...], images)) if is_list else None
    if not isinstance(default, dict):
        return None
    items = cast(dict[Any, Any], default).items()
    settings = {str(key): value for key, value in items if isinstance(value, str) and value}
    if "global-hub" in settings and "global-tag" in settings:
        return HubImageOption(name, tuple(settings.items()))
    entries = tuple((key, value) for key, value in settings.items() if _is_image(value))
    return ImageMapOption(name, entries) if entries else None


def _is_image(value: object) -> bool:
    """Tell an image reference from a bare word, which would be one by the letter."""
    if not isinstance(value, str) or not re.search("[/:]", value):
        return False
    return ImageReference.parse(value) is not None
