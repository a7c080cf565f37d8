import itertools

import numpy as np
import pytest
from fakes import FakeTeacher
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.records import Example
from codlocal.generation.constraint import Span, words
from codlocal.generation.edits import Edit, find_edits, replaced
from codlocal.generation.letter_case import in_case
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.negation import affirmed, negated
from codlocal.generation.task import Task

CORPUS = ["the food was good", "great and clean", "awful and rude", "so bad the bland food was",
          "a friendly place", "it was terrible"]  # fmt: skip


def task(text, source=1):
    teacher = FakeTeacher()
    importance = [abs(teacher.weights.get(text[s.start : s.end].lower(), 0.0)) for s in words(text)]
    return Task(Example(id="1", text=text, label=source), source, 1 - source, np.array(importance))


def found(text, source=1, teacher=None):
    teacher = teacher or FakeTeacher()
    return find_edits(teacher, Lexicon(teacher, CORPUS, 2), task(text, source))


def texts_of(text, edit):
    """Every text that an edit of one slot allows."""
    [(span, choices)] = edit.slots
    return [replaced(text, {span: choice}) for choice in choices]


def test_a_word_is_replaced_by_words_with_which_the_teacher_flips():
    text = "The food was good"
    [edit, *_] = found(text)
    [(span, choices)] = edit.slots
    assert text[span.start : span.end] == "good"
    assert {"bad", "awful", "rude", "bland", "terrible"} <= set(choices)
    assert not {"good", "great"} & set(choices)
    assert all(FakeTeacher().log_odds(one) <= 0 for one in texts_of(text, edit))


def test_several_opinions_are_turned_together():
    text = "great food great staff great place and clean"
    edits = found(text)
    joint = [edit for edit in edits if len(edit.slots) > 1]
    assert joint
    chosen = {span: choices[0] for span, choices in joint[0].slots}
    assert FakeTeacher().log_odds(replaced(text, chosen)) <= 0
    assert len(joint[0].slots) == 2  # +8 less 4 each
    assert all(FakeTeacher().log_odds(one) <= 0 for edit in edits if edit not in joint
               for one in texts_of(text, edit))  # fmt: skip


def test_what_can_not_be_flipped_has_no_edits():
    teacher = FakeTeacher(bias=50.0)
    assert found("The food was good", teacher=teacher) == []
    assert find_edits(teacher, Lexicon(teacher, [], 2), task("good")) == []
    assert find_edits(teacher, Lexicon(teacher, CORPUS, 2), task("...")) == []


class Negating(FakeTeacher):
    def log_odds(self, text):
        odds = super().log_odds(text)
        return -odds if {"not", "never"} & set(text.lower().split()) or "n't" in text else odds


def test_a_slot_may_gain_a_negation_or_lose_one():
    gains = [choice for edit in found("It was good", teacher=Negating())
             for _, choices in edit.slots for choice in choices]  # fmt: skip
    assert {"not good", "was not"} <= set(gains)
    text = "It was not good"
    loses = [replaced(text, {span: choice}) for edit in found(text, 0, Negating())
             for span, choices in edit.slots for choice in choices]  # fmt: skip
    assert "It was good" in loses


def test_a_negation_at_the_beginning_takes_the_capital():
    [edit, *_] = found("Good food", teacher=Negating())
    assert {"Not good", "Never good"} <= set(edit.slots[0][1])


@pytest.mark.parametrize(
    ("word", "plain"),
    [("won't", "will"), ("Can’t", "can"), ("wasn't", "was"), ("never", "always"), ("not", ""),
     ("good", None), ("cannot", "can"), ("ain't", "is"), ("Wo n't", "will"), ("did n't", "did")],
)  # fmt: skip
def test_negations_are_taken_back(word, plain):
    assert affirmed(word) == ([] if plain is None else [plain])


def test_auxiliaries_are_denied_after_and_other_words_before():
    assert "was not" in negated("was")
    assert "not good" in negated("good")


@pytest.mark.parametrize(
    ("phrase", "old", "text", "fits"),
    [
        ("bad", "good", "so good .", "bad"),
        ("I", "it", "lower cased text, is it", "i"),
        ("bad", "Good", "Good food", "Bad"),
        ("not good", "GREAT", "GREAT food", "NOT GOOD"),
        ("Vegas", "here", "Come here", "Vegas"),
        ("bad", "I", "I like it", "Bad"),
        ("we", "I", "The food I ordered", "we"),
        ("we're", "I’m", "When I’m back", "we're"),
        ("we", "I", 'Fine. "I liked it."', "We"),
        ("", "Not", "Not good", ""),
    ],
)
def test_case_is_that_of_the_place_and_the_text(phrase, old, text, fits):
    start = text.index(old)
    assert in_case(phrase, text, start, start + len(old)) == fits


