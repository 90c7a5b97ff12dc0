"""``ckf-airgap mirrors``: writes the configuration to pull images by their original names."""

import argparse
from pathlib import Path

from ckf_airgap.accounts.auth_file import read_auth_file
from ckf_airgap.commands.arguments import (
    AddParser,
    add_archives,
    add_authfile,
    add_format,
    add_registry,
    archive_inventory,
    certificates,
    read_charms,
)
from ckf_airgap.commands.output import NEEDS_ATTENTION, Answer, notice
from ckf_airgap.files.directories import write_files
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.mirrors.original_names import OriginalNames
from ckf_airgap.mirrors.runtime_files import (
    ALL_RUNTIMES,
    RUNTIMES,
    MirrorSettings,
    chosen_runtimes,
    runtime_files,
)
from ckf_airgap.registry.client import RegistryClient


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    mirrors = add_parser(
        "mirrors",
        help="write the mirror configuration of the nodes' container runtime",
        description="Write the configuration that makes the nodes' container runtime pull images "
        "from the registry if pods name their original registry. Push the archive first.",
    )
    mirrors.set_defaults(run=_mirrors)
    add_archives(mirrors, required=("images",))
    add_registry(mirrors)
    add_authfile(mirrors)
    mirrors.add_argument(
        "--runtime",
        choices=(ALL_RUNTIMES, *RUNTIMES),
        default=ALL_RUNTIMES,
        help="containerd is for MicroK8s and Canonical Kubernetes, too (default: %(default)s)",
    )
    mirrors.add_argument(
        "--output",
        type=Path,
        default=Path("mirrors"),
        metavar="DIRECTORY",
        help="where to write it, a directory for each runtime (default: %(default)s)",
    )
    add_format(mirrors)


def _mirrors(arguments: argparse.Namespace) -> Answer:
    location = RegistryLocation.parse(arguments.registry)
    ca = certificates(arguments)
    credentials = read_auth_file(arguments.authfile, location, notice)
    client = RegistryClient(location.host, ca=ca, credentials=credentials)
    client.check()
    charms = read_charms(arguments)
    inventory = archive_inventory(arguments, charms)
    inventory.require_sound(arguments.images)
    names = OriginalNames.of(inventory, charms.wanted_images, location)
    names.require_some()
    lacking = names.lacking(client)
    settings = MirrorSettings(location, names.hosts, ca)
    runtimes = chosen_runtimes(arguments.runtime)
    for runtime in runtimes:
        write_files(arguments.output / runtime, runtime_files(runtime, settings))
    document = {
        "written": [str(arguments.output / runtime) for runtime in runtimes],
        "registries": list(names.hosts),
        "found": [str(name) for name in names.paths if name not in lacking],
        "not_found": [{"image": str(name), "reason": why} for name, why in lacking.items()],
        "without_registry": [str(name) for name in names.unknown],
    }
    return Answer(document, NEEDS_ATTENTION if lacking else 0)
