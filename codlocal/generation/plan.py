"""Which requests a round asks: in which words, with which bounds, and with which seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, zip_longest

from codlocal.core import hashing
from codlocal.core.records import Candidate
from codlocal.core.sections import Strategy
from codlocal.generation.constraint import (
    EditConstraint,
    edit_constraint,
)
from codlocal.generation.edits import Edit
from codlocal.generation.engines.engine import Blank, Request, Sampling
from codlocal.generation.history import History
from codlocal.generation.opinion import question
from codlocal.generation.planned import Place, Planned, PlannedInfill, PlannedRequest
from codlocal.generation.prompts import Demonstration, PromptInput, PromptTemplate
from codlocal.generation.scope import decisive_spans, important_spans, scopes
from codlocal.generation.task import Task
from codlocal.generation.window import edited_part, longest_window

_DEMONSTRATIONS = 3
"""Solved tasks of each of the two labels that a prompt shows."""

_FIRST_PLACES, _PLACES = 2, 4
"""Edits, at different places, that a lexical round tries: if it is the first one, and later on."""

_FEWEST_FILLED, _MOST_FILLED, _WORDS_A_PLACE = 3, 8, 10
"""Places that an infill round tries: one for so many words of the text, within bounds.

Twice as many are tried, important or not, where the rounds before have brought no good flip.
"""

_FIRST_POOL, _LATER_POOL = 2, 4
"""Texts that the generator compares for each one that a first and a later infill round takes."""

_CHARACTERS_A_TOKEN, _FREE_TOKENS = 2, 24
"""A free reply may have a token for so many characters of its text, and so many more.

