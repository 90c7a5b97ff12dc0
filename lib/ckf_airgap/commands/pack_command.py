"""``ckf-airgap pack``: makes the two archives, on a machine with internet access."""

import argparse
import dataclasses
import getpass
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ckf_airgap.archives.minisign import SecretKey
from ckf_airgap.archives.parts import find_archive
from ckf_airgap.commands.arguments import (
    LARGEST_TEXT,
    AddParser,
    add_authfile,
    add_registry_ca,
    certificates,
    read_charm_archive,
    read_image_archive,
    read_text,
    require_file,
)
from ckf_airgap.commands.inspection import record_document
from ckf_airgap.commands.output import Answer, ProgressLines
from ckf_airgap.commands.report_option import add_report, write_report
from ckf_airgap.errors import ConfigurationError
from ckf_airgap.images.reference import ImageReference
from ckf_airgap.network import small_downloads
from ckf_airgap.packing.added_images import read_added_images
from ckf_airgap.packing.archive_writers import FetchProgress
from ckf_airgap.packing.assembly import LAYOUTS
from ckf_airgap.packing.charm_origins import charms_of_bundle, charms_of_channel_map
from ckf_airgap.packing.kit import Kit
from ckf_airgap.packing.pack import Packer, PackSteps
from ckf_airgap.packing.pack_request import PackRequest
from ckf_airgap.packing.part_files import parse_size
from ckf_airgap.packing.previous_pack import PreviousPack
from ckf_airgap.packing.publication import CHARMS, IMAGES
from ckf_airgap.packing.skopeo import Skopeo, SkopeoSettings
from ckf_airgap.packing.upgrade_start import UpgradeStart
from ckf_airgap.packing.user_images import (
    BASE_IMAGES_OF_SDKS,
    PURPOSES,
    UserImages,
)
from ckf_airgap.packing.wanted_images import parse_image
from ckf_airgap.release_report.release_content import ArchivedDetails
from ckf_airgap.upgrades.rules import load_rules

