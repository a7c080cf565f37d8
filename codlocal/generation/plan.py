"""Which requests a round asks: where the text may change, how much, and with which seed.

Round by round the constraint loosens: the words that the teacher's decision rests on ("guided"),
more of them ("wide"), and the whole text under a plain JSON type ("free").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np
import numpy.typing as npt

from codlocal.core import hashing
from codlocal.core.records import Candidate, Example
from codlocal.generation.constraint import (
    EditConstraint,
    Span,
    edit_constraint,
    parse_reply,
    rewrite_constraint,
    within_reach,
    words,
)
from codlocal.generation.engine import Reply, Request, Sampling
from codlocal.generation.prompts import Demonstration, PromptTemplate

Strategy = Literal["guided", "wide", "free"]

_EDITS: dict[str, tuple[tuple[int, int], ...]] = {
    "guided": ((1, 0), (1, 1), (2, 0), (2, 1)),
    "wide": ((2, 1), (3, 1), (4, 2)),
}
"""How many words may change, and by how many words each run of them may grow (or vanish)."""

_UNIMPORTANT = 0.1
"""A word with less than this share of the top word's importance is no place to edit."""

_DEMONSTRATIONS = 3
"""Solved tasks of each of the two labels that a prompt shows."""


@dataclass(frozen=True)
class Task:
    """One original to be flipped. `importance` has one value per word of the text."""

    example: Example
    source_label: int
    target_label: int
    importance: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Planned:
    """A request, and what is needed to turn its replies into candidates."""

    request: Request
    task: Task
    round: int
    strategy: Strategy
    first_index: int
    constraint: EditConstraint


@dataclass(frozen=True)
class Planner:
    """Builds requests from tasks. `fill` words prompts as blanks, for base models.

    `others` are the tasks whose texts may serve as demonstrations.
    """

    template: PromptTemplate
    label_names: Sequence[str]
    candidates: int
    sampling: Sampling
    fill: bool
    others: Sequence[Task] = ()

    def plan(self, task: Task, round_number: int, strategy: Strategy) -> list[Planned]:
        """The requests of one round for one original; `candidates` replies in all."""
        if not len(task.importance):
            strategy = "free"
        if strategy == "free":
            groups = [(self._rewrite(task), self.candidates)]
        else:
            groups = self._guided(task, strategy)
        planned, index = [], 0
        for part, (constraint, count) in enumerate(groups):
            request_id = f"{task.example.id}/{task.target_label}/{round_number}/{part}"
            request = Request(
                id=request_id,
                prompt=self._prompt(task, constraint, strategy),
                constraint=constraint.pattern,
                count=count,
                seed=self._seed(request_id),
                sampling=self.sampling,
            )
            planned.append(Planned(request, task, round_number, strategy, index, constraint))
            index += count
        return planned

    def _guided(self, task: Task, strategy: Strategy) -> list[tuple[EditConstraint, int]]:
        """Constraints on the most important words, fewest first, and the replies for each."""
        text = task.example.text
        ranked = within_reach(text, _important_spans(task))
        edits = sorted({(min(size, len(ranked)), extra) for size, extra in _EDITS[strategy]})
        counts = _split(self.candidates, len(edits))
        return [
            (edit_constraint(text, ranked[:size], extra), count)
            for (size, extra), count in zip(edits, counts, strict=True)
            if count
        ]

    @staticmethod
    def _rewrite(task: Task) -> EditConstraint:
        around = _important_spans(task)[0] if len(task.importance) else None
        return rewrite_constraint(task.example.text, around)

    def _prompt(self, task: Task, constraint: EditConstraint, strategy: Strategy) -> str:
        if strategy == "free":
            text, style = constraint.window, "free"
        elif self.fill:
            text, style = constraint.blanked, "fill"
        else:
            text, style = constraint.marked, "mark"
        return self.template.render(
            text=text,
            style=style,
            source_label=self.label_names[task.source_label],
            target_label=self.label_names[task.target_label],
            label_names=self.label_names,
            demonstrations=self._demonstrations(task),
        )

    def _demonstrations(self, task: Task) -> list[Demonstration]:
        """Other labelled texts, of the source and the target label in turn."""
        usable = [one for one in self.others if one is not task and len(one.importance)]
        by_label = [
            [one for one in usable if one.source_label == label][:_DEMONSTRATIONS]
            for label in (task.source_label, task.target_label)
        ]
        turns = zip_longest(*by_label)
        return [self._demonstration(one) for turn in turns for one in turn if one is not None]

    def _demonstration(self, task: Task) -> Demonstration:
        text = task.example.text
        constraint = edit_constraint(text, within_reach(text, _important_spans(task))[:1])
        return Demonstration(
            self.label_names[task.source_label], constraint.blanked, constraint.window
        )

    def _seed(self, request_id: str) -> int:
        """A seed of the request's own, so that a rerun draws the same replies."""
        return int(hashing.of_value([self.sampling.seed, request_id])[:8], 16) >> 1


def _important_spans(task: Task) -> list[Span]:
    spans = words(task.example.text)
    return [spans[word] for word in important_words(task.importance)]


def important_words(importance: npt.NDArray[np.float64]) -> list[int]:
    """Indices of the words worth editing, most important first; at least one."""
    order = np.argsort(-importance, kind="stable")
    floor = _UNIMPORTANT * importance[order[0]]
    kept = [int(word) for word in order if importance[word] > max(floor, 0.0)]
    return kept or [int(order[0])]


def _split(total: int, parts: int) -> list[int]:
    """Share `total` among `parts`, later ones (more words) first."""
    base, extra = divmod(total, parts)
    return [base + (part >= parts - extra) for part in range(parts)]


def candidates_of(planned: Planned, replies: Sequence[Reply]) -> list[Candidate]:
    """One row per reply that was asked for, whether it is usable or not."""
    asked = replies[: planned.request.count]  # the ids of more belong to the next request
    return [_candidate(planned, offset, reply) for offset, reply in enumerate(asked)]


def candidate_id(planned: Planned, offset: int) -> str:
    """The id of one reply of a request: example, target, round and index."""
    stem = planned.request.id.rsplit("/", 1)[0]
    return f"{stem}/{planned.first_index + offset}"


def _candidate(planned: Planned, offset: int, reply: Reply) -> Candidate:
    text, failure = _read(planned, reply)
    return Candidate(
        id=candidate_id(planned, offset),
        example_id=planned.task.example.id,
        round=planned.round,
        strategy=planned.strategy,
        source_label=planned.task.source_label,
        target_label=planned.task.target_label,
        text=text,
        failure=failure,
        reply=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def _read(planned: Planned, reply: Reply) -> tuple[str | None, str | None]:
    """The text of a reply, or why there is none."""
    if reply.finish_reason != "stop":
        return None, f"cut off ({reply.finish_reason or 'no finish reason'})"
    try:
        edited = parse_reply(reply.text)
    except ValueError as error:
        return None, f"not the JSON that was asked for ({error})"
    if not planned.constraint.allows(reply.text):
        return None, "outside the edit constraint"
    text = planned.constraint.splice(edited)
    if not text.strip():
        return None, "empty"
    if text == planned.task.example.text:
        return None, "a copy of the original"
    return text, None
