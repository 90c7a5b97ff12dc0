"""The messages of errors: of a limited size and printable, whatever they quote."""

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckf_airgap.errors import (
    MOST_MESSAGE_BYTES,
    AirgapError,
    ArtifactError,
    DownloadError,
    disk_error,
    join_errors,
    listed,
    printable,
    without_traceback,
)

# With lone surrogates, which a file name that is not UTF-8 has.
CHARACTERS = st.characters()
SHORT = st.text(CHARACTERS, max_size=60)
# Hypothesis makes no long texts of itself.
TEXTS = st.builds(str.__mul__, SHORT, st.sampled_from([1, 3, 50, 2000]))
MANY = 100_000


def check(error: AirgapError) -> None:
    text = str(error)
    assert text == f"{error.problem}: {error.cure}"
    assert len(text.encode("utf-8")) <= MOST_MESSAGE_BYTES
    assert text.isprintable()


@given(TEXTS, TEXTS)
def test_any_message_fits_and_can_be_printed(problem: str, cure: str) -> None:
    check(AirgapError(problem, cure))


@given(st.lists(TEXTS, min_size=1, max_size=8), st.lists(TEXTS, min_size=8, max_size=8), TEXTS)
def test_any_joined_message_fits_and_keeps_the_count(
    problems: list[str], cures: list[str], what: str
) -> None:
    errors: list[AirgapError] = [
        DownloadError(what, problem, cure) if number % 2 else ArtifactError(problem, cure)
        for number, (problem, cure) in enumerate(zip(problems, cures, strict=False))
    ]
    joined = join_errors(errors, "things failed")
    check(joined)
    if len(errors) > 1:
        assert joined.problem.startswith(f"{len(errors)} things failed: ")


@given(st.lists(TEXTS, max_size=20), st.integers(50, 3000))
def test_any_list_fits_and_can_be_printed(items: list[str], most_bytes: int) -> None:
    text = listed(items, most_bytes=most_bytes)
    assert len(text.encode("utf-8")) <= most_bytes
    assert text.isprintable()


@given(SHORT)
def test_printable_text_keeps_its_length(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("an image", "an image"),
        ("Zażółć \U0001f433", "Zażółć \U0001f433"),
        ("a\tb", "a b"),
        ("a\nckf-airgap: done", "a\ufffdckf-airgap: done"),
        ("a\x00b\x1b]0;owned\x07", "a\ufffdb\ufffd]0;owned\ufffd"),
        ("\udcff\u202e", "\ufffd\ufffd"),
    ],
)
def test_what_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_of_another_program_become_one() -> None:
    error = AirgapError("juju refused: ERROR one\r\n  two\n\n", "try:\n\tjuju status")
    assert (error.problem, error.cure) == ("juju refused: ERROR one two", "try: juju status")


def test_neither_problem_nor_cure_reaches_the_terminal_raw() -> None:
    error = AirgapError("refers to \x1b[2J", "take \x1b]0;owned\x07")
    assert "\x1b" not in str(error) + error.problem + error.cure
    assert "\x07" not in error.cure


def test_a_short_message_stays_as_it_is() -> None:
    error = AirgapError("images.tar.gz is damaged", "copy it again")
    assert (error.problem, error.cure) == ("images.tar.gz is damaged", "copy it again")


def test_a_long_problem_is_cut_in_its_middle() -> None:
    error = AirgapError(f"the beginning {'ż' * 5000} the end", "what to do")
    assert error.problem.startswith("the beginning ż")
    assert error.problem.endswith("ż the end")
    assert "ż ... ż" in error.problem
    assert error.cure == "what to do"
    # All the room is used, but for what a character of two bytes leaves.
    assert len(str(error).encode()) >= MOST_MESSAGE_BYTES - 4


def test_a_long_cure_leaves_room_for_the_problem() -> None:
    problem = f"the beginning {'p' * 600} the end"
    error = AirgapError(problem, f"do this {'c' * 5000} and that")
    assert error.problem == problem
    assert error.cure.startswith("do this c")
    assert error.cure.endswith("c and that")
    check(error)


def test_what_fits_is_listed_whole() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a; b; c"
    assert listed(["a", "b", "c"], separator=", ") == "a, b, c"
    # To the last byte.
    items = ["a" * 24, "b" * 24]
    assert listed(items, most_bytes=50) == "; ".join(items)


def test_what_does_not_fit_is_counted() -> None:
    items = [f"image-{number}" for number in range(100)]
    text = listed(items, most_bytes=60)
    assert text == "image-0; image-1; image-2; image-3; image-4; and 95 more"
    text = listed(["x" * 5000, "y"], most_bytes=60)
    assert text.startswith("xxx")
    assert text.endswith("x; and 1 more")
    assert " ... " in text


def test_a_list_of_very_many_takes_no_time() -> None:
    items = [f"docker.io/some/image:{number}" for number in range(MANY)]
    # Of the processor: other programs do not count.
    start = time.process_time()
    text = listed(items)
    assert time.process_time() - start < 0.5
    assert len(text.encode()) <= 1000
    shown = text.count("docker.io")
    assert text.endswith(f"; and {MANY - shown} more")


def test_very_many_errors_are_one_that_fits() -> None:
    # All for one reason, then each for its own.
    same = [DownloadError(f"image {number}", "is gone", "look") for number in range(MANY)]
    joined = join_errors(same, "images cannot be had")
    check(joined)
    assert joined.problem.startswith(f"{MANY} images cannot be had: image 0, image 1, ")
    assert joined.problem.endswith(" more is gone")
    assert joined.cure == "look"
    others = [ArtifactError(f"{number} is damaged", f"fix {number}") for number in range(MANY)]
    joined = join_errors(others, "things failed")
    check(joined)
    assert joined.problem.startswith(f"{MANY} things failed: 0 is damaged; 1 is damaged; ")
    assert joined.cure.startswith("fix 0; fix 1; ")
    assert joined.cure.endswith(" more")


def test_of_a_few_long_errors_each_is_shown() -> None:
    errors = [ArtifactError(f"{name} {'x' * 3000} of {name}", "fix it") for name in "abc"]
    joined = join_errors(errors, "things failed")
    check(joined)
    for name in "abc":
        assert f"{name} xxx" in joined.problem
        assert f"xxx of {name}" in joined.problem


def test_an_error_of_a_large_text_is_made_at_once() -> None:
    start = time.process_time()
    error = AirgapError("\n" + "\x00\n" * 20_000_000 + " the end", "y\x00" * 20_000_000)
    assert time.process_time() - start < 5
    check(error)
    assert error.problem.endswith(" the end")


@pytest.mark.parametrize("place", [Path("/some/where"), "standard output"])
def test_a_disk_that_is_full(place: Path | str) -> None:
    error = disk_error(place, OSError(28, "No space left on device"))
    assert error.problem == f"{place} cannot be written (No space left on device)"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_space_is_the_cure_only_where_it_lacks(code: int) -> None:
    error = disk_error("/some/where", OSError(code, os.strerror(code)))
    assert ("make space" in error.cure) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert "another directory" in error.cure


@pytest.mark.parametrize(
    "error",
    [
        ArtifactError("a.tar is damaged", "copy it again"),
        DownloadError("a.charm", "is gone", "look for it", is_transient=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_without_its_traceback_an_error_is_the_same(error: AirgapError) -> None:
    try:
        raise error
    except AirgapError as raised:
        copied = without_traceback(raised)
        assert raised.__traceback__
    assert copied is not error
    assert copied.__traceback__ is None
    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))
