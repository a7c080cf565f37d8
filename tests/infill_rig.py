"""A plan of an infill round, and what a generator proposes for its places."""

import numpy as np
from plans import planner_of

from codlocal.core.records import Example
from codlocal.generation.constraint import words
from codlocal.generation.engines.engine import Proposals
from codlocal.generation.planned import PlannedInfill
from codlocal.generation.task import Task

TEXT = 'The "food" was good and the staff friendly'
HERE = 3
"""The word whose weight makes the text positive."""
LONG = "good food, good staff, good place, good wine, good music, good people, so good"
IMPORTANCE = [4.0 if word == "good" else 0.0 for word in LONG.replace(",", "").split()]


def plan(text=TEXT, importance=None, count=4, history=None, source=1, number=0, apart=False):
    spans = words(text)
    if importance is None:
        importance = [3.0 if at == HERE else 0.0 for at in range(len(spans))]
    task = Task(Example(id="train/7", text=text, label=source), source, 1 - source,
                np.array(importance))  # fmt: skip
    [found] = planner_of(candidates=count, apart=apart).plan(task, number, "infill", history)
    assert isinstance(found, PlannedInfill)
    return found


def proposals(*tokens):
    return Proposals(tuple((token, -float(at)) for at, token in enumerate(tokens)), 30)
