import math

import pytest
from verified import verdict_with

from codlocal.core.records import Fluency, Original
from codlocal.core.sections import VerificationConfig
from codlocal.verification import selection
from codlocal.verification.selection import Gate, cost, learn_gate, refusal, wanting

OPEN = Gate(0.6, float("inf"), float("-inf"), float("inf"))


def fluency(mean, worst=-5.0):
    return Fluency(mean=mean, worst=worst, tokens=5)


def original(name="a", mean=-2.0, worst=-5.0):
    return Original(
        example_id=name, probabilities=(0.1, 0.9), label=1, fluency=fluency(mean, worst)
    )


def verdict(name, *, flipped=True, edit=0.2, edits=1, score=None, example="a"):
    return verdict_with(
        candidate_id=name, example_id=example, label=0 if flipped else 1, flipped=flipped,
        probabilities=(0.8, 0.2) if flipped else (0.3, 0.7), edits=edits, edit_distance=edit,
        fluency=score,
    )  # fmt: skip


def test_the_gate_is_learned_from_the_originals():
    rows = [
        original(str(at), mean, worst)
        for at, (mean, worst) in enumerate([(-2, -8), (-3, -6), (-4, -10), (-3, -7)])
    ]
    settings = {"fluency_quantile": 0.0, "max_edit_distance": 0.5, "fluency_slack": 2.0}
    gate = learn_gate(rows, VerificationConfig(**settings))
    assert gate.max_edit_distance == 0.5
    assert gate.drop_per_edit == pytest.approx(2.0 * 3.0)
    assert gate.worst == -10
    assert gate.pieces == 2.0
    stricter = learn_gate(rows, VerificationConfig(fluency_quantile=0.5))
    assert stricter.worst == -7.5


def test_long_originals_weigh_more_in_what_a_token_may_cost():
    long = Fluency(mean=-1.0, worst=-2.0, tokens=30)
    short = Fluency(mean=-5.0, worst=-9.0, tokens=10)
    rows = [original(str(at)).model_copy(update={"fluency": one}) for at, one in
            enumerate((long, short))]  # fmt: skip
    gate = learn_gate(rows, VerificationConfig(fluency_slack=1.0))
    assert gate.drop_per_edit == pytest.approx((30 * 1 + 10 * 5) / 40)


@pytest.mark.parametrize(
    "rows", [[], [original()], [original().model_copy(update={"fluency": None})] * 3]
)
def test_without_scores_nothing_is_refused_for_fluency(rows):
    gate = learn_gate(rows, VerificationConfig())
    assert refusal(verdict("1", score=fluency(-99, -99)), original(), gate) is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (verdict("1", score=fluency(-2.0)), None),
        (verdict("1", score=fluency(-2.39)), None),
        (verdict("1", score=fluency(-2.41)), "not fluent"),
        (verdict("1", score=fluency(-2.41), edits=2), None),
        (verdict("1", score=fluency(-2.81), edits=2), "not fluent"),
        (verdict("1", score=fluency(-2.41), edits=0), "not fluent"),
        (verdict("1", flipped=False), "not flipped"),
        (verdict("1", edit=0.6), None),
        (verdict("1", edit=0.61, edits=2), "edited too much"),
        (verdict("1", edit=1.0), None),
        (verdict("1", score=fluency(-2.0, -8.5)), None),
        (verdict("1", score=fluency(-2.0, -9.5)), "not fluent"),
        (verdict("1"), None),
    ],
)
def test_a_flip_must_be_small_and_read_like_language(row, reason):
    # Five tokens at -2 each: one edit may cost the whole text two nats.
    assert refusal(row, original(), Gate(0.6, 2.0, -9.0, 1.5)) == reason


def test_a_word_may_be_as_odd_as_the_originals_own():
    odd = original(worst=-15.0)
    assert refusal(verdict("1", score=fluency(-2, -14)), odd, Gate(0.6, 2.0, -9.0, 1.5)) is None
    assert refusal(verdict("1", score=fluency(-2, -16)), odd, Gate(0.6, 2.0, -9.0, 1.5))


def spelled(pieces, unknown=("erviceable",), length=4):
    """A verdict on four words in five tokens, of which one was replaced."""
    score = Fluency(mean=-2.0, worst=-5.0, tokens=pieces)
    return verdict("1", score=score).model_copy(
        update={"unknown": unknown, "length": length, "original_length": 4}
    )


@pytest.mark.parametrize(
    ("row", "refused"),
    [
        (spelled(5), False),  # a new word in one piece
        (spelled(6), True),  # one token more for as many words: it was spelled out
        (spelled(6, unknown=()), False),  # a training text has the word
        (spelled(6, length=5), False),  # there is a word more
        (spelled(6, unknown=("a", "b")), False),  # half a piece too many each
        (spelled(7, unknown=("a", "b")), True),
    ],
)
def test_a_new_word_must_not_be_spelled_out(row, refused):
    # 1.25 tokens a word, times 1.45: an unknown word may be 1.8 pieces.
    gate = Gate(0.6, float("inf"), float("-inf"), 1.45)
    assert refusal(row, original(), gate) == ("a made-up word" if refused else None)
    assert refusal(row, original(), OPEN) is None
    assert refusal(row, original().model_copy(update={"fluency": None}), gate) is None


