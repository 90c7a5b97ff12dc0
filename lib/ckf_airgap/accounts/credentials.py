"""User names and passwords, and files that only their owner can read."""

import os
from dataclasses import dataclass
from pathlib import Path

from ckf_airgap.files.temporary_files import removed_on_exit


@dataclass(frozen=True)
class Credentials:
    """A user name and a password; ``str`` and ``repr`` hide the password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"

    @classmethod
    def checked(cls, username: object, password: object) -> "Credentials | None":
        """Make an account from values of any type; None if no registry could accept it."""
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

    Its directory must exist.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with removed_on_exit(temporary):
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
