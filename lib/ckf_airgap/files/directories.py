"""Writes the files of an output directory that the operator named."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ckf_airgap.errors import disk_error
from ckf_airgap.files.new_files import new_file


def write_files(
    directory: Path, contents: Mapping[str, str], private: Collection[str] = ()
) -> None:
    """Write files below a directory, and create the directories that they need.

    Args:
        directory: The directory.
        contents: The content of each file, by its path below the directory. The caller has checked
            these paths.
        private: The paths of the files that only their owner may read.

    Raises:
        StorageError: A file or directory cannot be written.
    """
    try:
        for name, content in contents.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path, mode=0o600 if name in private else 0o666) as file:
                file.write(content.encode())
    except OSError as error:
        raise disk_error(str(directory), error) from error
