"""Writes the report on a release into a directory."""

from pathlib import Path

from ckf_airgap.files.directories import write_files
from ckf_airgap.release_report.cyclonedx import as_cyclonedx
from ckf_airgap.release_report.html_page import as_page
from ckf_airgap.release_report.release_content import ReleaseContent
from ckf_airgap.release_report.tables import as_csv, as_markdown, charms_table, images_table


def report_files(content: ReleaseContent) -> dict[str, str]:
    """Make the files of the report. The same content gives the same files.

    Args:
        content: The release.

    Returns:
        The text of each file, by name.
    """
    tables = images_table(content), charms_table(content)
    files = {f"{table.name}.csv": as_csv(table) for table in tables}
    for table, notes in zip(tables, (content.not_pushed, ()), strict=True):
        files[f"{table.name}.md"] = as_markdown(table, notes)
    files["index.html"] = as_page(content, tables)
    files["cyclonedx.json"] = as_cyclonedx(content)
    return files


def write_report_files(content: ReleaseContent, folder: Path) -> None:
    """Write the files of the report, and replace earlier ones.

    Args:
        content: The release.
        folder: The directory; created if missing.

    Raises:
        StorageError: They cannot be written.
    """
    write_files(folder, report_files(content))
