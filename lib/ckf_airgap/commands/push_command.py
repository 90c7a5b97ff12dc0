"""``ckf-airgap push``: pushes the images to the registry."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ckf_airgap.accounts.auth_file import read_auth_file
from ckf_airgap.archives.sources import Source
from ckf_airgap.commands.arguments import (
    AddParser,
    add_archives,
    add_authfile,
    add_format,
    add_registry,
    archive,
    archive_inventory,
    certificates,
    read_charms,
    signed_record,
)
from ckf_airgap.commands.inspection import attention, findings_document
from ckf_airgap.commands.output import NEEDS_ATTENTION, Answer, ProgressLines, notice
from ckf_airgap.errors import StorageError
from ckf_airgap.files.journal import sealing_key, state_directory
from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.push.progress import Progress
from ckf_airgap.push.push_state import state_file_beside
from ckf_airgap.push.pusher import ImagePusher
from ckf_airgap.registry.client import RegistryClient


def define(add_parser: AddParser) -> None:
    """Define the sub-command."""
    push = add_parser(
        "push",
        help="push the images to the registry",
        description="Push the images that the registry does not have. An interrupted push "
        "continues when it is run again.",
    )
    push.set_defaults(run=_push)
    add_archives(push, required=("images",))
    add_registry(push)
    add_authfile(push)
    push.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="the journal of the push (default: beside the archive, FILE.pushed)",
    )
    add_format(push)


def _push(arguments: argparse.Namespace) -> Answer:
    location = RegistryLocation.parse(arguments.registry)
    credentials = read_auth_file(arguments.authfile, location, notice)
    client = RegistryClient(location.host, ca=certificates(arguments), credentials=credentials)
    images = archive(arguments, "images")
    size = images.size
    client.check()
    unpacked = read_charms(arguments)
    wanted = unpacked.wanted_images
    signed = signed_record(arguments, images)
    if signed:
        # Check the whole archive against its record before anything is sent.
        archive_inventory(arguments, unpacked)
    with tqdm(
        total=size,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        desc=images.name,
    ) as bar:
        show = _Bar(bar).show if not bar.disable else _ImageLines().show
        state = arguments.state or _state_file(images)
        pusher = ImagePusher(
            client,
            location,
            state,
            show,
            architecture=arguments.architecture,
            key=sealing_key(state_directory()),
            for_mirrors=True,
        )
        result = pusher.push(images, wanted, signed)
    inventory = result.inventory
    unreadable = [str(charm.error) for charm in unpacked.unreadable]
    for line in (*unreadable, *result.notices, *attention(inventory)):
        notice(line)
    document = {
        "pushed": list(result.pushed),
        "present": result.present,
        "uploaded_bytes": result.uploaded_bytes,
        "unnamed": [image.member for image in inventory.unnamed],
        "unreadable_charms": unreadable,
        **findings_document(inventory),
    }
    needs_attention = inventory.needs_attention or bool(unreadable)
    return Answer(document, NEEDS_ATTENTION if needs_attention else 0)


class _Bar:
    """Shows the progress of a push on a terminal."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def show(self, progress: Progress) -> None:
        self._bar.set_postfix_str(f"{progress.images} images", refresh=False)
        self._bar.update(progress.read_bytes - self._bar.n)


class _ImageLines:
    """Writes the progress of a push, and a line for each pushed image."""

    def __init__(self) -> None:
        self._lines = ProgressLines()

    def show(self, progress: Progress) -> None:
        for reference in progress.finished:
            print(f"pushed {reference}", file=sys.stderr, flush=True)
        self._lines.show(progress)


def _state_file(images: Source) -> Path:
    """Return the path of the journal: beside the archive, or in the user's state directory."""
    if beside := state_file_beside(images):
        return beside
    folder = state_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be created ({error.strerror})", "give another path with --state"
        ) from error
    return folder / f"{images.name}.pushed"
