"""``ckf-airgap prune``: deletes from the registry the images that no kept archive contains."""

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ckf_airgap.accounts.auth_file import read_auth_file
from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.pack_manifest import (
    PACK_MANIFEST,
    PackManifest,
    read_pack_manifest,
)
from ckf_airgap.archives.sources import Source
from ckf_airgap.commands.arguments import (
    AddParser,
    add_authfile,
    add_format,
    add_reading,
    add_registry,
    certificates,
    find_source,
    read_charm_archive,
    read_image_archive,
    read_text,
    signed_record,
)
from ckf_airgap.commands.output import NEEDS_ATTENTION, Answer, ProgressLines, notice
from ckf_airgap.commands.pruning import prune_document, prune_text
from ckf_airgap.errors import ArtifactError, ConfigurationError, join_errors
from ckf_airgap.images.reference import ImagePath
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.kubernetes.images_in_use import cluster_client, images_in_use
from ckf_airgap.pruning.kept_names import ArchiveNames, CharmImages, kept_tags
from ckf_airgap.pruning.prune_plan import PrunePlan, UsedImages, known_references, make_plan
from ckf_airgap.pruning.removal import carry_out
from ckf_airgap.pruning.stored_images import is_below, read_repositories
from ckf_airgap.pruning.used_images import used_images
from ckf_airgap.registry.client import RegistryClient


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    prune = add_parser(
        "prune",
        help="delete from the registry the images that no kept archive contains",
        description="List the tags below the prefix that no kept archive contains; delete them "
        "with --yes. Afterwards, the registry's garbage collection frees the space. Do not push "
        "while prune runs.",
    )
    prune.set_defaults(run=_prune)
    prune.add_argument(
        "--keep",
        action="append",
        required=True,
        metavar="FILE|URL",
        help="an images.tar.gz whose images to keep, or its ckf-airgap.json; repeatable",
    )
    prune.add_argument(
        "--charms",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="a charms.tar.gz, if images were pushed under names from its charms; repeatable",
    )
    prune.add_argument(
        "--old",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="an earlier images.tar.gz, or its ckf-airgap.json: also search the repositories of "
        "its images, in case the registry's catalog does not list them; repeatable",
    )
    add_reading(prune)
    add_registry(prune)
    prune.add_argument(
        "--whole-registry",
        action="store_true",
        help="required for a registry prefix without a path, which covers the whole registry",
    )
    add_authfile(prune)
    prune.add_argument(
        "--kubeconfig",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="the kubeconfig of a cluster; also keep the images that it uses; repeatable",
    )
    prune.add_argument(
        "--context",
        help="the context in the kubeconfig; requires exactly one --kubeconfig (default: the "
        "current context)",
    )
    prune.add_argument("--yes", action="store_true", help="delete the listed tags")
    add_format(prune, ("text", "yaml", "json"))


def _prune(arguments: argparse.Namespace) -> Answer:
    location = _location(arguments)
    clusters = _clusters(arguments)
    credentials = read_auth_file(arguments.authfile, location, notice)
    client = RegistryClient(location.host, ca=certificates(arguments), credentials=credentials)
    client.check()
    charms = [_charm_images(arguments, text) for text in arguments.charms]
    kept = _kept(arguments, charms, location)
    used = used_images(
        (image for cluster in clusters for image in images_in_use(cluster)), location
    )
    names = {*kept, *_old(arguments, charms, location), *_listed(client, location)}
    plan = _plan(client, names, kept, used)
    _require_kept(plan, kept, location)
    if not arguments.yes:
        status = NEEDS_ATTENTION if plan.unknown else 0
        return Answer(prune_document(plan, location), status, prune_text(plan, location))
    total = sum(len(repository.images) for repository in plan.repositories)
    with _Progress(total, "images deleted") as progress:
        result = carry_out(
            client, plan, lambda image: progress.step(f"deleted {location.host}/{image}")
        )
    status = NEEDS_ATTENTION if plan.unknown or result.left else 0
    return Answer(
        prune_document(plan, location, result), status, prune_text(plan, location, result)
    )


def _location(arguments: argparse.Namespace) -> RegistryLocation:
    location = RegistryLocation.parse(arguments.registry)
    if not location.path and not arguments.whole_registry:
        raise ConfigurationError(
            f"the prefix {location} has no path, so it covers everything in this registry, "
            "including images that others pushed",
            "add --whole-registry if images of the whole registry may be deleted",
        )
    return location


def _clusters(arguments: argparse.Namespace) -> list[Any]:
    """Make a client for the cluster of each kubeconfig."""
    kubeconfigs: list[Path] = arguments.kubeconfig
    if arguments.context and not kubeconfigs:
        raise ConfigurationError("--context requires --kubeconfig", "add --kubeconfig")
    if arguments.context and len(kubeconfigs) > 1:
        raise ConfigurationError(
            f"--context requires exactly one --kubeconfig, but {len(kubeconfigs)} are given",
            "leave out --context, and set the current context of each kubeconfig (kubectl config "
            "use-context)",
        )
    return [cluster_client(kubeconfig, arguments.context) for kubeconfig in kubeconfigs]


