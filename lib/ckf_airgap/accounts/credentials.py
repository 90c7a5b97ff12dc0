"""User names and passwords, and the only ways in which they leave this process."""

import os
from dataclasses import dataclass
from pathlib import Path

from ckf_airgap.files.temporary_files import removed_on_exit


@dataclass(frozen=True)
class Credentials:
    """A user name and a password. No text form shows the password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"

    @classmethod
    def checked(cls, username: object, password: object) -> "Credentials | None":
        """Make an account from input of unknown origin.

        Args:
            username: Anything.
            password: Anything.

        Returns:
            The account, or None where these are not two texts that a registry can be told.
        """
        if not (isinstance(username, str) and isinstance(password, str)):
            return None
        try:
            f"{username}{password}".encode()
        except UnicodeEncodeError:
            return None
        is_usable = username and password and ":" not in username
        return cls(username, password) if is_usable else None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, completely or not at all.

    Args:
        path: The file. Its directory must exist.
        text: Its content.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with removed_on_exit(temporary):
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
