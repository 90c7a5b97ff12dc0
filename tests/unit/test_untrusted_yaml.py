"""YAML and JSON that others wrote: what is read, and what is refused before it takes memory."""

from collections.abc import Callable
from typing import Any

import pytest

from ckf_airgap.files.untrusted_yaml import (
    Budget,
    DocumentError,
    load_all_strings,
    load_json_strings,
    load_strings,
    load_values,
)

READERS = [load_strings, load_values, load_all_strings]


def test_texts_stay_as_they_are_written_and_values_do_not() -> None:
    text = "a: 1.10\nb: [0x1F, yes, 1.5, 1:30]\nc:\n"
    assert load_strings(text) == {"a": "1.10", "b": ["0x1F", "yes", "1.5", "1:30"], "c": ""}
    # Of 1:30 Juju's library makes no number to base 60, and of a date no date.
    assert load_values(text) == {"a": 1.1, "b": [31, True, 1.5, "1:30"], "c": None}
    assert load_values("[2024-01-31, 2024-13-45]") == ["2024-01-31", "2024-13-45"]
    assert load_all_strings("a: 1\n---\n- b\n") == [{"a": "1"}, ["b"]]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 5_000, "nested too deeply"),
        ("- " * 5_000, "nested too deeply"),
        ("{a: " * 5_000, "nested too deeply"),
        (f"[{'a,' * 200_000}]", "has more than 200000 values"),
        ("a: &a [*a]", "expands to more than 200000 values"),
        (f"a: &a {'x' * 500_000}\nb: [{'*a,' * 200}]", "expands to more than 200000 values"),
        ("a: [", "line 1"),
        ("a: b\n\tc", "line 2"),
    ],
    ids=["lists", "blocks", "maps", "wide", "itself", "a long text", "cut off", "a tab"],
)
def test_what_is_not_safe_or_not_valid_is_refused(
    read: Callable[[str], Any], text: str, problem: str
) -> None:
    for content in (text, text.encode()):
        with pytest.raises(DocumentError, match=problem):
            read(content)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("number", ["9" * 5_000, f"0x{'f' * 5_000}", f"{'1:' * 99}1", "1" * 65])
def test_a_number_without_end_is_refused(number: str) -> None:
    with pytest.raises(DocumentError, match="line 2 has a number of too many digits"):
        load_values(f"a: b\nc: {number}")
    assert load_strings(f"c: {number}") == {"c": number}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3 repeats the key a"),
        ("a: 1\n'a': 2", "line 2 repeats the key a"),
        ("{a: {b: 1, b: 2}}", "line 1 repeats the key b"),
        ("- {c: 1}\n- d: 1\n  d: 1", "line 3 repeats the key d"),
        ('"\\e[2J": 1\n"\\e[2J": 2', "repeats the key �.2J"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(text: str, problem: str) -> None:
    for read in (load_strings, load_values):
        with pytest.raises(DocumentError, match=problem):
            read(text)


def test_where_other_readers_take_the_last_value_it_counts() -> None:
    text = "a: 1\na: 2"
    assert load_strings(text, last_wins=True) == {"a": "2"}
    assert load_all_strings(text) == [{"a": "2"}]
    assert load_json_strings('{"a": 1, "a": 2}') == {"a": "2"}


def test_merge_keys_count_where_they_are_written_plainly() -> None:
    text = "a: &a {b: 1, c: 1}\nd: {<<: *a, c: 2}\ne: {'<<': *a}\nf: {<<: [*a, {g: 1, b: 3}]}"
    assert load_strings(text) == {
        "a": {"b": "1", "c": "1"},
        "d": {"b": "1", "c": "2"},
        "e": {"<<": {"b": "1", "c": "1"}},
        "f": {"b": "1", "c": "1", "g": "1"},
    }
    assert load_values("a: &a {b: 1, c: 1}\nd: {<<: *a, c: 2}")["d"] == {"b": 1, "c": 2}


def test_tags_make_nothing_of_a_text() -> None:
    text = "a: !!python/object/apply:os.system [touch /tmp/owned]\nb: !!int 3\nc: !!binary aGk="
    assert load_strings(text) == {"a": ["touch /tmp/owned"], "b": "3", "c": "aGk="}
    with pytest.raises(DocumentError, match="line 1"):
        load_values(text)


def test_a_stream_may_have_more_than_one_document_may() -> None:
    document = f"[{'a,' * 101_000}]\n"
    assert len(load_all_strings(f"{document}---\n{document}")) == 2


def test_documents_can_share_a_budget() -> None:
    budget = Budget(10)
    assert load_strings("[a, b, c]", budget) == ["a", "b", "c"]
    assert load_json_strings("[1, 2, 3]", budget) == ["1", "2", "3"]
    with pytest.raises(DocumentError, match="has more than 10 values"):
        load_strings("[a, b]", budget)
    shared = Budget(5)
    assert load_strings("[a, b]", Budget(9, within=shared)) == ["a", "b"]
    with pytest.raises(DocumentError, match="has more than 5 values"):
        load_strings("[a, b]", Budget(9, within=shared))