def _kept(
    arguments: argparse.Namespace, charms: Sequence[CharmImages], location: RegistryLocation
) -> Mapping[str, frozenset[str]]:
    """Return the tags of the kept archives, by full repository name."""
    paths: set[ImagePath] = set()
    for text in arguments.keep:
        record = _record(arguments, "keep", text)
        inventory = None
        label = text
        if not _is_record(text):
            source = find_source(arguments, "keep", text)
            inventory = _inventory(arguments, source)
            inventory.require_sound(source.name)
            label = source.name
        names = ArchiveNames.of(label, record, inventory)
        names.require_told(charms, location)
        paths |= names.paths(charms, location)
    return kept_tags(paths, location)


def _old(
    arguments: argparse.Namespace, charms: Sequence[CharmImages], location: RegistryLocation
) -> Iterable[str]:
    """List the repositories of the archives that ``--old`` specifies."""
    for text in arguments.old:
        record = _record(arguments, "old", text)
        source = None if record else find_source(arguments, "old", text)
        inventory = _inventory(arguments, source) if source else None
        paths = ArchiveNames.of(text, record, inventory).paths(charms, location)
        yield from kept_tags(paths, location)


def _inventory(arguments: argparse.Namespace, source: Source) -> Inventory:
    return read_image_archive(
        source, architecture=arguments.architecture, signed=signed_record(arguments, source)
    )


def _is_record(text: str) -> bool:
    return "://" not in text and text.endswith(Path(PACK_MANIFEST).suffix)


def _record(arguments: argparse.Namespace, option: str, text: str) -> PackManifest | None:
    """Read the record of an archive, from it or from its JSON file; None if it has no record."""
    if not _is_record(text):
        return read_pack_manifest(find_source(arguments, option, text))
    if arguments.verify_key:
        raise ConfigurationError(
            f"--verify-key cannot check {text}, which contains no signature",
            "give the archive instead",
        )
    record = PackManifest.decode(read_text(Path(text)).encode(), text)
    if record is None:
        raise ArtifactError(
            f"{text} has the format of a later version", "use the ckf-airgap that packed it"
        )
    return record


def _charm_images(arguments: argparse.Namespace, text: str) -> CharmImages:
    source = find_source(arguments, "charms", text)
    unpacked = read_charm_archive(source, signed_record(arguments, source))
    if unpacked.unreadable:
        errors = [charm.error for charm in unpacked.unreadable]
        raise join_errors(errors, "charms cannot be read")
    return unpacked.wanted_images


def _listed(client: RegistryClient, location: RegistryLocation) -> Iterable[str]:
    """List the repositories below the prefix in the registry's catalog."""
    names, problem = client.repositories()
    if problem:
        notice(
            f"the catalog of registry {location.host} {problem}: prune searches only the "
            "repositories of the given archives; add earlier archives with --old"
        )
    return (name for name in names if is_below(name, location))


def _plan(
    client: RegistryClient,
    names: Collection[str],
    kept: Mapping[str, frozenset[str]],
    used: UsedImages,
) -> PrunePlan:
    with _Progress(len(names), "repositories read") as progress:
        known = known_references(kept, used)
        return make_plan(read_repositories(client, names, known, progress.step), kept, used)


def _require_kept(
    plan: PrunePlan, kept: Mapping[str, frozenset[str]], location: RegistryLocation
) -> None:
    """Refuse to delete if no image of a kept archive stays: a prefix or archive may be wrong."""
    is_anything_kept = any(
        kept.get(repository.name, frozenset()) & repository.staying.keys()
        for repository in plan.repositories
    )
    if not is_anything_kept and not all(repository.is_empty for repository in plan.repositories):
        raise ConfigurationError(
            f"{location} has no image of the kept archives: the prefix or the archives seem wrong",
            "check that the prefix and the archives match, or push the archives first",
        )


class _Progress:
    """Shows the progress of long work: a bar on a terminal, otherwise lines."""

    def __init__(self, total: int, steps: str) -> None:
        self._bar: tqdm[Any] = tqdm(total=total, desc=steps, disable=not sys.stderr.isatty())
        self._lines = ProgressLines()
        self._total = total
        self._steps = steps
        self._done = 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, text: str = "") -> None:
        """Count one step, and write a line if there is a text."""
        self._done += 1
        if text:
            self._bar.write(text, file=sys.stderr)
        self._bar.update()
        if self._bar.disable:
            self._lines.show(f"{self._done} of {self._total} {self._steps}")