_KEY_VARIABLE = "CKF_AIRGAP_KEY_PASSWORD"
_SNAP_JUJU = Path("/snap/juju/current/bin/juju")
_EPILOG = """examples:
  ckf-airgap pack --bundle bundle.yaml --output release --format oci --juju-version 3.6.25
  ckf-airgap pack --charms DIRECTORY --output release --add-images workloads.txt
  ckf-airgap pack --bundle bundle.yaml --output patch --format oci --since release/charms.tar.gz
  ckf-airgap pack --bundle bundle.yaml --dry-run
  ckf-airgap pack --bundle bundle.yaml --output release --kit \\
      --kit-charm ckf-airgap_amd64.charm

A file of --add-images may specify what its images are for. Those for notebooks appear in the lists
of jupyter-ui:
  jupyter: [quay.io/team/notebook:1]
  vscode: [quay.io/team/code-server:1]
  rstudio: [quay.io/team/rstudio:1]
  pipelines: default        # the base image of steps without one; or a list
  runtimes: [quay.io/team/model-server:1]
  other: [quay.io/team/tool:1]
'default' stands for the base images of the release's kfp SDKs. By SDK version:
@BASE_IMAGES@.

juju download fetches the charms and skopeo the images, with the mirrors, accounts and proxies in
the configuration of each.
""".replace("@BASE_IMAGES@", textwrap.fill(BASE_IMAGES_OF_SDKS, 96))


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    pack = add_parser(
        "pack",
        help="make images.tar.gz and charms.tar.gz, on a machine with internet access",
        description="Make charms.tar.gz, and images.tar.gz with the images that the charms use. "
        "If a pack is interrupted, run it again: it continues.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pack.set_defaults(run=_pack, format="yaml")
    origin = pack.add_mutually_exclusive_group()
    origin.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="the bundle whose charms to download, or to choose from --charms",
    )
    origin.add_argument(
        "--channel-map",
        type=Path,
        metavar="FILE",
        help="YAML with CHARM: CHANNEL, or CHARM: {channel, base, revision}, for each charm",
    )
    pack.add_argument(
        "--charms",
        type=Path,
        metavar="DIRECTORY",
        help="use the .charm files in this directory",
    )
    pack.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIRECTORY",
        help="where to write the archives (default: the current directory)",
    )
    pack.add_argument(
        "--format",
        dest="layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="docker: docker save archives, which every tool can read; oci: one OCI image layout "
        "with each layer once, smaller and faster to push (default: %(default)s)",
    )
    pack.add_argument(
        "--part-size",
        default="",
        metavar="SIZE",
        help="split each archive into files of this size, for example 4.7GB or 700MiB: "
        "images.tar.gz.001 and so on, which are read as one archive (default: one file)",
    )
    pack.add_argument(
        "--sign",
        type=Path,
        metavar="FILE",
        help="sign the archives with this minisign secret key; pack asks for its password, or "
        f"reads it from the environment variable {_KEY_VARIABLE}",
    )
    pack.add_argument(
        "--kit",
        action="store_true",
        help="also write everything else that the air gap needs: the charm, the juju client, this "
        "command as one file, its documents as HTML, a README.md, and the checksums of all files",
    )
    pack.add_argument(
        "--kit-charm", type=Path, metavar="FILE", help="the charm ckf-airgap, for --kit"
    )
    pack.add_argument(
        "--kit-juju",
        type=Path,
        default=_SNAP_JUJU,
        metavar="FILE",
        help="the juju client for --kit, for the nodes' architecture (default: %(default)s)",
    )
    pack.add_argument(
        "--kit-command",
        type=Path,
        metavar="FILE",
        help="the command as one file, for --kit (default: the running file)",
    )
    pack.add_argument(
        "--kit-controller-charm",
        type=Path,
        metavar="FILE",
        help="the charm juju-controller for --kit, to bootstrap a Juju 4 controller",
    )
    pack.add_argument(
        "--architecture",
        choices=("amd64", "arm64"),
        default="amd64",
        help="the architecture of the cluster's nodes (default: %(default)s)",
    )
    pack.add_argument(
        "--add-image",
        action="append",
        default=[],
        metavar="IMAGE",
        help="an image in addition to those of the charms; repeatable",
    )
    pack.add_argument(
        "--add-images",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="images in addition to those of the charms: a list, Kubernetes manifests, or a map "
        f"of purposes ({', '.join(PURPOSES)}) to lists; repeatable",
    )
    pack.add_argument(
        "--upgrade-from",
        default="",
        metavar="RELEASE|FILE",
        help="the running release in the air gap, for example 1.10, or its bundle: add the "
        "intermediate charms of the upgrade, and their images",
    )
    pack.add_argument(
        "--since",
        type=Path,
        metavar="FILE",
        help="an archive of an earlier pack, or its ckf-airgap.json: make a difference, whose "
        "images.tar.gz leaves out the layers of that pack; push finds them in the registry. "
        "charms.tar.gz is always complete",
    )
    pack.add_argument(
        "--juju-version",
        default="",
        metavar="VERSION",
        help="add Juju's own images, for a controller of this version",
    )
    add_authfile(pack)
    add_registry_ca(pack)
    pack.add_argument(
        "--juju", default="juju", metavar="PROGRAM", help="the juju client (default: %(default)s)"
    )
    pack.add_argument(
        "--charmhub-url",
        default="",
        metavar="URL",
        help="the address of another Charmhub (default: the public one)",
    )
    pack.add_argument(
        "--allow-missing",
        action="store_true",
        help="continue although charms or images of the release are missing",
    )
    add_report(pack)
    pack.add_argument(
        "--dry-run",
        action="store_true",
        help="download the charms (with --format docker, also convert layers that are not gzip), "
        "print the content and size of the archives, and stop",
    )


def _pack(arguments: argparse.Namespace) -> Answer:
    if not (arguments.bundle or arguments.channel_map or arguments.charms):
        raise ConfigurationError(
            "nothing to pack", "give --bundle, --channel-map or --charms (see --help)"
        )
    if arguments.report and arguments.dry_run:
        raise ConfigurationError(
            "--report needs archives, which --dry-run does not write",
            "leave --dry-run or --report out",
        )
    bundle = read_text(arguments.bundle)
    channels = read_text(arguments.channel_map)
    if bundle and arguments.charms:
        # The bundle only selects charms of the directory: their channels do not matter.
        origins = charms_of_bundle(bundle, from_files=True)
    else:
        origins = charms_of_bundle(bundle) if bundle else ()
    if channels:
        origins = charms_of_channel_map(channels)
    images, user_images = _added_images(arguments)
    request = PackRequest(
        output=arguments.output,
        origins=origins,
        folder=arguments.charms,
        bundle=bundle,
        images=images,
        user_images=user_images,
        juju_version=arguments.juju_version,
        layout=arguments.layout,
        architecture=arguments.architecture,
        allow_missing=arguments.allow_missing,
        juju=arguments.juju,
        charmhub_url=arguments.charmhub_url,
        part_size=parse_size(arguments.part_size, "--part-size") if arguments.part_size else 0,
        key=_secret_key(arguments.sign),
        upgrade_from=_upgrade_start(arguments.upgrade_from),
        since=_previous_pack(arguments.since, arguments.output),
        kit=_kit(arguments),
    )
    ca = require_file(arguments.registry_ca) if arguments.registry_ca else None
    authfile = require_file(arguments.authfile) if arguments.authfile else None
    with (
        Skopeo(SkopeoSettings(authfile=authfile, certificates=ca)) as skopeo,
        tqdm(unit="B", unit_scale=True, disable=not sys.stderr.isatty(), desc="layers") as bar,
    ):
        show = _FetchBar(bar).show if not bar.disable else ProgressLines().show
        steps = PackSteps(lambda text: tqdm.write(text, file=sys.stderr), show)
        packed = Packer(request, skopeo, steps).pack(dry_run=arguments.dry_run)
    if arguments.report:
        _write_report(arguments.output, arguments.report)
    manifest = packed.manifest
    return Answer(
        {
            "output": None if arguments.dry_run else str(arguments.output.absolute()),
            "format": manifest.layout,
            "architecture": manifest.architecture,
            "images_bytes": packed.image_bytes,
            "charms_bytes": packed.charm_bytes,
            "layer_bytes": packed.layer_bytes,
            "layer_bytes_to_fetch": packed.layer_bytes - packed.fetched_bytes,
            **record_document(manifest),
            "charms": [
                {
                    key: value
                    for key, value in dataclasses.asdict(charm).items()
                    if value is not None
                }
                for charm in manifest.charms
            ],
            "images": [
                {"name": image.name, "digest": image.digest, "layer_bytes": image.size}
                for image in manifest.images
            ],
            "user_images": {
                purpose: list(names) for purpose, names in manifest.user_images.items()
            },
            "upgrade_from": manifest.upgrade_from or None,
            "upgrade_charms": [charm.file for charm in packed.intermediate.charms],
            "upgrade_images": [image.name for image in packed.intermediate.images],
            "warnings": list(packed.warnings),
        }
    )


