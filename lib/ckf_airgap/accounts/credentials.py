"""User names and passwords."""

from dataclasses import dataclass


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
