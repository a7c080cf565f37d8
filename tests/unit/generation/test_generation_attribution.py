import numpy as np
import pytest
from fakes import FakeTeacher

from codlocal.generation import attribution
from codlocal.generation.attribution import (
    gradient,
    leave_one_out,
    substitution,
    without,
)
from codlocal.generation.constraint import words
from codlocal.generation.scope import important_words


def test_importance_is_what_each_word_adds_to_the_log_odds():
    teacher = FakeTeacher({"good": 2.0, "not": -0.5, "food": 0.25})
    importance = leave_one_out(teacher, "not good food here", 1)
    np.testing.assert_allclose(importance, [-0.5, 2.0, 0.25, 0.0], atol=1e-9)
    against = leave_one_out(teacher, "not good food here", 0)
    np.testing.assert_allclose(against, -importance, atol=1e-9)


def test_a_text_is_scored_in_one_call():
    teacher = FakeTeacher()
    np.testing.assert_allclose(
        leave_one_out(teacher, "so bad and rude", 0), [0, 2, 0, 2], atol=1e-9
    )
    assert [call[0] for call in teacher.calls] == ["so bad and rude"]
    assert len(leave_one_out(teacher, "...", 0)) == 0


def test_of_a_long_text_so_many_at_once_are_asked(monkeypatch):
    monkeypatch.setattr(attribution, "_AT_ONCE", 64)
    teacher = FakeTeacher({"good": 2.0, "bad": -2.0})
    text = "so good and bad a day " * 25
    importance = leave_one_out(teacher, text, 1)
    assert [len(call) for call in teacher.calls] == [64, 64, 23]
    gains = substitution(teacher, text, 1, ["good", "good"])
    assert [len(call) for call in teacher.calls[3:]] == [64] * 4 + [45]
    np.testing.assert_allclose(importance, [0, 2, 0, -2, 0, 0] * 25, atol=1e-6)
    np.testing.assert_allclose(gains, [2, 0, 2, 4, 2, 2] * 25, atol=1e-6)


class Hasty(FakeTeacher):
    """Reads no more than twelve characters."""

    def characters_read(self, text):
        return min(len(text), 12)

    def predict_proba(self, texts):
        return super().predict_proba([text[:12] for text in texts])


def test_words_that_the_teacher_does_not_read_are_not_asked_about():
    hasty, text = Hasty({"good": 2.0, "bad": -2.0}), "so good and a day so bad"
    expected = [0, 2, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(leave_one_out(hasty, text, 1), expected, atol=1e-6)
    np.testing.assert_allclose(
        substitution(hasty, text, 1, ["good"]), [2, 0, 2, 0, 0, 0, 0], atol=1e-6
    )
    assert [len(call) for call in hasty.calls] == [4, 4]
    assert leave_one_out(hasty, "", 1).shape == substitution(hasty, "", 1, ["good"]).shape == (0,)


def test_a_teacher_that_is_certain_gives_finite_importance():
    importance = leave_one_out(FakeTeacher({"good": 400.0}), "good food", 1)
    assert np.isfinite(importance).all()
    assert importance[0] > 10


@pytest.mark.parametrize(
    ("text", "word", "left"),
    [
        ("a good day", 0, "good day"),
        ("a good day", 1, "a day"),
        ("a good day", 2, "a good"),
        ("so-so, (good).", 1, "so-so, ()."),
        ("a\ngood day", 1, "a\n day"),
    ],
)
def test_a_word_is_left_out_with_the_space_before_it(text, word, left):
    assert without(text, words(text)[word]) == left


@pytest.mark.parametrize(
    ("importance", "chosen"),
    [
        ([0.1, 2.0, 1.0], [1, 2]),  # 0.1 is under a tenth of the top word's
        ([0.3, 2.0, 1.0], [1, 2, 0]),
        ([-3.0, -1.0, -2.0], [1]),  # nothing supports the label: the least harmful one
        ([0.0, 0.0], [0]),
        ([1.0, 1.0], [0, 1]),
    ],
)
def test_words_that_carry_the_decision_are_worth_editing(importance, chosen):
    assert important_words(np.array(importance)) == chosen


def test_substitution_gains_are_means_over_the_targets_probe_words():
    teacher = FakeTeacher({"good": 2.0, "bad": -2.0, "awful": -3.0})
    down = substitution(teacher, "good food", 0, ["bad", "awful"])
    np.testing.assert_allclose(down, [4.5, 2.5], atol=1e-6)
    np.testing.assert_allclose(substitution(teacher, "food", 1, ["good"]), [2.0], atol=1e-6)
    assert len(teacher.calls) == 2


def test_without_words_or_probes_there_is_no_gain_to_ask_for():
    teacher = FakeTeacher()
    assert len(substitution(teacher, "...", 0, ["bad"])) == 0
    np.testing.assert_array_equal(substitution(teacher, "good food", 0, []), [0, 0])
    assert not teacher.calls


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        # "so", " (", "go", "od", ")" and " food": what only touches a word is none of it.
        (
            "so (good) food",
            [(0, 2, 1.0), (2, 4, 0.1), (4, 6, 2.0), (6, 8, 4.0), (8, 9, 0.2), (9, 14, 8.0)],
            [1.0, 6.0, 8.0],
        ),
        ("so good", [(0, 7, 3.0)], [3.0, 3.0]),
        ("so good", [(3, 7, 3.0)], [0.0, 3.0]),  # cut, or not read
    ],
)
def test_a_word_has_the_gradient_of_the_pieces_that_it_shares_letters_with(text, pieces, expected):
    class Linear(FakeTeacher):
        def gradient_times_input(self, texts, labels, others):
            assert (texts, labels, others) == ([text], [1], [0])
            return [pieces]

    [found] = gradient(Linear(), [text], [1], [0])
    np.testing.assert_allclose(found, expected)
