"""Parses YAML and JSON of unknown origin within limits.

A short text can expand to endless data through aliases, or be nested deeper than Python's stack;
both are refused. So are repeated keys: some readers take the first value, some the last, and some,
like Juju for bundles, refuse them. Callers set ``last_wins`` for documents whose real reader takes
the last value.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import yaml

from ckf_airgap.errors import printable

_MOST_NODES = 200_000
"""The most values of a document; the largest bundle of a release has some thousands."""
_MOST_NODES_OF_STREAM = 1_000_000
"""The most values of a stream; all manifests of a release have some 300,000."""
_DEEPEST = 100
"""The most nested maps and lists; bundles, charms and manifests have up to 20."""
_CHARACTERS_OF_NODE = 64
"""A string counts as one more value for this many characters, because aliases can repeat it."""
_MOST_DIGITS = 64
"""The limit for the digits of a number; Python cannot convert a number of more than 4,300."""
_SHOWN_CHARACTERS = 80
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
# The loaders of libyaml accept the same and are ten times as fast, but PyYAML may lack them.
_STRINGS: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_SAFE: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
    """A document is invalid, or exceeds a limit.

    The message continues "is not valid YAML", for example with `` (line 3)``.
    """


class Budget:
    """A limit for the values of several documents together.

    Args:
        most: The number of values as written, without aliases: keys, scalars, maps and lists.
        within: A larger budget, charged as well.
    """

    def __init__(self, most: int, within: "Budget | None" = None) -> None:
        self._most = most
        self._left = most
        self._within = within

    def spend(self, count: int = 1) -> None:
        """Count values.

        Raises:
            DocumentError: The limit is exceeded.
        """
        self._left -= count
        if self._left < 0:
            raise DocumentError(f" (it has more than {self._most} values)")
        if self._within:
            self._within.spend(count)


class _Maps(yaml.constructor.SafeConstructor):
    """Constructs maps: applies merge keys (``<<``) and refuses repeated keys."""

    last_wins = False

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a map."""
        if isinstance(node, yaml.MappingNode):
            self._mark_merges(node)
            if not self.last_wins:
                self._require_unique(node)
        return super().construct_mapping(node, deep=deep)

    @staticmethod
    def _mark_merges(node: yaml.MappingNode) -> None:
        """Tag merge keys, which the base loader does not do."""
        for key, _ in node.value:
            if key.tag == _TEXT and key.value == "<<" and key.style in ("", None):
                key.tag = _MERGE

    @staticmethod
    def _require_unique(node: yaml.MappingNode) -> None:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                name = printable(key.value[:_SHOWN_CHARACTERS])
                raise DocumentError(f" (line {key.start_mark.line + 1} repeats the key {name})")
            seen.add((key.tag, key.value))


