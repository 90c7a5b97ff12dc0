"""What a command line of the juju client may contain, and what its error output means."""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import jubilant

from ckf_airgap import juju_names
from ckf_airgap.errors import AirgapError, ConfigurationError, JujuError, StorageError
from ckf_airgap.own_application import OWN_APPLICATION

_GRAMMARS: Mapping[str, juju_names.Grammar] = {
    "application": juju_names.is_application,
    "charm": juju_names.is_charm,
    "endpoint": juju_names.is_endpoint,
    "option": juju_names.is_option,
    "resource": juju_names.is_resource,
}
_ERROR_LINE = re.compile(r"^ERROR ", re.MULTILINE)
_OTHER_LINES = ("WARNING ", "INFO ", "DEBUG ")
# What jubilant or the reading of its values raises where the answer has another shape.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_CREDENTIALS_CURE = (
    "juju add-user, juju grant USER admin MODEL, juju add-secret NAME username=... password=..., "
    f"juju grant-secret NAME {OWN_APPLICATION}, "
    f"juju config {OWN_APPLICATION} juju-credentials=secret:..."
)


def require_name(kind: str, name: str) -> None:
    """Check that a name at the start of an argument cannot be read as a flag.

    Args:
        kind: What it is the name of: ``application``, ``charm``, ``endpoint``, ``option`` or
            ``resource``.
        name: The name.

    Raises:
        ConfigurationError: It is not.
    """
    if not _GRAMMARS[kind](name):
        raise ConfigurationError(
            f"the {kind} {name} has no name that Juju takes",
            "use letters, digits and hyphens, beginning with a letter; see what names it: the "
            "charm, the bundle or the overlay",
        )


def require_values(application: str, options: Mapping[str, object]) -> None:
    """Check that no value of an option can be read as the name of a file.

    Args:
        application: The application, for the error.
        options: Its options with their values.

    Raises:
        ConfigurationError: A value begins with ``@`` (Juju documentation, "juju config").
    """
    for name, value in options.items():
        if isinstance(value, str) and value.startswith("@"):
            raise ConfigurationError(
                f"the option {name} of {application} begins with @, which the juju client takes "
                "for the name of a file",
                "leave the option out, and set it with juju config --file after the deployment",
            )


def error_text(output: str) -> str:
    """Return the error message of the client.

    Args:
        output: Its error output. Lines of progress and warnings stand before the error, which
            begins with ``ERROR`` and may have several lines.

    Returns:
        The error in one line, without the word; all of the output where no line begins so.
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
    """Turn the failures of the juju client into the project's own."""
    try:
        yield
    except jubilant.CLIError as error:
        raise _translate(str(error.stderr or "")) from error
    except OSError as error:
        raise ConfigurationError(
            f"the juju client cannot be run ({error.strerror})",
            "attach the client of the operator's machine, for the CPU of this node: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        ) from error
    except _UNREADABLE as error:
        raise ConfigurationError(
            f"what the juju client answers cannot be read ({error})",
            "see that the resource juju is a juju client: "
            f"juju attach-resource {OWN_APPLICATION} juju=/snap/juju/current/bin/juju",
        ) from error


def _translate(output: str) -> AirgapError:
    text = error_text(output)
    for words, error in _KNOWN_FAILURES.items():
        if words in text:
            return error(text)
    return JujuError(
        f"juju refused: {text or 'it failed without a word'}",
        "fix that, then run the action again: it continues where it stopped",
    )


_KNOWN_FAILURES: dict[str, Callable[[str], AirgapError]] = {
    "no space left on device": lambda _: StorageError(
        "the disk is full on which the juju client keeps its files",
        "make space on the disk of the unit's node, then run the action again: it continues where "
        "it stopped",
    ),
    "invalid entity name or password": lambda _: ConfigurationError(
        "the controller refuses the user or the password of juju-credentials",
        "juju update-secret NAME username=... password=...; to make them: " + _CREDENTIALS_CURE,
    ),
    "permission denied": lambda _: ConfigurationError(
        "the Juju user of juju-credentials may not do this", "juju grant USER admin MODEL"
    ),
    "unable to connect to API": lambda text: JujuError(
        f"the Juju controller cannot be reached ({text})",
        "see that it runs (juju status -m controller), then run the action again",
    ),
}
