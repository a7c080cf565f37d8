import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codlocal.core import jsonl
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Candidate, Example, Verdict
from codlocal.generation.constraint import words
from codlocal.generation.history import (
    Goal,
    History,
    Known,
    Solved,
    Spent,
    history_of,
    mark_changes,
)
from codlocal.generation.task import Task

TEXTS = {"a": "the food was good", "b": "the soup was good too", "c": "so bad a place"}
NAMES = ("negative", "positive")


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
    return Verdict(
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
    goal = Goal(lambda _row, judged: judged.flipped, flips)
    return history_of(known(rows), TEXTS, goal, before, known(earlier))


def task(name, source=1):
    return Task(Example(id=name, text=TEXTS[name], label=source), source, 1 - source, np.array([]))


def test_only_rows_of_earlier_rounds_count():
    nothing = history(0)
    assert (nothing.spent, nothing.attempts, nothing.solved) == (Spent(), {}, {})
    first = history(1)
    assert set(first.solved) == {("b", 0), ("c", 1)}
    assert first.spent == Spent(60, 180)
    assert set(history(2).solved) == {("a", 0), ("b", 0), ("c", 1)}


def test_what_is_known_of_some_originals_is_read_or_looked_up(tmp_path):
    expected, paths = known(ROWS), (tmp_path / "candidates.jsonl", tmp_path / "verdicts.jsonl")
    jsonl.write_rows(paths[0], expected.candidates.values())
    jsonl.write_rows(paths[1], expected.verdicts.values())
    with (
        KeyedRows(paths[0], Candidate, lambda one: one.id) as candidates,
        KeyedRows(paths[1], Verdict, lambda one: one.candidate_id) as verdicts,
    ):
        assert Known.find(candidates, verdicts, ["a", "b", "c"]) == expected
        some = Known.find(candidates, verdicts, ["a", "c", "d"])
    assert some == Known.read(*paths, {"a", "c", "d"}) == known([*ROWS[:4], ROWS[6]])
    assert Known.read(tmp_path / "no", tmp_path / "none", {"a"}) == Known()


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


def test_a_flip_is_shown_with_its_labels_and_blanks():
    flip = Solved("the food was good.", "the food was not good.", 1, 0).named(NAMES)
    assert (flip.before, flip.after) == ("positive", "negative")
    assert (flip.marked, flip.blanked) == ("the food was [] good.", "the food was ___ good.")
    assert flip.edited == "the food was not good."


@pytest.mark.parametrize(
    ("text", "edited", "marked"),
    [
        ("so good!", "so bad!", "so [good]!"),
        ("a good day", "a day", "a [good] day"),
        ("very good food", "awful bad food", "[very good] food"),
        ("good [sic] food", "bad [sic] meal", "[good] [sic] [food]"),
        ("it was", "it was not", "it was[]"),
        ("the same", "the same", "the same"),
    ],
)
def test_changed_words_are_marked(text, edited, marked):
    assert mark_changes(text, edited, "[{}]") == marked


@given(st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_what_is_not_marked_is_the_text_itself(text, edited):
    marked = mark_changes(text, edited, "\x00{}\x00")
    assert sum(marked.count(text[s.start : s.end]) > 0 for s in words(text)) == len(words(text))
    assert marked.count("\x00") % 2 == 0 or "\x00" in text


def test_a_task_ends_when_it_has_as_many_different_flips_as_it_needs():
    assert history(2).ended == {("a", 0), ("b", 0), ("c", 1)}
    assert history(2, flips=2).ended == {("b", 0)}
    again = [*ROWS, (row("a", 1, "the food was bad", 1), 0.9)]
    assert ("a", 0) not in history(2, again, flips=2).ended


def test_what_an_earlier_search_tried_is_not_offered_again_and_solves_nothing():
    found = history(0, earlier=ROWS)
    assert "awful" in found.words_tried(task("b"))
    assert (found.solved, found.ended, found.spent) == ({}, frozenset(), Spent())
