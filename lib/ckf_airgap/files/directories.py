"""Writes the files of a directory that the operator asked for."""

from collections.abc import Mapping
from pathlib import Path

from ckf_airgap.errors import disk_error
from ckf_airgap.files.new_files import new_file


def write_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files below a folder, and the folders that they need.

    Args:
        folder: The folder.
        contents: The content of each file, by its path below the folder. The caller has checked
            these paths.

    Raises:
        StorageError: They cannot be written.
    """
    try:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path) as file:
                file.write(content.encode())
    except OSError as error:
        raise disk_error(str(folder), error) from error
