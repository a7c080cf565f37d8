"""Which requests a round asks: where the text may change, how much, and with which seed.

Round by round the constraint loosens: words with which the teacher is known to flip ("lexical"),
any words in the places that its decision rests on ("guided"), more of them ("wide"), and the whole
text under a plain JSON type ("free").
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, zip_longest
from typing import Literal

import numpy as np
import numpy.typing as npt

from codlocal.core import hashing
from codlocal.generation.constraint import (
    EditConstraint,
    Span,
    choice_constraint,
    edit_constraint,
    rewrite_constraint,
    within_reach,
    words,
)
from codlocal.generation.edits import Edit
from codlocal.generation.engines.engine import Request, Sampling
from codlocal.generation.history import History
from codlocal.generation.prompts import Demonstration, PromptInput, PromptTemplate
from codlocal.generation.task import Task

Strategy = Literal["lexical", "guided", "wide", "free"]

_EDITS: dict[str, tuple[tuple[int, int], ...]] = {
    "lexical": ((1, 1), (2, 1)),
    "guided": ((1, 0), (1, 1), (2, 0), (2, 1)),
    "wide": ((2, 1), (3, 1), (4, 2)),
}
"""How many words may change, and by how many words each run of them may grow (or vanish)."""

_UNIMPORTANT = 0.1
"""A word with less than this share of the top word's importance is no place to edit."""

_DEMONSTRATIONS = 3
"""Solved tasks of each of the two labels that a prompt shows."""

_FIRST_PLACES, _PLACES = 2, 4
"""Edits, at different places, that the first round tries, and later lexical rounds."""

_OWN_WORDS = 3
"""One reply in so many of a lexical round may use words that are not in the lexicon."""

_CHARACTERS_A_TOKEN, _FREE_TOKENS = 2, 24
"""A free reply may have a token for so many characters of its text, and so many more."""


@dataclass(frozen=True)
class Planned:
    """A request, and what is needed to turn its replies into candidates."""

    request: Request
    task: Task
    round: int
    strategy: Strategy
    first_index: int
    constraint: EditConstraint


def _no_edits(_task: Task) -> Sequence[Edit]:
    return ()


