"""Writes a file with the image and the pull account of each resource, for Juju's pull secrets."""

import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.files.new_files import write_private
from ckf_airgap.planning.plan import PlannedApplication

ResourceFiles = Mapping[tuple[str, str], Path]
"""(application, resource) -> file."""


@contextmanager
def resource_files(
    applications: Iterable[PlannedApplication], folder: Path, account: Credentials | None
) -> Generator[ResourceFiles]:
    """Write a file for each oci-image resource, and remove the files at the end of the context.

    Args:
        applications: The applications as planned.
        folder: The directory for the files; removed at the end, and also at the start, because a
            killed run may have left it.
        account: The pull account; None to write no files.

    Yields:
        (application, resource) -> file; empty without an account.
    """
    files: dict[tuple[str, str], Path] = {}
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
    """Return an image and its account as Juju reads them (Juju documentation, "oci-image").

    It is YAML: in JSON, Juju expects the image under another key.
    """
    return yaml.safe_dump(
        {
            "registrypath": reference,
            "username": account.username,
            "password": account.password,
        }
    )
