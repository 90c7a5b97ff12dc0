"""One ``.charm`` file: its metadata, images and endpoints.

A ``.charm`` is a zip archive with ``metadata.yaml``, ``config.yaml`` and ``manifest.yaml`` (Juju
documentation, "Charm"). Its images are found by rule, without a table of charms: the resources of
type ``oci-image`` with their ``upstream-source``, and each option that has "image" in its name and
an image reference for its value, in ``config.yaml`` or in a default file in ``src/``.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ckf_airgap.charms.assumes import Assumption
from ckf_airgap.charms.charm_documents import CURE, BoundedFile, CharmDocuments, dashed
from ckf_airgap.charms.charm_reference import CharmReference
from ckf_airgap.charms.fixed_declarations import digest_of_fixed
from ckf_airgap.charms.image_options import ImageOption, image_option, parsed_value
from ckf_airgap.charms.unlisted_images import code_marks, required_images
from ckf_airgap.errors import ArtifactError, without_traceback
from ckf_airgap.files.untrusted_yaml import Budget
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.juju import juju_names

_BASE = re.compile(r"[a-z][a-z0-9-]*@[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Endpoint:
    """A named point at which a charm can be related.

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
        code: Which of the texts its code has that tell its versions from each other; None where
            it has no code.
        fixed: A digest of what no refresh changes: deployment, storage, devices; empty for none.
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
        """Read what matters from a ``.charm`` file.

        Args:
            path: The file.
            label: What to call it in messages, where that is not the file's name.
            budget: How many values all charms of an archive may have together.

        Returns:
            The charm.

        Raises:
            ArtifactError: The file is not a charm, or damaged.
        """
        with _documents(path, label or path.name, budget) as documents:
            return _read(path, documents)

    @property
    def base(self) -> str | None:
        """The base to deploy it on: the newest that it supports."""
        return max(self.bases, default=None)

    @property
    def images(self) -> tuple[str, ...]:
        """All images that it uses, each once."""
        options = [image for option in self.image_options for image in option.images]
        return tuple(dict.fromkeys([*filter(None, self.resources.values()), *options]))

    def image_option(self, name: str) -> ImageOption | None:
        """Return the image option of a name, or None."""
        return self._image_options_by_name.get(name)

    def endpoint(self, name: str) -> Endpoint | None:
        """Return the endpoint of a name, or None."""
        return self._endpoints_by_name.get(name)

    def endpoints_of(self, interface: str, role: str) -> Sequence[Endpoint]:
        """Return the endpoints of an interface and a role."""
        return self._endpoints_by_kind.get((interface, role), ())

    # A charm may have very many of these, and be asked for each.
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
        label: What it is called in messages.
        name: The charm's name: that of its metadata, or where that is not readable either, that
            of its file.
        error: What is wrong with it.
    """

    label: str
    name: str
    error: ArtifactError

    @classmethod
    def of(
        cls, path: Path, label: str, error: ArtifactError, budget: Budget | None = None
    ) -> "UnreadableCharm":
        """Find out which charm a file would be.

        Args:
            path: The file.
            label: What to call it.
            error: What is wrong with it.
            budget: As for ``CharmFile.read``.
        """
        try:
            with _documents(path, label, budget) as documents:
                name = _name(documents, documents.mapping("metadata.yaml", required=True))
        except ArtifactError:
            name = CharmReference.parse(label).name
        return cls(label, name, without_traceback(error))


def size_of_documents(path: Path) -> int:
    """Return how many bytes the documents of a charm have; 0 where it cannot be read.

    Args:
        path: The file.
    """
    try:
        with _documents(path, path.name, None) as documents:
            return documents.size
    except ArtifactError:
        return 0


@contextmanager
def _documents(path: Path, label: str, budget: Budget | None) -> Generator[CharmDocuments]:
    try:
        with BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
            yield CharmDocuments(archive, label, budget)
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


def wanted_images(charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List the images that charms use, each once; invalid references are left out.

    The images in the code of a charm that its application does not run without are among them, if
    it is known which version they have.
    """
    references = (
        ImageReference.parse(image)
        for charm in charms
        for image in (*charm.images, *_packed_with(charm))
    )
    return tuple(dict.fromkeys(reference for reference in references if reference))


def _packed_with(charm: CharmFile) -> Iterator[str]:
    """List the images in the code of a charm that it does not run without, of known versions."""
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
        code=documents.code_with(code_marks(name)),
        fixed=digest_of_fixed(metadata),
    )


def _name(documents: CharmDocuments, metadata: dict[str, Any]) -> str:
    name = metadata.get("name")
    if not isinstance(name, str) or not juju_names.is_charm(name):
        raise ArtifactError(
            f"metadata.yaml of {documents.label} names no charm, but {str(name)[:80]!r}", CURE
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
            documents.default_images(file)
            if file
            else parsed_value(details.get("default"), documents.budget)
        )
        option = image_option(name, default)
        if option:
            for image in option.images:
                documents.image(file or "config.yaml", name, image)
            found.append(option)
    return found
