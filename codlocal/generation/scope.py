"""How far the edits of a round may go: constraints, and how many replies each of them gets.

They loosen: words with which the teacher is known to flip ("lexical"), any words in the places
that its decision rests on ("guided"), more of them ("wide"), and the whole text ("free"). An
"infill" round writes no replies; `infill` says what it does instead.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core.sections import Strategy
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
from codlocal.generation.task import Task

Scope = tuple[EditConstraint, int]
"""A constraint, and how many replies are asked for under it."""

_SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "lexical": ((1, 1), (2, 1)),
    "guided": ((1, 0), (1, 1), (2, 0), (2, 1)),
    "wide": ((2, 1), (3, 1), (4, 2)),
}
"""How many words may change, and by how many words each run of them may grow (or vanish).

`generator.span_words` replaces the growth, not whether a run may vanish.
"""

_UNIMPORTANT = 0.1
"""A word with less than this share of the top word's importance is no place to edit."""

_NOTICED = 1e-4
"""Less than this much importance, in nats of the teacher's odds, is rounding."""

_OWN_WORDS = 3
"""One reply in so many of a lexical round may use words that are not in the lexicon."""


def scopes(
    task: Task,
    strategy: Strategy,
    wanted: int,
    edits: Sequence[Edit],
    span_words: int | None,
    longest: int,
) -> list[Scope]:
    """The constraints of a round for one task, and the replies to each of them; `wanted` in all.

    `edits` are those that a lexical round chooses from, best first. `span_words` is how many words
    a run of changed ones may become, None what the round has it. `longest` bounds the window.
    """
    if strategy == "free":
        around = important_spans(task)[0] if len(task.importance) else None
        return [(rewrite_constraint(task.example.text, around, longest), wanted)]
    chosen: list[Scope] = []
    if strategy == "lexical":
        chosen = _choices(task.example.text, edits, wanted - wanted // _OWN_WORDS, longest)
    return chosen + _places(task, strategy, wanted - len(chosen), span_words, longest)


def _choices(text: str, edits: Sequence[Edit], wanted: int, longest: int) -> list[Scope]:
    """Constraints of one reply each, no two of which can give the same text."""
    found: list[Scope] = []
    for edit, count in zip(edits, _halve(wanted, len(edits)), strict=True):
        spare = wanted - len(found) if edit is edits[-1] else count
        dealt = edit.deal(spare)
        found += [(choice_constraint(text, part.slots, longest), 1) for part in dealt]
    return found


def _places(
    task: Task, strategy: Strategy, wanted: int, span_words: int | None, longest: int
) -> list[Scope]:
    """Constraints on the most important words, fewest first."""
    text = task.example.text
    ranked = within_reach(text, important_spans(task), longest)
    sizes = sorted({(min(size, len(ranked)), extra) for size, extra in _SIZES[strategy]})
    return [
        (edit_constraint(text, ranked[:size], extra, span_words, longest), count)
        for (size, extra), count in zip(sizes, _split(wanted, len(sizes)), strict=True)
        if count
    ]


def important_spans(task: Task) -> list[Span]:
    """The words of a task's text that are worth editing, most important first; at least one."""
    spans = words(task.example.text)
    return [spans[word] for word in important_words(task.importance)]


def decisive_spans(task: Task) -> list[Span]:
    """All words that the teacher takes any notice of, most important first; at least one.

    It takes none of what a long text says beyond the teacher's longest input.
    """
    spans = words(task.example.text)
    order = np.argsort(-task.importance, kind="stable")
    noticed = [spans[word] for word in order if abs(task.importance[word]) > _NOTICED]
    return noticed or [spans[order[0]]]


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
