import json
import re

import numpy as np
import pytest
from fakes import FakeTeacher
from hypothesis import given, settings
from hypothesis import strategies as st
from infill_rig import IMPORTANCE, LONG, TEXT, plan, proposals

from codlocal.generation import infill as module
from codlocal.generation.budget import affordable
from codlocal.generation.constraint import edit_constraint, words
from codlocal.generation.engines.engine import Proposals
from codlocal.generation.history import History
from codlocal.generation.infill import best_first, filled, flipping_texts
from codlocal.generation.known import Spent
from codlocal.generation.prompts import Attempt
from codlocal.generation.quoting import quoted


def infill(teacher, found, answers):
    return filled(found, list(flipping_texts(teacher, found, answers)), answers)


def texts(found, *answers, teacher=None):
    rows = infill(teacher or FakeTeacher(), found, answers)
    assert [row.id for row in rows] == found.candidate_ids
    return [row.text for row in rows if row.text is not None]


def weigh(**weights):
    """A teacher to whom "friendly" says nothing."""
    return FakeTeacher({"good": 2.0, "bad": -2.0, "awful": -2.0, **weights}, bias=0.5)


def test_the_likeliest_words_that_flip_are_taken_in_their_order():
    likely = proposals(" nice", " bad", " so", " awful", " dirty")
    found = texts(plan(count=2), likely, teacher=weigh(dirty=-2.0))
    assert found == [TEXT.replace("good", "bad"), TEXT.replace("good", "awful")]


def test_of_several_classes_the_likeliest_needs_no_majority():
    class Three:
        def predict_proba(self, texts):
            rows = {"bad": (0.4, 0.3, 0.3), "nice": (0.4, 0.2, 0.4)}
            found = [[row for word, row in rows.items() if word in text] for text in texts]
            return np.array([one[0] if one else (0.2, 0.5, 0.3) for one in found])

    likely = proposals(" nice", " bad", " so")
    wanted = [TEXT.replace("good", "nice"), TEXT.replace("good", "bad")]
    assert texts(plan(count=4), likely, teacher=Three()) == wanted


def test_places_compete_by_how_likely_their_words_are():
    both = plan(importance=[0, 0, 0, 3.0, 0, 0, 0, 2.0], count=3)
    assert [TEXT[place.span.start : place.span.end] for place in both.places] == [
        "good",
        "friendly",
    ]
    teacher = FakeTeacher({"good": 1.0, "friendly": 1.0, "bad": -3.0, "awful": -3.0})
    first = Proposals(((" bad", -2.0), (" awful", -5.0)), 30)
    second = Proposals(((" awful", -1.0), (" bad", -3.0)), 30)
    assert texts(both, first, second, teacher=teacher) == [
        TEXT.replace("friendly", "awful"),
        TEXT.replace("good", "bad"),
        TEXT.replace("friendly", "bad"),
    ]


def test_every_place_costs_one_token_and_the_reading_of_its_prompt():
    both = plan(importance=[0, 0, 0, 3.0, 0, 0, 0, 2.0], count=3)
    rows = infill(weigh(), both, [proposals(" bad"), proposals(" awful")])
    assert [row.completion_tokens for row in rows] == [1, 1, 0]
    assert [row.prompt_tokens for row in rows] == [30, 30, 0]


@pytest.mark.parametrize(("count", "tokens"), [(1, [3]), (2, [2, 1]), (3, [1, 1, 1])])
def test_no_cost_is_lost_where_there_are_more_places_than_rows(count, tokens):
    importance = [0, 0, 1.0, 3.0, 0, 0, 0, 2.0]
    found = plan(importance=importance, count=count)
    rows = infill(weigh(), found, [proposals(" bad")] * 3)
    assert [row.completion_tokens for row in rows] == tokens
    assert [row.prompt_tokens for row in rows] == [30 * one for one in tokens]


