"""Writes the papers of a release into a directory."""

from pathlib import Path

from ckf_airgap.files.directories import write_files
from ckf_airgap.papers.content import ReleaseContent
from ckf_airgap.papers.page import as_page
from ckf_airgap.papers.sbom import as_cyclonedx
from ckf_airgap.papers.tables import as_csv, as_markdown, charms_table, images_table


def papers_of(content: ReleaseContent) -> dict[str, str]:
    """Make the papers of a release. The same content gives the same papers.

    Args:
        content: The release.

    Returns:
        The text of each paper, by file name.
    """
    tables = images_table(content), charms_table(content)
    papers = {f"{table.name}.csv": as_csv(table) for table in tables}
    for table, notes in zip(tables, (content.not_pushed, ()), strict=True):
        papers[f"{table.name}.md"] = as_markdown(table, notes)
    papers["index.html"] = as_page(content, tables)
    papers["cyclonedx.json"] = as_cyclonedx(content)
    return papers


def write_papers(content: ReleaseContent, folder: Path) -> None:
    """Write the papers of a release, and replace earlier ones.

    Args:
        content: The release.
        folder: The directory; created if missing.

    Raises:
        StorageError: They cannot be written.
    """
    write_files(folder, papers_of(content))
