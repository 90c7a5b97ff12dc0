"""The errors of this package: each states the problem and the cure."""

import errno
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

# Juju sets this for every hook and action (Juju documentation, "Hook environment variables").
_UNIT = os.environ.get("JUJU_UNIT_NAME", "")
OWN_APPLICATION = _UNIT.partition("/")[0] or "ckf-airgap"
"""The application name in the commands of cures: this unit's, or the charm's default name."""

MOST_MESSAGE_BYTES = 2_000
"""The maximum size of a message, in UTF-8 bytes. Messages may quote texts of any size."""
_MOST_CURE_BYTES = 1_000
_MOST_LIST_BYTES = 1_000
# In a combined message, the minimum sizes of each reason, and of the names with the same reason.
_LEAST_PART_BYTES = 300
_LEAST_NAMES_BYTES = 100
_ELLIPSIS = " ... "
_SPACE_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT))
_DISK_ERRORS = _SPACE_ERRORS | {errno.EROFS, errno.EIO}
_Error = TypeVar("_Error", bound="AirgapError")


def printable(text: str) -> str:
    """Replace unprintable characters, line feeds and surrogates included; tabs become spaces."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def listed(
    items: Sequence[str], *, most_bytes: int = _MOST_LIST_BYTES, separator: str = "; "
) -> str:
    """Join as many items as fit, and count the rest.

    Args:
        items: Texts of any number and length.
        most_bytes: The maximum size of the result in UTF-8; at least 50.
        separator: Goes between two items.

    Returns:
        One printable line, which ends with ``and N more`` if items are left out.
    """
    limit = most_bytes - len(f"{separator}and {len(items)} more")
    shown: list[str] = []
    size = fitting = 0
    for item in items:
        text = _one_line(item, most_bytes)
        size += _size(text) + (len(separator) if shown else 0)
        if size > most_bytes:
            break
        shown.append(text)
        if size <= limit:
            fitting = len(shown)
    else:
        return separator.join(shown)
    if not fitting:
        shown = [_one_line(items[0], limit)]
        fitting = 1
    return separator.join([*shown[:fitting], f"and {len(items) - fitting} more"])


def _one_line(text: str, most_bytes: int) -> str:
    """Turn a text into one printable line; cut the middle out of a long one."""
    if len(text) > 2 * most_bytes:
        # The middle would be cut out anyway; do not process what may be megabytes.
        text = f"{text[:most_bytes]}{_ELLIPSIS}{text[-most_bytes:]}"
    if "\n" in text:
        text = " ".join(stripped for line in text.split("\n") if (stripped := line.strip()))
    text = printable(text)
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    left = max(0, most_bytes - len(_ELLIPSIS))
    # A character that is cut in two is dropped.
    head = data[: left - left // 2].decode(errors="ignore")
    tail = data[len(data) - left // 2 :].decode(errors="ignore")
    return f"{head}{_ELLIPSIS}{tail}"


def _size(text: str) -> int:
    return len(text.encode())


class AirgapError(Exception):
    """Base of every error that this package raises on purpose.

    Problem and cure become one printable line each, with at most ``MOST_MESSAGE_BYTES`` together,
    because they may quote text of unknown origin.

    Args:
        problem: What happened, and to what. One sentence without a full stop.
        cure: What the operator can do. One sentence without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        self.cure = _one_line(cure, _MOST_CURE_BYTES)
        self.problem = _one_line(problem, MOST_MESSAGE_BYTES - _size(f": {self.cure}"))
        super().__init__(f"{self.problem}: {self.cure}")


def without_traceback(error: _Error) -> _Error:
    """Return a copy of an error that can be stored for long.

    A traceback keeps the local variables of its frames alive, such as documents of megabytes.
    """
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    return copied


class ConfigurationError(AirgapError):
    """An operator's input is missing or invalid."""


class ArtifactError(AirgapError):
    """An artifact (images.tar.gz, charms.tar.gz or a part of one) is damaged or unreadable."""


class StorageError(AirgapError):
    """A disk of this machine is full or not writable."""


def disk_error(path: Path | str, error: OSError) -> StorageError:
    """Return the error for a file or directory that cannot be written.

    Args:
        path: The file or directory, or its description.
        error: The system's error.
    """
    cure = "make space there" if error.errno in _SPACE_ERRORS else "make it writable"
    return StorageError(
        f"{path} cannot be written ({error.strerror})",
        f"{cure}, or give another directory, then run it again: it continues",
    )


def read_error(path: Path | str, error: OSError) -> StorageError:
    """Return the error for a file of this program that cannot be read.

    Args:
        path: The file, if the system does not name it.
        error: The system's error.
    """
    return StorageError(
        f"{error.filename or path} cannot be read ({error.strerror})",
        "look at its permissions and at the disk, then run it again",
    )


@contextmanager
def disk_errors(disk: str) -> Generator[None]:
    """Turn an ``OSError`` about a full, broken or read-only disk into a ``StorageError``.

    Args:
        disk: Describes the disk if the system does not name the file.

    Raises:
        StorageError: The disk is full, broken or not writable.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise disk_error(error.filename or disk, error) from error


class PlanError(AirgapError):
    """The charms and the images do not make a complete plan."""


class RegistryError(AirgapError):
    """The registry does not answer, refuses a request, or gives an unexpected answer."""


class DownloadError(AirgapError):
    """A download failed.

    Args:
        what: The subject of the problem, for example a URL.
        problem: The rest of the problem.
        cure: As for every error.
        is_transient: Whether a later attempt may succeed.
    """

    def __init__(self, what: str, problem: str, cure: str, *, is_transient: bool = False) -> None:
        super().__init__(f"{what} {problem}", cure)
        self.what = what
        self.reason = problem
        self.is_transient = is_transient


class JujuError(AirgapError):
    """The Juju controller or its client refuses or fails."""


class ClusterError(AirgapError):
    """The Kubernetes API refuses or fails."""


def join_errors(errors: Sequence[AirgapError], what: str) -> AirgapError:
    """Combine several errors into one: their number, and as much of each as fits.

    Args:
        errors: One or more.
        what: The words after their number, for example ``images are refused``.

    Returns:
        The only error itself; for several, an error of the class that all of them have, or an
        ``AirgapError`` if they have different classes or are ``DownloadError``.
    """
    if len(errors) == 1:
        return errors[0]
    # A reason that several downloads share appears once.
    by_reason: dict[str, list[str]] = {}
    for error in errors:
        if isinstance(error, DownloadError):
            by_reason.setdefault(error.reason, []).append(error.what)
        else:
            by_reason[error.problem] = []
    cure = listed(list(dict.fromkeys(error.cure for error in errors)))
    count = f"{len(errors)} {what}: "
    limit = max(MOST_MESSAGE_BYTES - _size(f"{count}: {cure}"), _LEAST_PART_BYTES)
    # Each reason gets an equal part, so that a few reasons all fit; a longer one is shortened.
    part = max(limit // len(by_reason) - len("; "), _LEAST_PART_BYTES)
    problems: list[str] = []
    for reason, names in by_reason.items():
        if names:
            left = part - _size(_one_line(reason, part)) - 1
            shown = listed(names, most_bytes=max(left, _LEAST_NAMES_BYTES), separator=", ")
            reason = f"{shown} {reason}"
        problems.append(_one_line(reason, part))
    kinds = {type(error) for error in errors}
    # A DownloadError is about one download.
    kind = kinds.pop() if len(kinds) == 1 and DownloadError not in kinds else AirgapError
    return kind(f"{count}{listed(problems, most_bytes=limit)}", cure)