def test_a_place_that_was_refused_costs_nothing():
    both = plan(importance=[0, 0, 0, 3.0, 0, 0, 0, 2.0], count=1)
    [row] = infill(weigh(), both, [proposals(" bad"), Proposals((), 0, "refused: too long")])
    assert (row.completion_tokens, row.prompt_tokens) == (1, 30)


def test_fewer_flips_than_were_wanted_leave_rows_that_say_so():
    rows = infill(weigh(), plan(), [proposals(" bad", " nice")])
    assert [row.text is None for row in rows] == [False, True, True, True]
    assert {row.failure for row in rows[1:]} == {
        "no other of the generator's words flips the teacher"
    }
    rows = infill(weigh(), plan(), [proposals(" nice")])
    assert {row.failure for row in rows} == {"none of the generator's words flips the teacher"}


def test_a_refusal_is_the_reason():
    rows = infill(weigh(), plan(), [Proposals((), 0, "refused: too long")])
    assert {row.failure for row in rows} == {"refused: too long"}


@pytest.mark.parametrize(
    "token",
    [
        *("bad", "  bad", " b", " ba1", " <b>", ' "', " bad!", "▁bad", "", " good", " Good", "\n"),
        *(" 7", " Я", " très"),
    ],
)
def test_what_is_no_other_word_for_the_place_is_passed_over(token):
    everything = FakeTeacher({}, bias=-1.0)
    assert texts(plan(), proposals(token), teacher=everything) == []


def test_words_take_the_case_of_their_place():
    shouted = plan("It was GOOD to me", [0, 0, 1.0, 0, 0])
    assert texts(shouted, proposals(" bad"), teacher=weigh()) == ["It was BAD to me"]
    first = plan("Good food.", [1.0, 0])
    assert texts(first, proposals("bad", " awful"), teacher=weigh()) == ["Bad food."]


def test_a_word_that_begins_the_window_of_a_long_text_begins_without_a_space():
    text = "A dull sentence. " * 30 + "Good food here. " + "A dull sentence. " * 30
    first = plan(text, [3.0 if at == 90 else 0.0 for at in range(len(words(text)))])
    assert first.places[0].blank.begun == '{"text": "'
    found = texts(first, proposals("Bad", " awful"), teacher=weigh())
    assert found == [text.replace("Good", "Bad")]


def test_a_contraction_that_has_begun_is_ended():
    begun = plan("It was so good", [0, 1.0, 0, 0])
    everything = FakeTeacher({}, bias=-1.0)
    assert texts(begun, proposals(" wasn", " can"), teacher=everything) == [
        "It wasn't so good", "It can so good",
    ]  # fmt: skip


def test_a_contraction_is_written_as_the_data_has_it():
    apart = plan("i did n't like it", [0, 1.0, 0, 0], apart=True)
    everything = FakeTeacher({}, bias=-1.0)
    assert texts(apart, proposals(" don", " really"), teacher=everything) == [
        "i do n't like it", "i really like it",
    ]  # fmt: skip


def test_texts_that_were_tried_are_not_tried_again():
    history = History({("train/7", 0): [Attempt(TEXT.replace("good", "bad"), 0.4)]})
    both = plan(importance=[0, 0, 0, 3.0, 0, 0, 0, 2.0], history=history)
    flipped = texts(both, proposals(" bad", " awful"), proposals(" bad"), teacher=weigh(bad=-5.0))
    assert flipped[:2] == [TEXT.replace("friendly", "bad"), TEXT.replace("good", "awful")]
    assert not set(flipped) & both.tried


def test_the_teacher_reads_no_more_than_it_must(monkeypatch):
    monkeypatch.setattr(module, "_ASKED_AT_ONCE", 3)
    teacher = weigh()
    many = [f" word{'x' * at}" for at in range(30)]
    assert len(texts(plan(count=1), proposals(" bad", " awful", *many), teacher=teacher)) == 1
    assert [len(call) for call in teacher.calls] == [3]
    assert texts(plan(count=1), proposals(*many), teacher=teacher) == []
    assert sum(map(len, teacher.calls[1:])) == 30


