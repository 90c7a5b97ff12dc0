"""Auth files: where ``skopeo login`` and ``docker login`` store accounts.

The format is described in containers-auth.json(5), and in docker's reference for ``docker login``.
"""

import errno
import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ckf_airgap.accounts.credential_helpers import ask_helper, helper_program
from ckf_airgap.accounts.credentials import Credentials
from ckf_airgap.errors import ArtifactError, ConfigurationError, listed
from ckf_airgap.files.regular_files import read_regular
from ckf_airgap.files.untrusted_json import parse_object
from ckf_airgap.images.registry_location import RegistryLocation

LARGEST_FILE = 1024 * 1024
"""The maximum size of an auth file, in bytes."""

_FILE_VARIABLE = "REGISTRY_AUTH_FILE"
# Without $XDG_RUNTIME_DIR, skopeo stores accounts there, by user ID.
_RUNTIME = Path("/run/containers")
_LOGIN_AGAIN = "skopeo login --authfile FILE HOST, and give that file with --authfile"
_KEY = re.compile(r"(?P<scheme>https?://)?(?P<host>[^/]*)(?P<path>.*)", re.DOTALL | re.IGNORECASE)
# Old versions of docker login stored keys with such a path, the registry's API.
_API_VERSIONS = ("v1", "v2")
_ACCOUNT_FIELDS = ("auth", "username", "password", "identitytoken")


def read_auth_file(
    path: Path | None, location: RegistryLocation, report: Callable[[str], None] = lambda _: None
) -> Credentials | None:
    """Find the account that ``skopeo login`` or ``docker login`` stored for a registry.

    A credential helper for the registry takes precedence, then the entry with the longest path,
    then the credential store for all registries.

    Args:
        path: The file; None for the default files of these tools, searched in their order.
        location: The registry prefix.
        report: Called with one line if the given file, or the default files that hold any
            accounts, have no account for this registry.

    Returns:
        The account, or None if no file has one for this registry.

    Raises:
        ConfigurationError: A file is not readable, its entry for this registry is not an account
            with a password, or its credential helper fails.
    """
    searched: list[str] = []
    named = os.environ.get(_FILE_VARIABLE)
    for candidate in [path] if path else _default_paths():
        file = _read(candidate, is_optional=path is None)
        if file is None:
            continue
        credentials = file.account(location)
        if credentials:
            return credentials
        if path or file.has_accounts:
            searched.append(file.description(location))
        # If $REGISTRY_AUTH_FILE names an existing file, no other file is searched.
        if named and candidate == Path(named):
            break
    if searched:
        have = "has" if len(searched) == 1 else "have"
        files = listed(searched, separator=", ")
        report(f"{files} {have} no account for {location}: going on without one")
    return None


def _default_paths() -> list[Path]:
    """List the files to search: those of skopeo in its order, then that of docker."""
    environment = os.environ
    home = Path(environment.get("HOME", "/"))
    named = environment.get(_FILE_VARIABLE)
    runtime = environment.get("XDG_RUNTIME_DIR")
    paths = [
        *([Path(named)] if named else []),
        (Path(runtime) / "containers" if runtime else _RUNTIME / str(os.getuid())) / "auth.json",
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json",
        Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
    ]
    return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class _AuthFile:
    """The content of an auth file.

    Attributes:
        path: The file.
        entries: Accounts, by registry or registry prefix.
        helpers: The names of credential helpers, by registry.
        store: The name of the credential helper for all other registries, if there is one.
    """

    path: Path
    entries: dict[str, Any]
    helpers: dict[str, Any]
    store: object

    @property
    def has_accounts(self) -> bool:
        """Whether the file has an account for any registry, or names a helper."""
        return bool(self.entries or self.helpers or self.store)

    def account(self, location: RegistryLocation) -> Credentials | None:
        """Find the account for a registry."""
        helper = self._helper(location)
        if helper:
            return ask_helper(helper, location.host, self.path)
        for key in _matching(self.entries, location):
            entry = self.entries[key]
            if _is_filled(entry):
                return _account_in(entry, self.path)
        store = self._store(location)
        return ask_helper(store, location.host, self.path) if store else None

    def description(self, location: RegistryLocation) -> str:
        """Return the path of the file, with the helper that it names for a registry."""
        helper = self._helper(location) or self._store(location)
        return f"{self.path} ({helper_program(helper, self.path)})" if helper else str(self.path)

    def _helper(self, location: RegistryLocation) -> object:
        keys = self._helper_keys(location)
        return self.helpers[keys[0]] if keys else None

    def _store(self, location: RegistryLocation) -> object:
        # An empty helper name switches the store off for this registry.
        return None if self._helper_keys(location) else self.store

    def _helper_keys(self, location: RegistryLocation) -> list[str]:
        # A helper is for a whole registry, whatever the path.
        return _matching(self.helpers, RegistryLocation(location.host))


