"""Reading YAML and JSON that others have written, of which nothing is known beforehand.

A short text can stand for endless data, by anchors that refer to each other, and can be nested
deeper than Python calls functions; both are refused here, once for all.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import yaml

# The largest bundle of a release has some thousands.
_MOST_NODES = 200_000
# A number of more digits is none, and Python refuses to read it.
_UNREADABLE = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    RecursionError,
)


class DocumentError(ValueError):
    """A text is not YAML or JSON, or none that is safe to read.

    Its message is what goes behind "is not valid YAML": where, or why.
    """


def read_texts(text: str | bytes) -> Any:
    """Read a YAML document (YAML 1.1) with every scalar as it is written: 1.10 is no number.

    Args:
        text: The document.

    Returns:
        Dictionaries, lists and strings; None for an empty document.

    Raises:
        DocumentError: It is not valid, or not safe to read.
    """
    return next(_read(text, yaml.BaseLoader, is_single=True))


def read_values(text: str | bytes) -> Any:
    """Read a YAML document (YAML 1.1) with numbers, truth values and nulls.

    Args:
        text: The document.

    Returns:
        The value; None for an empty document.

    Raises:
        DocumentError: It is not valid, or not safe to read.
    """
    return next(_read(text, yaml.SafeLoader, is_single=True))


def read_all_texts(text: str | bytes) -> list[Any]:
    """Read a stream of YAML documents, like ``read_texts``.

    Raises:
        DocumentError: One is not valid, or not safe to read.
    """
    return list(_read(text, yaml.BaseLoader, is_single=False))


def read_json_texts(text: str | bytes) -> Any:
    """Read a JSON document (RFC 8259) with every number as it is written.

    Not all JSON is YAML 1.1: tabs may indent it, for one.

    Args:
        text: The document.

    Returns:
        Dictionaries, lists, strings, truth values, and None.

    Raises:
        DocumentError: It is not valid, or not safe to read.
    """
    marks = (b",", b"[", b"{") if isinstance(text, bytes) else (",", "[", "{")
    if sum(text.count(cast(Any, mark)) for mark in marks) > _MOST_NODES:
        raise DocumentError(f" (it has more than {_MOST_NODES} values)")
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DocumentError(f" (line {error.lineno})") from error
    except RecursionError as error:
        raise DocumentError(" (it is nested too deeply)") from error
    except ValueError as error:
        raise DocumentError(" (it is not in UTF-8)") from error


def _read(
    text: str | bytes, kind: type[yaml.BaseLoader] | type[yaml.SafeLoader], *, is_single: bool
) -> Iterator[Any]:
    try:
        loader = kind(text)
        try:
            if is_single:
                yield _value(loader, loader.get_single_node())
                return
            while loader.check_node():
                yield _value(loader, loader.get_node())
        finally:
            loader.dispose()
    except _UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark else ""
        if isinstance(error, RecursionError):
            place = " (it is nested too deeply)"
        raise DocumentError(str(error) if isinstance(error, DocumentError) else place) from error


def _value(loader: yaml.BaseLoader | yaml.SafeLoader, node: yaml.Node | None) -> Any:
    if node is None:
        return None
    if _count(node, {}) > _MOST_NODES:
        raise DocumentError(f" (it stands for more than {_MOST_NODES} values)")
    return cast(Any, loader).construct_document(node)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the nodes below one, each as often as it is referred to."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in known:
        return known[id(node)]
    # One that holds itself has no end.
    known[id(node)] = _MOST_NODES + 1
    count = 1
    for child in cast(list[yaml.Node | tuple[yaml.Node, yaml.Node]], node.value):
        for each in child if isinstance(child, tuple) else (child,):
            count = min(count + _count(each, known), _MOST_NODES + 1)
    known[id(node)] = count
    return count
