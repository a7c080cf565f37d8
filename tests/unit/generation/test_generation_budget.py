import numpy as np
import pytest
from plans import planner_of

from codlocal.core.records import Candidate, Example
from codlocal.generation.budget import affordable
from codlocal.generation.history import Spent
from codlocal.generation.task import Task


def planned(texts, candidates=2, most=None, number=0):
    planner = planner_of(candidates=candidates, most=most)
    tasks = [Task(Example(id=text, text=text, label=1), 1, 0, np.array([1.0])) for text in texts]
    return [plan for task in tasks for plan in planner.plan(task, number, "free")]


def test_without_a_budget_everything_is_asked():
    plans = planned(["good"] * 3)
    assert list(affordable(plans, Spent(tokens=10**9), None)) == plans


@pytest.mark.parametrize(
    ("tokens", "spent", "asked"),
    [
        (12, Spent(), 1),  # 18 characters twice are 12 tokens
        (24, Spent(), 2),
        (23, Spent(), 1),
        (11, Spent(), 0),
        (1000, Spent(), 3),
        (
            66,
            Spent(tokens=30, written=30, characters=30),
            1,
        ),  # a token a character, as has been seen
        (102, Spent(tokens=30, written=30, characters=30), 2),
        (20, Spent(tokens=30, written=30, characters=90), 0),
        (1012, Spent(tokens=1000), 1),  # only places were filled: nothing is known of replies
        (1066, Spent(tokens=1030, written=30, characters=30), 1),
    ],
)
def test_requests_are_asked_in_order_while_their_expected_tokens_fit(tokens, spent, asked):
    plans = planned(["seven."] * 3)
    assert list(affordable(plans, spent, tokens)) == plans[:asked]


def candidate(at, strategy, tokens, reply):
    return Candidate(id=f"1/0/{at}/0", example_id="1", round=at, strategy=strategy, source_label=1,
                     target_label=0, text="bad", reply=reply, completion_tokens=tokens)  # fmt: skip


def test_places_that_were_filled_say_nothing_of_the_length_of_replies():
    filled = [candidate(at, "infill", 3, "") for at in range(100)]
    written = [candidate(100, "guided", 10, "x" * 40)]
    spent = Spent.on(filled + written, {})
    assert spent == Spent(tokens=310, written=10, characters=40)
    assert Spent.on(filled, {}) + Spent.on(written, {}) == spent
    plans = planned(["seven."] * 3)  # two replies of 18 characters each: 9 tokens
    assert list(affordable(plans, spent, 310 + 27)) == plans
    assert list(affordable(plans, spent, 310 + 26)) == plans[:2]


@pytest.mark.parametrize(("number", "replies"), [(0, 4), (1, 4), (2, 2), (3, 0)])
def test_replies_for_one_original_are_bounded_over_all_rounds(number, replies):
    plans = planned(["good"], candidates=4, most=10, number=number)
    assert sum(plan.request.count for plan in plans) == replies