Not every tokenizer knows every script: a text that is not ASCII may have more tokens than that.
"""


@dataclass(frozen=True)
class Planner:
    """Builds requests from tasks. `fill` words prompts as blanks, for base models.

    `candidates` replies are asked for in a round, and `most` in all rounds of one task.
    `others` are the tasks whose texts may serve as demonstrations, and `edits` knows edits that
    flip the teacher, best first. `span_words` bounds what a run of changed words may become.
    `tokens` says how many tokens an original has, by its id, as far as it is known. `apart`: the
    data has contractions as two words, "do n't".
    """

    template: PromptTemplate
    label_names: Sequence[str]
    candidates: int
    sampling: Sampling
    fill: bool
    others: Sequence[Task]
    edits: Callable[[Task], Sequence[Edit]]
    most: int | None
    span_words: int | None
    tokens: Callable[[str], int]
    apart: bool

    def plan(
        self, task: Task, round_number: int, strategy: Strategy, history: History | None = None
    ) -> list[Planned]:
        """What one round asks for one original; `candidates` replies in all.

        `history` has what the rounds before have shown.
        """
        history = history or History()
        wanted = self.candidates
        if self.most is not None:
            wanted = min(wanted, self.most - round_number * self.candidates)
        if wanted <= 0:
            return []
        if not len(task.importance) and strategy != "free":
            return []
        if strategy == "infill":
            return [self._infill(task, round_number, history, wanted)]
        return self._requests(task, round_number, strategy, history, wanted)

    def question(self, candidate: Candidate, label: int) -> Blank | None:
        """How the generator is asked whether an edit has its original's label or this one.

        None if there is no other text of either label to be shown, or one label begins with all of
        the other.
        """
        labels = (label, candidate.source_label)
        names = [self.label_names[one] for one in labels]
        shown = self._demonstrations(candidate.example_id, labels[::-1])
        if {one.label for one in shown} != set(names):
            return None
        return question(candidate.text or "", shown, *names)

    def _infill(
        self, task: Task, round_number: int, history: History, wanted: int
    ) -> PlannedInfill:
        text, shown = task.example.text, self._shown(task, history)
        later, most = round_number > 0, _places(len(task.importance))
        spans = decisive_spans(task)[: 2 * most] if later else important_spans(task)[:most]
        longest, places = self._longest(task), []
        for span in spans:
            constraint = edit_constraint(text, [span], extra_words=0, longest=longest)
            prompt = self._prompt(shown, constraint, "infill")
            spaced = text[len(constraint.before) : span.start].endswith(" ")
            places.append(Place(span, Blank(prompt, constraint.begun), spaced))
        tried = history.texts_tried(task)
        pool = wanted * (_LATER_POOL if later else _FIRST_POOL)
        return PlannedInfill(
            task, round_number, "infill", 0, wanted, places, pool, tried, later, self.apart
        )

    def _requests(
        self, task: Task, round_number: int, strategy: Strategy, history: History, wanted: int
    ) -> list[Planned]:
        edits = self._edits(task, round_number, history) if strategy == "lexical" else ()
        shown = self._shown(task, history)
        planned: list[Planned] = []
        index = 0
        found = scopes(task, strategy, wanted, edits, self.span_words, self._longest(task))
        for part, (constraint, count) in enumerate(found):
            request_id = f"{task.example.id}/{task.target_label}/{round_number}/{part}"
            request = Request(
                id=request_id,
                prompt=self._prompt(shown, constraint, strategy),
                constraint=constraint.pattern,
                count=count,
                seed=self._seed(request_id),
                sampling=self._bounded(task, constraint) if strategy == "free" else self.sampling,
            )
            planned.append(
                PlannedRequest(task, round_number, strategy, index, count, request, constraint)
            )
            index += count
        return planned

    def _edits(self, task: Task, round_number: int, history: History) -> Sequence[Edit]:
        """What a lexical round may choose from: known flips without the words that were tried."""
        used, places = history.words_tried(task), _PLACES if round_number else _FIRST_PLACES
        return [edit.without(used) for edit in self.edits(task)[:places]]

    def _longest(self, task: Task) -> int:
        """How many characters of a task's text a prompt shows, and a reply repeats, at most."""
        return longest_window(task.example.text, self.tokens(task.example.id))

    def _bounded(self, task: Task, constraint: EditConstraint) -> Sampling:
        """End free replies: a small model in a JSON string often finds no end of its own."""
        text, length = task.example.text, len(constraint.window)
        tokens = length // _CHARACTERS_A_TOKEN
        if not text.isascii():
            tokens = max(tokens, self.tokens(task.example.id) * length // len(text))
        most = _FREE_TOKENS + tokens
        return replace(self.sampling, max_tokens=min(self.sampling.max_tokens, most))

    def _shown(self, task: Task, history: History) -> PromptInput:
        """What all prompts of one task in one round have in common.

        Flips are of texts that are short as the task's own window goes.
        """
        longest = self._longest(task)
        flips = [one for one in history.nearest(task) if 2 * len(one.text) <= longest]
        return PromptInput(
            text=task.example.text,
            style="free",
            source_label=self.label_names[task.source_label],
            target_label=self.label_names[task.target_label],
            label_names=self.label_names,
            demonstrations=self._demonstrations(
                task.example.id, (task.source_label, task.target_label)
            ),
            flips=[flip.named(self.label_names) for flip in flips],
            tried=[
                replace(one, text=edited_part(task.example.text, one.text, longest))
                for one in history.best_tried(task)
            ],
        )

    def _prompt(self, shown: PromptInput, constraint: EditConstraint, strategy: Strategy) -> str:
        if strategy == "free":
            text, style = constraint.window, "free"
        elif self.fill:
            text, style = constraint.blanked, "fill"
        else:
            text, style = constraint.marked, "mark"
        return self.template.render(replace(shown, text=text, style=style))

    def _demonstrations(self, example_id: str, labels: tuple[int, int]) -> list[Demonstration]:
        """Other labelled texts than one of an id, of the two labels in turn."""
        turns = zip_longest(
            *(islice(self._labelled(example_id, label), _DEMONSTRATIONS) for label in labels)
        )
        return [self._demonstration(one) for turn in turns for one in turn if one is not None]

    def _labelled(self, example_id: str, label: int) -> Iterator[Task]:
        """A task of each other text that starts from a label."""
        for other_id, one in self._by_label.get(label, {}).items():
            if other_id != example_id:
                yield one

    @cached_property
    def _by_label(self) -> Mapping[int, Mapping[str, Task]]:
        """The first task of each text that can be shown, by source label and the text's id."""
        found: dict[int, dict[str, Task]] = {}
        for one in self.others:
            if len(one.importance):
                found.setdefault(one.source_label, {}).setdefault(one.example.id, one)
        return found

    def _demonstration(self, task: Task) -> Demonstration:
        made = self._made.get(task.example.id)
        if made is None:
            text, span = task.example.text, important_spans(task)[0]
            constraint = edit_constraint(text, [span], longest=self._longest(task))
            label = self.label_names[task.source_label]
            made = Demonstration(label, constraint.blanked, constraint.window)
            self._made[task.example.id] = made
        return made

    @cached_property
    def _made(self) -> dict[str, Demonstration]:
        """The demonstrations so far, by the id of their text: most are shown again and again."""
        return {}

    def _seed(self, request_id: str) -> int:
        """A seed of the request's own, so that a rerun draws the same replies."""
        return int(hashing.of_value([self.sampling.seed, request_id])[:8], 16) >> 1


def _places(words: int) -> int:
    """How many places of a text an infill round tries."""
    return min(max(words // _WORDS_A_PLACE, _FEWEST_FILLED), _MOST_FILLED)
