import numpy as np
import pytest
from fakes import FakeTeacher
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.records import Candidate, Example
from codlocal.verification.judge import boundary_distance, judge
from codlocal.verification.vocabulary import Vocabulary

EXAMPLES = {"1": Example(id="1", text="the food was good", label=1)}


def candidate(text, name="1/0", source=1):
    return Candidate(
        id=name, example_id="1", round=0, strategy="guided", source_label=source,
        target_label=1 - source, text=text, failure=None if text else "cut off",
    )  # fmt: skip


def edit_distance(original, edited):
    """That of the verdict on an edit."""
    row = candidate("-").model_copy(update={"text": edited})
    (verdict,) = judge(FakeTeacher(), {"1": Example(id="1", text=original, label=1)}, [row])
    return verdict.edit_distance


@pytest.mark.parametrize(
    ("original", "edited", "distance"),
    [
        ("the food was good", "the food was good", 0.0),
        ("the food was good", "the food was bad", 0.25),
        ("the food was good", "the food wasn't good", 0.25),
        ("the food was good", "the food was n't good", 0.25),
        ("the food was good", "the food was not good", 0.25),
        ("the food was good", "the food", 0.5),
        ("good .", "good !", 0.5),
        ("good.", "good .", 0.0),
        ("a", "b c d", 3.0),
        ("", "a b", 2.0),
        ("", "", 0.0),
        ("it’s 😀 fine", "it’s 😡 fine", 1 / 3),
        ("खाना अच्छा था", "खाना ख़राब था", 1 / 3),
        ("食物很好吃", "食物难吃", 2 / 5),
        ("这里的食物好，我再来", "不，我再来", 6 / 10),
    ],
)
def test_the_distance_counts_edited_tokens(original, edited, distance):
    assert edit_distance(original, edited) == pytest.approx(distance)


@given(st.text(max_size=30), st.text(max_size=30))
@settings(deadline=None)
def test_the_distance_is_never_negative_and_zero_for_a_copy(one, other):
    assert edit_distance(one, other) >= 0
    assert edit_distance(one, one) == 0


def test_a_verdict_says_whether_the_teachers_own_label_flips():
    teacher = FakeTeacher()
    rows = [candidate("the food was bad", "1/0"), candidate("the food was great", "1/1")]
    bad, great = judge(teacher, EXAMPLES, rows)
    assert (bad.candidate_id, bad.label, bad.flipped) == ("1/0", 0, True)
    assert (bad.edits, bad.edit_distance) == (1, 0.25)
    assert (great.candidate_id, great.label, great.flipped) == ("1/1", 1, False)
    assert sum(bad.probabilities) == pytest.approx(1)
    assert bad.fluency is None
    assert len(teacher.calls) == 1


def test_the_label_to_leave_is_the_candidates_not_the_gold_one():
    [verdict] = judge(FakeTeacher(), EXAMPLES, [candidate("the food was bad", source=0)])
    assert not verdict.flipped


def test_with_many_classes_any_other_label_is_a_flip():
    class Three:
        def predict_proba(self, texts):
            return np.array([[0.2, 0.3, 0.5]] * len(texts))

    [verdict] = judge(Three(), EXAMPLES, [candidate("x")])
    assert (verdict.label, verdict.flipped) == (2, True)


def test_nothing_to_judge_asks_nobody():
    teacher = FakeTeacher()
    assert judge(teacher, EXAMPLES, []) == []
    assert not teacher.calls


def test_a_candidate_without_a_text_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="1/7"):
        judge(FakeTeacher(), EXAMPLES, [candidate(None, "1/7")])


def test_a_verdict_tells_new_words_and_lengths():
    known = Vocabulary.of(row.text for row in EXAMPLES.values())
    [verdict] = judge(FakeTeacher(), EXAMPLES, [candidate("the food was Bad, bad!")], known)
    assert verdict.unknown == ("bad", "bad")
    assert (verdict.length, verdict.original_length) == (7, 4)
    [verdict] = judge(FakeTeacher(), EXAMPLES, [candidate("the food was bad")])
    assert (verdict.unknown, verdict.broken_off) == ((), ())


def test_a_verdict_tells_phrases_that_an_edit_breaks_off():
    used = Vocabulary.of(["the food was very good"] * 40)
    [verdict] = judge(FakeTeacher(), EXAMPLES, [candidate("the food was very")], used)
    assert verdict.broken_off == ("very",)


def test_a_verdict_tells_repetitions_that_the_original_does_not_have():
    examples = {"1": Example(id="1", text="good good food", label=1)}
    texts = ("bad bad food", "good good bad food", "bad food", "good good good food")
    found = [
        row.repeated for row in judge(FakeTeacher(), examples, [candidate(one) for one in texts])
    ]
    assert found == [("bad",), (), (), ("good",)]


@pytest.mark.parametrize(
    ("probabilities", "distance"),
    [
        ((0.5, 0.5), 0),
        ((0.2, 0.8), 0.3),
        ((1, 0), 0.5),
        ((0.4, 0.2, 0.4), 0),
        ((0.5, 0.3, 0.2), 0.1),
    ],
)
def test_the_boundary_is_half_the_margin_away(probabilities, distance):
    assert boundary_distance(probabilities) == pytest.approx(distance)
