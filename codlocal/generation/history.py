"""What the rounds before a round have shown: attempts, verified flips, and what they cost.

A round may depend on rows of earlier rounds only, never on what its own replies bring, so that a
search that was killed asks the same requests again.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer

from codlocal.core import jsonl
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Candidate, Verdict
from codlocal.generation.constraint import words
from codlocal.generation.prompts import Attempt, Flip
from codlocal.generation.task import Task

Key = tuple[str, int]


@dataclass
class Known:
    """What earlier runs of a search have already learned, by candidate id."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def read(cls, candidates: Path, verdicts: Path, originals: Container[str]) -> "Known":
        """Read what two files have of some originals; a missing file has nothing."""
        return cls(
            {
                row.id: row
                for row in jsonl.read_rows(candidates, Candidate)
                if row.example_id in originals
            },
            {
                row.candidate_id: row
                for row in jsonl.read_rows(verdicts, Verdict)
                if row.example_id in originals
            },
        )

    @classmethod
    def find(
        cls,
        candidates: KeyedRows[Candidate],
        verdicts: KeyedRows[Verdict],
        originals: Iterable[str],
    ) -> "Known":
        """Look up what two files have of some originals, which is quicker where they are many."""
        rows = {
            row.id: row
            for one in originals
            for row in candidates.starting_with(f"{one}/")
            if row.example_id == one
        }
        found = ((key, verdicts.get(key)) for key in rows)
        return cls(rows, {key: verdict for key, verdict in found if verdict is not None})


@dataclass(frozen=True)
class Spent:
    """What replies have cost: generated tokens, and the characters that these made."""

    tokens: int = 0
    characters: int = 0

    @classmethod
    def on(cls, rows: Collection[Candidate]) -> "Spent":
        """What some replies have cost."""
        return cls(
            tokens=sum(row.completion_tokens for row in rows),
            characters=sum(len(row.reply) for row in rows),
        )

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.characters + other.characters)


_SHOWN_ATTEMPTS = 3
_SHOWN_FLIPS = 2
"""Verified flips of each direction that a prompt shows."""
_LONGEST_SHOWN = 200
"""Characters of the longest text that serves as a demonstration."""
_POOL = 500
"""Pairs that are compared with a text; enough to have a similar one, whatever the run's size."""


@dataclass(frozen=True)
class Solved:
    """A verified flip of this run: two texts and the teacher's labels of them."""

    text: str
    edited: str
    source_label: int
    target_label: int

    @property
    def reverse(self) -> "Solved":
        """The same pair, read from its other end."""
        return Solved(self.edited, self.text, self.target_label, self.source_label)

    def named(self, label_names: Sequence[str]) -> Flip:
        """The pair as a prompt shows it."""
        return Flip(
            before=label_names[self.source_label],
            after=label_names[self.target_label],
            marked=mark_changes(self.text, self.edited, "[{}]"),
            blanked=mark_changes(self.text, self.edited, "___"),
            text=self.text,
            edited=self.edited,
        )


