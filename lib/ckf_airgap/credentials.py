"""User names and passwords, and the only ways in which they leave this program."""

import json
import os
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ckf_airgap.errors import ConfigurationError
from ckf_airgap.names import RegistryLocation


@dataclass(frozen=True)
class Credentials:
    """A user name and a password. The password is kept out of every text form."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all.

    Args:
        path: The file. Its folder must exist.
        text: Its content.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def read_auth_file(path: Path | None, location: RegistryLocation) -> Credentials | None:
    """Find the account for a registry that ``skopeo login`` or ``docker login`` has stored.

    Args:
        path: The file, as containers-auth.json(5) describes it; None for the first of those that
            these tools use themselves.
        location: The registry, and the path under which it is used: the entry whose path is the
            longest fits best.

    Returns:
        The account, or None where there is none for this registry.

    Raises:
        ConfigurationError: The file is not readable, or leaves the account to another program.
    """
    if path is None:
        path = next((file for file in _auth_files() if file.exists()), None)
        if path is None:
            return None
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        entries: dict[str, Any] = dict(document.get("auths") or {})
        helpers: dict[str, Any] = dict(document.get("credHelpers") or {})
        has_helper = bool(document.get("credsStore") or helpers.get(location.host))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror})", "give the path of a file that is there"
        ) from error
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(f"{path} is not an auth file", _LOGIN_AGAIN) from None
    parts = str(location).split("/")
    for count in range(len(parts), 0, -1):
        key = "/".join(parts[:count])
        entry = entries.get(key) or entries.get(f"https://{key}")
        if entry:
            return _credentials_in(entry, path)
    if has_helper:
        raise ConfigurationError(
            f"{path} leaves the account for {location.host} to a credential helper", _LOGIN_AGAIN
        )
    return None


def _auth_files() -> list[Path]:
    """List where the tools keep their accounts, in their order."""
    environment = os.environ
    home = Path(environment.get("HOME", "/"))
    named = [Path(environment[key]) for key in ("REGISTRY_AUTH_FILE",) if environment.get(key)]
    runtime = environment.get("XDG_RUNTIME_DIR")
    return [
        *named,
        *([Path(runtime) / "containers" / "auth.json"] if runtime else []),
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json",
        Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
    ]


def _credentials_in(entry: object, path: Path) -> Credentials:
    try:
        text = cast(dict[str, Any], entry)["auth"]
        username, colon, password = b64decode(text, validate=True).decode().partition(":")
    except (KeyError, TypeError, ValueError):
        username = colon = password = ""
    if not (username and colon and password):
        # Nothing of the entry goes into the message.
        raise ConfigurationError(f"{path} has an entry without an account in it", _LOGIN_AGAIN)
    return Credentials(username, password.rstrip("\0"))


_LOGIN_AGAIN = "skopeo login --authfile FILE HOST, and give that file with --authfile"