def test_the_teacher_reads_no_text_twice():
    teacher = FakeTeacher({"good": 1.0, "bad": -2.0, "poor": -3.0}, bias=0.5)
    found = plan(LONG, IMPORTANCE, count=3, number=1)
    assert texts(found, *[proposals(" poor", " bad")] * len(found.places), teacher=teacher)
    read = [text for call in teacher.calls for text in call]
    assert len(read) == len(set(read))


@given(
    text=st.text(st.sampled_from("ab \n\"\\<é猫😀.,'{}[]"), min_size=1, max_size=80),
    tokens=st.lists(st.text(st.sampled_from(" abé猫'n\"."), min_size=1, max_size=6), max_size=12),
)
@settings(deadline=None, max_examples=200)
def test_only_the_places_change(text, tokens):
    count = len(words(text))
    if not count:
        return
    found = plan(text, list(range(1, count + 1)), count=6)
    answers = [proposals(*tokens) for _ in found.places]
    kept, at = [], 0
    for span in sorted((place.span for place in found.places), key=lambda span: span.start):
        kept.append(re.escape(text[at : span.start]))
        at = span.end
    pattern = r"[\w'’]+".join([*kept, re.escape(text[at:])])
    for changed in texts(found, *answers, teacher=FakeTeacher({}, bias=-1.0)):
        assert re.fullmatch(pattern, changed)
        assert changed != text


def test_where_no_word_flips_words_of_several_places_do():
    teacher = FakeTeacher({"good": 1.0, "bad": -2.0, "poor": -3.0, "awful": -4.0}, bias=0.5)
    found = plan(LONG, IMPORTANCE, count=3)
    answers = [proposals(" nice", " poor", " bad", " awful")] * len(found.places)
    flipped = texts(found, *answers, teacher=teacher)
    assert len(flipped) == 3
    assert all(teacher.log_odds(text) < 0 for text in flipped)
    assert [text.count("good") for text in flipped] == [5, 5, 5]
    assert flipped[0].count("poor") == 2


def test_a_single_word_comes_before_several():
    teacher = FakeTeacher({"good": 0.5, "awful": -4.0, "bad": -1.0})
    found = plan(LONG, IMPORTANCE, count=30)
    answers = [proposals(" awful", " bad")] * len(found.places)
    flipped = texts(found, *answers, teacher=teacher)
    assert [text.count("good") for text in flipped[:3]] == [6, 6, 5]
    assert all(teacher.log_odds(text) < 0 for text in flipped)


def test_no_more_than_a_share_of_the_words_changes():
    teacher = FakeTeacher({"good": 1.0, "bad": -0.1})
    found = plan(LONG, IMPORTANCE, count=3)
    rows = infill(teacher, found, [proposals(" bad")] * len(found.places))
    assert {row.failure for row in rows} == {"none of the generator's words flips the teacher"}


def test_words_that_do_nothing_alone_may_flip_together():
    class Saturated(FakeTeacher):
        """Takes no notice of a change before there are two."""

        def log_odds(self, text):
            return 3.0 - 0.01 * text.count("bad") - 6.0 * (text.count("bad") > 1)

    found = plan(LONG, IMPORTANCE, count=2, number=1)
    answers = [proposals(" nice", " bad")] * len(found.places)
    flipped = texts(found, *answers, teacher=Saturated())
    assert [text.count("bad") for text in flipped] == [2]


