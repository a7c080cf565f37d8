"""A whole candidate search over four texts, with stand-ins for the engine and the teacher."""

import asyncio

import numpy as np
from fakes import FakeEngine, FakeTeacher, score_of
from plans import flipped, goal_of, planner_of

from codlocal.core.records import Example
from codlocal.generation.known import Known
from codlocal.generation.search import Hooks, Limits, Search
from codlocal.generation.task import Task
from codlocal.verification.judge import judge

TEXTS = ("the food was good", "the staff was rude", "it was great and clean", "so bad")
ROUNDS = ("guided", "wide", "free")


class Rig:
    """A search with everything around it, and what came out of its hooks."""

    def __init__(
        self, engine=None, *, known=None, concurrency=4, good=None, judge_with=None, limits=None,
        shown=False,
    ):  # fmt: skip
        self.engine = engine or FakeEngine()
        self.teacher = FakeTeacher()
        self.examples = {str(at): Example(id=str(at), text=text, label=0)
                         for at, text in enumerate(TEXTS)}  # fmt: skip
        self.candidates, self.verdicts, self.announced, self.times = [], [], [], []
        labels = self.teacher.predict_proba(TEXTS).argmax(axis=1)
        self.tasks = [
            Task(row, int(label), 1 - int(label), np.ones(len(row.text.split())))
            for row, label in zip(self.examples.values(), labels, strict=True)
        ]
        planner = planner_of(candidates=6, others=self.tasks if shown else ())
        hooks = Hooks(
            self.candidates.extend,
            self.verdicts.extend,
            self.announced.append,
            lambda *time: self.times.append(time),
        )
        judging = judge_with or (lambda rows: judge(self.teacher, self.examples, rows))
        self.known = known or Known()
        self.search = Search(
            self.engine,
            self.teacher,
            judging,
            planner,
            goal_of(good or flipped),
            hooks,
            self.known,
            limits or Limits(concurrency),
            yardsticks={one: score_of(row.text) for one, row in self.examples.items()},
        )

    def run(self, rounds=ROUNDS):
        asyncio.run(self.search.run(self.tasks, rounds))
        return self

    def rows(self):
        return {row.id: row for row in self.known.candidates.values()}
