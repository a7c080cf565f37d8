"""What each student says of each test text, kept on disk for inspection and for resuming."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codlocal.core import jsonl
from codlocal.core.console import Task
from codlocal.core.errors import ModelError
from codlocal.core.records import Example, Row, Teacher
from codlocal.evaluation.metrics import Labels, Probabilities

_BATCH = 128


class Prediction(Row):
    """What one classifier says of one test text: the probabilities of all classes, as `label`.

    `gold` and `teacher` are the labels in the data and by the teacher. `model` is the hash of the
    student's folder, None in the teacher's own file.
    """

    id: str
    gold: int
    teacher: int
    label: int
    probabilities: tuple[float, ...]
    model: str | None = None


@dataclass(frozen=True)
class TestSplit:
    """The test texts, and what the teacher says of them.

    Attributes:
        examples: the n test texts with their gold labels.
        teacher: the teacher's probabilities, shape [n, classes].

    """

    __test__ = False

    examples: Sequence[Example]
    teacher: Probabilities

    @property
    def gold(self) -> Labels:
        """The gold class indices, shape [n]."""
        return np.array([example.label for example in self.examples], dtype=np.int64)


def teacher_split(
    path: Path, examples: Sequence[Example], ask: Callable[[], Probabilities]
) -> TestSplit:
    """The test split with the teacher's predictions from a file; without them it is asked.

    Raises:
        RunError: the file is damaged.

    """
    rows = list(jsonl.read_rows(path, Prediction))
    known = [(row.id, row.gold) for row in rows]
    if known == [(example.id, example.label) for example in examples]:
        return TestSplit(examples, _probabilities(rows))
    split = TestSplit(examples, ask())
    store(path, split, split.teacher)
    return split


def stored(path: Path, split: TestSplit, model: str) -> Probabilities | None:
    """The probabilities in a predictions file, shape [n, classes].

    None if it isn't there, or is of another model (a hash), other data or another teacher.

    Raises:
        RunError: the file is damaged.

    """
    rows = list(jsonl.read_rows(path, Prediction))
    found = [(row.id, row.gold, row.teacher, row.model) for row in rows]
    labels = zip(split.examples, split.teacher.argmax(axis=1).tolist(), strict=True)
    if found != [(example.id, example.label, teacher, model) for example, teacher in labels]:
        return None
    return _probabilities(rows)


def store(
    path: Path, split: TestSplit, probabilities: Probabilities, model: str | None = None
) -> None:
    """Write a predictions file; `probabilities` has the shape [n, classes], `model` is a hash."""
    jsonl.write_rows(path, _rows(split, probabilities, model))


def _probabilities(rows: Sequence[Prediction]) -> Probabilities:
    return np.array([row.probabilities for row in rows])


def _rows(
    split: TestSplit, probabilities: Probabilities, model: str | None
) -> Iterator[Prediction]:
    teacher = split.teacher.argmax(axis=1).tolist()
    for example, its_label, row in zip(split.examples, teacher, probabilities, strict=True):
        yield Prediction(
            id=example.id,
            gold=example.label,
            teacher=its_label,
            label=int(row.argmax()),
            probabilities=tuple(row.tolist()),
            model=model,
        )


def predict(model: Teacher, split: TestSplit, name: str, task: Task) -> Probabilities:
    """Ask a model for all test texts, in batches, and advance the task by each text.

    Returns:
        Probabilities of shape [n, classes].

    Raises:
        ModelError: what it gives are no probabilities of that shape.

    """
    parts = []
    for start in range(0, len(split.examples), _BATCH):
        batch = split.examples[start : start + _BATCH]
        probabilities = model.predict_proba([example.text for example in batch])
        _refuse_bad(probabilities, (len(batch), split.teacher.shape[1]), name)
        parts.append(probabilities)
        task.advance(len(batch))
    return np.concatenate(parts)


def _refuse_bad(probabilities: Probabilities, shape: tuple[int, int], name: str) -> None:
    if probabilities.shape != shape:
        raise ModelError(
            f"{name} gives probabilities of shape {list(probabilities.shape)}, not {list(shape)}.",
            "Its classes are not those of the dataset: distil it again with --redo distill.",
        )
    if not np.isfinite(probabilities).all():
        raise ModelError(
            f"{name} gives probabilities that are not finite numbers.",
            "Its training diverged: lower distillation.learning_rate, or use dtype float32.",
        )
