import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import goal_of
from verified import verdict_with

from codlocal.core import jsonl
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Candidate, Example, Verdict
from codlocal.generation.history import History, history_of
from codlocal.generation.known import Known, Spent, candidate_key, verdict_key
from codlocal.generation.task import Task

TEXTS = {"a": "the food was good", "b": "the soup was good too", "c": "so bad a place"}


def row(example, number, text, index=0, source=1):
    target = 1 - source
    return Candidate(
        id=f"{example}/{target}/{number}/{index}", example_id=example, round=number,
        strategy="guided", source_label=source, target_label=target, text=text, reply="x" * 30,
        failure=None if text else "empty", completion_tokens=10,
    )  # fmt: skip


def verdict(candidate, probability, edit=0.25):
    target = candidate.target_label
    probabilities = (
        (probability, 1 - probability) if target == 0 else (1 - probability, probability)
    )
    label = int(np.argmax(probabilities))
    return verdict_with(
        candidate_id=candidate.id, example_id=candidate.example_id, label=label, edits=1,
        probabilities=probabilities, flipped=label == target, edit_distance=edit,
    )  # fmt: skip


ROWS = [
    (row("a", 0, "the food was fine", 0), 0.2),
    (row("a", 0, "the food was so-so", 1), 0.4),
    (row("a", 0, None, 2), None),
    (row("a", 1, "the food was bad", 0), 0.9),
    (row("b", 0, "the soup was bad too", 0), 0.8),
    (row("b", 0, "the soup was awful too", 1), 0.9),
    (row("c", 0, "so good a place", 0, source=0), 0.9),
]


def known(rows):
    verdicts = {one.id: verdict(one, p) for one, p in rows if p is not None}
    return Known({one.id: one for one, _ in rows}, verdicts)


def history(before, rows=ROWS, flips=1, earlier=()):
    goal = goal_of(flips=flips)
    return history_of(known(rows), TEXTS, goal, before, known(earlier))


def task(name, source=1):
    return Task(Example(id=name, text=TEXTS[name], label=source), source, 1 - source, np.array([]))


def test_only_rows_of_earlier_rounds_count():
    nothing = history(0)
    assert (nothing.spent, nothing.attempts, nothing.solved) == (Spent(), {}, {})
    first = history(1)
    assert set(first.solved) == {("b", 0), ("c", 1)}
    assert first.spent == Spent(60, 60, 180)
    assert set(history(2).solved) == {("a", 0), ("b", 0), ("c", 1)}


def test_what_is_known_of_some_originals_is_looked_up(tmp_path):
    paths = (tmp_path / "candidates.jsonl", tmp_path / "verdicts.jsonl")
    jsonl.write_rows(paths[0], known(ROWS).candidates.values())
    jsonl.write_rows(paths[1], known(ROWS).verdicts.values())
    with (
        KeyedRows(paths[0], Candidate, candidate_key) as candidates,
        KeyedRows(paths[1], Verdict, verdict_key) as verdicts,
    ):
        assert Known.read(candidates, verdicts, ["a", "b", "c"]) == known(ROWS)
        some = Known.read(candidates, verdicts, ["a", "c", "d"])
    assert some == known([*ROWS[:4], ROWS[6]])


def test_a_verdict_whose_candidate_is_lost_is_not_known(tmp_path):
    row = ROWS[0][0]
    jsonl.write_rows(tmp_path / "verdicts.jsonl", [verdict(row, 0.2)])
    with (
        KeyedRows(tmp_path / "candidates.jsonl", Candidate, candidate_key) as candidates,
        KeyedRows(tmp_path / "verdicts.jsonl", Verdict, verdict_key) as verdicts,
    ):
        assert Known.read(candidates, verdicts, ["a"]) == Known()


def test_edits_that_are_alike_count_once():
    goal = goal_of(flips=2, alike=lambda _text, first, second: first[0] == second[0])
    assert not goal.is_met("fine", ["bad", "badly", "bad"])
    assert goal.is_met("fine", ["bad", "badly", "sour"])
    rows = [(row("b", 0, text, at), 0.9) for at, text in enumerate(("bad", "badly"))]
    assert history_of(known(rows), TEXTS, goal, 1, known(())).ended == frozenset()
    assert history(1, rows, flips=2).ended == {("b", 0)}


@given(st.permutations(ROWS))
@settings(deadline=None, max_examples=15)
def test_the_order_of_the_rows_changes_nothing(rows):
    assert history(2, rows) == history(2)


def test_attempts_come_nearest_to_the_target_first_and_never_more_than_three():
    tried = history(1).best_tried(task("a"))
    assert [(one.text, one.probability) for one in tried] == [
        ("the food was so-so", pytest.approx(0.4)), ("the food was fine", pytest.approx(0.2)),
    ]  # fmt: skip
    assert history(1).words_tried(task("a")) == {"so-so", "fine"}
    many = [(row("a", 0, f"text {at}", at), at / 20) for at in range(9)]
    assert [one.text for one in history(1, many).best_tried(task("a"))] == [
        "text 8", "text 7", "text 6",
    ]  # fmt: skip
    assert History().best_tried(task("a")) == ()


def test_verified_flips_of_both_directions_are_shown_the_most_similar_last():
    shown = history(1).nearest(task("a"))
    assert {(one.source_label, one.target_label) for one in shown} == {(1, 0), (0, 1)}
    assert {shown[-1].text, shown[-1].edited} == {TEXTS["b"], "the soup was bad too"}
    assert all(TEXTS["a"] not in {one.text, one.edited} for one in history(2).nearest(task("a")))
    assert History().nearest(task("a")) == []


@pytest.mark.parametrize("edits", [(0.5, 0.25), (0.25, 0.5)])
def test_of_the_flips_of_a_text_the_smallest_edit_is_shown(edits):
    rows = [row("b", 0, f"the soup cost {edit}", at) for at, edit in enumerate(edits)]
    verdicts = {one.id: verdict(one, 0.9, edit) for one, edit in zip(rows, edits, strict=True)}
    goal = goal_of()
    found = history_of(Known({one.id: one for one in rows}, verdicts), TEXTS, goal, 1, known(()))
    assert found.solved["b", 0].edited == "the soup cost 0.25"


def test_a_task_ends_when_it_has_as_many_different_flips_as_it_needs():
    assert history(2).ended == {("a", 0), ("b", 0), ("c", 1)}
    assert history(2, flips=2).ended == {("b", 0)}
    again = [*ROWS, (row("a", 1, "the food was bad", 1), 0.9)]
    assert ("a", 0) not in history(2, again, flips=2).ended


def test_what_an_earlier_search_tried_is_not_offered_again_and_solves_nothing():
    found = history(0, earlier=ROWS)
    assert "awful" in found.words_tried(task("b"))
    assert (found.solved, found.ended, found.spent) == ({}, frozenset(), Spent())
