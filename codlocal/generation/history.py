"""What the rounds before a round have shown: attempts, verified flips, and what they cost.

A round may depend on rows of earlier rounds only, never on what its own replies bring, so that a
search that was killed asks the same requests again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from codlocal.core.records import Candidate, Verdict
from codlocal.generation.constraint import words
from codlocal.generation.flips import FlipPool, Solved
from codlocal.generation.known import Known, Spent
from codlocal.generation.prompts import Attempt
from codlocal.generation.task import Task

Key = tuple[str, int]

_SHOWN_ATTEMPTS = 3


@dataclass(frozen=True)
class History:
    """Attempts, best first, and the verified flip of every task that has one; by task key.

    `ended` are the tasks that have as many flips as they need, `spent` is what the rounds before
    have cost.
    """

    attempts: Mapping[Key, Sequence[Attempt]] = field(default_factory=dict)
    solved: Mapping[Key, Solved] = field(default_factory=dict)
    ended: frozenset[Key] = frozenset()
    spent: Spent = field(default_factory=Spent)

    def words_tried(self, task: Task) -> frozenset[str]:
        """The words of the attempts at a task that its text doesn't have, in lower case."""
        own = _words(task.example.text)
        tried = (_words(attempt.text) for attempt in self.attempts.get(task.key, ()))
        return frozenset().union(*tried) - own

    def texts_tried(self, task: Task) -> frozenset[str]:
        """The texts of the attempts at a task."""
        return frozenset(attempt.text for attempt in self.attempts.get(task.key, ()))

    def best_tried(self, task: Task) -> Sequence[Attempt]:
        """The attempts that came nearest to the target."""
        return self.attempts.get(task.key, ())[:_SHOWN_ATTEMPTS]

    def nearest(self, task: Task) -> list[Solved]:
        """Verified flips of both directions whose texts are most like a task's, nearest last."""
        return self._pool.nearest(task.example.text, task.source_label, task.target_label)

    @cached_property
    def _pool(self) -> FlipPool:
        return FlipPool(list(self.solved.values()))


Alike = Callable[[str, str, str], bool]
"""Whether two edits of a text, which comes first, are one to whoever wants different ones."""


@dataclass(frozen=True)
class Goal:
    """What ends the search for a task: so many good flips of which no two are alike.

    `enough` says whether a flip is good enough, whatever its label. If labels are wanted
    `as_asked`, it is one that its task needs only if it has the one that was asked for.
    """

    enough: Callable[[Candidate, Verdict], bool]
    flips: int
    alike: Alike
    as_asked: bool

    def good(self, row: Candidate, verdict: Verdict) -> bool:
        """Whether a flip is one that its task needs."""
        asked_for = not self.as_asked or verdict.label == row.target_label
        return asked_for and self.enough(row, verdict)

    def is_met(self, original: str, edits: Iterable[str]) -> bool:
        """Whether good flips of a text are enough."""
        different: list[str] = []
        for edit in edits:
            if len(different) < self.flips and not any(
                self.alike(original, edit, one) for one in different
            ):
                different.append(edit)
        return len(different) >= self.flips


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
            text = texts[best.example_id]
            solved[key] = Solved(text, best.text or "", best.source_label, verdict.label)
            if goal.is_met(text, (row.text or "" for row, _ in flips)):
                ended.add(key)
    return History(
        attempts={
            key: _attempts([*judged.get(key, ()), *tried.get(key, ())], key[1])
            for key in judged.keys() | tried.keys()
        },
        solved=solved,
        ended=frozenset(ended),
        spent=Spent.on(rows, known.verdicts),
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


def _attempts(found: Sequence[tuple[Candidate, Verdict]], target: int) -> list[Attempt]:
    """Distinct texts with the target's probability, most likely first."""
    scores = {row.text or "": verdict.probabilities[target] for row, verdict in found}
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return [Attempt(text, probability) for text, probability in ranked]


def _words(text: str) -> frozenset[str]:
    return frozenset(text[span.start : span.end].lower() for span in words(text))