@dataclass(frozen=True)
class History:
    """Attempts, best first, and the verified flip of every task that has one; by task key.

    `ended` are the tasks that have as many flips as they need.
    """

    attempts: Mapping[Key, Sequence[Attempt]] = field(default_factory=dict)
    solved: Mapping[Key, Solved] = field(default_factory=dict)
    ended: frozenset[Key] = frozenset()
    spent: Spent = field(default_factory=Spent)
    """What the rounds before have cost."""

    def words_tried(self, task: Task) -> frozenset[str]:
        """The words of the attempts at a task that its text doesn't have, in lower case."""
        own = _words(task.example.text)
        tried = (_words(attempt.text) for attempt in self.attempts.get(task.key, ()))
        return frozenset().union(*tried) - own

    def best_tried(self, task: Task) -> Sequence[Attempt]:
        """The attempts that came nearest to the target."""
        return self.attempts.get(task.key, ())[:_SHOWN_ATTEMPTS]

    def nearest(self, task: Task) -> list[Solved]:
        """Verified flips of both directions whose texts are most like a task's, nearest last."""
        chosen: list[tuple[float, Solved]] = []
        wanted = (task.source_label, task.target_label)
        likeness = self._likeness(task.example.text)
        for direction in (wanted, wanted[::-1]):
            fitting = [
                (value, one)
                for value, one in zip(likeness, self._flips, strict=True)
                if (one.source_label, one.target_label) == direction
                and task.example.text not in {one.text, one.edited}
            ]
            chosen += sorted(fitting, key=lambda pair: -pair[0])[:_SHOWN_FLIPS]
        return [one for _, one in sorted(chosen, key=lambda pair: pair[0])]

    @cached_property
    def _flips(self) -> list[Solved]:
        """Solved pairs, read from both ends."""
        short = (one for one in self.solved.values() if len(one.text) <= _LONGEST_SHOWN)
        pairs = list(islice(short, _POOL))
        return [end for one in pairs for end in (one, one.reverse)]

    @cached_property
    def _index(self) -> tuple[TfidfVectorizer, npt.NDArray[np.float64]]:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform([one.text for one in self._flips])

    def _likeness(self, text: str) -> list[float]:
        """The cosine of character n-grams with the first text of every flip."""
        if not self._flips:
            return []
        vectorizer, matrix = self._index
        return [float(value) for value in (matrix @ vectorizer.transform([text]).T).toarray()[:, 0]]


@dataclass(frozen=True)
class Goal:
    """What ends the search for a task: so many different flips that are good."""

    good: Callable[[Candidate, Verdict], bool]
    flips: int = 1


def history_of(
    known: Known, texts: Mapping[str, str], goal: Goal, before: int, earlier: Known
) -> History:
    """Read the rows of the rounds before one, whatever the order in which they came.

    What an `earlier` search tried is not offered again, but solves nothing here.
    """
    rows = [row for row in known.candidates.values() if row.round < before]
    judged = _judged(rows, known.verdicts)
    tried = _judged(earlier.candidates.values(), earlier.verdicts)
    solved, ended = {}, set()
    for key, found in judged.items():
        flips = [pair for pair in found if goal.good(*pair)]
        if flips:
            best, verdict = min(flips, key=lambda pair: pair[1].edit_distance)
            solved[key] = _solved(best, texts[best.example_id], verdict.label)
        if len({row.text for row, _ in flips}) >= goal.flips:
            ended.add(key)
    return History(
        attempts={
            key: _attempts([*judged.get(key, ()), *tried.get(key, ())], key[1])
            for key in judged.keys() | tried.keys()
        },
        solved=solved,
        ended=frozenset(ended),
        spent=Spent.on(rows),
    )


def _judged(
    rows: Iterable[Candidate], verdicts: Mapping[str, Verdict]
) -> dict[Key, list[tuple[Candidate, Verdict]]]:
    judged: dict[Key, list[tuple[Candidate, Verdict]]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        if row.text is not None and row.id in verdicts:
            key = (row.example_id, row.target_label)
            judged.setdefault(key, []).append((row, verdicts[row.id]))
    return judged


def _solved(row: Candidate, text: str, label: int) -> Solved:
    return Solved(text, row.text or "", row.source_label, label)


def _attempts(found: Sequence[tuple[Candidate, Verdict]], target: int) -> list[Attempt]:
    """Distinct texts with the target's probability, most likely first."""
    scores = {row.text or "": verdict.probabilities[target] for row, verdict in found}
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return [Attempt(text, probability) for text, probability in ranked]


def _words(text: str) -> frozenset[str]:
    return frozenset(text[span.start : span.end].lower() for span in words(text))


def mark_changes(text: str, edited: str, form: str) -> str:
    """The text with each run of words that an edit changed put into a form, such as "[{}]"."""
    spans, others = words(text), words(edited)
    old = [text[span.start : span.end] for span in spans]
    new = [edited[span.start : span.end] for span in others]
    parts, at = [], 0
    for kind, first, last, _, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind == "insert":
            place = spans[first].start if first < len(spans) else len(text)
            parts += [text[at:place], form.format(""), " " if first < len(spans) else ""]
            at = place
        else:
            begin, end = spans[first].start, spans[last - 1].end
            parts += [text[at:begin], form.format(text[begin:end])]
            at = end
    return "".join([*parts, text[at:]])