def _read(path: Path, *, is_optional: bool) -> _AuthFile | None:
    try:
        content = read_regular(path, LARGEST_FILE)
    except OSError as error:
        if is_optional and isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        if error.errno == errno.EFBIG:
            raise ConfigurationError(
                f"{path} is not an auth file: {error.strerror}", _LOGIN_AGAIN
            ) from None
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror})",
            "give a readable file with --authfile",
        ) from error
    try:
        document = parse_object(content, str(path), _LOGIN_AGAIN, is_unique=True)
    except ArtifactError:
        # The message must not quote the file.
        raise ConfigurationError(
            f"{path} is not an auth file: it is not JSON, or repeats a key", _LOGIN_AGAIN
        ) from None
    return _AuthFile(
        path,
        _object(document, "auths", path),
        _object(document, "credHelpers", path),
        document.get("credsStore"),
    )


def _object(document: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value: object = document.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{path} is not an auth file: its {key} are not an object", _LOGIN_AGAIN
        )
    return cast(dict[str, Any], value)


def _matching(keys: Iterable[str], location: RegistryLocation) -> list[str]:
    """List the keys that match a registry, the best match first."""
    ranks = {key: rank for key in keys if (rank := _rank(key, location))}
    return sorted(ranks, key=lambda key: ranks[key], reverse=True)


def _rank(key: str, location: RegistryLocation) -> tuple[int, bool, bool] | None:
    """Rank a key by the length of its path, then by its form; None if it does not match."""
    match = _KEY.fullmatch(key)
    if match is None or match["host"].lower() != location.host.lower():
        return None
    has_scheme = bool(match["scheme"])
    path = match["path"].strip("/")
    if not path:
        return 0, True, not has_scheme
    if f"{location.path}/".startswith(f"{path}/"):
        return path.count("/") + 1, True, not has_scheme
    # Of a key with a scheme, the tools use only the host.
    return (0, False, not has_scheme) if has_scheme or path in _API_VERSIONS else None


def _is_filled(entry: object) -> bool:
    """Return whether an entry has an account. If it is empty, a helper stores the account."""
    if isinstance(entry, dict):
        fields = cast(dict[str, Any], entry)
        return any(fields.get(name) for name in _ACCOUNT_FIELDS)
    return bool(entry)


def _account_in(entry: object, path: Path) -> Credentials:
    # The messages must not quote the entry.
    fields = cast(dict[str, Any], entry) if isinstance(entry, dict) else {}
    credentials = _decoded(fields.get("auth")) or Credentials.checked(
        fields.get("username"), fields.get("password")
    )
    if credentials:
        return credentials
    if fields.get("identitytoken"):
        raise ConfigurationError(
            f"{path} has an identity token for this registry, which is not supported",
            f"use an account with a password: {_LOGIN_AGAIN}",
        )
    raise ConfigurationError(f"{path} has an entry without an account", _LOGIN_AGAIN)


def _decoded(auth: object) -> Credentials | None:
    """Decode ``user:password`` from base64; None if it is not that.

    White space in the base64 text is ignored, as skopeo and docker ignore line breaks.
    """
    if not isinstance(auth, str):
        return None
    try:
        text = b64decode("".join(auth.split()), validate=True).decode()
    except ValueError:
        return None
    username, _, password = text.partition(":")
    return Credentials.checked(username, password.rstrip("\0"))
