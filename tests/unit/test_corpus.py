"""All inputs that fuzzing has found worth keeping, those that once broke something among them."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, run


@pytest.mark.parametrize("target", TARGETS)
def test_every_input_of_the_corpus_is_read_or_refused_in_words(target: str) -> None:
    inputs = sorted(CORPUS.joinpath(target).iterdir())
    assert inputs
    for path in inputs:
        try:
            run(target, path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{Path(*path.parts[-3:])} breaks {target}") from error