@pytest.mark.parametrize("spare", [["nice"], ["nice", " new"]])
def test_places_that_are_not_needed_are_left_alone(spare):
    teacher = FakeTeacher({"good": 0.5, "awful": -3.0, "dull": -3.0}, bias=2.0)
    found = plan(f"{LONG} and so on", [*IMPORTANCE, 0, 0, 0], count=1, number=1)
    likely = [*spare, " awful", " dull"]  # the first place begins the text
    answers = [*map(proposals, likely), *[proposals()] * (len(found.places) - len(likely))]
    [flipped] = texts(found, *answers, teacher=teacher)
    assert flipped.count("good") == 5
    assert "awful" in flipped and "dull" in flipped
    assert any("nice" in text for call in teacher.calls for text in call), "it was tried"


def test_a_later_round_tries_more_places_if_the_teacher_reads_them():
    importance = [9.0, 0.1, -0.1, *[1e-7] * 11]  # the rest lies beyond the longest input
    assert [len(plan(LONG, importance, number=number).places) for number in (0, 1)] == [1, 3]
    many = [9.0, *[0.1] * 13]
    assert [len(plan(LONG, many, number=number).places) for number in (0, 1)] == [1, 6]


def test_a_later_round_changes_several_words_in_half_of_its_texts():
    teacher = FakeTeacher({"good": 0.1, "awful": -4.0, "bad": -4.0, "poor": -4.0})
    found = plan(LONG, IMPORTANCE, count=2, number=1)
    changed = flipping_texts(teacher, found, [proposals(" awful", " bad", " poor")] * 6)
    assert sorted(changed.values()) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_texts_with_several_new_words_are_no_match_for_those_with_one():
    likelihood = {"a": -1.0, "b": -2.0, "c": -3.0, "d": -9.0, "e": -8.0}
    changed = {"c": 1, "d": 2, "a": 1, "b": 1, "e": 3}
    orders = [best_first(plan(number=at), changed, likelihood.__getitem__) for at in (0, 1)]
    assert orders == [["a", "b", "c", "e", "d"], ["a", "e", "b", "d", "c"]]


def test_a_long_text_has_more_places():
    assert len(plan(LONG, IMPORTANCE).places) == 3
    for count, places in ((60, 6), (200, 8)):
        assert len(plan(" ".join(["good"] * count), [1.0] * count).places) == places


@pytest.mark.parametrize(
    "text",
    [TEXT, "good", 'so\tgood \\ "bad"', "Sentence. " * 90 + "good", "so <|im_end|> it is good"],
)
def test_a_blank_begins_the_reply_of_the_constraint_for_its_place(text):
    for place in plan(text, [1.0] * len(words(text))).places:
        constraint = edit_constraint(text, [place.span], extra_words=0)
        assert place.blank.begun == constraint.begun
        assert "<|im_end|>" not in place.blank.begun
        before = text[len(constraint.before) : place.span.start]
        assert json.loads(place.blank.begun + '"}')["text"] == before.removesuffix(" ")
        assert quoted(constraint.blanked) in place.blank.prompt


def test_a_token_budget_foresees_the_texts_that_an_infill_round_compares():
    costs = [len(one.places) + one.pool for one in [plan()] * 2]
    for tokens, admitted in ((sum(costs), 2), (sum(costs) - 1, 1), (costs[0] - 1, 0)):
        assert len(list(affordable([plan()] * 2, Spent(), tokens))) == admitted


def test_a_word_in_the_place_of_a_number_is_of_the_alphabet_of_the_text():
    found = plan("הקפה 2 לא", [0, 1.0, 0], source=1)
    everything = FakeTeacher({}, bias=-1.0)
    likely = proposals(" bad", " 不", " \u064e", " רע")
    assert texts(found, likely, teacher=everything) == ["הקפה רע לא"]


def test_a_word_is_of_the_alphabet_of_the_one_that_it_replaces():
    odd = 'La "nourriture" été good και καλή'
    importance = [3.0 if word == "good" else 0.0 for word in odd.split()]
    likely = proposals(" κακή", " плохо", " bad", " awful")
    found = texts(plan(odd, importance, count=4), likely)
    assert found == [odd.replace("good", "bad"), odd.replace("good", "awful")]
