"""``--report`` of ``pack`` and ``inspect``: the report on a release, from its archives."""

import argparse
import sys
from pathlib import Path

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.release_report.release_content import ArchivedDetails, release_content
from ckf_airgap.release_report.report_files import write_report_files
from ckf_airgap.release_report.spdx import write_spdx


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the option for the report on a release."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIRECTORY",
        help="write a report for a review to this directory: tables of the content as CSV, "
        "Markdown and HTML, an SBOM (CycloneDX), and if the program syft is installed, an SPDX "
        "document for each image",
    )


def write_report(
    folder: Path,
    charms: Source,
    images: Source,
    content: tuple[UnpackedCharms, Inventory, ArchivedDetails],
    architecture: str = "",
) -> None:
    """Write the report on a release.

    Args:
        folder: The directory for the report.
        charms: charms.tar.gz.
        images: images.tar.gz.
        content: The content of both, with the details of the images.
        architecture: The CPU architecture to choose if an image has several; empty for any.

    Raises:
        ArtifactError: An archive cannot be read, or syft fails.
        StorageError: The directory, or the one for temporary files, is not writable.
    """
    write_report_files(release_content(*content, charms, images), folder)
    names = MemberNames(content[0].wanted_images)
    write_spdx(
        images, names, folder / "spdx", lambda text: print(text, file=sys.stderr), architecture
    )
