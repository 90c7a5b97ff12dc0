"""Files that replace earlier ones: nothing is written through a link, and nothing half is left."""

from pathlib import Path

import pytest

from ckf_airgap.errors import StorageError
from ckf_airgap.files.directories import write_files
from ckf_airgap.files.new_files import new_file
from ckf_airgap.release_report.release_content import ReleaseContent
from ckf_airgap.release_report.report_files import report_files, write_report_files

NOTHING = ReleaseContent((), ())


@pytest.mark.parametrize("link", ["README.md", "README.md.incoming"])
def test_files_are_not_written_through_a_link(link: str, tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_text("precious")
    folder.mkdir()
    (folder / link).symlink_to(precious)
    write_files(folder, {"README.md": "new", "below/it": "new"})
    assert precious.read_text() == "precious"
    written = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert written == {"README.md": "new", "it": "new"}
    assert not (folder / "README.md").is_symlink()


@pytest.mark.parametrize("suffix", ["", ".incoming"])
def test_papers_are_not_written_through_a_link(suffix: str, tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "folder"
    precious.write_text("precious")
    folder.mkdir()
    for name in report_files(NOTHING):
        (folder / f"{name}{suffix}").symlink_to(precious)
    write_report_files(NOTHING, folder)
    assert precious.read_text() == "precious"
    written = {path.name: path.read_bytes().decode() for path in folder.iterdir()}
    assert written == report_files(NOTHING)
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_file_that_is_not_finished_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")

    def write() -> None:
        with new_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "earlier"


def test_a_directory_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        write_files(tmp_path, {"README.md": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
