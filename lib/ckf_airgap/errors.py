"""The errors of this package: each says what happened, to what, and what to do."""

import errno
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

# Juju sets it for every hook and action (Juju documentation, "Hook environment variables").
_UNIT = os.environ.get("JUJU_UNIT_NAME", "")
OWN_APPLICATION = _UNIT.partition("/")[0] or "ckf-airgap"
"""The application that the commands in cures name: this unit's; on a workstation, the charm."""

MOST_MESSAGE_BYTES = 2_000
"""The size of a message, in UTF-8: what it quotes of others has no limit of its own."""
_MOST_CURE_BYTES = 1_000
_MOST_LIST_BYTES = 1_000
# Of a reason among several, and of the names that it is given for.
_LEAST_PART_BYTES = 300
_LEAST_NAMES_BYTES = 100
_ELLIPSIS = " ... "
_DISK_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
_Error = TypeVar("_Error", bound="AirgapError")


def printable(text: str) -> str:
    """Replace control characters and what cannot be encoded: names may contain anything.

    A tab becomes a space. A line feed is replaced like every other control character: a name must
    not make lines of its own.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each == "\t" else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )


def listed(
    items: Sequence[str], *, most_bytes: int = _MOST_LIST_BYTES, separator: str = "; "
) -> str:
    """Join as many items as fit, and count the rest.

    Args:
        items: Any number of them, of any length.
        most_bytes: The size of the result in UTF-8; at least 50.
        separator: What stands between two.

    Returns:
        One printable line. It ends with ``and N more`` where items had to be left out.
    """
    room = most_bytes - len(f"{separator}and {len(items)} more")
    shown: list[str] = []
    size = fitting = 0
    for item in items:
        text = _shown(item, most_bytes)
        size += _size(text) + (len(separator) if shown else 0)
        if size > most_bytes:
            break
        shown.append(text)
        if size <= room:
            fitting = len(shown)
    else:
        return separator.join(shown)
    if not fitting:
        shown = [_shown(items[0], room)]
        fitting = 1
    return separator.join([*shown[:fitting], f"and {len(items) - fitting} more"])


def _shown(text: str, most_bytes: int) -> str:
    """Turn a text into one printable line; a long one is cut in the middle."""
    if len(text) > 2 * most_bytes:
        # Nothing between these can be left in the end, and it may be very much.
        text = f"{text[:most_bytes]}{_ELLIPSIS}{text[-most_bytes:]}"
    if "\n" in text:
        text = " ".join(line for each in text.split("\n") if (line := each.strip()))
    text = printable(text)
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    room = max(0, most_bytes - len(_ELLIPSIS))
    # At a cut in the middle of a character its bytes are dropped.
    head = data[: room - room // 2].decode(errors="ignore")
    tail = data[len(data) - room // 2 :].decode(errors="ignore")
    return f"{head}{_ELLIPSIS}{tail}"


def _size(text: str) -> int:
    return len(text.encode())


class AirgapError(Exception):
    """Base of every error that this package raises on purpose.

    Problem and cure are made printable, one line each, and both together have at most
    ``MOST_MESSAGE_BYTES``: they may quote what others have named.

    Args:
        problem: What happened, and to what. One sentence without a full stop.
        cure: What the operator can do. One sentence without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        self.cure = _shown(cure, _MOST_CURE_BYTES)
        self.problem = _shown(problem, MOST_MESSAGE_BYTES - _size(f": {self.cure}"))
        super().__init__(f"{self.problem}: {self.cure}")


def kept(error: _Error) -> _Error:
    """Return a copy that can be kept for long, without its traceback.

    An exception keeps alive whatever was in memory where it was raised, documents of megabytes
    among it.
    """
    return type(error)(error.problem, error.cure)


class ConfigurationError(AirgapError):
    """An operator's input is missing or not valid."""


class ArtifactError(AirgapError):
    """An artifact (images.tar.gz, charms.tar.gz or a part of one) is damaged or not readable."""


class StorageError(AirgapError):
    """A disk of this machine is full or not writable."""


def disk_error(path: Path | str, error: OSError) -> StorageError:
    """Return the error for a file or directory that cannot be written.

    Args:
        path: The file or directory, or what to call it.
        error: What the system says.
    """
    return StorageError(
        f"{path} cannot be written ({error.strerror})",
        "make space there, or name another place; then run it again: it continues",
    )


@contextmanager
def disk_errors(disk: str) -> Generator[None]:
    """Raise ``StorageError`` where a disk is full, broken or not writable.

    Args:
        disk: What to call it where the system does not name the file.

    Raises:
        StorageError: In place of such an ``OSError``; others pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise disk_error(error.filename or disk, error) from error


class PlanError(AirgapError):
    """No complete plan can be made from the charms and the images."""


class RegistryError(AirgapError):
    """The registry does not answer, refuses, or answers something unexpected."""


class DownloadError(AirgapError):
    """Something outside cannot be fetched.

    Args:
        what: What it is. The problem begins with it.
        problem: What is wrong with it.
        cure: As for every error.
        may_pass: Whether it could go better in a while.
    """

    def __init__(self, what: str, problem: str, cure: str, *, may_pass: bool = False) -> None:
        super().__init__(f"{what} {problem}", cure)
        self.what = what
        self.reason = problem
        self.may_pass = may_pass


class JujuError(AirgapError):
    """The Juju controller or its client refuses or fails."""


class ClusterError(AirgapError):
    """The Kubernetes API refuses or fails."""


def join_errors(errors: Sequence[AirgapError], what: str) -> AirgapError:
    """Combine several errors into one: their number, and as much of each as fits.

    Args:
        errors: One or more.
        what: What they have in common, in words that follow their number.

    Returns:
        An error of their class, where they have one.
    """
    if len(errors) == 1:
        return errors[0]
    # What is wrong with many for one reason is said once.
    by_reason: dict[str, list[str]] = {}
    for error in errors:
        if isinstance(error, DownloadError):
            by_reason.setdefault(error.reason, []).append(error.what)
        else:
            by_reason[error.problem] = []
    cure = listed(list(dict.fromkeys(error.cure for error in errors)))
    count = f"{len(errors)} {what}: "
    room = max(MOST_MESSAGE_BYTES - _size(f"{count}: {cure}"), _LEAST_PART_BYTES)
    # Where there are few reasons, all of them are shown, if need be in part.
    part = max(room // len(by_reason) - len("; "), _LEAST_PART_BYTES)
    problems: list[str] = []
    for reason, names in by_reason.items():
        if names:
            left = part - _size(_shown(reason, part)) - 1
            shown = listed(names, most_bytes=max(left, _LEAST_NAMES_BYTES), separator=", ")
            reason = f"{shown} {reason}"
        problems.append(_shown(reason, part))
    kinds = {type(error) for error in errors}
    # A DownloadError is about one thing.
    kind = kinds.pop() if len(kinds) == 1 and DownloadError not in kinds else AirgapError
    return kind(f"{count}{listed(problems, most_bytes=room)}", cure)
