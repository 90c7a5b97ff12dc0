"""One ``.charm`` file: its metadata, images and endpoints.

A ``.charm`` is a zip archive with ``metadata.yaml``, ``config.yaml`` and ``manifest.yaml`` (Juju
documentation, "Charm"). Its images are found by rules: the ``upstream-source``
of resources of type ``oci-image``, and each option with "image" in its name and image references
as its value, in ``config.yaml`` or in a default file in ``src/``. ``unlisted_images`` has the
images that these rules do not find.
"""

import re
import zipfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.charms.charm_documents import CURE, BoundedFile, CharmDocuments
from ckf_airgap.charms.charm_reference import CharmReference
from ckf_airgap.charms.fixed_declarations import digest_of_fixed, is_true
from ckf_airgap.charms.image_options import ImageOption, find_image_options
from ckf_airgap.charms.unlisted_images import code_marks, required_images
from ckf_airgap.errors import ArtifactError, without_traceback
from ckf_airgap.files.untrusted_yaml import Budget
from ckf_airgap.files.zip_errors import ZIP_ERRORS
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju import juju_names

_BASE = re.compile(r"[a-z][a-z0-9-]*@[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of a charm.

    Attributes:
        name: Its name.
        role: ``provides`` or ``requires``.
        interface: The interface, which is the same on both sides.
        is_optional: Whether the charm declares it optional.
    """

    name: str
    role: str
    interface: str
    is_optional: bool = False


@dataclass(frozen=True)
class CharmFile:
    """One ``.charm`` file.

    Attributes:
        path: The file.
        label: Its name in messages: the file name, or the path in charms.tar.gz.
        name: The charm's name in its metadata; the name of the file does not matter.
        resources: The upstream image of each oci-image resource; an empty string if the charm
            names none.
        image_options: The options that name images.
        options: The default of each option, as written; an empty string for none.
        endpoints: The endpoints that it provides or requires, without peers.
        bases: Its bases, for example ``ubuntu@24.04``; empty for charms without bases in
            manifest.yaml.
        is_podspec: Whether it is a podspec charm, which a bundle cannot contain and Juju 4 does
            not deploy.
        has_storage: Whether it declares storage.
        needs_operator_storage: Whether Juju gives its operator pod storage: a podspec charm with
            no ``min-juju-version``, or one below 2.8.
        assumes: The ``assumes`` of its metadata.yaml: what it requires of Juju and the cluster.
        required_model: The only model name that it works with; empty for any.
        code: Which of ``code_marks`` occur in src/charm.py; they tell its versions apart. None if
            it has no such file.
        fixed: A digest of what a refresh cannot change: deployment, storage, devices; empty for
            none.
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
    code: frozenset[str] | None = None
    fixed: str = ""

    @classmethod
    def read(
        cls, path: Path, label: str | None = None, budget: Budget | None = None
    ) -> "CharmFile":
        """Read a ``.charm`` file.

        Args:
            path: The file.
            label: Its name in messages, if not the name of the file.
            budget: How many YAML values all charms of an archive may have together; None for a
                charm alone.

        Returns:
            The charm.

        Raises:
            ArtifactError: The file is not a charm, or damaged.
        """
        with _documents(path, label or path.name, budget) as documents:
            return _read(path, documents)

    @property
    def base(self) -> str | None:
        """The base to deploy it on: the last one by name, so the newest Ubuntu; None if none."""
        return max(self.bases, default=None)

    @property
    def images(self) -> tuple[str, ...]:
        """The images of its resources and options, each once; not those in its code."""
        options = [image for option in self.image_options for image in option.images]
        return tuple(dict.fromkeys([*filter(None, self.resources.values()), *options]))

    def image_option(self, name: str) -> ImageOption | None:
        """Return the image option with this name, or None."""
        return self._image_options_by_name.get(name)

    def endpoint(self, name: str) -> Endpoint | None:
        """Return the endpoint with this name, or None."""
        return self._endpoints_by_name.get(name)

    def endpoints_of(self, interface: str, role: str) -> Sequence[Endpoint]:
        """Return the endpoints with this interface and role."""
        return self._endpoints_by_kind.get((interface, role), ())

    # Cached: a charm may have very many options and endpoints, and callers look up each of them.
    @cached_property
    def _image_options_by_name(self) -> Mapping[str, ImageOption]:
        return {option.name: option for option in self.image_options}

    @cached_property
    def _endpoints_by_name(self) -> Mapping[str, Endpoint]:
        return {endpoint.name: endpoint for endpoint in self.endpoints}

    @cached_property
    def _endpoints_by_kind(self) -> Mapping[tuple[str, str], Sequence[Endpoint]]:
        found: dict[tuple[str, str], list[Endpoint]] = {}
        for endpoint in self.endpoints:
            found.setdefault((endpoint.interface, endpoint.role), []).append(endpoint)
        return found


@dataclass(frozen=True)
class UnreadableCharm:
    """A ``.charm`` file that cannot be read.

    Attributes:
        label: Its name in messages.
        name: The charm's name in its metadata, or if that is unreadable, in its file name.
        error: Why it cannot be read.
    """

    label: str
    name: str
    error: ArtifactError

    @classmethod
    def of(
        cls, path: Path, label: str, error: ArtifactError, budget: Budget | None = None
    ) -> "UnreadableCharm":
        """Describe an unreadable charm, by the name in its metadata or else by its file name.

        Args:
            path: The file.
            label: Its name in messages.
            error: Why it cannot be read.
            budget: As for ``CharmFile.read``.
        """
        try:
            with _documents(path, label, budget) as documents:
                name = _name(documents, documents.mapping("metadata.yaml", required=True))
        except ArtifactError:
            name = CharmReference.parse(label).name
        return cls(label, name, without_traceback(error))


def size_of_documents(path: Path) -> int:
    """Return the size of the documents of a charm in bytes; 0 if it cannot be read.

    Args:
        path: The file.
    """
    try:
        with _documents(path, path.name, None) as documents:
            return documents.size
    except ArtifactError:
        return 0


def architectures_of(path: Path) -> frozenset[str]:
    """Return the CPU architectures that a charm is for; empty if it does not say.

    Args:
        path: The file.

    Raises:
        ArtifactError: The file is not a charm, or damaged.
    """
    with _documents(path, path.name, None) as documents:
        found = [
            base.get("architectures") for base in _base_maps(documents.mapping("manifest.yaml"))
        ]
    return frozenset(
        str(name) for names in found if isinstance(names, list) for name in cast(list[Any], names)
    )


@contextmanager
def _documents(path: Path, label: str, budget: Budget | None) -> Generator[CharmDocuments]:
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
            yield CharmDocuments(archive, label, budget)
    except (OSError, *ZIP_ERRORS) as error:
        raise ArtifactError(f"{label} is not a readable charm ({error})", CURE) from error


def wanted_images(charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List the images that charms use, each once; invalid references are left out.

    This includes the required images that are only in the code of a charm, if their version is
    known.
    """
    references = (
        ImageReference.parse(image)
        for charm in charms
        for image in (*charm.images, *_images_in_code(charm))
    )
    return tuple(dict.fromkeys(reference for reference in references if reference))


def _images_in_code(charm: CharmFile) -> Iterator[str]:
    """List the required images that are only in the code of a charm and have a known version."""
    for image in required_images(charm.name, charm.options, charm.code):
        reference = ImageReference.parse(image)
        if reference and (reference.tag or reference.digest):
            yield image


def _read(path: Path, documents: CharmDocuments) -> CharmFile:
    metadata = documents.mapping("metadata.yaml", required=True)
    name = _name(documents, metadata)
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
        image_options=tuple(find_image_options(options, documents)),
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
        code=documents.code_with(code_marks(name)),
        fixed=digest_of_fixed(metadata),
    )


def _name(documents: CharmDocuments, metadata: dict[str, Any]) -> str:
    name = metadata.get("name")
    if not isinstance(name, str) or not juju_names.is_charm(name):
        raise ArtifactError(
            f"metadata.yaml of {documents.label} names no valid charm: {str(name)[:80]!r}", CURE
        )
    return name


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
    return Endpoint(name, role, interface, is_optional=is_true(details.get("optional")))


def _base_maps(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    bases = manifest.get("bases")
    if not isinstance(bases, list):
        return []
    return [
        cast(dict[str, Any], base) for base in cast(list[Any], bases) if isinstance(base, dict)
    ]


def _bases(manifest: dict[str, Any]) -> tuple[str, ...]:
    texts = [
        f"{base['name']}@{str(base['channel']).partition('/')[0]}"
        for base in _base_maps(manifest)
        if "name" in base and "channel" in base
    ]
    return tuple(text for text in texts if _BASE.fullmatch(text))
