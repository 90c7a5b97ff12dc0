"""What a server wants to know before it answers: ``WWW-Authenticate`` (RFC 9110, section 11.6.1).

One field may hold several challenges and there may be several fields. Commas separate challenges
as well as the parameters of one; what follows a comma is a parameter where an equals sign follows
its name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# Each is matched at one place, and takes no longer than what it matches (sections 5.6 and 11.2).
_SEPARATORS = re.compile(r"[\s,]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EQUALS = re.compile(r"\s*=\s*")
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """One way in which a server lets itself be told who asks.

    Attributes:
        scheme: For example ``bearer``, in lower case.
        parameters: Its parameters, their names in lower case; of several of a name the first.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


def read_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read the challenges of an answer.

    Args:
        values: Its fields ``WWW-Authenticate``.

    Returns:
        The challenges in their order. Where a field is not of that form, those before that place.
    """
    return [challenge for value in values for challenge in _read(value)]


def _read(value: str) -> Iterator[Challenge]:
    scheme = ""
    parameters: dict[str, str] = {}
    at = 0
    while True:
        at = _end(_SEPARATORS.match(value, at), at)
        name = _NAME.match(value, at)
        if name is None:
            break
        equals = _EQUALS.match(value, name.end())
        if equals and scheme:
            found = _parameter(value, equals.end())
            if found is None:
                break
            text, at = found
            parameters.setdefault(name[0].lower(), text)
            continue
        if scheme:
            yield Challenge(scheme, parameters)
        scheme, parameters = name[0].lower(), {}
        # A token in place of parameters: as Negotiate has it, and of no use here.
        at = _end(_TOKEN68.match(value, name.end()), name.end())
    if scheme:
        yield Challenge(scheme, parameters)


def _parameter(value: str, at: int) -> tuple[str, int] | None:
    """Read the value of a parameter; return it and where it ends."""
    if quoted := _QUOTED.match(value, at):
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    if bare := _NAME.match(value, at):
        return bare[0], bare.end()
    return None


def _end(match: "re.Match[str] | None", otherwise: int) -> int:
    return match.end() if match else otherwise
