"""The files that give Juju an image together with the account to pull it with."""

import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from ckf_airgap.accounts.credentials import Credentials, write_private
from ckf_airgap.planning.plan import PlannedApplication

ResourceFiles = Mapping[tuple[str, str], Path]
"""For application and resource, the file."""


@contextmanager
def resource_files(
    applications: Iterable[PlannedApplication], folder: Path, account: Credentials | None
) -> Generator[ResourceFiles]:
    """Write a file for each oci-image resource of applications, for as long as they are used.

    Args:
        applications: The applications as planned.
        folder: The directory for the files; it is removed in the end.
        account: What the images are pulled with; None for no files.

    Yields:
        For application and resource the file.
    """
    files: dict[tuple[str, str], Path] = {}
    # What was killed while it used them has left them.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if account:
            folder.mkdir(mode=0o700, exist_ok=True)
            for item in applications:
                for resource, reference in item.resources.items():
                    path = folder / f"{item.name}.{resource}.yaml"
                    write_private(path, _resource_file(reference, account))
                    files[item.name, resource] = path
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _resource_file(reference: str, account: Credentials) -> str:
    """Write an image with its account as Juju takes it (documentation, "oci-image").

    As YAML: Juju reads JSON too, but then looks for the image under another key.
    """
    return yaml.safe_dump(
        {
            "registrypath": reference,
            "username": account.username,
            "password": account.password,
        }
    )