class _StringsLoader(_Maps, _STRINGS):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Loads every scalar as a string."""


class _LastWinsLoader(_StringsLoader):
    last_wins = True


def _ignore_tag(loader: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


# Tags name types; here every scalar is a string.
_StringsLoader.yaml_constructors = {None: _ignore_tag}


class _ValuesLoader(_Maps, _SAFE):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Loads values as Juju's YAML library does, and refuses overlong numbers."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """Construct a number; refuse one of too many digits."""
        if len(node.value) > _MOST_DIGITS:
            raise DocumentError(
                f" (line {node.start_mark.line + 1} has a number of too many digits)"
            )
        if ":" in node.value:
            # Juju's library reads a base 60 number as a string (resolve.go of gopkg.in/yaml.v2).
            return node.value
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _ValuesLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _ValuesLoader.construct_number)
# Juju's library reads a date as a string (decode.go of gopkg.in/yaml.v2).
_ValuesLoader.add_constructor("tag:yaml.org,2002:timestamp", _ignore_tag)


def load_strings(
    text: str | bytes, budget: Budget | None = None, *, last_wins: bool = False
) -> Any:
    """Load a YAML 1.1 document with every scalar as a string: 1.10 is not a number.

    Args:
        text: The document.
        budget: A limit that this document shares with others.
        last_wins: Whether the last value of a repeated key wins, as in Python's readers;
            otherwise a repeated key is an error.

    Returns:
        Dictionaries, lists and strings; None for an empty document.

    Raises:
        DocumentError: The document is invalid, or exceeds a limit.
    """
    kind = _LastWinsLoader if last_wins else _StringsLoader
    return next(_load(text, kind, budget or Budget(_MOST_NODES), is_single=True))


def load_values(text: str | bytes) -> Any:
    """Load a YAML 1.1 document with numbers, booleans and nulls; None if it is empty.

    Raises:
        DocumentError: The document is invalid, or exceeds a limit.
    """
    return next(_load(text, _ValuesLoader, Budget(_MOST_NODES), is_single=True))


def load_all_strings(text: str | bytes) -> list[Any]:
    """Load a stream of YAML documents, like ``load_strings``.

    The last value of a repeated key wins, as in Kubernetes.

    Raises:
        DocumentError: A document is invalid, or exceeds a limit.
    """
    return list(_load(text, _LastWinsLoader, Budget(_MOST_NODES_OF_STREAM), is_single=False))


def load_json_strings(text: str | bytes, budget: Budget | None = None) -> Any:
    """Load a JSON document (RFC 8259) with every number as a string.

    A YAML 1.1 loader would refuse some JSON, for example if tabs indent it.

    Args:
        text: The document.
        budget: A limit that this document shares with others.

    Returns:
        Dictionaries, lists, strings, booleans and None.

    Raises:
        DocumentError: The document is invalid, or exceeds a limit.
    """
    marks = (b",", b"[", b"{") if isinstance(text, bytes) else (",", "[", "{")
    budget = budget or Budget(_MOST_NODES)
    budget.spend(1 + sum(text.count(cast(Any, mark)) for mark in marks))
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise DocumentError(f" (line {error.lineno})") from error
    except RecursionError as error:
        raise DocumentError(" (it is nested too deeply)") from error
    except ValueError as error:
        raise DocumentError(" (it is not in UTF-8)") from error


def _load(
    text: str | bytes,
    kind: type[yaml.BaseLoader] | type[yaml.SafeLoader],
    budget: Budget,
    *,
    is_single: bool,
) -> Iterator[Any]:
    try:
        _spend_events(text, kind, budget)
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
        detail = f" (line {min(mark.line + 1, _lines(text))})" if mark else ""
        if isinstance(error, RecursionError):
            detail = " (it is nested too deeply)"
        raise DocumentError(str(error) if isinstance(error, DocumentError) else detail) from error


def _lines(text: str | bytes) -> int:
    """Count lines. An error mark of libyaml, but not of PyYAML, may be one line after the last."""
    return 1 + (text.count("\n") if isinstance(text, str) else text.count(b"\n"))


def _spend_events(
    text: str | bytes, kind: type[yaml.BaseLoader] | type[yaml.SafeLoader], budget: Budget
) -> None:
    """Count the values before they are constructed, which takes much more memory."""
    depth = 0
    document = Budget(_MOST_NODES)
    for event in yaml.parse(text, kind):
        if isinstance(event, yaml.DocumentStartEvent):
            document = Budget(_MOST_NODES)
        if isinstance(event, yaml.NodeEvent):
            document.spend()
            budget.spend()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise DocumentError(" (it is nested too deeply)")


def _value(loader: yaml.BaseLoader | yaml.SafeLoader, node: yaml.Node | None) -> Any:
    if node is None:
        return None
    if _count(node, {}) > _MOST_NODES:
        raise DocumentError(f" (it expands to more than {_MOST_NODES} values)")
    return cast(Any, loader).construct_document(node)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count a node and all nodes below it, each once per reference; long strings count more."""
    if not isinstance(node, yaml.CollectionNode):
        return 1 + len(node.value) // _CHARACTERS_OF_NODE
    if id(node) in known:
        return known[id(node)]
    # While the node is counted: a node that contains itself exceeds the limit.
    known[id(node)] = _MOST_NODES + 1
    count = 1
    for child in cast(list[yaml.Node | tuple[yaml.Node, yaml.Node]], node.value):
        for part in child if isinstance(child, tuple) else (child,):
            count = min(count + _count(part, known), _MOST_NODES + 1)
    known[id(node)] = count
    return count