@dataclass(frozen=True)
class Planner:
    """Builds requests from tasks. `fill` words prompts as blanks, for base models.

    `candidates` replies are asked for in a round, and `most` in all rounds of one task.
    `others` are the tasks whose texts may serve as demonstrations, and `edits` knows edits that
    flip the teacher, best first.
    """

    template: PromptTemplate
    label_names: Sequence[str]
    candidates: int
    sampling: Sampling
    fill: bool
    others: Sequence[Task] = ()
    edits: Callable[[Task], Sequence[Edit]] = _no_edits
    most: int | None = None

    def plan(
        self, task: Task, round_number: int, strategy: Strategy, history: History | None = None
    ) -> list[Planned]:
        """The requests of one round for one original; `candidates` replies in all.

        `history` has what the rounds before have shown.
        """
        history = history or History()
        wanted = self.candidates
        if self.most is not None:
            wanted = min(wanted, self.most - round_number * self.candidates)
        if not len(task.importance):
            strategy = "free"
        shown = self._shown(task, history)
        planned, index = [], 0
        for part, (constraint, count) in enumerate(self._groups(task, strategy, wanted, history)):
            request_id = f"{task.example.id}/{task.target_label}/{round_number}/{part}"
            request = Request(
                id=request_id,
                prompt=self._prompt(shown, constraint, strategy),
                constraint=constraint.pattern,
                count=count,
                seed=self._seed(request_id),
                sampling=self._bounded(constraint) if strategy == "free" else self.sampling,
            )
            planned.append(Planned(request, task, round_number, strategy, index, constraint))
            index += count
        return planned

    def _bounded(self, constraint: EditConstraint) -> Sampling:
        """End free replies: a small model in a JSON string often finds no end of its own."""
        most = _FREE_TOKENS + len(constraint.window) // _CHARACTERS_A_TOKEN
        return replace(self.sampling, max_tokens=min(self.sampling.max_tokens, most))

    def _groups(
        self, task: Task, strategy: Strategy, wanted: int, history: History
    ) -> list[tuple[EditConstraint, int]]:
        """The constraints of a round, and how many replies each of them gets; `wanted` in all."""
        if wanted <= 0:
            return []
        if strategy == "free":
            return [(self._rewrite(task), wanted)]
        if strategy != "lexical":
            return self._guided(task, _EDITS[strategy], wanted)
        chosen = self._lexical(task, wanted - wanted // _OWN_WORDS, history)
        return chosen + self._guided(task, _EDITS["lexical"], wanted - len(chosen))

    def _lexical(
        self, task: Task, wanted: int, history: History
    ) -> list[tuple[EditConstraint, int]]:
        """Constraints of one reply each, no two of which can give the same text."""
        used, places = history.words_tried(task), _PLACES if history.spent.tokens else _FIRST_PLACES
        groups: list[tuple[EditConstraint, int]] = []
        edits = [edit.without(used) for edit in self.edits(task)[:places]]
        for edit, count in zip(edits, _halve(wanted, len(edits)), strict=True):
            spare = wanted - len(groups) if edit is edits[-1] else count
            parts = edit.deal(spare)
            groups += [(choice_constraint(task.example.text, part.slots), 1) for part in parts]
        return groups

    def _guided(
        self, task: Task, sizes: Sequence[tuple[int, int]], wanted: int
    ) -> list[tuple[EditConstraint, int]]:
        """Constraints on the most important words, fewest first, and the replies for each."""
        text = task.example.text
        ranked = within_reach(text, _important_spans(task))
        edits = sorted({(min(size, len(ranked)), extra) for size, extra in sizes})
        counts = _split(wanted, len(edits))
        return [
            (edit_constraint(text, ranked[:size], extra), count)
            for (size, extra), count in zip(edits, counts, strict=True)
            if count
        ]

    @staticmethod
    def _rewrite(task: Task) -> EditConstraint:
        around = _important_spans(task)[0] if len(task.importance) else None
        return rewrite_constraint(task.example.text, around)

    def _shown(self, task: Task, history: History) -> PromptInput:
        """What all prompts of one task in one round have in common."""
        return PromptInput(
            text=task.example.text,
            style="free",
            source_label=self.label_names[task.source_label],
            target_label=self.label_names[task.target_label],
            label_names=self.label_names,
            demonstrations=self._demonstrations(task),
            flips=[flip.named(self.label_names) for flip in history.nearest(task)],
            tried=history.best_tried(task),
        )

    def _prompt(self, shown: PromptInput, constraint: EditConstraint, strategy: Strategy) -> str:
        if strategy == "free":
            text, style = constraint.window, "free"
        elif self.fill:
            text, style = constraint.blanked, "fill"
        else:
            text, style = constraint.marked, "mark"
        return self.template.render(replace(shown, text=text, style=style))

    def _demonstrations(self, task: Task) -> list[Demonstration]:
        """Other labelled texts, of the source and the target label in turn."""
        turns = zip_longest(
            *(
                islice(self._labelled(task, label), _DEMONSTRATIONS)
                for label in (task.source_label, task.target_label)
            )
        )
        return [self._demonstration(one) for turn in turns for one in turn if one is not None]

    def _labelled(self, task: Task, label: int) -> Iterator[Task]:
        """The other tasks that start from a label."""
        for one in self._by_label.get(label, ()):
            if one.example is not task.example:
                yield one

    @cached_property
    def _by_label(self) -> Mapping[int, Sequence[Task]]:
        """The tasks that can be shown, by the label that they start from."""
        found: dict[int, list[Task]] = {}
        for one in self.others:
            if len(one.importance):
                found.setdefault(one.source_label, []).append(one)
        return found

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


def _halve(total: int, parts: int) -> list[int]:
    """Share `total` among `parts`, each getting half of what those before it left, rounded up."""
    shares = []
    for _ in range(parts):
        shares.append((total + 1) // 2)
        total -= shares[-1]
    return shares
