"""Parses authentication challenges: ``WWW-Authenticate`` (RFC 9110, section 11.6.1).

There may be several fields, and several challenges in a field. Commas separate challenges as well
as the parameters of one; a name after a comma is a parameter if an equals sign follows it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# The grammar of RFC 9110, sections 5.6 and 11.2. Each pattern is matched at one offset, in time
# linear in the length of the match.
_SEPARATORS = re.compile(r"[\s,]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EQUALS = re.compile(r"\s*=\s*")
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Challenge:
    """A challenge: one authentication scheme that a server accepts.

    Attributes:
        scheme: For example ``bearer``, in lower case.
        parameters: Its parameters, by their names in lower case. If a name is repeated, the first
            value counts.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


def read_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read the challenges of a response.

    Args:
        values: The values of its fields ``WWW-Authenticate``.

    Returns:
        The challenges in order. Of a malformed field, only those before the error.
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
        # Skip a token68 in place of parameters, as in Negotiate: such schemes are not supported.
        at = _end(_TOKEN68.match(value, name.end()), name.end())
    if scheme:
        yield Challenge(scheme, parameters)


def _parameter(value: str, at: int) -> tuple[str, int] | None:
    """Read the value of a parameter; return it and its end, or None if it is malformed."""
    if quoted := _QUOTED.match(value, at):
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    if bare := _NAME.match(value, at):
        return bare[0], bare.end()
    return None


def _end(match: "re.Match[str] | None", otherwise: int) -> int:
    return match.end() if match else otherwise
