"""Reads YAML and JSON of unknown origin within limits.

A short text can stand for endless data, by anchors that refer to each other, and can be nested
deeper than Python calls functions; both are refused here, once for all. So is a key that is given
twice, unless who reads the document elsewhere is known to take the last one: of two values, one
reader takes the first, one the last, and one, like Juju for bundles, none.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

import yaml

from ckf_airgap.errors import printable

_MOST_NODES = 200_000
"""How many values a document may have; the largest bundle of a release has some thousands."""
_MOST_NODES_OF_STREAM = 1_000_000
"""How many values a stream may have: all manifests of a release have some 300,000."""
_DEEPEST = 100
"""How many maps and lists may be inside each other; bundles, charms and manifests have 20."""
_CHARACTERS_OF_NODE = 64
"""For how many characters a text counts once more, where it is referred to again and again."""
_MOST_DIGITS = 64
"""How long a number may be; Python refuses to write one of more than 4,300 digits."""
_SHOWN_CHARACTERS = 80
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
# Those of libyaml, where PyYAML has it, are ten times as fast. Both accept the same.
_TEXTS: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
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
    """A text is not YAML or JSON, or is not safe to read.

    Its message is what goes behind "is not valid YAML": where, or why.
    """


class Budget:
    """A limit for the values of several documents together.

    Args:
        most: Their number, counted as they are written: each key, scalar, map and list is one.
        within: A larger budget that they count in, too.
    """

    def __init__(self, most: int, within: "Budget | None" = None) -> None:
        self._most = most
        self._left = most
        self._within = within

    def spend(self, count: int = 1) -> None:
        """Count values.

        Raises:
            DocumentError: There are more than there may be.
        """
        self._left -= count
        if self._left < 0:
            raise DocumentError(f" (it has more than {self._most} values)")
        if self._within:
            self._within.spend(count)


class _Maps(yaml.constructor.SafeConstructor):
    """Reads maps: merge keys (``<<``) count, and no key may be given twice."""

    takes_last = False

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Read a map."""
        if isinstance(node, yaml.MappingNode):
            self._mark_merges(node)
            if not self.takes_last:
                self._require_unique(node)
        return super().construct_mapping(node, deep=deep)

    @staticmethod
    def _mark_merges(node: yaml.MappingNode) -> None:
        """Tell merge keys from others, which a loader of texts does not do."""
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
                raise DocumentError(f" (line {key.start_mark.line + 1} gives {name} again)")
            seen.add((key.tag, key.value))


class _TextsLoader(_Maps, _TEXTS):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Reads every scalar as it is written."""


class _LastTextsLoader(_TextsLoader):
    """The same, and takes the last value of a key that is given several times."""

    takes_last = True


def _any_as_written(loader: Any, node: yaml.Node) -> Any:
    """Read a node whatever its tag says."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


# Tags stand for types, of which a text has none.
_TextsLoader.yaml_constructors = {None: _any_as_written}


class _ValuesLoader(_Maps, _SAFE):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Reads values as Juju's library does, and no number that is too long to be one."""

    def short_number(self, node: yaml.ScalarNode) -> Any:
        """Read a number."""
        if len(node.value) > _MOST_DIGITS:
            raise DocumentError(
                f" (line {node.start_mark.line + 1} has a number too long to be one)"
            )
        if ":" in node.value:
            # To base 60, which Juju's library takes for text (resolve.go of gopkg.in/yaml.v2).
            return node.value
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _ValuesLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _ValuesLoader.short_number)
# A date is text where no date is expected (decode.go of gopkg.in/yaml.v2).
_ValuesLoader.add_constructor("tag:yaml.org,2002:timestamp", _any_as_written)


def read_texts(
    text: str | bytes, budget: Budget | None = None, *, takes_last: bool = False
) -> Any:
    """Read a YAML document (YAML 1.1) with every scalar as a string: 1.10 is not a number.

    Args:
        text: The document.
        budget: What it may have, together with others.
        takes_last: Whether the last value counts of a key that is given several times, as
            Python's readers do it.

    Returns:
        Dictionaries, lists and strings; None for an empty document.

    Raises:
        DocumentError: It is not valid, or not safe to read.
    """
    kind = _LastTextsLoader if takes_last else _TextsLoader
    return next(_read(text, kind, budget or Budget(_MOST_NODES), is_single=True))


def read_values(text: str | bytes) -> Any:
    """Read a YAML document (YAML 1.1) with numbers, truth values and nulls.

    Args:
        text: The document.

    Returns:
        The value; None for an empty document.

    Raises:
        DocumentError: It is not valid, or not safe to read.
    """
    return next(_read(text, _ValuesLoader, Budget(_MOST_NODES), is_single=True))


def read_all_texts(text: str | bytes) -> list[Any]:
    """Read a stream of YAML documents, like ``read_texts``.

    The last value of a key counts that is given several times, as in Kubernetes.

    Raises:
        DocumentError: One is not valid, or not safe to read.
    """
    return list(_read(text, _LastTextsLoader, Budget(_MOST_NODES_OF_STREAM), is_single=False))


def read_json_texts(text: str | bytes, budget: Budget | None = None) -> Any:
    """Read a JSON document (RFC 8259) with every number as it is written.

    Not all JSON is YAML 1.1: tabs may indent it, for one.

    Args:
        text: The document.
        budget: What it may have, together with others.

    Returns:
        Dictionaries, lists, strings, truth values, and None.

    Raises:
        DocumentError: It is not valid, or not safe to read.
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


def _read(
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
        place = f" (line {min(mark.line + 1, _lines(text))})" if mark else ""
        if isinstance(error, RecursionError):
            place = " (it is nested too deeply)"
        raise DocumentError(str(error) if isinstance(error, DocumentError) else place) from error


def _lines(text: str | bytes) -> int:
    """Count lines; libyaml counts the end of a text as one more, PyYAML itself does not."""
    return 1 + (text.count("\n") if isinstance(text, str) else text.count(b"\n"))


def _spend_events(
    text: str | bytes, kind: type[yaml.BaseLoader] | type[yaml.SafeLoader], budget: Budget
) -> None:
    """Count the values of a text before they are built, which takes much more memory."""
    depth = 0
    one = Budget(_MOST_NODES)
    for event in yaml.parse(text, kind):
        if isinstance(event, yaml.DocumentStartEvent):
            one = Budget(_MOST_NODES)
        if isinstance(event, yaml.NodeEvent):
            one.spend()
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
        raise DocumentError(f" (it stands for more than {_MOST_NODES} values)")
    return cast(Any, loader).construct_document(node)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the nodes below one, each as often as it is referenced.

    A long text counts for several.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1 + len(node.value) // _CHARACTERS_OF_NODE
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