def test_a_lower_cased_text_never_gets_a_capital_letter():
    teacher = FakeTeacher()
    lexicon = Lexicon(teacher, ["Some Bad food", "Some Awful place", "Great Thai I say"], 2)
    for edit in find_edits(teacher, lexicon, task("the food was good , really good .")):
        assert all(one == one.lower() for _, choices in edit.slots for one in choices)


choices = st.lists(
    st.sampled_from([f"w{number}" for number in range(12)]), min_size=1, max_size=9, unique=True
)


def edit_of(slots):
    return Edit(tuple((Span(2 * at, 2 * at + 1), tuple(one)) for at, one in enumerate(slots)))


@given(st.lists(choices, min_size=1, max_size=3).map(edit_of), st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_dealt_edits_never_give_the_same_text(edit, count):
    parts = edit.deal(count)
    longest = max(range(len(edit.slots)), key=lambda at: len(edit.slots[at][1]))
    dealt = [part.slots[longest][1] for part in parts]
    assert len(parts) == min(count, len(edit.slots[longest][1]))
    assert len({word for words_ in dealt for word in words_}) == sum(map(len, dealt))
    if parts:
        assert {word for words_ in dealt for word in words_} == set(edit.slots[longest][1])
    assert all(choices for part in parts for _, choices in part.slots)


def test_words_that_were_tried_are_left_out_unless_nothing_else_is_there():
    edit = Edit(((Span(0, 1), ("bad", "not good", "awful")), (Span(2, 3), ("bad",))))
    assert edit.without({"bad", "not"}).slots == (
        (Span(0, 1), ("awful",)), (Span(2, 3), ("bad",)),
    )  # fmt: skip


def test_a_word_that_is_dropped_takes_the_space_before_it_along():
    text = "was not good"
    assert replaced(text, {Span(4, 7): "", Span(8, 12): "bad"}) == "was bad"


def test_words_of_another_script_are_offered_to_none_that_lacks_it():
    corpus = ["the food was good", "服务很差 awful", "еда ужасная", "แย่"]
    weights = {"差": -8.0, "很": 8.0, "ужасная": -8.0, "แย": -8.0}
    teacher = FakeTeacher({**FakeTeacher().weights, **weights})

    def offered(text):
        edits = find_edits(teacher, Lexicon(teacher, corpus, 2), task(text))
        return {one for edit in edits for _, choices in edit.slots for one in choices}

    assert "awful" in offered("The food was good")
    assert not {"差", "ужасная"} & offered("The food was good")
    assert "差" in offered("很")
    assert offered("很") <= set("服务差")


def test_english_negations_are_for_english_words():
    choices = [one for edit in found("vraiment délicieux good", teacher=Negating())
               for _, choices in edit.slots for one in choices]  # fmt: skip
    assert "not good" in choices
    assert not any("délicieux" in one for one in choices)


FILLERS = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lmnprst")]
"""More words than count as common ones, or as those that speak for a label."""
BUSY = [*[" ".join(["fine", "isn't", "was"])] * 5, *[" ".join(FILLERS)] * 3, "the food is good"]


def offered(word):
    """What is tried in the place of a word: nothing keeps this teacher from the target."""
    teacher, text = FakeTeacher({"isn": -3.0, "fine": 3.0}, bias=-9.0), "food was good"
    edits = find_edits(teacher, Lexicon(teacher, BUSY, 2), task(text))
    slots = [slot for edit in edits for slot in edit.slots]
    return {
        choice
        for span, choices in slots
        for choice in choices
        if text[span.start : span.end] == word
    }


def test_common_words_are_offered_in_the_place_of_one_whatever_they_say():
    assert "fine" in offered("was")
    assert "fine" not in offered("good")


def test_contractions_are_offered_in_the_place_of_an_auxiliary_alone():
    assert "isn't" in offered("was")
    assert "isn't" not in offered("good")


def test_the_place_comes_first_where_most_words_flip():
    teacher = FakeTeacher({"good": 1.0, "great": 3.0, "bad": -2.0, "awful": -2.0, "dire": -9.0})
    lexicon = Lexicon(teacher, ["bad awful dire", "good great"], 2)
    text = "so good so great"
    asked = Task(Example(id="1", text=text, label=1), 1, 0, np.array([0.0, 3.0, 0.0, 1.0]))
    places = [edit.slots[0][0] for edit in find_edits(teacher, lexicon, asked)]
    named = [text[span.start : span.end] for span in places]
    assert named.index("great") < named.index("good")
