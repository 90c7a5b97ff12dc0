"""What is to be packed: the charms that a bundle or a channel map names, and further images."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ckf_airgap.charm_download import CharmOrigin
from ckf_airgap.charm_file import CharmFile
from ckf_airgap.charm_reference import REVISION
from ckf_airgap.documents import DocumentError, read_all_texts, read_texts
from ckf_airgap.errors import AirgapError, ConfigurationError, join_errors
from ckf_airgap.juju_images import JujuVersion
from ckf_airgap.juju_names import is_charm
from ckf_airgap.names import ImagePath, ImageReference, image_path
from ckf_airgap.packing.upgrade_start import UpgradeStart
from ckf_airgap.planning.operator_bundle import read_bundle
from ckf_airgap.planning.topology import TopologyApplication

_HUBS = ("docker.io", "index.docker.io")


@dataclass(frozen=True, kw_only=True)
class PackRequest:
    """What to pack.

    Attributes:
        output: The folder for the two files; made if need be.
        origins: The charms to download, or none.
        folder: A folder with charms, or None. With ``origins`` too, only those that they name
            count.
        bundle: The text of the bundle that the charms are for; empty for none.
        images: Images beside those of the charms.
        juju_version: The controller's version, to pack Juju's own images too; empty for not.
        layout: ``docker`` or ``oci``.
        architecture: The CPU architecture.
        allow_missing: Whether to pack although charms of the release are missing.
        juju: The juju client.
        charmhub_url: The address of another Charmhub; empty for the public one.
        upgrade_from: What runs where this is to be upgraded to, or None.
    """

    output: Path
    origins: tuple[CharmOrigin, ...] = ()
    folder: Path | None = None
    bundle: str = ""
    images: tuple[ImageReference, ...] = ()
    juju_version: str = ""
    layout: str = "docker"
    architecture: str = "amd64"
    allow_missing: bool = False
    juju: str = "juju"
    charmhub_url: str = ""
    upgrade_from: UpgradeStart | None = None

    @property
    def identity(self) -> str:
        """Tell what to fetch from what another request fetches; the layout does not count."""
        what = [
            sorted(map(str, self.origins)),
            str(self.folder),
            self.bundle,
            sorted(map(str, self.images)),
            self.juju_version,
            self.architecture,
            *(sorted(map(str, self.upgrade_from.versions.items())) if self.upgrade_from else ()),
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def charms_of_bundle(text: str, *, from_files: bool = False) -> tuple[CharmOrigin, ...]:
    """List the charms that a bundle deploys.

    Args:
        text: The bundle (Juju's documentation, "Bundle").
        from_files: Whether the charms are at hand; otherwise all must come from Charmhub.

    Returns:
        The charms, sorted by name, each once.

    Raises:
        ConfigurationError: It is not a bundle, deploys a charm from two places, or none at all.
    """
    found: dict[str, CharmOrigin] = {}
    failures: list[AirgapError] = []
    for item in read_bundle(text).applications:
        if item.reference and item.reference.is_file and not from_files:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {item.name} from a file, not from Charmhub",
                    "give the folder of the charms with --charms",
                )
            )
            continue
        origin = _origin(item)
        other = found.setdefault(origin.name, origin)
        if other != origin:
            failures.append(
                ConfigurationError(
                    f"the bundle deploys {other} and {origin}",
                    "charms.tar.gz holds a charm once: give both applications the same one",
                )
            )
    if failures:
        raise join_errors(failures, "applications of the bundle cannot be packed")
    return tuple(found[name] for name in sorted(found))


def charms_of_channel_map(text: str) -> tuple[CharmOrigin, ...]:
    """List the charms of a channel map.

    Args:
        text: YAML: charm -> channel, or charm -> a map of channel, base, revision.

    Returns:
        The charms, sorted by name.

    Raises:
        ConfigurationError: It is something else.
    """
    document = _document(text, "the channel map")
    origins: list[CharmOrigin] = []
    for name, body in sorted(document.items()):
        details = {"channel": body} if body and isinstance(body, str) else body
        if not isinstance(details, dict) or set(cast(dict[str, Any], details)) - {
            "channel",
            "base",
            "revision",
        }:
            raise ConfigurationError(
                f"the channel map gives no channel for {name}",
                "write CHARM: CHANNEL, for example argo-controller: 3.4/stable",
            )
        origins.append(_charm(name, cast(dict[str, Any], details)))
    return tuple(origins)


def juju_images(version: str, charms: Iterable[CharmFile]) -> tuple[ImageReference, ...]:
    """List the images that Juju itself takes: of its agents, its database, and the charms' bases.

    Args:
        version: The controller's version, for example ``3.6.8``.
        charms: The charms that are to be deployed.

    Raises:
        ConfigurationError: It is not a version.
    """
    juju = JujuVersion.of_option(version)
    return tuple(parse_image(f"{juju.repository}/{name}") for name in juju.all_images(charms))


def images_in(text: str, name: str) -> tuple[ImageReference, ...]:
    """Find the images that a file names.

    Args:
        text: A list, a line for each, with comments behind ``#``; or Kubernetes manifests in YAML,
            of which every value counts that is an image by its key and by its form.
        name: What to call the file.

    Returns:
        The images, each once.

    Raises:
        ConfigurationError: A line is no image, or the file names none.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    words = [line.removeprefix("- ").strip("\"' ") for line in lines if line and line != "---"]
    if words and all(" " not in word and not word.endswith(":") for word in words):
        return tuple(dict.fromkeys(parse_image(word) for word in words))
    found: dict[ImageReference, None] = {}
    try:
        for document in read_all_texts(text):
            found |= dict.fromkeys(_images_below(document))
    except DocumentError as error:
        raise ConfigurationError(
            f"{name} is neither a list of images nor YAML", "write an image on each line"
        ) from error
    if not found:
        raise ConfigurationError(f"{name} names no image", "write an image on each line")
    return tuple(found)


def parse_image(text: str) -> ImageReference:
    """Read an image reference.

    Raises:
        ConfigurationError: It is none.
    """
    reference = ImageReference.parse(text)
    if reference is None:
        raise ConfigurationError(
            f"{text!r} is not an image", "give it as HOST/PATH:TAG or HOST/PATH@DIGEST"
        )
    return reference


def distinct_images(references: Iterable[ImageReference]) -> list[ImageReference]:
    """Take images once that are written in several ways.

    Args:
        references: The images.

    Returns:
        The images, sorted.

    Raises:
        ConfigurationError: Two would have the same name in the air-gapped registry.
    """
    found: dict[str, ImageReference] = {}
    for reference in sorted(references, key=str):
        found.setdefault(_canonical(reference), reference)
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


def _document(text: str, what: str) -> Mapping[str, Any]:
    try:
        document = read_texts(text)
    except DocumentError as error:
        raise ConfigurationError(f"{what} is not valid YAML{error}", "correct it") from error
    if not isinstance(document, dict) or not document:
        raise ConfigurationError(f"{what} is not a map", "give a YAML file with a map")
    return {str(key): value for key, value in cast(dict[Any, Any], document).items()}


def _origin(item: TopologyApplication) -> CharmOrigin:
    """Return the source of an application's charm; of a file, its name alone matters."""
    reference = item.reference
    if reference is None or reference.is_file:
        return CharmOrigin(item.charm)
    return CharmOrigin(item.charm, item.channel, item.base, reference.revision)


def _charm(name: str, details: Mapping[str, Any]) -> CharmOrigin:
    if not is_charm(name):
        raise ConfigurationError(
            f"{name[:80]!r} is not the name of a charm", "give it as Charmhub has it"
        )
    revision = details.get("revision")
    if revision is not None and not REVISION.fullmatch(str(revision)):
        raise ConfigurationError(f"the revision of {name} is {revision!r}", "give a number")
    channel, base = details.get("channel"), details.get("base")
    return CharmOrigin(
        name,
        str(channel) if channel else None,
        str(base).partition("/")[0] if base else None,
        None if revision is None else int(revision),
    )


def _images_below(node: object) -> Iterable[ImageReference]:
    if isinstance(node, list):
        for item in cast(list[object], node):
            yield from _images_below(item)
    if not isinstance(node, dict):
        return
    details = cast(dict[str, object], node)
    for key, value in details.items():
        # An environment variable has its name and its value beside each other.
        name = str(details.get("name")) if key == "value" else key
        if isinstance(value, str):
            reference = ImageReference.parse(value)
            if "image" in name.lower() and "/" in value and reference:
                yield reference
        else:
            yield from _images_below(value)


def _canonical(reference: ImageReference) -> str:
    """Write an image with all that its name leaves out (distribution's reference package)."""
    first, _, rest = reference.name.partition("/")
    if not rest or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", reference.name
    if first in _HUBS:
        first = "docker.io"
        rest = rest if "/" in rest else f"library/{rest}"
    return f"{first}/{rest}:{reference.version}"
