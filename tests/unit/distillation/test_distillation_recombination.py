"""Recombined texts."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from codlocal.distillation.recombination import recombine

TEXTS = ["The soup  was cold .", "go there"]


def _runs(text: str) -> set[str]:
    words = text.split()
    places = itertools.combinations(range(len(words) + 1), 2)
    return {" ".join(words[start:end]) for start, end in places}


def test_each_is_two_runs_of_whole_words():
    runs = set.union(*map(_runs, TEXTS))
    possible = {f"{first} {second}" for first in runs for second in runs}
    found = [" ".join(text.split()) for text in recombine(TEXTS, 400, 0)]
    assert set(found) <= possible
    assert len(set(found)) > 100


def test_spaces_within_a_run_stay():
    assert any("soup  was" in text for text in recombine(TEXTS, 100, 0))


def test_scripts_without_spaces_are_cut_at_characters():
    assert len(set(recombine(["汤很冷也很贵"], 200, 0))) > 50


def test_the_seed_decides():
    assert recombine(TEXTS, 20, 1) == recombine(TEXTS, 20, 1) != recombine(TEXTS, 20, 2)
    assert recombine(TEXTS, 0, 1) == []


@example(["so \x1f", "so \x1f"])
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_any_text_can_be_recombined(texts):
    assert all(text.strip() for text in recombine(texts, 5, 0))