def test_a_new_check_is_one_line(monkeypatch):
    monkeypatch.setattr(selection, "CHECKS", (*selection.CHECKS, lambda *_: "of no use"))
    assert refusal(verdict("1"), original(), OPEN) == "of no use"
    assert refusal(verdict("1", flipped=False), original(), OPEN) == "not flipped"


def test_the_cost_weighs_edit_against_what_fluency_was_lost():
    # The original's five tokens have -10 nats, the edit's -20.
    worse = verdict("1", edit=0.3, score=fluency(-4.0))
    assert cost(worse, original(), 0.1) == pytest.approx(0.3 + 0.1 * 10)
    better = verdict("1", edit=0.3, score=fluency(-1.0))
    assert cost(better, original(), 0.1) == pytest.approx(0.3)
    assert cost(verdict("1", edit=0.3), original(), 0.1) == pytest.approx(0.3)


def test_a_text_that_repeats_itself_is_refused():
    row = verdict("1").model_copy(update={"repeated": ("bad",)})
    assert refusal(row, original(), OPEN) == "repeats itself"


def test_an_edit_that_breaks_a_phrase_off_is_refused():
    row = verdict("1").model_copy(update={"broken_off": ("the",)})
    assert refusal(row, original(), OPEN) == "breaks off"
    assert refusal(verdict("1"), original(), OPEN) is None


def scored(tokens, *logs):
    mean = sum(logs) / len(logs)
    return Fluency(
        mean=mean, worst=min(logs), tokens=len(logs), token_ids=tokens, log_probabilities=logs
    )


@pytest.mark.parametrize(
    ("tokens", "logs", "strain"),
    [
        ((1, 9, 3), (-1.0, -0.5, -7.0), 5.0),  # the new token hides what it does to the last one
        ((1, 3), (-1.0, -4.0), 2.0),
        ((1, 8, 9, 3), (-1.0, -9.0, -9.0, -1.5), -0.5),
        ((7, 8, 9), (-1.0, -1.0, -1.0), 0.0),
    ],
)
def test_the_strain_is_what_the_tokens_beside_the_edit_lose(tokens, logs, strain):
    before = scored((1, 2, 3), -1.0, -6.0, -2.0)
    assert before.strain(scored(tokens, *logs)) == pytest.approx(strain)
    assert before.strain(fluency(-1.0)) is None
    assert fluency(-1.0).strain(before) is None
    made = verdict("x").scored(scored(tokens, *logs), before)
    assert made.strain == pytest.approx(strain)
    assert made.fluency.total == pytest.approx(sum(logs))
    assert (made.fluency.token_ids, made.fluency.log_probabilities) == ((), ())


def test_a_strained_edit_is_taken_but_costs_more_and_does_not_end_the_search():
    gate = Gate(0.6, 4.0, float("-inf"), float("inf"))
    easy, hard = (
        verdict("x", score=fluency(-2.0)).model_copy(update={"strain": one}) for one in (5.0, 5.1)
    )
    assert [wanting(one, original(), gate) for one in (easy, hard)] == [False, True]
    assert refusal(hard, original(), gate) is None
    assert cost(hard, original(), 0.1) == pytest.approx(0.2 + 0.1 * 5.1)
    assert cost(hard.model_copy(update={"strain": -3.0}), original(), 0.1) == pytest.approx(0.2)
    assert not wanting(verdict("x", score=fluency(-2.0)), original(), gate)


@pytest.mark.parametrize(
    ("teacher", "opinion", "doubtful"),
    [
        (0.8, None, False),  # nobody was asked
        (0.8, math.log(4) - 0.01, True),  # 4 : 1 twice is 16 : 1, less than the original's 19 : 1
        (0.8, math.log(19 / 4) + 0.01, False),
        (0.99, -1.0, False),  # one who is very sure may be contradicted
        (0.99, -2.0, True),
        (1.0, -30.0, False),
        (1.0, -40.0, True),
    ],
)
def test_the_label_of_a_flip_is_in_doubt_if_teacher_and_generator_are_not_sure_of_it(
    teacher, opinion, doubtful
):
    found = verdict("x").model_copy(
        update={"probabilities": (teacher, 1 - teacher), "opinion": opinion}
    )
    sure = original().model_copy(update={"probabilities": (0.0, 1.0)})
    assert wanting(found, sure, OPEN) == doubtful
    assert refusal(found, sure, OPEN) is None


def test_no_flip_has_to_be_surer_than_the_teacher_is_of_its_original():
    found = verdict("x").model_copy(update={"probabilities": (0.6, 0.4), "opinion": 0.1})
    for sureness, doubtful in ((0.99, True), (0.63, True), (0.61, False)):
        before = original().model_copy(update={"probabilities": (1 - sureness, sureness)})
        assert wanting(found, before, OPEN) == doubtful
