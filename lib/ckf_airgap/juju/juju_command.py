"""Checks the command lines of the juju client, and explains its error output."""

import errno
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import jubilant

from ckf_airgap.errors import (
    OWN_APPLICATION,
    AirgapError,
    ConfigurationError,
    JujuError,
    StorageError,
)
from ckf_airgap.juju import juju_names

_GRAMMARS: Mapping[str, juju_names.Grammar] = {
    "application": juju_names.is_application,
    "charm": juju_names.is_charm,
    "endpoint": juju_names.is_endpoint,
    "option": juju_names.is_option,
    "resource": juju_names.is_resource,
}
_ERROR_LINE = re.compile(r"^ERROR ", re.MULTILINE)
_OTHER_LINES = ("WARNING ", "INFO ", "DEBUG ")
# The errors of jubilant, and of reading its values, if the client's output has another format.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_CREDENTIALS_CURE = (
    "juju add-user, juju grant USER admin MODEL, juju add-secret NAME username=... password=..., "
    f"juju grant-secret NAME {OWN_APPLICATION}, "
    f"juju config {OWN_APPLICATION} juju-credentials=secret:..."
)

_BY_HAND = "leave the option out, and set it with juju config --file after the deployment"
# Linux accepts 128 KiB including the final NUL, and 2 MiB of all arguments and environment
# (execve(2), "Limits on size of arguments and environment").
_LONGEST_ARGUMENT = 128 * 1024 - 1
_MOST_ARGUMENTS = 1024 * 1024


def require_name(kind: str, name: str) -> None:
    """Check that Juju accepts a name; a valid name at the start of an argument is never a flag.

    Args:
        kind: The kind of name: ``application``, ``charm``, ``endpoint``, ``option`` or
            ``resource``.
        name: The name.

    Raises:
        ConfigurationError: The name is not valid.
    """
    if not _GRAMMARS[kind](name):
        raise ConfigurationError(
            f"{name} is not a valid name of a Juju {kind}",
            "correct the name in the charm, the bundle or the overlay: a letter, then letters, "
            "digits and hyphens",
        )


def require_values(application: str, options: Mapping[str, object]) -> None:
    """Check that the juju client accepts each option, and passes its value on unchanged.

    Args:
        application: The application, for the error.
        options: Its options with their values.

    Raises:
        ConfigurationError: A value begins with ``@`` (Juju documentation, "juju config"), has a
            NUL, or is too long for an argument; or all values together are too long.
    """
    size = 0
    for name, value in options.items():
        what = f"the option {name} of {application}"
        argument = f"{name}={value}".encode(errors="surrogatepass")
        size += len(argument)
        if isinstance(value, str) and value.startswith("@"):
            raise ConfigurationError(
                f"{what} begins with @, which the juju client takes for the name of a file",
                _BY_HAND,
            )
        if b"\0" in argument:
            raise ConfigurationError(
                f"{what} has a NUL, which no argument of a command can have",
                "correct it in the bundle or the overlay",
            )
        if len(argument) > _LONGEST_ARGUMENT:
            raise ConfigurationError(
                f"{what} has {len(argument):,} bytes, which is too long for an argument of the "
                "juju client",
                _BY_HAND,
            )
    if size > _MOST_ARGUMENTS:
        raise ConfigurationError(
            f"the options of {application} have {size:,} bytes together, which is too long for a "
            "command of the juju client",
            _BY_HAND,
        )


def error_text(output: str) -> str:
    """Return the error message of the client.

    Args:
        output: Its error output. Progress and warnings come before the error, which begins with
            ``ERROR`` and may have several lines.

    Returns:
        The error in one line, without ``ERROR``; the whole output if no line begins with
        ``ERROR``.
    """
    found = _ERROR_LINE.search(output)
    lines = output[found.start() if found else 0 :].split("\n")
    return " ".join(
        text
        for line in lines
        if not (found and line.startswith(_OTHER_LINES))
        and (text := line.removeprefix("ERROR ").strip())
    )


@contextmanager
def client_errors() -> Generator[None]:
    """Turn failures of the juju client into errors of this project.

    Raises:
        ConfigurationError: The client cannot be run, its output has another format, or an option
            or a file of the operator is the cause of the failure.
        JujuError: Juju fails.
        StorageError: The disk with the client's files is full.
    """
    try:
        yield
    except jubilant.CLIError as error:
        raise _translate(str(error.stderr or "")) from error
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise ConfigurationError(
                "a command of the juju client is too long for this machine",
                "shorten the values that the bundle or the overlay sets",
            ) from error
        raise ConfigurationError(
            f"the juju client cannot be run ({error.strerror})",
            "attach the client of the operator's machine, for the CPU of this node: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        ) from error
    except _UNREADABLE as error:
        raise ConfigurationError(
            f"the output of the juju client cannot be read ({error})",
            "check that the resource juju is a juju client; to replace it: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        ) from error


def _translate(output: str) -> AirgapError:
    text = error_text(output)
    for words, error in _KNOWN_FAILURES.items():
        if words in text:
            return error(text)
    return JujuError(
        f"juju refused: {text or 'the client printed no error'}",
        "fix that, then run the action again: it continues where it stopped",
    )


_KNOWN_FAILURES: dict[str, Callable[[str], AirgapError]] = {
    "no space left on device": lambda _: StorageError(
        "the disk with the files of the juju client is full",
        "make space on the disk of the unit's node, then run the action again: it continues where "
        "it stopped",
    ),
    "invalid entity name or password": lambda _: ConfigurationError(
        "the controller refuses the user or the password of juju-credentials",
        "juju update-secret NAME username=... password=...; to create a user and its secret: "
        + _CREDENTIALS_CURE,
    ),
    "permission denied": lambda _: ConfigurationError(
        "the Juju user of juju-credentials may not do this", "juju grant USER admin MODEL"
    ),
    "unable to connect to API": lambda text: JujuError(
        f"the Juju controller cannot be reached ({text})",
        "see that it runs (juju status -m controller), then run the action again",
    ),
}
