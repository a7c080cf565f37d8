import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core.records import Candidate, Example, Fluency, Original, Verdict
from codlocal.core.sections import VerificationConfig
from codlocal.verification import selection
from codlocal.verification.selection import Evidence, Gate, choose, cost, learn_gate, refusal

OPEN = Gate(0.6, float("inf"), float("-inf"))


def fluency(mean, worst=-5.0):
    return Fluency(mean=mean, worst=worst, tokens=5)


def original(name="a", mean=-2.0, worst=-5.0):
    return Original(
        example_id=name, probabilities=(0.1, 0.9), label=1, fluency=fluency(mean, worst)
    )


def candidate(name, text="text", example="a"):
    return Candidate(
        id=name, example_id=example, round=0, strategy="guided", source_label=1, target_label=0,
        text=text, failure=None if text else "cut off (length)",
    )  # fmt: skip


def verdict(name, *, flipped=True, edit=0.2, edits=1, score=None, example="a"):
    return Verdict(
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
    assert refusal(row, original(), Gate(0.6, 2.0, -9.0)) == reason


def test_a_word_may_be_as_odd_as_the_originals_own():
    odd = original(worst=-15.0)
    assert refusal(verdict("1", score=fluency(-2, -14)), odd, Gate(0.6, 2.0, -9.0)) is None
    assert refusal(verdict("1", score=fluency(-2, -16)), odd, Gate(0.6, 2.0, -9.0))


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


def evidence(candidates, verdicts, names=("a",)):
    return Evidence(
        examples={name: Example(id=name, text=f"text of {name}", label=1) for name in names},
        originals={name: original(name) for name in names},
        candidates={row.id: row for row in candidates},
        verdicts={row.candidate_id: row for row in verdicts},
    )


def reasons(rejections):
    return {row.candidate_id or row.example_id: row.reason for row in rejections}


def test_the_best_good_flip_is_taken_and_the_rest_kept_with_its_reason():
    rows = [candidate(f"a/{at}", f"text {at}") for at in range(5)] + [candidate("a/5", None)]
    found = evidence(
        rows,
        [
            verdict("a/0", edit=0.4),
            verdict("a/1", edit=0.2),
            verdict("a/2", flipped=False),
            verdict("a/3", edit=0.9, edits=9),
            verdict("a/4", edit=0.2),
        ],
    )
    [pair], rejections = choose(found, VerificationConfig())
    assert (pair.candidate_id, pair.counterfactual, pair.text) == ("a/1", "text 1", "text of a")
    assert (pair.label, pair.counterfactual_label) == (1, 0)
    assert (pair.edit_distance, pair.target_probability) == (0.2, 0.8)
    assert reasons(rejections) == {
        "a/0": "another candidate was chosen",
        "a/2": "not flipped",
        "a/3": "edited too much",
        "a/4": "another candidate was chosen",
        "a/5": "cut off (length)",
    }


def test_fluency_can_outweigh_a_smaller_edit():
    found = evidence(
        [candidate("a/0"), candidate("a/1")],
        [
            verdict("a/0", edit=0.2, score=fluency(-6)),
            verdict("a/1", edit=0.4, score=fluency(-2)),
        ],
    )
    settings = [VerificationConfig(fluency_weight=weight, fluency_slack=99) for weight in (0, 0.1)]
    taken = [choose(found, one)[0][0] for one in settings]
    assert [pair.candidate_id for pair in taken] == ["a/0", "a/1"]


def test_an_original_without_a_good_flip_is_a_rejection_of_its_own():
    found = evidence([candidate("a/0")], [verdict("a/0", flipped=False)], names=("a", "b"))
    pairs, rejections = choose(found, VerificationConfig())
    assert not pairs
    assert reasons(rejections) == {
        "a/0": "not flipped", "a": "no verified flip", "b": "no verified flip",
    }  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 1)), max_size=20),
       st.randoms())  # fmt: skip
@settings(deadline=None)
def test_every_candidate_has_one_fate_whatever_the_order(drawn, chooser):
    rows = [candidate(f"{name}/{at}", example=name) for at, (name, _, _) in enumerate(drawn)]
    verdicts = [
        verdict(f"{name}/{at}", flipped=flipped, edit=edit, example=name)
        for at, (name, flipped, edit) in enumerate(drawn)
    ]
    result = choose(evidence(rows, verdicts, "abc"), VerificationConfig())
    pairs, rejections = result
    refused = [row.candidate_id for row in rejections if row.candidate_id]
    assert sorted([*refused, *(pair.candidate_id for pair in pairs)]) == sorted(
        row.id for row in rows
    )
    without = [row.example_id for row in rejections if row.candidate_id is None]
    assert sorted([*without, *(pair.example_id for pair in pairs)]) == ["a", "b", "c"]
    chooser.shuffle(rows)
    chooser.shuffle(verdicts)
    assert choose(evidence(rows, verdicts, "abc"), VerificationConfig()) == result
