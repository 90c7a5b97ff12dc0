"""The errors of this package: each says what happened, to what, and what to do."""

from collections.abc import Sequence
from pathlib import Path


def printable(text: str) -> str:
    """Replace what a terminal would obey and what cannot be encoded: names may hold anything."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )


class AirgapError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        problem: What happened, and to what. One sentence without a full stop.
        cure: What the operator can do. One sentence without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        problem = printable(problem)
        super().__init__(f"{problem}: {cure}")
        self.problem = problem
        self.cure = cure


class ConfigurationError(AirgapError):
    """An input that the operator gives is missing or not usable."""


class ArtifactError(AirgapError):
    """An artifact (images.tar.gz, charms.tar.gz or a part of one) is damaged or not readable."""


class StorageError(AirgapError):
    """A disk of this machine is full, or cannot be written to."""


def disk_error(path: Path, error: OSError) -> StorageError:
    """Say of a file or folder that it cannot be written to.

    Args:
        path: The file or folder.
        error: What the system says.
    """
    return StorageError(
        f"{path} cannot be written ({error.strerror})",
        "make space there, or name another place; then run it again: it continues",
    )


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
    """Make one error of several, which names them all.

    Args:
        errors: One or more.
        what: What they have in common, in words that follow their number.
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
    problems = (" ".join(filter(None, [", ".join(n), reason])) for reason, n in by_reason.items())
    cures = dict.fromkeys(error.cure for error in errors)
    return AirgapError(f"{len(errors)} {what}: {'; '.join(problems)}", "; ".join(cures))
