"""From originals to tasks: labels, targets, and how much each word matters, asked only once.

What the teacher was asked word by word costs more than a second for some dozen texts on a CPU, so
it is kept in the run folder, keyed by what it was asked.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from codlocal.core import hashing
from codlocal.core.keyed_rows import KeyedRows
from codlocal.core.records import Example, Row, Teacher
from codlocal.core.sections import Attribution
from codlocal.generation import attribution
from codlocal.generation.constraint import Span, words
from codlocal.generation.edits import Edit, find_edits
from codlocal.generation.lexicon import Lexicon
from codlocal.generation.task import Task

Reading = tuple[Example, int, int]
"""An original, the teacher's label of it, and the label that it is to get."""


class Attributed(Row):
    """The importance of each word of one text, under the hash of what was asked."""

    key: str
    importance: tuple[float, ...]


class FoundEdits(Row):
    """The edits that flip one text: per edit its slots, as start, end and choices."""

    key: str
    edits: tuple[tuple[tuple[int, int, tuple[str, ...]], ...], ...]


def build_tasks(
    teacher: Teacher,
    lexicon: Lexicon,
    readings: Sequence[Reading],
    method: Attribution,
    kept: KeyedRows[Attributed],
) -> Iterator[Task]:
    """One task per reading; an attribution that `kept` lacks is computed and added to it.

    A word is worth editing for what the label loses without it, plus what the target gains when
    a probe word stands in its place; or, by gradient, for what it adds to the label's lead.

    Raises:
        ConfigError: a gradient is asked for, and the teacher has none.

    """
    keys = [_key(method, *reading) for reading in readings]
    known = {key: row.importance for key in keys if (row := kept.get(key)) is not None}
    missing = {key: one for key, one in zip(keys, readings, strict=True) if key not in known}
    values = iter(_importance(teacher, lexicon, list(missing.values()), method))
    for key, (example, source, target) in zip(keys, readings, strict=True):
        if key not in known:
            known[key] = tuple(map(float, next(values)))
            kept.append(Attributed(key=key, importance=known[key]))
        yield Task(example, source, target, np.array(known[key], dtype=np.float64))


def _importance(
    teacher: Teacher, lexicon: Lexicon, readings: Sequence[Reading], method: Attribution
) -> Iterable[npt.NDArray[np.float64]]:
    """One array per reading; words are left out and replaced text by text, as it is asked for.

    So a text's numbers do not depend on what else is asked, nor the memory on how many texts are.
    """
    if method == "gradient":
        texts = [example.text for example, _, _ in readings]
        sources = [source for _, source, _ in readings]
        targets = [target for _, _, target in readings]
        return attribution.gradient(teacher, texts, sources, targets)
    return _occlusion(teacher, lexicon, readings)


def _occlusion(
    teacher: Teacher, lexicon: Lexicon, readings: Sequence[Reading]
) -> Iterator[npt.NDArray[np.float64]]:
    """What is lost without each word is the same whatever the target: asked once a text."""
    asked: tuple[str, int] | None = None
    losses = np.zeros(0)
    for example, source, target in readings:
        if asked != (example.text, source):
            losses = attribution.leave_one_out(teacher, example.text, source)
            asked = example.text, source
        probes = lexicon.probes(target)
        yield losses + attribution.substitution(teacher, example.text, target, probes)


def _key(kind: str, example: Example, source: int, target: int) -> str:
    asked = [[span.start, span.end] for span in words(example.text)]
    return hashing.of_value([kind, example.text, asked, source, target])


class EditFinder:
    """Finds the edits that flip a task, once: found ones are kept in a file of the run.

    They are sought where the task's words matter, as `method` has it.
    """

    def __init__(
        self, teacher: Teacher, lexicon: Lexicon, method: Attribution, kept: KeyedRows[FoundEdits]
    ) -> None:
        self._teacher = teacher
        self._lexicon = lexicon
        self._kind = f"edits by {method}"
        self._kept = kept

    def __call__(self, task: Task) -> Sequence[Edit]:
        """The edits of one task, best first."""
        key = _key(self._kind, task.example, task.source_label, task.target_label)
        kept = self._kept.get(key)
        if kept is not None:
            return _edits(kept)
        found = find_edits(self._teacher, self._lexicon, task)
        self._kept.append(_row(key, found))
        return found


def _row(key: str, edits: Sequence[Edit]) -> FoundEdits:
    slots = (
        tuple((span.start, span.end, choices) for span, choices in edit.slots) for edit in edits
    )
    return FoundEdits(key=key, edits=tuple(slots))


def _edits(row: FoundEdits) -> list[Edit]:
    return [
        Edit(tuple((Span(start, end), choices) for start, end, choices in slots))
        for slots in row.edits
    ]
