import dataclasses
import json

import numpy as np
import pytest
from fakes import as_reply, obedient
from plans import planner_of

from codlocal.core.records import Example
from codlocal.generation.replies import candidates_of
from codlocal.generation.task import Task

TEXT = "The food was good and the staff friendly"


def plans(candidates=8, strategy="guided"):
    example = Example(id="train/7", text=TEXT, label=1)
    task = Task(example, 1, 0, np.array([0, 0, 0, 3, 0, 0, 0, 2]))
    return planner_of(candidates=candidates, fill=False).plan(task, 0, strategy)


def read(plan, reply, finish_reason="stop"):
    [row] = candidates_of(plan, [as_reply(reply, finish_reason)])
    assert (row.text is None) != (row.failure is None)
    assert row.reply == reply
    assert row.finish_reason == finish_reason
    return row


def test_a_good_reply_becomes_a_candidate():
    plan = plans(16)[0]
    rows = candidates_of(plan, [as_reply(obedient(plan.request, at)) for at in range(3)])
    for row in rows:
        assert row.failure is None
        assert row.text.startswith("The food was")
        assert row.text.endswith(" and the staff friendly")
        assert (row.source_label, row.target_label, row.round) == (1, 0, 0)
        assert row.completion_tokens > 0
    assert len({row.id for row in rows}) == 3


@pytest.mark.parametrize(
    ("strategy", "reply", "finish_reason", "failure"),
    [
        ("guided", '{"text": "The food wa', "length", "cut off (length)"),
        ("guided", "", "", "cut off (no finish reason)"),
        ("guided", "Sure! Here it is", "stop", "not the JSON that was asked for"),
        ("guided", '{"text": "All is bad"}', "stop", "outside the edit constraint"),
        ("guided", json.dumps({"text": TEXT}), "stop", "a copy of the original"),
        ("free", json.dumps({"text": TEXT}), "stop", "a copy of the original"),
        ("free", '{"text": "  "}', "stop", "empty"),
        ("free", '{"text": "a", "more": 1}', "stop", "not the JSON that was asked for"),
        ("free", json.dumps({"text": "a\bb"}), "stop", "outside the edit constraint"),
    ],
)
def test_a_bad_reply_is_kept_with_the_reason(strategy, reply, finish_reason, failure):
    assert read(plans(strategy=strategy)[0], reply, finish_reason).failure.startswith(failure)


def test_more_replies_than_asked_for_never_take_the_ids_of_others():
    first, second = plans()[:2]
    rows = candidates_of(first, [as_reply('{"text": "x"}')] * (first.request.count + 3))
    assert len(rows) == first.request.count
    taken = set(second.candidate_ids)
    assert not taken & {row.id for row in rows}


def test_a_plan_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plans()[0].round = 3