def _write_report(output: Path, folder: Path) -> None:
    """Read the written archives as ``inspect`` does, and write the report on them."""
    charms, images = (find_archive(output / name) for name in (CHARMS, IMAGES))
    details = ArchivedDetails()
    unpacked = read_charm_archive(charms)
    inventory = read_image_archive(images, unpacked.wanted_images, details.add)
    write_report(folder, charms, images, (unpacked, inventory, details))


def _kit(arguments: argparse.Namespace) -> Kit | None:
    if not arguments.kit:
        options = arguments.kit_charm, arguments.kit_command, arguments.kit_controller_charm
        if any(options) or arguments.kit_juju != _SNAP_JUJU:
            raise ConfigurationError("options that begin with --kit- require --kit", "add --kit")
        return None
    if not arguments.kit_charm:
        raise ConfigurationError(
            "--kit requires the charm", "add --kit-charm with the file that charmcraft pack makes"
        )
    # PEX sets this variable to the running file (PEX manual, "PEX runtime variables").
    command = arguments.kit_command or os.environ.get("PEX")
    if not command:
        raise ConfigurationError(
            "--kit requires the command as one file, but the running command is not one file",
            "build it (make command), and add --kit-command build/ckf-airgap",
        )
    return Kit.of(
        arguments.kit_charm,
        arguments.kit_juju,
        Path(command),
        arguments.architecture,
        arguments.kit_controller_charm,
    )


def _secret_key(path: Path | None) -> SecretKey | None:
    return SecretKey.parse(read_text(path), _ask_password) if path else None


def _ask_password() -> str:
    if (password := os.environ.get(_KEY_VARIABLE)) is not None:
        return password
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "the key of --sign has a password, but there is no terminal to ask for it",
            f"set the environment variable {_KEY_VARIABLE}",
        )
    return getpass.getpass("Password of the key: ")


def _previous_pack(path: Path | None, output: Path) -> PreviousPack | None:
    if path and path.suffix != ".json" and path.resolve().parent == output.resolve():
        raise ConfigurationError(
            f"--since {path} is in the directory of --output: the difference would replace it",
            "choose another directory with --output",
        )
    return PreviousPack.read(path) if path else None


def _upgrade_start(text: str) -> UpgradeStart | None:
    if not text:
        return None
    if start := UpgradeStart.of_release(text):
        return start
    path = Path(text)
    if not path.exists():
        releases = ", ".join(rule.release for rule in load_rules().releases)
        raise ConfigurationError(
            f"--upgrade-from {text} is neither a release nor the file of a bundle",
            f"give one of {releases}, or the bundle of the running release",
        )
    return UpgradeStart.of_bundle(path.name, read_text(path))


def _added_images(
    arguments: argparse.Namespace,
) -> tuple[tuple[ImageReference, ...], UserImages]:
    images = tuple(map(parse_image, arguments.add_image))

    def text_of(file_or_url: str) -> str:
        if "://" not in file_or_url:
            return read_text(Path(file_or_url))
        content = small_downloads.fetch(file_or_url, certificates(arguments), largest=LARGEST_TEXT)
        return content.decode("utf-8", "replace")

    added, user_images = read_added_images((each, text_of(each)) for each in arguments.add_images)
    return (*images, *added), user_images


class _FetchBar:
    """Shows the progress of fetching layers on a terminal."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def show(self, progress: FetchProgress) -> None:
        self._bar.total = progress.total
        self._bar.update(progress.fetched - self._bar.n)
