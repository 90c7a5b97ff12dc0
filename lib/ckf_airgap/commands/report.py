"""``--report`` of ``pack`` and ``inspect``: the papers of a release, from its archives."""

import argparse
import sys
from pathlib import Path

from ckf_airgap.archives.inventory import Inventory
from ckf_airgap.archives.sources import Source
from ckf_airgap.charms.charm_archive import UnpackedCharms
from ckf_airgap.images.naming import MemberNames
from ckf_airgap.papers.content import ArchivedDetails, release_content
from ckf_airgap.papers.papers import write_papers
from ckf_airgap.papers.spdx import write_spdx


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the option for the papers of a release."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIRECTORY",
        help="write the papers for a review to this directory: tables of the content as CSV, "
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
    """Write the papers of a release.

    Args:
        folder: The directory for them.
        charms: charms.tar.gz.
        images: images.tar.gz.
        content: The content of both, with the details of the images.
        architecture: The CPU architecture to choose among several; empty for any.

    Raises:
        ArtifactError: An archive cannot be read, or syft fails.
        StorageError: The directory is not writable.
    """
    write_papers(release_content(*content, charms, images), folder)
    names = MemberNames(content[0].wanted_images)
    write_spdx(
        images, names, folder / "spdx", lambda text: print(text, file=sys.stderr), architecture
    )
